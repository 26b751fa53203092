"""Rows that are certainly unchanged are found by hashing, also in a catalogue without statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from pim_platform.catalog import merge as merging
from pim_platform.catalog.unchanged import find_unchanged
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import import_bytes

ROWS = 2_000
FEED = b"SKU,Name\n" + b"".join(b"N-%d,Number %d\n" % (n, n) for n in range(ROWS))


class Explained:
    """A connection that notes the plan of the comparison before it runs."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *parameters: Any) -> Any:
        statement = query if isinstance(query, str) else query.as_string(self._connection)
        if "FROM incoming_keys" in statement:
            lines = self._connection.execute("EXPLAIN " + statement, *parameters).fetchall()
            self.plan = "\n".join(line[0] for line in lines)
        return self._connection.execute(query, *parameters)


def test_a_refresh_of_a_new_catalogue_does_not_compare_each_row_with_each_product(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand rows once took half a minute: no statistics, so the planner joined them in a nested loop."""
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FEED)
    made: list[Explained] = []

    def explained(connection: Any, *given: Any) -> Any:
        made.append(Explained(connection))
        return find_unchanged(made[0], *given)

    monkeypatch.setattr(merging, "find_unchanged", explained)
    assert import_bytes(workspace, tenant.id, FEED).rows_unchanged == ROWS
    assert "Join" in made[0].plan
    assert "Nested Loop" not in made[0].plan
    with tenant_session(workspace.app, tenant.id) as session:
        assert session.scalar(text("SHOW enable_nestloop")) == "on", "what is set for one statement ends with it"
