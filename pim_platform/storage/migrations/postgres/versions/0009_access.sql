-- Logins, invitations, scopes of keys. Runs as pim_owner, inside one transaction.

-- --- keys --------------------------------------------------------------------------------------

ALTER TABLE pim.api_keys
  -- Null: everything that the role may.
  ADD COLUMN scopes text[] CONSTRAINT ck_api_keys_scopes CHECK (cardinality(scopes) > 0),
  ADD COLUMN created_by text;

-- A key is revoked, never changed or deleted: the audit trail names it for ever.
REVOKE UPDATE, DELETE ON pim.api_keys FROM pim_app;
GRANT UPDATE (last_used_at, revoked_at) ON pim.api_keys TO pim_app;

DROP FUNCTION pim.find_api_key(bytea);
CREATE FUNCTION pim.find_api_key(wanted bytea)
RETURNS TABLE (tenant_id uuid, slug text, key_id uuid, role text, scopes text[], expires_at timestamptz,
               revoked_at timestamptz, tenant_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT k.tenant_id, t.slug, k.id, k.role, k.scopes, k.expires_at, k.revoked_at, t.active
  FROM pim.api_keys k JOIN pim.tenants t ON t.id = k.tenant_id WHERE k.key_hash = wanted
$$;

-- --- people ------------------------------------------------------------------------------------

CREATE INDEX ix_memberships_user_id ON pim.memberships (user_id);

-- Nobody but the functions below reads a password's hash.
REVOKE SELECT ON pim.users FROM pim_app;
GRANT SELECT (id, email, name, active, created_at) ON pim.users TO pim_app;
REVOKE UPDATE ON pim.memberships FROM pim_app;
GRANT UPDATE (role) ON pim.memberships TO pim_app;

CREATE TABLE pim.invitations (
  tenant_id uuid NOT NULL CONSTRAINT fk_invitations_tenant_id REFERENCES pim.tenants (id),
  id uuid NOT NULL DEFAULT uuidv7(),
  email text NOT NULL,
  role text NOT NULL CONSTRAINT ck_invitations_role CHECK (role IN ('admin', 'editor', 'reviewer', 'viewer')),
  token_hash bytea NOT NULL CONSTRAINT uq_invitations_token_hash UNIQUE,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  accepted_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT pk_invitations PRIMARY KEY (tenant_id, id)
);
-- A later invitation of the same person replaces the earlier one.
CREATE UNIQUE INDEX uq_invitations_open ON pim.invitations (tenant_id, email)
  WHERE accepted_at IS NULL AND revoked_at IS NULL;
SELECT pim.secure_tenant_table('pim.invitations');
GRANT SELECT, INSERT, UPDATE (accepted_at, revoked_at) ON pim.invitations TO pim_app;

-- --- logins ------------------------------------------------------------------------------------

-- A login is a person's, not a tenant's (D22): one session reaches every tenant that the person belongs to. Nothing
-- had been written into the table of this name; it bound a login to one tenant.
DROP TABLE pim.refresh_tokens;

CREATE TABLE pim.login_sessions (
  id uuid NOT NULL DEFAULT uuidv7() CONSTRAINT pk_login_sessions PRIMARY KEY,
  user_id uuid NOT NULL CONSTRAINT fk_login_sessions_user_id REFERENCES pim.users (id),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  end_reason text CONSTRAINT ck_login_sessions_end_reason
    CHECK (end_reason IN ('logout', 'refresh_reused', 'password_changed', 'joined_tenant', 'operator')),
  ip inet,
  user_agent text
);
CREATE INDEX ix_login_sessions_user_id ON pim.login_sessions (user_id);

-- A token is used once; one that comes twice was stolen, from the person or from the thief, and ends its session.
CREATE TABLE pim.refresh_tokens (
  token_hash bytea NOT NULL CONSTRAINT pk_refresh_tokens PRIMARY KEY,
  session_id uuid NOT NULL CONSTRAINT fk_refresh_tokens_session_id REFERENCES pim.login_sessions (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used_at timestamptz
);
CREATE INDEX ix_refresh_tokens_session_id ON pim.refresh_tokens (session_id);

CREATE TABLE pim.password_links (
  token_hash bytea NOT NULL CONSTRAINT pk_password_links PRIMARY KEY,
  user_id uuid NOT NULL CONSTRAINT fk_password_links_user_id REFERENCES pim.users (id),
  -- Null: an operator of the installation made it.
  made_by_tenant uuid CONSTRAINT fk_password_links_made_by_tenant REFERENCES pim.tenants (id),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX ix_password_links_user_id ON pim.password_links (user_id);

-- Guesses at passwords by what they have in common; a bucket is a digest, never an address.
CREATE TABLE pim.login_throttles (
  bucket bytea NOT NULL CONSTRAINT pk_login_throttles PRIMARY KEY,
  failures integer NOT NULL DEFAULT 0,
  failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  blocked_until timestamptz,
  -- A login succeeded here: somebody's guesses from elsewhere do not block this person at this address.
  known boolean NOT NULL DEFAULT false,
  forget_at timestamptz NOT NULL
);
CREATE INDEX ix_login_throttles_forget_at ON pim.login_throttles (forget_at);

-- None of these belongs to a tenant, so nobody but pim_definer's functions reaches them.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['login_sessions', 'refresh_tokens', 'password_links', 'login_throttles'] LOOP
    EXECUTE format('ALTER TABLE pim.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE pim.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY definer_only ON pim.%I TO pim_definer USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON pim.%I TO pim_definer', t);
  END LOOP;
END $$;
CREATE POLICY definer_sets_passwords ON pim.users FOR UPDATE TO pim_definer USING (true);
GRANT UPDATE (password_hash) ON pim.users TO pim_definer;
CREATE POLICY definer_reads ON pim.invitations FOR SELECT TO pim_definer USING (true);
GRANT SELECT ON pim.invitations TO pim_definer;

DROP FUNCTION pim.find_login(text);
CREATE FUNCTION pim.find_account(wanted text)
RETURNS TABLE (user_id uuid, email text, name text, password_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT u.id, u.email, u.name, u.password_hash FROM pim.users u WHERE u.email = wanted AND u.active
$$;

CREATE FUNCTION pim.memberships_of(wanted uuid)
RETURNS TABLE (tenant_id uuid, slug text, name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT t.id, t.slug, t.name, m.role
  FROM pim.memberships m JOIN pim.tenants t ON t.id = m.tenant_id
  WHERE m.user_id = wanted AND t.active ORDER BY t.slug
$$;

-- Whose session that is, and where the person may go: one row per tenant, one without a tenant where there is none.
CREATE FUNCTION pim.find_session(wanted uuid)
RETURNS TABLE (user_id uuid, email text, user_name text, tenant_id uuid, slug text, tenant_name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT u.id, u.email, u.name, t.id, t.slug, t.name, t.role
  FROM pim.login_sessions s JOIN pim.users u ON u.id = s.user_id
  LEFT JOIN LATERAL (
    SELECT t.id, t.slug, t.name, m.role
    FROM pim.memberships m JOIN pim.tenants t ON t.id = m.tenant_id
    WHERE m.user_id = u.id AND t.active) t ON true
  WHERE s.id = wanted AND s.ended_at IS NULL AND s.expires_at > clock_timestamp() AND u.active
  ORDER BY t.slug
$$;

-- No row where the password is no longer the one that was looked at: a link may have changed it meanwhile, and has
-- ended every login that there was.
CREATE FUNCTION pim.start_session(account uuid, known_hash text, refresh_hash bytea, lifetime interval, address inet,
                                  agent text)
RETURNS TABLE (session_id uuid, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM pim.users u WHERE u.id = account AND u.active AND u.password_hash = known_hash FOR SHARE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  DELETE FROM pim.login_sessions s
  WHERE s.user_id = account AND s.expires_at < clock_timestamp() - interval '30 days';
  INSERT INTO pim.login_sessions AS s (user_id, expires_at, ip, user_agent)
  VALUES (account, clock_timestamp() + lifetime, address, agent)
  RETURNING s.id, s.expires_at INTO session_id, expires_at;
  INSERT INTO pim.refresh_tokens (token_hash, session_id) VALUES (refresh_hash, start_session.session_id);
  RETURN NEXT;
END $$;

-- 'rotated', 'reused' (the session has just ended for that) or 'unknown'.
CREATE FUNCTION pim.rotate_refresh_token(old_hash bytea, new_hash bytea)
RETURNS TABLE (outcome text, user_id uuid, session_id uuid, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
#variable_conflict use_column
DECLARE found record;
BEGIN
  SELECT r.used_at, s.id, s.user_id, s.expires_at, s.ended_at, u.active INTO found
  FROM pim.refresh_tokens r JOIN pim.login_sessions s ON s.id = r.session_id JOIN pim.users u ON u.id = s.user_id
  WHERE r.token_hash = old_hash FOR UPDATE OF r, s;
  outcome := 'unknown';
  IF found.id IS NOT NULL AND found.ended_at IS NULL AND found.expires_at > clock_timestamp() AND found.active THEN
    user_id := found.user_id;
    session_id := found.id;
    expires_at := found.expires_at;
    IF found.used_at IS NOT NULL THEN
      UPDATE pim.login_sessions s SET ended_at = clock_timestamp(), end_reason = 'refresh_reused' WHERE s.id = found.id;
      outcome := 'reused';
    ELSE
      UPDATE pim.refresh_tokens r SET used_at = clock_timestamp() WHERE r.token_hash = old_hash;
      INSERT INTO pim.refresh_tokens (token_hash, session_id) VALUES (new_hash, found.id);
      outcome := 'rotated';
    END IF;
  END IF;
  RETURN NEXT;
END $$;

-- Ends the session that a refresh token belongs to, or all of its person; returns whose it was, null for none.
CREATE FUNCTION pim.end_session(refresh_hash bytea, everywhere boolean) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE found record;
BEGIN
  SELECT s.id, s.user_id INTO found
  FROM pim.refresh_tokens r JOIN pim.login_sessions s ON s.id = r.session_id
  WHERE r.token_hash = refresh_hash AND s.expires_at > clock_timestamp() AND (everywhere OR s.ended_at IS NULL);
  UPDATE pim.login_sessions s SET ended_at = clock_timestamp(), end_reason = 'logout'
  WHERE s.ended_at IS NULL AND (s.id = found.id OR (everywhere AND s.user_id = found.user_id));
  RETURN found.user_id;
END $$;

CREATE FUNCTION pim.end_sessions(account uuid, reason text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE ended integer;
BEGIN
  UPDATE pim.login_sessions s SET ended_at = clock_timestamp(), end_reason = reason
  WHERE s.user_id = account AND s.ended_at IS NULL;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;

-- Whoever knows the present hash may replace it; holds the account until the transaction ends.
CREATE FUNCTION pim.replace_password(account uuid, old_hash text, new_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
BEGIN
  UPDATE pim.users u SET password_hash = new_hash
  WHERE u.id = account AND u.active AND u.password_hash = old_hash;
  RETURN FOUND;
END $$;

-- Whether a tenant alone may decide about this person's password: else an admin of one tenant could become that
-- person in another.
CREATE FUNCTION pim.belongs_only_to(account uuid, tenant uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT count(*) = 1 AND bool_and(m.tenant_id = tenant) FROM pim.memberships m WHERE m.user_id = account
$$;

CREATE FUNCTION pim.make_password_link(account uuid, tenant uuid, hash bytea, lifetime interval, maker text)
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE until timestamptz := clock_timestamp() + lifetime;
BEGIN
  PERFORM FROM pim.users u WHERE u.id = account AND u.active FOR UPDATE;
  IF NOT FOUND OR (tenant IS NOT NULL AND NOT pim.belongs_only_to(account, tenant)) THEN
    RETURN NULL;
  END IF;
  DELETE FROM pim.password_links l WHERE l.user_id = account AND (l.used_at IS NULL OR l.expires_at < clock_timestamp());
  INSERT INTO pim.password_links (token_hash, user_id, made_by_tenant, created_by, expires_at)
  VALUES (hash, account, tenant, maker, until);
  RETURN until;
END $$;

CREATE FUNCTION pim.find_password_link(hash bytea)
RETURNS TABLE (user_id uuid, email text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT u.id, u.email, u.name FROM pim.password_links l JOIN pim.users u ON u.id = l.user_id
  WHERE l.token_hash = hash AND l.used_at IS NULL AND l.expires_at > clock_timestamp() AND u.active
    AND (l.made_by_tenant IS NULL OR pim.belongs_only_to(u.id, l.made_by_tenant))
$$;

-- Sets the password and ends every session; false where the link holds no more.
CREATE FUNCTION pim.use_password_link(hash bytea, new_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
DECLARE account uuid;
BEGIN
  -- First the account: who joins another tenant holds it, and only what is read afterwards knows of that.
  PERFORM FROM pim.users u
  WHERE u.id = (SELECT l.user_id FROM pim.password_links l WHERE l.token_hash = hash) FOR UPDATE;
  SELECT f.user_id INTO account FROM pim.find_password_link(hash) f;
  IF account IS NULL THEN
    RETURN false;
  END IF;
  UPDATE pim.password_links l SET used_at = clock_timestamp() WHERE l.token_hash = hash;
  UPDATE pim.users u SET password_hash = new_hash WHERE u.id = account;
  PERFORM pim.end_sessions(account, 'password_changed');
  RETURN true;
END $$;

CREATE FUNCTION pim.find_invitation(hash bytea)
RETURNS TABLE (tenant_id uuid, slug text, tenant_name text, invitation_id uuid, email text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pim, pg_temp AS $$
  SELECT t.id, t.slug, t.name, i.id, i.email, i.role
  FROM pim.invitations i JOIN pim.tenants t ON t.id = i.tenant_id
  WHERE i.token_hash = hash AND i.accepted_at IS NULL AND i.revoked_at IS NULL
    AND i.expires_at > clock_timestamp() AND t.active
$$;

-- Counts a guess before the password is looked at, so that guesses at once all count. Returns the seconds to wait
-- where it is too early for another (then nothing is counted), else 0, and how many guesses in a row that makes.
-- After `free` guesses each makes the next wait twice as long, up to `longest`; after a day without, all is forgotten.
CREATE FUNCTION pim.count_login(account bytea, address bytea, pair bytea, account_free integer, address_free integer,
                                account_longest interval, address_longest interval)
RETURNS TABLE (wait_seconds double precision, guesses integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
#variable_conflict use_column
DECLARE
  moment timestamptz := clock_timestamp();
  buckets bytea[] := ARRAY[account, address];
  one bytea;
  free integer;
  longest interval;
  counted integer;
BEGIN
  IF EXISTS (SELECT FROM pim.login_throttles t WHERE t.bucket = pair AND t.known AND t.forget_at > moment) THEN
    buckets := ARRAY[pair];
  END IF;
  -- Always in one order, so that two guesses never wait for each other.
  FOR one IN SELECT b FROM unnest(buckets) b ORDER BY b LOOP
    INSERT INTO pim.login_throttles AS t (bucket, forget_at) VALUES (one, moment + interval '1 day')
    ON CONFLICT (bucket) DO UPDATE SET
      failures = CASE WHEN t.failed_at < moment - interval '1 day' THEN 0 ELSE t.failures END;
  END LOOP;
  moment := clock_timestamp();  -- the rows may have been waited for
  SELECT greatest(0, extract(epoch FROM max(t.blocked_until) - moment)) INTO wait_seconds
  FROM pim.login_throttles t WHERE t.bucket = ANY (buckets);
  wait_seconds := coalesce(wait_seconds, 0);
  guesses := 0;
  IF wait_seconds = 0 THEN
    FOR one IN SELECT b FROM unnest(buckets) b ORDER BY b LOOP
      free := CASE WHEN one = address THEN address_free ELSE account_free END;
      longest := CASE WHEN one = address THEN address_longest ELSE account_longest END;
      UPDATE pim.login_throttles t SET
        failures = t.failures + 1,
        failed_at = moment,
        forget_at = greatest(t.forget_at, moment + interval '1 day'),
        blocked_until = CASE WHEN t.failures + 1 > free
          THEN moment + least(interval '1 second' * power(2, least(t.failures + 1 - free, 20)), longest) END
      WHERE t.bucket = one RETURNING t.failures INTO counted;
      IF one <> address THEN
        guesses := counted;
      END IF;
    END LOOP;
  END IF;
  -- Last, because nothing is waited for after it.
  DELETE FROM pim.login_throttles t WHERE t.bucket IN (
    SELECT old.bucket FROM pim.login_throttles old WHERE old.forget_at < moment LIMIT 20 FOR UPDATE SKIP LOCKED);
  RETURN NEXT;
END $$;

-- The guess was right: it counts no more, and the person is known at this address for 90 days.
CREATE FUNCTION pim.forgive_login(account bytea, address bytea, pair bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pim, pg_temp AS $$
#variable_conflict use_column
DECLARE
  was_known boolean := EXISTS (
    SELECT FROM pim.login_throttles t WHERE t.bucket = pair AND t.known AND t.forget_at > clock_timestamp());
BEGIN
  -- In the order of count_login.
  PERFORM FROM pim.login_throttles t WHERE t.bucket IN (account, address, pair) ORDER BY t.bucket FOR UPDATE;
  IF NOT was_known THEN
    -- Another's guesses from this address stay counted.
    UPDATE pim.login_throttles t SET failures = greatest(t.failures - 1, 0), blocked_until = NULL
    WHERE t.bucket = address;
    UPDATE pim.login_throttles t SET failures = 0, blocked_until = NULL WHERE t.bucket = account;
  END IF;
  INSERT INTO pim.login_throttles (bucket, known, forget_at)
  VALUES (pair, true, clock_timestamp() + interval '90 days')
  ON CONFLICT (bucket) DO UPDATE SET failures = 0, blocked_until = NULL, known = true, forget_at = excluded.forget_at;
END $$;

DO $$
DECLARE f regprocedure;
BEGIN
  FOREACH f IN ARRAY ARRAY[
    'pim.find_api_key(bytea)', 'pim.find_account(text)', 'pim.memberships_of(uuid)', 'pim.find_session(uuid)',
    'pim.start_session(uuid, text, bytea, interval, inet, text)', 'pim.rotate_refresh_token(bytea, bytea)',
    'pim.end_session(bytea, boolean)', 'pim.end_sessions(uuid, text)', 'pim.replace_password(uuid, text, text)',
    'pim.belongs_only_to(uuid, uuid)', 'pim.make_password_link(uuid, uuid, bytea, interval, text)',
    'pim.find_password_link(bytea)', 'pim.use_password_link(bytea, text)', 'pim.find_invitation(bytea)',
    'pim.count_login(bytea, bytea, bytea, integer, integer, interval, interval)',
    'pim.forgive_login(bytea, bytea, bytea)']::regprocedure[] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pim_app', f);
    EXECUTE format('ALTER FUNCTION %s OWNER TO pim_definer', f);
  END LOOP;
END $$;
