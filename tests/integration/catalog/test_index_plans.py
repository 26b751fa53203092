"""Reads of the core use their indexes as the role that the application is, on the tenant's partition alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from pim_platform.catalog.products import find_product, get_product, list_products
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import create_tenant
from tests.support.imports import import_bytes

ROWS = 3_000


@dataclass(frozen=True)
class Plan:
    """What EXPLAIN says of one statement."""

    nodes: list[dict[str, Any]]

    @property
    def scans(self) -> list[dict[str, Any]]:
        return [node for node in self.nodes if "Scan" in node["Node Type"] and node["Node Type"] != "Result"]


def _flat(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _flat(child)


def plan_of(session: Session, call: Callable[[Session], Any]) -> Plan:
    """The plan of the one SELECT on products that ``call`` sends, explained in the same transaction."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM pim.products" in statement:
            sent.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    call(session)
    event.remove(connection, "before_cursor_execute", note)
    assert len(sent) == 1, sent
    statement, parameters = sent[0]
    row = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    return Plan(list(_flat((row if isinstance(row, list) else json.loads(row))[0]["Plan"])))


@pytest.fixture(scope="module")
def tenant_id(workspace: Workspace) -> UUID:
    """A tenant with thousands of products beside another in the same table, and fresh statistics."""
    ids = []
    for _ in range(2):
        tenant = create_tenant(
            workspace.app, "t" + uuid4().hex[:12], currency="EUR", locale="en-US", timezone="UTC", actor=Actor("test")
        )
        body = "SKU,Name\n" + "".join(f"SKU-{n:05d},Product {n}\n" for n in range(ROWS))
        import_bytes(workspace, tenant.id, body.encode())
        ids.append(tenant.id)
    import psycopg

    from pim_platform.storage.endpoints import Endpoints

    with psycopg.connect(Endpoints.of(workspace.settings).admin_url, autocommit=True) as admin:
        admin.execute("ANALYZE pim.products")
    return ids[0]


def check(plan: Plan) -> None:
    """One scan, of an index, on one partition; row level security costs nothing beside it."""
    on_products = [node for node in plan.scans if str(node.get("Relation Name", "")).startswith("products")]
    ran = [node for node in on_products if node.get("Actual Loops", 1)]
    assert len(ran) == 1, on_products
    assert len({node["Relation Name"] for node in on_products}) == 1, "other partitions are pruned"
    assert ran[0]["Relation Name"] != "products"
    assert ran[0]["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"), ran[0]["Node Type"]
    assert not [node for node in plan.nodes if node["Node Type"] in ("Seq Scan", "Sort")]


def test_the_role_is_the_applications(workspace: Workspace, tenant_id: UUID) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        row = session.execute(
            text("SELECT current_user, row_security_active('pim.products'), count(*) FROM pim.products")
        ).one()
    assert tuple(row) == ("pim_app", True, ROWS)


def test_a_product_by_id(workspace: Workspace, tenant_id: UUID) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        product = find_product(session, "SKU-01234")
        assert product is not None
        found = plan_of(session, lambda s: get_product(s, product.id))
    check(found)
    assert found.scans[0]["Actual Rows"] == 1


def test_a_product_by_sku(workspace: Workspace, tenant_id: UUID) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        found = plan_of(session, lambda s: find_product(s, "sku-01234"))
    check(found)
    scan = next(node for node in found.scans if str(node.get("Relation Name", "")).startswith("products"))
    assert "sku_key" in str(scan.get("Index Cond", "") or scan.get("Recheck Cond", ""))


def test_the_first_page_and_a_page_in_the_middle_read_only_what_they_show(
    workspace: Workspace, tenant_id: UUID
) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        cursor = list_products(session, limit=1000).next_cursor
        assert cursor is not None
        first = plan_of(session, lambda s: list_products(s, limit=50))
        middle = plan_of(session, lambda s: list_products(s, cursor=cursor, limit=50))
    for found in (first, middle):
        check(found)
        scan = next(node for node in found.scans if str(node.get("Relation Name", "")).startswith("products"))
        assert scan["Actual Rows"] == 51, "no row before the page is read"
        assert scan.get("Rows Removed by Filter", 0) == 0
