-- Cells that an import repaired, by kind, beside its reject reasons. Runs as pim_owner.

ALTER TABLE pim.import_jobs ADD COLUMN repairs jsonb NOT NULL DEFAULT '{}';
ALTER TABLE pim.import_attempts ADD COLUMN repairs jsonb NOT NULL DEFAULT '{}';
