-- Figures of webhooks for monitoring; limits of keys that can be changed. Runs as pim_owner.

-- An operator's command changes it (`pim key limit`); the API does not.
GRANT UPDATE (rate_limit) ON pim.api_keys TO pim_app;

-- Deliveries of all tenants that wait, and for how many seconds the oldest that is due has: numbers only, for /metrics.
CREATE FUNCTION pim.waiting_deliveries() RETURNS TABLE (deliveries bigint, oldest_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT count(*), greatest(coalesce(max(extract(epoch FROM clock_timestamp() - d.due_at)), 0), 0)::double precision
  FROM pim.webhook_deliveries d WHERE d.state = 'pending'
$$;
REVOKE ALL ON FUNCTION pim.waiting_deliveries() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pim.waiting_deliveries() TO pim_app;
ALTER FUNCTION pim.waiting_deliveries() OWNER TO pim_definer;
