-- What a source says of all its files; conflicts that an undo keeps. Runs as pim_owner.

ALTER TABLE pim.sources
  -- Null: as the import says, else skip.
  ADD COLUMN reject_policy text
    CONSTRAINT ck_sources_reject_policy CHECK (reject_policy ~ '^(skip|stop_first|stop_above:[0-9.]+%)$'),
  -- A file with the content of the last accepted import makes no job (D5).
  ADD COLUMN skip_unchanged boolean NOT NULL DEFAULT false;

-- False: the number of records was estimated from samples.
ALTER TABLE pim.import_jobs ADD COLUMN row_count_exact boolean NOT NULL DEFAULT true;

-- Products of which an undo left something as it was, because it changed later (D15).
CREATE TABLE pim.undo_conflicts (
  tenant_id uuid NOT NULL,
  job_id uuid NOT NULL,
  sku_key text COLLATE "C" NOT NULL,
  product_id uuid NOT NULL,
  sku text NOT NULL,
  name text NOT NULL,
  outcome text NOT NULL CONSTRAINT ck_undo_conflicts_outcome CHECK (outcome IN ('restore', 'keep')),
  reason text,
  -- {field: number of the commit that changed it last}
  fields jsonb NOT NULL DEFAULT '{}',
  later_seq bigint,
  other_product_id uuid,
  CONSTRAINT pk_undo_conflicts PRIMARY KEY (tenant_id, job_id, sku_key, product_id),
  CONSTRAINT fk_undo_conflicts_tenant_id_job_id FOREIGN KEY (tenant_id, job_id)
    REFERENCES pim.import_jobs (tenant_id, id)
);
GRANT SELECT, INSERT ON pim.undo_conflicts TO pim_app;
SELECT pim.secure_tenant_table('pim.undo_conflicts');
