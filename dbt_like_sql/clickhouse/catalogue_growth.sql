-- name: catalogue_growth
-- description: Products by the day they were created, and how many there were by the end of that day. Counts products that exist today; those removed since are in no day.
-- engine: clickhouse
-- cadence: hourly
-- depends on: segmentation.product_versions
-- key: tenant_id, day
-- columns:
--   tenant_id String: the tenant
--   day Date: day of creation, UTC; days without new products have no row
--   created UInt64: products created on that day
--   products UInt64: products created until the end of that day

SELECT
  tenant_id,
  day,
  created,
  sum(created) OVER (PARTITION BY tenant_id ORDER BY day) AS products
FROM
(
  SELECT tenant_id, toDate(created_at, 'UTC') AS day, count() AS created
  FROM segmentation.product_versions FINAL
  GROUP BY tenant_id, day
)
