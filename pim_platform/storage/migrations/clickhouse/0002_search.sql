-- What products can be filtered by beside their fields.
ALTER TABLE segmentation.product_versions
  ADD COLUMN IF NOT EXISTS parent_id Nullable(UUID),
  ADD COLUMN IF NOT EXISTS variant_group Nullable(String),
  ADD COLUMN IF NOT EXISTS job_id Nullable(UUID),
  ADD COLUMN IF NOT EXISTS source_id Nullable(UUID);

-- Loading a typed relation asks for the newest versions of a tenant; each part of the table holds a short range.
ALTER TABLE segmentation.product_versions ADD INDEX IF NOT EXISTS versions version TYPE minmax GRANULARITY 1;
