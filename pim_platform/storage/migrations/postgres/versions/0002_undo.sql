-- What undo, bulk delete and absent rows need (D6, D15). Runs as pim_owner, inside one transaction.

-- The commit that created a product; it never changes, and a product that an undo brings back keeps it.
-- Rows from before this migration have 0: an undo of their import leaves them alone.
ALTER TABLE pim.products ADD COLUMN created_seq bigint NOT NULL DEFAULT 0;

-- 'create' is written for products that an undo brings back; a product that an import creates has no entry.
ALTER TABLE pim.product_changes DROP CONSTRAINT ck_product_changes_action;
ALTER TABLE pim.product_changes
  ADD CONSTRAINT ck_product_changes_action CHECK (action IN ('create', 'update', 'delete'));

ALTER TABLE pim.import_jobs
  ADD COLUMN kind text NOT NULL DEFAULT 'file' CONSTRAINT ck_import_jobs_kind CHECK (kind IN ('file', 'undo', 'delete')),
  ADD COLUMN undoes_job_id uuid,
  ADD COLUMN undone_by_job_id uuid,
  -- Null: as the source says.
  ADD COLUMN absent_rows text
    CONSTRAINT ck_import_jobs_absent_rows CHECK (absent_rows IN ('keep', 'deactivate', 'delete')),
  ADD COLUMN hold_released boolean NOT NULL DEFAULT false,
  ALTER COLUMN upload_id DROP NOT NULL,
  ADD CONSTRAINT ck_import_jobs_file_has_upload CHECK (kind <> 'file' OR upload_id IS NOT NULL),
  ADD CONSTRAINT ck_import_jobs_undo_names_its_job CHECK (kind <> 'undo' OR undoes_job_id IS NOT NULL);

-- The last accepted full feed of a source (D6).
CREATE INDEX ix_import_jobs_full_feed ON pim.import_jobs (tenant_id, source_id, finished_at)
  WHERE full_feed AND state = 'done';
