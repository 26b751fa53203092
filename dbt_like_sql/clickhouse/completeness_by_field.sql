-- name: completeness_by_field
-- description: How many of a tenant's products have a value in each field. A field that no product ever had has no row.
-- engine: clickhouse
-- cadence: hourly
-- depends on: segmentation.products
-- key: tenant_id, field
-- columns:
--   tenant_id String: the tenant
--   field String: name, or a field of the tenant's schema
--   filled UInt64: products with a value; null, empty text, empty lists and empty objects are none
--   products UInt64: all products of the tenant
--   share Float64: filled / products, 0 to 1

WITH
  totals AS
  (
    SELECT tenant_id, count() AS products, countIf(name != '') AS named
    FROM segmentation.products
    GROUP BY tenant_id
  ),
  cells AS
  (
    SELECT tenant_id, arrayJoin(JSONExtractKeysAndValuesRaw(data)) AS cell
    FROM segmentation.products
  ),
  fields AS
  (
    SELECT tenant_id, cell.1 AS field, countIf(cell.2 NOT IN ('null', '""', '[]', '{}')) AS filled
    FROM cells
    GROUP BY tenant_id, field
    UNION ALL
    SELECT tenant_id, 'name' AS field, named AS filled
    FROM totals
  )
SELECT
  fields.tenant_id AS tenant_id,
  fields.field AS field,
  fields.filled AS filled,
  totals.products AS products,
  fields.filled / totals.products AS share
FROM fields
INNER JOIN totals ON totals.tenant_id = fields.tenant_id
