-- Records that belong together: which rows of a file make one product, and products of one group. Runs as pim_owner.

ALTER TABLE pim.import_jobs
  ADD COLUMN suggested_groupings jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN groupings jsonb NOT NULL DEFAULT '[]';

ALTER TABLE pim.mapping_templates ADD COLUMN groupings jsonb NOT NULL DEFAULT '[]';

-- Serves the variants of a group. Partial: products without a group cost nothing (D12).
CREATE INDEX ix_products_variant_group ON pim.products (tenant_id, variant_group) WHERE variant_group IS NOT NULL;
