-- Products of all tenants as other systems read them (seed 000, design D10).
CREATE DATABASE IF NOT EXISTS segmentation;

CREATE TABLE IF NOT EXISTS segmentation.product_versions
(
  tenant_id LowCardinality(String),
  sku_key String,
  sku String,
  name String,
  data String,
  updated_at DateTime64(6, 'UTC'),
  product_id UUID,
  active Bool,
  kind LowCardinality(String),
  source LowCardinality(String),
  created_at DateTime64(6, 'UTC'),
  version UInt64,
  is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (tenant_id, sku_key);

-- FINAL stands inside: an outer FINAL on a view is accepted and does nothing.
CREATE OR REPLACE VIEW segmentation.products AS
SELECT tenant_id, sku, name, data, updated_at FROM segmentation.product_versions FINAL;

CREATE DATABASE IF NOT EXISTS models;
