-- The core tables (design, section 5). Runs as pim_owner, inside one transaction.

-- --- helpers ---------------------------------------------------------------------------------

-- The tenant of this transaction, or null. Bound by set_config(..., true) when it begins (D14).
CREATE FUNCTION pim.current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.current_tenant_id', true), '')::uuid;

-- Forced row level security on a table that carries tenant_id; every migration that makes one calls it.
CREATE FUNCTION pim.secure_tenant_table(target regclass, tenant_column name DEFAULT 'tenant_id') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
  EXECUTE format(
    'CREATE POLICY tenant_isolation ON %s USING (%I = (SELECT pim.current_tenant())) WITH CHECK (%I = (SELECT pim.current_tenant()))',
    target, tenant_column, tenant_column);
END $$;

-- --- tenancy ---------------------------------------------------------------------------------

CREATE TABLE pim.tenants (
  id uuid CONSTRAINT pk_tenants PRIMARY KEY DEFAULT uuidv7(),
  slug text NOT NULL CONSTRAINT uq_tenants_slug UNIQUE
    CONSTRAINT ck_tenants_slug CHECK (slug ~ '^[a-z][a-z0-9_-]{0,39}$'),
  name text NOT NULL,
  default_currency text NOT NULL CONSTRAINT ck_tenants_currency CHECK (default_currency ~ '^[A-Z]{3}$'),
  default_locale text NOT NULL,
  timezone text NOT NULL,
  confirm_policy text NOT NULL DEFAULT 'never'
    CONSTRAINT ck_tenants_confirm_policy CHECK (confirm_policy IN ('never', 'saved_mapping_fits', 'all_sure')),
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now()
);
-- Two slugs must not name the same typed relation (hyphens become underscores there).
CREATE UNIQUE INDEX uq_tenants_relation ON pim.tenants (replace(slug, '-', '_'));

CREATE TABLE pim.users (
  id uuid CONSTRAINT pk_users PRIMARY KEY DEFAULT uuidv7(),
  email text NOT NULL CONSTRAINT uq_users_email UNIQUE,
  name text NOT NULL,
  password_hash text NOT NULL,
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pim.memberships (
  tenant_id uuid NOT NULL CONSTRAINT fk_memberships_tenant_id REFERENCES pim.tenants (id),
  user_id uuid NOT NULL CONSTRAINT fk_memberships_user_id REFERENCES pim.users (id),
  role text NOT NULL CONSTRAINT ck_memberships_role CHECK (role IN ('admin', 'editor', 'reviewer', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_memberships PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE pim.api_keys (
  tenant_id uuid NOT NULL CONSTRAINT fk_api_keys_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  name text NOT NULL,
  prefix text NOT NULL,
  key_hash bytea NOT NULL CONSTRAINT uq_api_keys_key_hash UNIQUE,
  role text NOT NULL CONSTRAINT ck_api_keys_role CHECK (role IN ('admin', 'editor', 'reviewer', 'viewer')),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_api_keys PRIMARY KEY (tenant_id, id)
);

CREATE TABLE pim.refresh_tokens (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT uuidv7(),
  user_id uuid NOT NULL,
  token_hash bytea NOT NULL CONSTRAINT uq_refresh_tokens_token_hash UNIQUE,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_refresh_tokens PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_refresh_tokens_tenant_id_user_id FOREIGN KEY (tenant_id, user_id)
    REFERENCES pim.memberships (tenant_id, user_id) ON DELETE CASCADE
);

-- One row per operation (an import is one), never per product; product history is product_changes.
CREATE TABLE pim.audit_logs (
  tenant_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  id uuid NOT NULL DEFAULT uuidv7(),
  actor text NOT NULL,
  action text NOT NULL,
  object_kind text NOT NULL,
  object_id text,
  details jsonb NOT NULL DEFAULT '{}',
  ip inet,
  user_agent text,
  trace_id text,
  CONSTRAINT pk_audit_logs PRIMARY KEY (tenant_id, at, id)
) PARTITION BY RANGE (at);

-- --- intake ----------------------------------------------------------------------------------

CREATE TABLE pim.sources (
  tenant_id uuid NOT NULL CONSTRAINT fk_sources_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  slug text NOT NULL CONSTRAINT ck_sources_slug CHECK (slug ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
  name text NOT NULL,
  priority integer NOT NULL DEFAULT 50 CONSTRAINT ck_sources_priority CHECK (priority BETWEEN 0 AND 100),
  trust double precision NOT NULL DEFAULT 0.5 CONSTRAINT ck_sources_trust CHECK (trust BETWEEN 0 AND 1),
  default_currency text CONSTRAINT ck_sources_currency CHECK (default_currency ~ '^[A-Z]{3}$'),
  confirm_policy text
    CONSTRAINT ck_sources_confirm_policy CHECK (confirm_policy IN ('never', 'saved_mapping_fits', 'all_sure')),
  full_feed boolean NOT NULL DEFAULT false,
  absent_rows text NOT NULL DEFAULT 'keep'
    CONSTRAINT ck_sources_absent_rows CHECK (absent_rows IN ('keep', 'deactivate', 'delete')),
  last_accepted_job_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_sources PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_sources_tenant_id_slug UNIQUE (tenant_id, slug)
);

CREATE TABLE pim.uploads (
  tenant_id uuid NOT NULL CONSTRAINT fk_uploads_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  sha256 text NOT NULL CONSTRAINT ck_uploads_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  size_bytes bigint NOT NULL,
  object_key text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_uploads PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_uploads_tenant_id_sha256 UNIQUE (tenant_id, sha256)
);

CREATE TABLE pim.import_jobs (
  tenant_id uuid NOT NULL CONSTRAINT fk_import_jobs_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  source_id uuid NOT NULL,
  upload_id uuid NOT NULL,
  filename text NOT NULL,
  format text NOT NULL,
  origin text NOT NULL CONSTRAINT ck_import_jobs_origin CHECK (origin IN ('cli', 'api', 'ui', 'inbox')),
  actor text NOT NULL,
  idempotency_key text,
  state text NOT NULL DEFAULT 'pending' CONSTRAINT ck_import_jobs_state CHECK (state IN
    ('pending', 'mapping', 'confirmed', 'staging', 'staged', 'held', 'importing', 'done', 'failed', 'cancelled', 'undone')),
  reason_code text,
  reason text,
  attempt integer NOT NULL DEFAULT 0,
  dry_run boolean NOT NULL DEFAULT false,
  full_feed boolean NOT NULL DEFAULT false,
  reject_policy text NOT NULL DEFAULT 'skip',
  cancel_requested boolean NOT NULL DEFAULT false,
  dialect jsonb,
  headers jsonb,
  header_fingerprint text,
  sample_rows jsonb,
  suggested_columns jsonb,
  suggested_fields jsonb,
  mapping jsonb,
  schema_version integer,
  row_count bigint,
  imported_count bigint NOT NULL DEFAULT 0,
  rows_read bigint,
  rows_created bigint,
  rows_updated bigint,
  rows_unchanged bigint,
  rows_rejected bigint,
  rows_superseded bigint,
  rows_merged bigint,
  rows_removed bigint NOT NULL DEFAULT 0,
  reject_reasons jsonb NOT NULL DEFAULT '{}',
  progress jsonb NOT NULL DEFAULT '{}',
  staged_attempt integer,
  commit_seq bigint,
  lease_at timestamptz,
  lease_owner text,
  created_at timestamptz NOT NULL DEFAULT now(),
  confirmed_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  CONSTRAINT pk_import_jobs PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_import_jobs_tenant_id_source_id FOREIGN KEY (tenant_id, source_id)
    REFERENCES pim.sources (tenant_id, id),
  CONSTRAINT fk_import_jobs_tenant_id_upload_id FOREIGN KEY (tenant_id, upload_id)
    REFERENCES pim.uploads (tenant_id, id),
  -- D4: nothing is lost in silence.
  CONSTRAINT ck_import_jobs_ledger_balances CHECK (
    state <> 'done'
    OR (rows_read IS NOT NULL AND rows_read = rows_created + rows_updated + rows_unchanged
        + rows_rejected + rows_superseded + rows_merged))
);
CREATE INDEX ix_import_jobs_tenant_id_created_at ON pim.import_jobs (tenant_id, created_at);
CREATE INDEX ix_import_jobs_open ON pim.import_jobs (state)
  WHERE state IN ('pending', 'confirmed', 'staging', 'importing');
CREATE UNIQUE INDEX uq_import_jobs_idempotency_key ON pim.import_jobs (tenant_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

CREATE TABLE pim.mapping_templates (
  tenant_id uuid NOT NULL,
  source_id uuid NOT NULL,
  header_fingerprint text NOT NULL,
  mapping jsonb NOT NULL,
  job_id uuid NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_mapping_templates PRIMARY KEY (tenant_id, source_id, header_fingerprint),
  CONSTRAINT fk_mapping_templates_tenant_id_source_id FOREIGN KEY (tenant_id, source_id)
    REFERENCES pim.sources (tenant_id, id)
);

CREATE TABLE pim.mapping_feedback (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT uuidv7(),
  source_id uuid NOT NULL,
  job_id uuid NOT NULL,
  column_name text NOT NULL,
  proposed_field text,
  confirmed_field text,
  confidence double precision NOT NULL,
  auto boolean NOT NULL,
  correct boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_mapping_feedback PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_mapping_feedback_tenant_id_source_id FOREIGN KEY (tenant_id, source_id)
    REFERENCES pim.sources (tenant_id, id)
);

-- --- catalog ---------------------------------------------------------------------------------

CREATE TABLE pim.product_schemas (
  tenant_id uuid NOT NULL CONSTRAINT fk_product_schemas_tenant_id REFERENCES pim.tenants (id),
  version integer NOT NULL,
  fields jsonb NOT NULL,
  default_currency text NOT NULL,
  default_locale text NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_product_schemas PRIMARY KEY (tenant_id, version)
);

-- commit_seq numbers a tenant's transactions in commit order (D10); published_seq is how far ClickHouse is.
CREATE TABLE pim.catalog_state (
  tenant_id uuid NOT NULL CONSTRAINT pk_catalog_state PRIMARY KEY
    CONSTRAINT fk_catalog_state_tenant_id REFERENCES pim.tenants (id),
  commit_seq bigint NOT NULL DEFAULT 0,
  published_seq bigint NOT NULL DEFAULT 0,
  typed_seq bigint NOT NULL DEFAULT 0,
  typed_schema_version integer NOT NULL DEFAULT -1
);

CREATE TABLE pim.products (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT uuidv7(),
  sku text NOT NULL,
  sku_key text COLLATE "C" NOT NULL CONSTRAINT ck_products_sku_key CHECK (sku_key <> ''),
  name text NOT NULL,
  active boolean NOT NULL DEFAULT true,
  kind text NOT NULL DEFAULT 'simple'
    CONSTRAINT ck_products_kind CHECK (kind IN ('simple', 'parent', 'variant', 'bundle')),
  parent_id uuid,
  variant_group text,
  data jsonb NOT NULL DEFAULT '{}',
  source text NOT NULL CONSTRAINT ck_products_source CHECK (source IN ('csv', 'api', 'ui')),
  source_id uuid,
  job_id uuid,
  attempt integer,
  source_row bigint,
  row_hash bigint,
  ai_readability_score real,
  version integer NOT NULL DEFAULT 1,
  commit_seq bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_products PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_products_tenant_id_sku_key UNIQUE (tenant_id, sku_key)
) PARTITION BY HASH (tenant_id);
DO $$ BEGIN
  FOR n IN 0..15 LOOP
    EXECUTE format('CREATE TABLE pim.products_p%s PARTITION OF pim.products FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                   lpad(n::text, 2, '0'), n);
  END LOOP;
END $$;
-- The publisher asks for "committed since": BRIN costs writers next to nothing and does not block HOT updates.
CREATE INDEX ix_products_commit_seq ON pim.products USING brin (commit_seq) WITH (pages_per_range = 32, autosummarize = on);

-- Changed keys only (D9): old and new hold the fields that differ; a created row has no entry.
CREATE TABLE pim.product_changes (
  tenant_id uuid NOT NULL,
  commit_seq bigint NOT NULL,
  product_id uuid NOT NULL,
  changed_at timestamptz NOT NULL,
  action text NOT NULL CONSTRAINT ck_product_changes_action CHECK (action IN ('update', 'delete')),
  sku_key text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  actor text NOT NULL,
  job_id uuid,
  request_id text,
  source text NOT NULL,
  old jsonb NOT NULL,
  new jsonb NOT NULL,
  CONSTRAINT pk_product_changes PRIMARY KEY (tenant_id, commit_seq, product_id, changed_at)
) PARTITION BY RANGE (changed_at);
CREATE INDEX ix_product_changes_tenant_id_product_id ON pim.product_changes (tenant_id, product_id, commit_seq);

-- --- monthly partitions ----------------------------------------------------------------------

-- Makes the monthly partitions of the logs up to `ahead` months from now. The migrator calls it at every
-- start and a schedule calls it daily; the default partition takes what a stopped schedule would lose.
CREATE FUNCTION pim.ensure_month_partitions(ahead integer DEFAULT 2) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE
  parent text;
  first date;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['product_changes', 'audit_logs'] LOOP
    FOR step IN 0..ahead LOOP
      first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step))::date;
      IF to_regclass(format('pim.%I', parent || to_char(first, '_YYYYMM'))) IS NULL THEN
        EXECUTE format('CREATE TABLE pim.%I PARTITION OF pim.%I FOR VALUES FROM (%L) TO (%L)',
          parent || to_char(first, '_YYYYMM'), parent,
          first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;
CREATE TABLE pim.product_changes_other PARTITION OF pim.product_changes DEFAULT;
CREATE TABLE pim.audit_logs_other PARTITION OF pim.audit_logs DEFAULT;
SELECT pim.ensure_month_partitions();

-- --- row level security ----------------------------------------------------------------------

SELECT pim.secure_tenant_table('pim.tenants', 'id');
SELECT pim.secure_tenant_table(t::regclass) FROM unnest(ARRAY[
  'pim.memberships', 'pim.api_keys', 'pim.refresh_tokens', 'pim.audit_logs', 'pim.sources', 'pim.uploads',
  'pim.import_jobs', 'pim.mapping_templates', 'pim.mapping_feedback', 'pim.product_schemas', 'pim.catalog_state',
  'pim.products', 'pim.product_changes']) AS t;

-- A user is seen by the tenants it belongs to; anyone may be invited, so inserts are free.
ALTER TABLE pim.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE pim.users FORCE ROW LEVEL SECURITY;
CREATE POLICY member_of_tenant ON pim.users FOR SELECT
  USING (EXISTS (SELECT FROM pim.memberships m WHERE m.user_id = users.id AND m.tenant_id = (SELECT pim.current_tenant())));
CREATE POLICY invited ON pim.users FOR INSERT WITH CHECK (true);

-- What must precede or cross tenants is a narrow function of pim_definer; these are all it may read (D14).
CREATE POLICY definer_reads ON pim.tenants FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.users FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.memberships FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.api_keys FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.import_jobs FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.catalog_state FOR SELECT TO pim_definer USING (true);
GRANT SELECT ON pim.tenants, pim.users, pim.memberships, pim.api_keys, pim.import_jobs, pim.catalog_state TO pim_definer;

-- Typed views and SQL models are owned by pim_ddl and name their tenants themselves (D13, D14).
CREATE POLICY ddl_reads ON pim.products FOR SELECT TO pim_ddl USING (true);
CREATE POLICY ddl_reads ON pim.import_jobs FOR SELECT TO pim_ddl USING (true);
CREATE POLICY ddl_reads ON pim.sources FOR SELECT TO pim_ddl USING (true);
GRANT USAGE ON SCHEMA pim TO pim_ddl, pim_app, pim_definer;
GRANT SELECT ON pim.products, pim.import_jobs, pim.sources TO pim_ddl;

GRANT SELECT, INSERT, UPDATE, DELETE ON pim.memberships, pim.api_keys, pim.refresh_tokens, pim.sources, pim.uploads,
  pim.import_jobs, pim.mapping_templates, pim.mapping_feedback, pim.products TO pim_app;
GRANT SELECT, INSERT, UPDATE ON pim.tenants, pim.catalog_state TO pim_app;
GRANT SELECT, INSERT ON pim.users, pim.audit_logs, pim.product_schemas, pim.product_changes TO pim_app;

-- --- what precedes or crosses tenants ----------------------------------------------------------

CREATE FUNCTION pim.find_api_key(wanted bytea)
RETURNS TABLE (tenant_id uuid, key_id uuid, name text, role text, expires_at timestamptz, revoked_at timestamptz, tenant_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT k.tenant_id, k.id, k.name, k.role, k.expires_at, k.revoked_at, t.active
  FROM pim.api_keys k JOIN pim.tenants t ON t.id = k.tenant_id WHERE k.key_hash = wanted
$$;

CREATE FUNCTION pim.find_login(wanted text)
RETURNS TABLE (user_id uuid, password_hash text, tenant_id uuid, slug text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT u.id, u.password_hash, t.id, t.slug, m.role
  FROM pim.users u JOIN pim.memberships m ON m.user_id = u.id JOIN pim.tenants t ON t.id = m.tenant_id
  WHERE u.email = wanted AND u.active AND t.active
$$;

CREATE FUNCTION pim.tenant_directory()
RETURNS TABLE (id uuid, slug text, name text, default_currency text, default_locale text, timezone text,
               confirm_policy text, active boolean, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT id, slug, name, default_currency, default_locale, timezone, confirm_policy, active, created_at FROM pim.tenants
$$;

-- Jobs that want a run: confirmed ones, and running ones whose lease is older than `stale` (D19).
CREATE FUNCTION pim.jobs_due(stale interval)
RETURNS TABLE (tenant_id uuid, tenant_slug text, job_id uuid, state text, attempt integer, lease_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT j.tenant_id, t.slug, j.id, j.state, j.attempt, j.lease_at
  FROM pim.import_jobs j JOIN pim.tenants t ON t.id = j.tenant_id
  WHERE j.state = 'confirmed'
     OR (j.state IN ('staging', 'importing') AND j.lease_at < clock_timestamp() - stale)
  ORDER BY j.confirmed_at
$$;

CREATE FUNCTION pim.tenants_unpublished()
RETURNS TABLE (tenant_id uuid, slug text, commit_seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT s.tenant_id, t.slug, s.commit_seq FROM pim.catalog_state s JOIN pim.tenants t ON t.id = s.tenant_id
  WHERE s.commit_seq > least(s.published_seq, s.typed_seq)
$$;

DO $$
DECLARE f regprocedure;
BEGIN
  FOREACH f IN ARRAY ARRAY['pim.find_api_key(bytea)', 'pim.find_login(text)', 'pim.tenant_directory()',
                           'pim.jobs_due(interval)', 'pim.tenants_unpublished()']::regprocedure[] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pim_app', f);
    EXECUTE format('ALTER FUNCTION %s OWNER TO pim_definer', f);
  END LOOP;
  REVOKE ALL ON FUNCTION pim.ensure_month_partitions(integer) FROM PUBLIC;
  GRANT EXECUTE ON FUNCTION pim.ensure_month_partitions(integer) TO pim_app;
  REVOKE ALL ON FUNCTION pim.secure_tenant_table(regclass, name) FROM PUBLIC;
END $$;
