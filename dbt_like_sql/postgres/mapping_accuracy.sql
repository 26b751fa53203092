-- name: mapping_accuracy
-- description: How often people agreed with proposed columns, by source, tier and band of confidence. Confirmations by policies and unseen ones are no evidence.
-- engine: postgres
-- cadence: hourly
-- depends on: pim.mapping_feedback, pim.sources
-- key: tenant_id, source, tier, band
-- columns:
--   tenant_id uuid: the tenant
--   source text: slug of the source
--   tier text: where proposals came from: template, learned, alias, match, claude or none
--   band text: lower end of the band of confidence: 0.00, 0.50, 0.70, 0.80, 0.90 or 0.95
--   columns bigint: columns that people decided about
--   correct bigint: of these, proposed as they were confirmed
--   precision double precision: correct / columns, 0 to 1
--   auto bigint: columns that were said to need no look
--   auto_correct bigint: of these, proposed as they were confirmed

SELECT
  feedback.tenant_id,
  source.slug AS source,
  feedback.tier,
  (ARRAY['0.00', '0.50', '0.70', '0.80', '0.90', '0.95'])[
    width_bucket(feedback.confidence, ARRAY[0.0, 0.5, 0.7, 0.8, 0.9, 0.95]::double precision[])] AS band,
  count(*) AS columns,
  count(*) FILTER (WHERE feedback.correct) AS correct,
  count(*) FILTER (WHERE feedback.correct)::double precision / count(*) AS precision,
  count(*) FILTER (WHERE feedback.auto) AS auto,
  count(*) FILTER (WHERE feedback.auto AND feedback.correct) AS auto_correct
FROM pim.mapping_feedback AS feedback
JOIN pim.sources AS source ON source.tenant_id = feedback.tenant_id AND source.id = feedback.source_id
WHERE feedback.evidence = 'person'
GROUP BY 1, 2, 3, 4
