"""Products that were deleted when an image was JSON in the log can still be told of and brought back."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from alembic import command
from sqlalchemy import text

from pim_platform.catalog.deleting import Author
from pim_platform.catalog.history import product_history
from pim_platform.catalog.undo import preview_undo, undo_commits
from pim_platform.intake.collecting import collect
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.migrate import migrate
from pim_platform.storage.postgres import dispose_engines, tenant_session
from tests.support.stacks import throwaway_settings

TENANT = """
WITH t AS (INSERT INTO pim.tenants (slug, name, default_currency, default_locale, timezone)
           VALUES ('old', 'Old', 'EUR', 'en-US', 'UTC') RETURNING id)
INSERT INTO pim.catalog_state (tenant_id, commit_seq) SELECT id, 2 FROM t RETURNING tenant_id
"""
PRODUCT = """
INSERT INTO pim.products (tenant_id, sku, sku_key, name, active, kind, variant_group, parent_id, data, source,
                          source_id, job_id, attempt, source_row, ai_readability_score, commit_seq, created_seq,
                          created_at)
SELECT %s, sku, lower(sku), 'Shirt', false, 'variant', 'V-0', uuidv7(), data::jsonb, 'csv', uuidv7(), job, 3, 17, 0.7,
       1, 1, '2026-01-02 03:04:05.678901+00'
FROM (VALUES ('A-1', '{"price": {"amount": 1.50, "currency": "EUR"}, "sizes": ["S", "M"]}', uuidv7()),
             ('B-2', '{}', NULL)) v (sku, data, job)
RETURNING to_jsonb(products) - 'row_hash'
"""
#: As it was written before.
DELETE = """
WITH gone AS (DELETE FROM pim.products WHERE tenant_id = %s RETURNING *)
INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version, actor, source,
                                 old, new)
SELECT tenant_id, 2, id, now(), 'delete', sku_key, version + 1, 'somebody', 'cli', to_jsonb(gone)
       - '{tenant_id,id,sku_key,version,commit_seq,updated_at,row_hash}'::text[], '{}'
FROM gone
"""


def test_a_product_deleted_before_is_told_of_kept_and_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    with throwaway_settings() as settings, engines(settings, migrate=False):
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _head: upgrade(config, "0015"))
            migrate(settings)
        with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as admin:
            found = admin.execute(TENANT).fetchone()
            assert found is not None
            tenant_id: UUID = found[0]
            products = [row[0] for row in admin.execute(PRODUCT, (tenant_id,)).fetchall()]
            admin.execute(DELETE, (tenant_id,))

        migrate(settings)

        workspace = Workspace(settings)
        with tenant_session(workspace.app, tenant_id) as session:
            shirt = next(product for product in products if product["sku"] == "A-1")
            deleted, created = product_history(session, UUID(shirt["id"])).entries
            assert (deleted.sku, deleted.name, deleted.action) == ("A-1", "Shirt", "delete")
            assert {name: old for name, (old, _) in deleted.changes.items()} == {
                "name": "Shirt",
                "active": False,
                "kind": "variant",
                "variant_group": "V-0",
                "parent_id": shirt["parent_id"],
                **shirt["data"],
            }
            assert (created.action, created.commit_seq, created.at.year) == ("create", 1, 2026)
            shown = preview_undo(session, [2]).items
            assert [(item.sku, item.name, item.outcome) for item in shown] == [
                ("A-1", "Shirt", "recreate"),
                ("B-2", "Shirt", "recreate"),
            ]
            assert undo_commits(session, [2], Author("cli", "somebody")).counts.recreated == 2
        with tenant_session(workspace.app, tenant_id) as session:
            query = text("SELECT to_jsonb(p) - 'row_hash' FROM pim.products p WHERE tenant_id = :tenant ORDER BY sku")
            back = session.scalars(query, {"tenant": tenant_id}).all()
        assert [_whole(product) for product in back] == [_whole(product) for product in products]
        assert [product["version"] for product in back] == [3, 3]
        collect(workspace, dry_run=True)
        dispose_engines()


def _whole(product: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in product.items() if name not in ("version", "commit_seq", "updated_at")}
