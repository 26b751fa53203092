-- A job may run more than once: its import, the promotion of its dry run, corrected rejects. Runs as pim_owner.

ALTER TABLE pim.import_jobs
  -- What the next or present run does; its attempts are counted from first_attempt.
  ADD COLUMN task text NOT NULL DEFAULT 'import'
    CONSTRAINT ck_import_jobs_task CHECK (task IN ('import', 'promote', 'rework')),
  ADD COLUMN first_attempt integer NOT NULL DEFAULT 1,
  -- Whether that run's merge is committed.
  ADD COLUMN committed boolean NOT NULL DEFAULT false,
  ADD COLUMN preview_attempt integer,
  ADD COLUMN preview_digest text,
  ADD COLUMN rework jsonb;

-- One row per merge of a job, with the ledger of that merge alone; the job's own ledger is their sum.
CREATE TABLE pim.import_attempts (
  tenant_id uuid NOT NULL,
  job_id uuid NOT NULL,
  attempt integer NOT NULL,
  kind text NOT NULL CONSTRAINT ck_import_attempts_kind CHECK (kind IN ('import', 'promote', 'rework')),
  upload_id uuid NOT NULL,
  filename text NOT NULL,
  actor text NOT NULL,
  rows_read bigint NOT NULL,
  rows_created bigint NOT NULL,
  rows_updated bigint NOT NULL,
  rows_unchanged bigint NOT NULL,
  rows_rejected bigint NOT NULL,
  rows_superseded bigint NOT NULL,
  rows_merged bigint NOT NULL,
  rows_replaced bigint NOT NULL DEFAULT 0,
  reject_reasons jsonb NOT NULL DEFAULT '{}',
  commit_seq bigint,
  merged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT pk_import_attempts PRIMARY KEY (tenant_id, job_id, attempt),
  CONSTRAINT fk_import_attempts_tenant_id_job_id FOREIGN KEY (tenant_id, job_id)
    REFERENCES pim.import_jobs (tenant_id, id),
  CONSTRAINT fk_import_attempts_tenant_id_upload_id FOREIGN KEY (tenant_id, upload_id)
    REFERENCES pim.uploads (tenant_id, id),
  -- D4: nothing is lost in silence.
  CONSTRAINT ck_import_attempts_ledger_balances CHECK (
    rows_read = rows_created + rows_updated + rows_unchanged + rows_rejected + rows_superseded + rows_merged)
);
GRANT SELECT, INSERT ON pim.import_attempts TO pim_app;

-- Rows of before: forced row level security binds the owner too, so it is lifted for these two statements.
ALTER TABLE pim.import_jobs NO FORCE ROW LEVEL SECURITY;
UPDATE pim.import_jobs SET committed = true WHERE staged_attempt IS NOT NULL AND NOT dry_run;
INSERT INTO pim.import_attempts (tenant_id, job_id, attempt, kind, upload_id, filename, actor, rows_read, rows_created,
  rows_updated, rows_unchanged, rows_rejected, rows_superseded, rows_merged, reject_reasons, commit_seq, merged_at)
SELECT tenant_id, id, staged_attempt, 'import', upload_id, filename, actor, rows_read, rows_created,
  rows_updated, rows_unchanged, rows_rejected, rows_superseded, rows_merged, reject_reasons, commit_seq,
  coalesce(finished_at, clock_timestamp())
FROM pim.import_jobs WHERE committed;
ALTER TABLE pim.import_jobs FORCE ROW LEVEL SECURITY;
SELECT pim.secure_tenant_table('pim.import_attempts');

-- Drops whole months of the change log that ended more than `keep` ago, and such rows of the default partition;
-- with `only_tell` it names them. Never the last month, whoever asks.
CREATE FUNCTION pim.drop_old_changes(keep interval, only_tell boolean DEFAULT false)
RETURNS TABLE (relation text, bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE
  until timestamptz := now() - greatest(keep, interval '31 days');
  part record;
BEGIN
  FOR part IN
    SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS size
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'pim.product_changes'::regclass AND c.relname ~ '^product_changes_[0-9]{6}$'
      AND (to_date(right(c.relname::text, 6), 'YYYYMM') + interval '1 month')::timestamp AT TIME ZONE 'UTC' <= until
    ORDER BY 1
  LOOP
    IF NOT only_tell THEN
      EXECUTE format('DROP TABLE pim.%I', part.name);
    END IF;
    relation := part.name;
    bytes := part.size;
    RETURN NEXT;
  END LOOP;
  IF NOT only_tell THEN
    DELETE FROM pim.product_changes_other WHERE changed_at < until;
  END IF;
END $$;
REVOKE ALL ON FUNCTION pim.drop_old_changes(interval, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pim.drop_old_changes(interval, boolean) TO pim_app;
