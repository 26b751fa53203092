-- Confirmed bulk operations, schema changes. Runs as pim_owner.

-- What a bulk operation is to do: which products, what with them, and the state it was confirmed for.
ALTER TABLE pim.import_jobs ADD COLUMN bulk jsonb;
ALTER TABLE pim.import_jobs DROP CONSTRAINT ck_import_jobs_kind;
ALTER TABLE pim.import_jobs ADD CONSTRAINT ck_import_jobs_kind
  CHECK (kind IN ('file', 'undo', 'delete', 'edit', 'schema'));
ALTER TABLE pim.import_jobs ADD CONSTRAINT ck_import_jobs_bulk_says_what
  CHECK (kind NOT IN ('edit', 'schema') OR bulk IS NOT NULL);

-- What somebody was shown and may confirm, once, by its token.
CREATE TABLE pim.confirmations (
  tenant_id uuid NOT NULL CONSTRAINT fk_confirmations_tenant_id REFERENCES pim.tenants (id),
  token text NOT NULL,
  kind text NOT NULL CONSTRAINT ck_confirmations_kind CHECK (kind IN ('edit', 'delete', 'schema')),
  request jsonb NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  job_id uuid,
  CONSTRAINT pk_confirmations PRIMARY KEY (tenant_id, token),
  CONSTRAINT fk_confirmations_tenant_id_job_id FOREIGN KEY (tenant_id, job_id) REFERENCES pim.import_jobs (tenant_id, id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.confirmations TO pim_app;
SELECT pim.secure_tenant_table('pim.confirmations');

-- Which import created a product: asked with the commit that did.
CREATE INDEX ix_import_attempts_commit_seq ON pim.import_attempts (tenant_id, commit_seq);
