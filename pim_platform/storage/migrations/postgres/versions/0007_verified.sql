-- How far both engines were seen to agree, so that an import compares what came after. Runs as pim_owner.

ALTER TABLE pim.catalog_state ADD COLUMN verified_seq bigint NOT NULL DEFAULT -1;
