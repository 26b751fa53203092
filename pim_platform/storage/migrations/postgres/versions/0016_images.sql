-- A deleted product's image as columns (D9, D15). Runs as pim_owner.

-- `old` of a delete entry is the product's `data` as it lies there, which nobody has to build for each row; the rest
-- of the product stands beside it. Null in other entries.
ALTER TABLE pim.product_changes
  ADD COLUMN image_sku text,
  ADD COLUMN image_name text,
  ADD COLUMN image_active boolean,
  ADD COLUMN image_kind text,
  ADD COLUMN image_parent_id uuid,
  ADD COLUMN image_variant_group text,
  ADD COLUMN image_source text,
  ADD COLUMN image_source_id uuid,
  ADD COLUMN image_job_id uuid,
  ADD COLUMN image_attempt integer,
  ADD COLUMN image_source_row bigint,
  ADD COLUMN image_ai_readability_score real,
  ADD COLUMN image_created_seq bigint,
  ADD COLUMN image_created_at timestamptz;

-- Entries of before: forced row level security binds the owner too, so it is lifted for this statement.
ALTER TABLE pim.product_changes NO FORCE ROW LEVEL SECURITY;
UPDATE pim.product_changes c
SET image_sku = coalesce(i.sku, c.sku_key), image_name = i.name, image_active = i.active, image_kind = i.kind,
    image_parent_id = i.parent_id, image_variant_group = i.variant_group, image_source = i.source,
    image_source_id = i.source_id, image_job_id = i.job_id, image_attempt = i.attempt,
    image_source_row = i.source_row, image_ai_readability_score = i.ai_readability_score,
    image_created_seq = i.created_seq, image_created_at = i.created_at, old = coalesce(i.data, '{}')
FROM pim.product_changes e
CROSS JOIN LATERAL jsonb_to_record(e.old) AS i (
  sku text, name text, active boolean, kind text, parent_id uuid, variant_group text, data jsonb, source text,
  source_id uuid, job_id uuid, attempt integer, source_row bigint, ai_readability_score real, created_seq bigint,
  created_at timestamptz)
WHERE c.action = 'delete' AND e.action = 'delete' AND (e.tenant_id, e.commit_seq, e.product_id, e.changed_at)
    = (c.tenant_id, c.commit_seq, c.product_id, c.changed_at);
ALTER TABLE pim.product_changes FORCE ROW LEVEL SECURITY;

-- A deletion without its image could not be undone.
ALTER TABLE pim.product_changes
  ADD CONSTRAINT ck_product_changes_image CHECK ((action = 'delete') = (image_sku IS NOT NULL));

-- As in 0013, but for where the SKU and the name of a deleted product are.
CREATE OR REPLACE FUNCTION pim.queue_product_events() RETURNS trigger
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
           c.product_id, coalesce(p.sku, c.image_sku, c.old ->> 'sku', c.sku_key),
           coalesce(p.name, c.image_name, c.old ->> 'name', ''),
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
