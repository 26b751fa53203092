-- name: reject_reasons
-- description: Why records were rejected, by tenant, source and day.
-- engine: postgres
-- cadence: hourly
-- depends on: pim.import_jobs, pim.sources
-- key: tenant_id, source, day, error_code
-- columns:
--   tenant_id uuid: the tenant
--   source text: slug of the source
--   day date: day the import finished, UTC
--   error_code text: code of the error, as in the rejects file
--   rejects bigint: rejected records
--   jobs bigint: imports with at least one of them

SELECT
  job.tenant_id,
  source.slug AS source,
  (job.finished_at AT TIME ZONE 'UTC')::date AS day,
  reason.code AS error_code,
  sum(reason.rejects::bigint)::bigint AS rejects,
  count(*) AS jobs
FROM pim.import_jobs AS job
JOIN pim.sources AS source ON source.tenant_id = job.tenant_id AND source.id = job.source_id
CROSS JOIN LATERAL jsonb_each_text(job.reject_reasons) AS reason (code, rejects)
WHERE job.finished_at IS NOT NULL
GROUP BY 1, 2, 3, 4
