"""Feedback of before said neither who stood behind it nor what the header meant: it is kept and teaches nothing."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from alembic import command

from pim_platform.intake.feedback import mapping_accuracy
from pim_platform.intake.models import MappingFeedback
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.migrate import migrate
from pim_platform.storage.postgres import dispose_engines, tenant_session
from tests.support.stacks import throwaway_settings

FEEDBACK = """
WITH t AS (INSERT INTO pim.tenants (slug, name, default_currency, default_locale, timezone)
           VALUES ('old', 'Old', 'EUR', 'en-US', 'UTC') RETURNING id),
s AS (INSERT INTO pim.sources (tenant_id, slug, name) SELECT id, 'cli', 'cli' FROM t RETURNING tenant_id, id)
INSERT INTO pim.mapping_feedback (tenant_id, source_id, job_id, column_name, proposed_field, confirmed_field,
  confidence, auto, correct)
SELECT tenant_id, id, uuidv7(), ' Preis ', 'price', 'cost', 0.98, true, false FROM s
RETURNING tenant_id
"""


def test_feedback_of_before_is_kept_and_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    with throwaway_settings() as settings, engines(settings, migrate=False):
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _head: upgrade(config, "0004"))
            migrate(settings)
        with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as admin:
            row = admin.execute(FEEDBACK).fetchone()
        assert row is not None
        tenant_id: UUID = row[0]

        migrate(settings)

        with tenant_session(Workspace(settings).app, tenant_id) as session:
            (kept,) = session.query(MappingFeedback).all()
            assert (kept.header_key, kept.evidence, kept.confirmed_field) == ("preis", "unseen", "cost")
            assert mapping_accuracy(session) == []
        dispose_engines()
