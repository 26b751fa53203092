"""Imports from before merges had rows of their own keep their ledger: the migration writes it for them."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from alembic import command

from pim_platform.intake.jobs import get_job
from pim_platform.intake.manifests import merged_attempts
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.migrate import migrate
from pim_platform.storage.postgres import dispose_engines, tenant_session
from tests.support.stacks import throwaway_settings

JOBS = """
WITH t AS (INSERT INTO pim.tenants (slug, name, default_currency, default_locale, timezone)
           VALUES ('old', 'Old', 'EUR', 'en-US', 'UTC') RETURNING id),
s AS (INSERT INTO pim.sources (tenant_id, slug, name) SELECT id, 'cli', 'cli' FROM t RETURNING tenant_id, id),
u AS (INSERT INTO pim.uploads (tenant_id, sha256, size_bytes, object_key)
      SELECT id, repeat('0', 64), 1, 'k' FROM t RETURNING tenant_id, id)
INSERT INTO pim.import_jobs (tenant_id, source_id, upload_id, filename, format, origin, actor, state, attempt, dry_run,
  staged_attempt, rows_read, rows_created, rows_updated, rows_unchanged, rows_rejected, rows_superseded, rows_merged,
  commit_seq)
SELECT s.tenant_id, s.id, u.id, 'old.csv', 'csv', 'cli', 'test', CASE WHEN dry THEN 'staged' ELSE 'done' END, 2, dry,
  2, 9, 4, 2, 1, 1, 1, 0, CASE WHEN dry THEN NULL ELSE 1 END
FROM s, u, unnest(ARRAY[false, true]) dry
RETURNING tenant_id, id, dry_run
"""


def test_merges_of_before_get_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    with throwaway_settings() as settings, engines(settings, migrate=False):
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _head: upgrade(config, "0002"))
            migrate(settings)
        with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as admin:
            rows: list[tuple[UUID, UUID, bool]] = admin.execute(JOBS).fetchall()

        migrate(settings)

        workspace = Workspace(settings)
        for tenant_id, job_id, dry_run in rows:
            with tenant_session(workspace.app, tenant_id) as session:
                job = get_job(session, job_id)
            found = [(one.attempt, one.kind, one.ledger()) for one in merged_attempts(workspace, job)]
            assert job.merged is not dry_run
            assert found == ([] if dry_run else [(2, "import", job.ledger())])
        dispose_engines()
