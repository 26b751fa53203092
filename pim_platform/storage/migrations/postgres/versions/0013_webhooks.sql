-- Webhooks: subscriptions, outbox, deliveries. Runs as pim_owner.

CREATE TABLE pim.webhooks (
  tenant_id uuid NOT NULL CONSTRAINT fk_webhooks_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  url text NOT NULL,
  description text NOT NULL DEFAULT '',
  events text[] NOT NULL CONSTRAINT ck_webhooks_events CHECK (cardinality(events) > 0 AND events <@ ARRAY[
    'product.created', 'product.updated', 'product.deleted',
    'import.completed', 'import.failed', 'import.needs_confirmation']),
  -- Whether imports tell of each product too.
  import_products boolean NOT NULL DEFAULT false,
  -- Encrypted; the key is not in the database. For a day after a rotation both sign.
  secret text NOT NULL,
  old_secret text,
  old_secret_until timestamptz,
  -- disabled: by a person; gone: the receiver said so (410); suspended: nothing went through for days.
  state text NOT NULL DEFAULT 'active'
    CONSTRAINT ck_webhooks_state CHECK (state IN ('active', 'disabled', 'suspended', 'gone')),
  reason text,
  stopped_at timestamptz,
  -- Failed calls in a row, and how often the receiver was left in peace for it.
  failures integer NOT NULL DEFAULT 0,
  pauses integer NOT NULL DEFAULT 0,
  paused_until timestamptz,
  lease_until timestamptz,
  lease_owner text,
  -- Deliveries that were still waiting when retention removed them.
  dropped bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_webhooks PRIMARY KEY (tenant_id, id)
);

-- The outbox and, afterwards, the log. `number` follows the order of a tenant's commits.
CREATE TABLE pim.webhook_deliveries (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT uuidv7(),
  webhook_id uuid NOT NULL,
  number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  event text NOT NULL,
  -- Of one key in order: a product's id, or 'imports'.
  ordering_key text COLLATE "C" NOT NULL,
  payload jsonb NOT NULL,
  state text NOT NULL DEFAULT 'pending'
    CONSTRAINT ck_webhook_deliveries_state CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT now(),
  attempted_at timestamptz,
  status integer,
  duration_ms integer,
  answer text,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_webhook_deliveries PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_webhook_deliveries_tenant_id_webhook_id FOREIGN KEY (tenant_id, webhook_id)
    REFERENCES pim.webhooks (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ix_webhook_deliveries_log ON pim.webhook_deliveries (tenant_id, webhook_id, number);
CREATE INDEX ix_webhook_deliveries_pending ON pim.webhook_deliveries (tenant_id, webhook_id, number)
  WHERE state = 'pending';
CREATE INDEX ix_webhook_deliveries_in_order ON pim.webhook_deliveries (tenant_id, webhook_id, ordering_key, number)
  WHERE state = 'pending';

SELECT pim.secure_tenant_table(t::regclass) FROM unnest(ARRAY['pim.webhooks', 'pim.webhook_deliveries']) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.webhooks, pim.webhook_deliveries TO pim_app;

-- --- the outbox --------------------------------------------------------------------------------

-- Both functions run at the end of the transaction that changes the data, as whoever changes it and under its
-- tenant's policies. The lock is the last one taken: it makes numbers follow the order of commits.

-- Whether a job's writes are an import's: a file, or the undo of one. Bulk deletes and their undos are not.
CREATE FUNCTION pim.is_import(tenant uuid, job uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pim, pg_temp AS $$
DECLARE
  what text;
  undone uuid;
BEGIN
  LOOP
    SELECT j.kind, j.undoes_job_id INTO what, undone FROM pim.import_jobs j WHERE j.tenant_id = tenant AND j.id = job;
    EXIT WHEN what IS DISTINCT FROM 'undo';
    job := undone;
  END LOOP;
  RETURN coalesce(what = 'file', false);
END $$;

CREATE FUNCTION pim.webhook_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION pim.queue_product_events() RETURNS trigger
LANGUAGE plpgsql SET search_path = pim, pg_temp AS $$
DECLARE
  by_import boolean;
  job uuid;
  door text;
BEGIN
  IF NOT EXISTS (
    SELECT FROM pim.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND w.state IN ('active', 'suspended')
      AND w.events && ARRAY['product.created', 'product.updated', 'product.deleted']) THEN
    RETURN NULL;
  END IF;
  -- A commit has one author, so any of its rows tells; log entries carry the time at which the transaction began.
  SELECT c.job_id, c.source INTO job, door FROM pim.product_changes c
  WHERE c.tenant_id = NEW.tenant_id AND c.commit_seq = NEW.commit_seq AND c.changed_at >= now() LIMIT 1;
  IF NOT FOUND THEN
    SELECT p.job_id, p.source INTO job, door FROM pim.products p
    WHERE p.tenant_id = NEW.tenant_id AND p.commit_seq = NEW.commit_seq LIMIT 1;
  END IF;
  by_import := job IS NOT NULL AND pim.is_import(NEW.tenant_id, job);
  IF by_import AND NOT EXISTS (
    SELECT FROM pim.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND w.state IN ('active', 'suspended') AND w.import_products
      AND w.events && ARRAY['product.created', 'product.updated', 'product.deleted']) THEN
    RETURN NULL;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(NEW.tenant_id::text, 3));
  WITH told AS MATERIALIZED (
    SELECT 'product.created' AS event, p.id AS product_id, p.sku, p.name, p.version, NULL::text AS actor,
           NULL::text AS request_id,
           jsonb_build_object('product', jsonb_build_object(
             'active', p.active, 'kind', p.kind, 'parent_id', p.parent_id, 'variant_group', p.variant_group,
             'data', p.data)) AS more
    FROM pim.products p
    WHERE p.tenant_id = NEW.tenant_id AND p.commit_seq = NEW.commit_seq AND p.created_seq = NEW.commit_seq
    UNION ALL
    SELECT CASE c.action WHEN 'delete' THEN 'product.deleted' WHEN 'create' THEN 'product.created'
                         ELSE 'product.updated' END,
           c.product_id, coalesce(p.sku, c.old ->> 'sku', c.sku_key), coalesce(p.name, c.old ->> 'name', ''),
           c.version, c.actor, c.request_id,
           CASE c.action
             WHEN 'delete' THEN '{}'::jsonb
             WHEN 'create' THEN jsonb_build_object('product', jsonb_build_object(
               'active', p.active, 'kind', p.kind, 'parent_id', p.parent_id, 'variant_group', p.variant_group,
               'data', p.data))
             ELSE jsonb_build_object('changes', (
               SELECT coalesce(jsonb_agg(jsonb_build_object('field', k, 'old', c.old -> k, 'new', c.new -> k) ORDER BY k), '[]')
               FROM jsonb_object_keys(c.old || c.new) k))
           END
    FROM pim.product_changes c
    LEFT JOIN pim.products p ON p.tenant_id = NEW.tenant_id AND p.id = c.product_id
    WHERE c.tenant_id = NEW.tenant_id AND c.commit_seq = NEW.commit_seq AND c.changed_at >= now()
      -- What a commit created is told as it is in the end.
      AND (c.action <> 'update' OR p.created_seq IS DISTINCT FROM NEW.commit_seq)
      -- Scores of a language model come in masses and change nothing that a shop shows.
      AND (c.action <> 'update' OR (c.old || c.new) - 'ai_readability_score'::text <> '{}'::jsonb)
  )
  INSERT INTO pim.webhook_deliveries (tenant_id, webhook_id, event, ordering_key, payload)
  SELECT NEW.tenant_id, w.id, t.event, t.product_id::text, jsonb_build_object(
    'type', t.event, 'timestamp', pim.webhook_time(now()),
    'data', jsonb_build_object(
      'product_id', t.product_id, 'sku', t.sku, 'name', t.name, 'version', t.version, 'commit', NEW.commit_seq,
      'source', door, 'actor', t.actor, 'job_id', job, 'request_id', t.request_id) || t.more)
  FROM told t JOIN pim.webhooks w
    ON w.tenant_id = NEW.tenant_id AND w.state IN ('active', 'suspended') AND t.event = ANY (w.events)
   AND (w.import_products OR NOT by_import);
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER queue_product_events AFTER UPDATE OF commit_seq ON pim.catalog_state
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.commit_seq IS DISTINCT FROM NEW.commit_seq)
EXECUTE FUNCTION pim.queue_product_events();

CREATE FUNCTION pim.queue_import_events() RETURNS trigger
LANGUAGE plpgsql SET search_path = pim, pg_temp AS $$
DECLARE
  j pim.import_jobs;
  told text;
BEGIN
  IF NOT EXISTS (
    SELECT FROM pim.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND w.state IN ('active', 'suspended')
      AND w.events && ARRAY['import.completed', 'import.failed', 'import.needs_confirmation']) THEN
    RETURN NULL;
  END IF;
  -- As it is committed: a job may pass through several states in one transaction.
  SELECT * INTO j FROM pim.import_jobs WHERE tenant_id = NEW.tenant_id AND id = NEW.id;
  IF NOT FOUND OR j.state <> NEW.state OR NOT pim.is_import(j.tenant_id, j.id) THEN
    RETURN NULL;
  END IF;
  told := CASE
    -- Corrected rejects that did not come through leave their import done, with the reason.
    WHEN j.state = 'done' AND j.reason_code = 'cancelled' THEN NULL
    WHEN j.state = 'failed' OR (j.state = 'done' AND j.reason_code IS NOT NULL) THEN 'import.failed'
    WHEN j.state = 'done' THEN 'import.completed'
    WHEN j.state = 'mapping' AND j.reason_code IS NULL THEN NULL
    ELSE 'import.needs_confirmation' END;
  PERFORM pg_advisory_xact_lock(hashtextextended(NEW.tenant_id::text, 3));
  INSERT INTO pim.webhook_deliveries (tenant_id, webhook_id, event, ordering_key, payload)
  SELECT j.tenant_id, w.id, told, 'imports', jsonb_build_object(
    'type', told, 'timestamp', pim.webhook_time(now()),
    'data', jsonb_build_object(
      'job_id', j.id, 'kind', j.kind, 'state', j.state, 'reason_code', j.reason_code, 'reason', j.reason,
      'source', s.slug, 'filename', j.filename, 'origin', j.origin, 'dry_run', j.dry_run,
      'undoes_job_id', j.undoes_job_id, 'commit', j.commit_seq, 'rows_removed', j.rows_removed,
      'ledger', CASE WHEN j.rows_read IS NOT NULL THEN jsonb_build_object(
        'read', j.rows_read, 'created', j.rows_created, 'updated', j.rows_updated, 'unchanged', j.rows_unchanged,
        'rejected', j.rows_rejected, 'superseded', j.rows_superseded, 'merged', j.rows_merged) END,
      'links', jsonb_build_object(
        'import', format('/api/pim/import/%s/', j.id), 'changes', format('/api/pim/import/%s/changes/', j.id))))
  FROM pim.webhooks w LEFT JOIN pim.sources s ON s.tenant_id = j.tenant_id AND s.id = j.source_id
  WHERE w.tenant_id = j.tenant_id AND w.state IN ('active', 'suspended') AND told = ANY (w.events);
  RETURN NULL;
END $$;

-- An undo of an undo marks the first import as done again; that is told by the undo itself.
CREATE CONSTRAINT TRIGGER queue_import_events AFTER UPDATE OF state, reason_code ON pim.import_jobs
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
  (NEW.state IN ('done', 'failed', 'held', 'staged') AND OLD.state IS DISTINCT FROM NEW.state AND OLD.state <> 'undone')
  -- Without a reason a policy has not been asked yet: it may confirm the next moment.
  OR (NEW.state = 'mapping' AND NEW.reason_code IS NOT NULL
      AND (OLD.state <> 'mapping' OR OLD.reason_code IS DISTINCT FROM NEW.reason_code)))
EXECUTE FUNCTION pim.queue_import_events();

-- --- what crosses tenants ------------------------------------------------------------------------

-- Which receivers have something to get now; ids only. Who serves one claims it in a session of its tenant.
CREATE FUNCTION pim.webhooks_due(most integer) RETURNS TABLE (tenant_id uuid, webhook_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT w.tenant_id, w.id FROM pim.webhooks w JOIN pim.tenants t ON t.id = w.tenant_id
  WHERE t.active AND w.state = 'active'
    AND coalesce(w.paused_until, '-infinity') <= clock_timestamp()
    AND coalesce(w.lease_until, '-infinity') <= clock_timestamp()
    AND EXISTS (
      SELECT FROM pim.webhook_deliveries d
      WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()
        AND NOT EXISTS (
          SELECT FROM pim.webhook_deliveries e
          WHERE e.tenant_id = d.tenant_id AND e.webhook_id = d.webhook_id AND e.state = 'pending'
            AND e.ordering_key = d.ordering_key AND e.number < d.number AND e.due_at > clock_timestamp()))
  ORDER BY w.lease_until NULLS FIRST LIMIT most
$$;
CREATE POLICY definer_reads ON pim.webhooks FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.webhook_deliveries FOR SELECT TO pim_definer USING (true);
GRANT SELECT (tenant_id, id, state, paused_until, lease_until) ON pim.webhooks TO pim_definer;
GRANT SELECT (tenant_id, webhook_id, number, ordering_key, state, due_at) ON pim.webhook_deliveries TO pim_definer;
REVOKE ALL ON FUNCTION pim.webhooks_due(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pim.webhooks_due(integer) TO pim_app;
ALTER FUNCTION pim.webhooks_due(integer) OWNER TO pim_definer;
