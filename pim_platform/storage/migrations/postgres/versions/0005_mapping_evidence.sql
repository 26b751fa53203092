-- What people decided about columns, what Claude answered, and what asking it cost. Runs as pim_owner.

-- --- feedback ----------------------------------------------------------------------------------

ALTER TABLE pim.mapping_feedback
  ADD COLUMN column_index integer,
  -- The header as pim_platform.intake.mapping.header_key writes it.
  ADD COLUMN header_key text NOT NULL DEFAULT '',
  ADD COLUMN profile_digest text,
  ADD COLUMN tier text NOT NULL DEFAULT 'none' CONSTRAINT ck_mapping_feedback_tier
    CHECK (tier IN ('template', 'learned', 'alias', 'match', 'claude', 'none')),
  ADD COLUMN proposed_target text,
  ADD COLUMN confirmed_target text,
  -- The column as it was confirmed, with all its rules.
  ADD COLUMN confirmed jsonb,
  ADD COLUMN actor text,
  -- Only what a person looked at says whether a proposal was right.
  ADD COLUMN evidence text NOT NULL DEFAULT 'unseen' CONSTRAINT ck_mapping_feedback_evidence
    CHECK (evidence IN ('person', 'policy', 'unseen'));

-- Rows of before: forced row level security binds the owner too, so it is lifted for this statement.
ALTER TABLE pim.mapping_feedback NO FORCE ROW LEVEL SECURITY;
UPDATE pim.mapping_feedback SET header_key = lower(btrim(normalize(column_name, NFKC)));
ALTER TABLE pim.mapping_feedback FORCE ROW LEVEL SECURITY;

CREATE INDEX ix_mapping_feedback_tenant_id_header_key ON pim.mapping_feedback (tenant_id, header_key);

-- The SQL model of its accuracy is built as pim_ddl and names the tenant itself (D14).
CREATE POLICY ddl_reads ON pim.mapping_feedback FOR SELECT TO pim_ddl USING (true);
GRANT SELECT ON pim.mapping_feedback TO pim_ddl;

ALTER TABLE pim.import_jobs
  -- What a person should know about the proposal, such as why Claude was not asked.
  ADD COLUMN notices jsonb NOT NULL DEFAULT '[]',
  -- One digest per column: what its cells looked like when it was proposed.
  ADD COLUMN profile_digests jsonb;

-- --- Claude --------------------------------------------------------------------------------------

-- Null: as PIM_ANTHROPIC_DAILY_BUDGET_USD says. Zero: Claude is never asked for this tenant.
ALTER TABLE pim.tenants ADD COLUMN claude_daily_budget_usd numeric(10, 4)
  CONSTRAINT ck_tenants_claude_daily_budget_usd CHECK (claude_daily_budget_usd >= 0);

-- Answers by what was asked: the same question of one tenant is asked once. Nobody sees another tenant's answers.
CREATE TABLE pim.mapping_answers (
  tenant_id uuid NOT NULL CONSTRAINT fk_mapping_answers_tenant_id REFERENCES pim.tenants (id),
  question_digest text NOT NULL,
  model text NOT NULL,
  prompt text NOT NULL,
  answer jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT pk_mapping_answers PRIMARY KEY (tenant_id, question_digest)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON pim.mapping_answers TO pim_app;

-- One row per call of somebody else's API, written before the call at its highest possible cost and corrected after
-- it: a call whose process died stays in the budget. Costs have eight digits, because a call may cost 0.0002 USD.
CREATE TABLE pim.api_usage_log (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT uuidv7(),
  api_provider text NOT NULL,
  endpoint text NOT NULL,
  request_count integer NOT NULL DEFAULT 1,
  tokens_input integer,
  tokens_output integer,
  estimated_cost numeric(14, 8),
  http_status integer,
  response_time_ms integer,
  job_id text,
  product_id uuid,
  shop_id uuid,
  error_message text,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT pk_api_usage_log PRIMARY KEY (tenant_id, created_at, id)
) PARTITION BY RANGE (created_at);
CREATE INDEX ix_api_usage_log_errors ON pim.api_usage_log (tenant_id, api_provider, created_at) WHERE http_status >= 400;
GRANT SELECT, INSERT, UPDATE ON pim.api_usage_log TO pim_app;

CREATE OR REPLACE FUNCTION pim.ensure_month_partitions(ahead integer DEFAULT 2) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE
  parent text;
  first date;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['product_changes', 'audit_logs', 'api_usage_log'] LOOP
    FOR step IN 0..ahead LOOP
      first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step))::date;
      IF to_regclass(format('pim.%I', parent || to_char(first, '_YYYYMM'))) IS NULL THEN
        EXECUTE format('CREATE TABLE pim.%I PARTITION OF pim.%I FOR VALUES FROM (%L) TO (%L)',
          parent || to_char(first, '_YYYYMM'), parent,
          first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;
CREATE TABLE pim.api_usage_log_other PARTITION OF pim.api_usage_log DEFAULT;
SELECT pim.ensure_month_partitions();

SELECT pim.secure_tenant_table('pim.mapping_answers');
SELECT pim.secure_tenant_table('pim.api_usage_log');

-- As the one who asks: the policies of the table hold for the view too.
CREATE VIEW pim.v_api_daily_costs WITH (security_invoker = true, security_barrier = true) AS
SELECT
  tenant_id,
  (created_at AT TIME ZONE 'UTC')::date AS date,
  api_provider,
  sum(request_count) AS total_requests,
  sum(tokens_input) AS total_input_tokens,
  sum(tokens_output) AS total_output_tokens,
  sum(estimated_cost) AS total_cost,
  count(*) FILTER (WHERE http_status >= 400) AS error_count,
  avg(response_time_ms) AS avg_response_time_ms
FROM pim.api_usage_log
GROUP BY 1, 2, 3;
GRANT SELECT ON pim.v_api_daily_costs TO pim_app;
