-- Rate limits, idempotent requests, quotas. Runs as pim_owner.

-- --- rate limits -------------------------------------------------------------------------------

-- Requests per window; null: as the installation says, 0: no limit.
ALTER TABLE pim.api_keys ADD COLUMN rate_limit integer
  CONSTRAINT ck_api_keys_rate_limit CHECK (rate_limit >= 0);

-- One row per caller or address that came lately. Unlogged: a crash of the server forgives everybody.
CREATE UNLOGGED TABLE pim.rate_buckets (
  bucket text COLLATE "C" CONSTRAINT pk_rate_buckets PRIMARY KEY,
  used integer NOT NULL,
  ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.rate_buckets TO pim_definer;

-- Counts one request and says what is left: one statement, so API processes share limits in one round trip.
-- A window begins with its first request. What is refused is not counted and writes nothing. `quota` 0: no limit.
CREATE FUNCTION pim.take_request(
  wanted text, default_quota integer, seconds integer, key_tenant uuid DEFAULT NULL, key_id uuid DEFAULT NULL)
RETURNS TABLE (admitted boolean, quota integer, remaining integer, resets_in double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
#variable_conflict use_column
DECLARE
  moment timestamptz := clock_timestamp();
  own integer;
  taken integer;
  until timestamptz;
  allowed integer := default_quota;
BEGIN
  IF key_id IS NOT NULL THEN
    SELECT k.rate_limit INTO own FROM pim.api_keys k WHERE k.tenant_id = key_tenant AND k.id = key_id;
    allowed := coalesce(own, default_quota);
  END IF;
  IF allowed = 0 THEN
    RETURN QUERY SELECT true, 0, 0, 0::double precision;
    RETURN;
  END IF;
  INSERT INTO pim.rate_buckets AS b (bucket, used, ends_at) VALUES (wanted, 1, moment + make_interval(secs => seconds))
  ON CONFLICT (bucket) DO UPDATE SET
    used = CASE WHEN b.ends_at <= moment THEN 1 ELSE b.used + 1 END,
    ends_at = CASE WHEN b.ends_at <= moment THEN excluded.ends_at ELSE b.ends_at END
  WHERE b.ends_at <= moment OR b.used < allowed
  RETURNING b.used, b.ends_at INTO taken, until;
  IF FOUND THEN
    RETURN QUERY SELECT true, allowed, greatest(allowed - taken, 0), extract(epoch FROM until - moment)::double precision;
  ELSE
    RETURN QUERY SELECT false, allowed, 0, greatest(extract(epoch FROM b.ends_at - moment), 0)::double precision
      FROM pim.rate_buckets b WHERE b.bucket = wanted;
  END IF;
END $$;

-- Forgets callers whose window has ended; returns how many.
CREATE FUNCTION pim.forget_requests() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  WITH gone AS (DELETE FROM pim.rate_buckets WHERE ends_at < clock_timestamp() RETURNING 1) SELECT count(*) FROM gone
$$;

-- --- idempotent requests -----------------------------------------------------------------------

-- A request under an Idempotency-Key, from its claim to its answer. `effect_at` is set in the very transaction
-- that changes something, so that a server that dies before it answers leaves no doubt whether it did.
CREATE TABLE pim.idempotency_keys (
  tenant_id uuid NOT NULL CONSTRAINT fk_idempotency_keys_tenant_id REFERENCES pim.tenants (id),
  caller text NOT NULL,
  key text COLLATE "C" NOT NULL,
  fingerprint bytea NOT NULL,
  attempt integer NOT NULL DEFAULT 1,
  owner text NOT NULL,
  request_id text,
  claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  effect_at timestamptz,
  answered_at timestamptz,
  status smallint,
  headers jsonb,
  body bytea,
  CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, caller, key)
);
CREATE INDEX ix_idempotency_keys_tenant_id_claimed_at ON pim.idempotency_keys (tenant_id, claimed_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.idempotency_keys TO pim_app;
SELECT pim.secure_tenant_table('pim.idempotency_keys');

-- --- quotas ------------------------------------------------------------------------------------

-- Null: unlimited.
ALTER TABLE pim.tenants
  ADD COLUMN max_products bigint CONSTRAINT ck_tenants_max_products CHECK (max_products >= 0),
  ADD COLUMN max_storage_bytes bigint CONSTRAINT ck_tenants_max_storage_bytes CHECK (max_storage_bytes >= 0),
  ADD COLUMN max_concurrent_jobs integer CONSTRAINT ck_tenants_max_concurrent_jobs CHECK (max_concurrent_jobs >= 0);

-- --- what monitoring asks ----------------------------------------------------------------------

CREATE INDEX ix_import_jobs_state ON pim.import_jobs (state);

-- Jobs of all tenants by state: numbers only, for /metrics.
CREATE FUNCTION pim.job_states() RETURNS TABLE (state text, jobs bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT j.state, count(*) FROM pim.import_jobs j GROUP BY j.state
$$;

-- Of jobs that wait for a run: how long the oldest has, in seconds.
CREATE FUNCTION pim.oldest_due_seconds() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT coalesce(max(extract(epoch FROM clock_timestamp() - j.confirmed_at)), 0)::double precision
  FROM pim.import_jobs j WHERE j.state = 'confirmed'
$$;

DO $$
DECLARE f regprocedure;
BEGIN
  FOREACH f IN ARRAY ARRAY['pim.take_request(text, integer, integer, uuid, uuid)', 'pim.forget_requests()',
                           'pim.job_states()', 'pim.oldest_due_seconds()']::regprocedure[] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pim_app', f);
    EXECUTE format('ALTER FUNCTION %s OWNER TO pim_definer', f);
  END LOOP;
END $$;
