-- Sources that are fetched by URL. Runs as pim_owner.

ALTER TABLE pim.sources
  -- {"format": "csv", "changes": {"delimiter": ";"}}: what a person said of this source's files and confirmed.
  ADD COLUMN dialect jsonb;

ALTER TABLE pim.import_jobs
  -- What a person said of the file's dialect; `dialect` is all of it, as recognised.
  ADD COLUMN given_dialect jsonb,
  DROP CONSTRAINT ck_import_jobs_origin,
  ADD CONSTRAINT ck_import_jobs_origin CHECK (origin IN ('cli', 'api', 'ui', 'inbox', 'feed'));

-- Where a source's file is fetched, when, and what became of it last.
CREATE TABLE pim.feeds (
  tenant_id uuid NOT NULL,
  source_id uuid NOT NULL,
  url text NOT NULL,
  -- At most one of both; neither: only when somebody asks for it.
  interval_seconds integer CONSTRAINT ck_feeds_interval CHECK (interval_seconds BETWEEN 60 AND 31622400),
  cron text,
  auth_kind text CONSTRAINT ck_feeds_auth_kind CHECK (auth_kind IN ('basic', 'bearer')),
  -- Encrypted; the key is not in the database.
  credentials text,
  -- Null: not by itself.
  due_at timestamptz,
  lease_at timestamptz,
  lease_owner text,
  failures integer NOT NULL DEFAULT 0,
  fetched_at timestamptz,
  outcome text CONSTRAINT ck_feeds_outcome CHECK (outcome IN ('landed', 'not_modified', 'skipped', 'failed')),
  http_status integer,
  error_code text,
  error text,
  job_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_feeds PRIMARY KEY (tenant_id, source_id),
  CONSTRAINT fk_feeds_tenant_id_source_id FOREIGN KEY (tenant_id, source_id)
    REFERENCES pim.sources (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_feeds_tenant_id_job_id FOREIGN KEY (tenant_id, job_id) REFERENCES pim.import_jobs (tenant_id, id),
  CONSTRAINT ck_feeds_one_rhythm CHECK (interval_seconds IS NULL OR cron IS NULL),
  CONSTRAINT ck_feeds_credentials CHECK ((auth_kind IS NULL) = (credentials IS NULL))
);
CREATE INDEX ix_feeds_due_at ON pim.feeds (due_at) WHERE due_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.feeds TO pim_app;
SELECT pim.secure_tenant_table('pim.feeds');

-- What a server said of a file that was fetched from a URL for a source, and the import it became.
CREATE TABLE pim.fetched_files (
  tenant_id uuid NOT NULL,
  source_id uuid NOT NULL,
  url_sha256 text NOT NULL CONSTRAINT ck_fetched_files_url_sha256 CHECK (url_sha256 ~ '^[0-9a-f]{64}$'),
  etag text,
  last_modified text,
  job_id uuid NOT NULL,
  fetched_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_fetched_files PRIMARY KEY (tenant_id, source_id, url_sha256),
  CONSTRAINT fk_fetched_files_tenant_id_source_id FOREIGN KEY (tenant_id, source_id)
    REFERENCES pim.sources (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_fetched_files_tenant_id_job_id FOREIGN KEY (tenant_id, job_id)
    REFERENCES pim.import_jobs (tenant_id, id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.fetched_files TO pim_app;
SELECT pim.secure_tenant_table('pim.fetched_files');

-- Hosts that a tenant's files may be fetched from: `feeds.example.com`, `*.example.com`.
CREATE TABLE pim.fetch_hosts (
  tenant_id uuid NOT NULL CONSTRAINT fk_fetch_hosts_tenant_id REFERENCES pim.tenants (id),
  host text NOT NULL CONSTRAINT ck_fetch_hosts_host CHECK (host ~ '^(\*\.)?[a-z0-9_.:-]{1,253}$'),
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_fetch_hosts PRIMARY KEY (tenant_id, host)
);
GRANT SELECT, INSERT, DELETE ON pim.fetch_hosts TO pim_app;
SELECT pim.secure_tenant_table('pim.fetch_hosts');

-- Feeds that are due and nobody is fetching: for the sensor, which stands above tenants. Neither URL nor credentials.
CREATE POLICY definer_reads ON pim.feeds FOR SELECT TO pim_definer USING (true);
CREATE POLICY definer_reads ON pim.sources FOR SELECT TO pim_definer USING (true);
GRANT SELECT (tenant_id, source_id, due_at, lease_at) ON pim.feeds TO pim_definer;
GRANT SELECT (tenant_id, id, slug) ON pim.sources TO pim_definer;

CREATE FUNCTION pim.feeds_due(stale interval)
RETURNS TABLE (tenant_slug text, source_id uuid, source_slug text, due_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT t.slug, s.id, s.slug, f.due_at
  FROM pim.feeds f
  JOIN pim.tenants t ON t.id = f.tenant_id AND t.active
  JOIN pim.sources s ON s.tenant_id = f.tenant_id AND s.id = f.source_id
  WHERE f.due_at <= clock_timestamp() AND (f.lease_at IS NULL OR f.lease_at < clock_timestamp() - stale)
  ORDER BY f.due_at
$$;
REVOKE ALL ON FUNCTION pim.feeds_due(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pim.feeds_due(interval) TO pim_app;
ALTER FUNCTION pim.feeds_due(interval) OWNER TO pim_definer;
