"""Comparing both engines with a file, row by row, by way of what the file itself says."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.clickhouse import quote_identifier
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo

Rows = dict[str, tuple[str, str]]


def postgres_rows(workspace: Workspace, tenant_id: UUID, field: str) -> Rows:
    """``{sku: (name, data[field] as text)}`` of a tenant in PostgreSQL."""
    with tenant_session(workspace.app, tenant_id) as session:
        query = text("SELECT sku, name, data ->> :field FROM pim.products WHERE tenant_id = :tenant")
        return {row[0]: (row[1], row[2]) for row in session.execute(query, {"field": field, "tenant": tenant_id})}


def clickhouse_rows(workspace: Workspace, tenant_id: UUID, field: str) -> Rows:
    """The same from ``segmentation.products``."""
    found = workspace.clickhouse.query(
        "SELECT sku, name, JSONExtractString(data, {field:String}) FROM segmentation.products "
        "WHERE tenant_id = {tenant:String}",
        parameters={"field": field, "tenant": str(tenant_id)},
    )
    return {row[0]: (row[1], row[2]) for row in found.result_rows}


def typed_clickhouse_rows(workspace: Workspace, tenant: TenantInfo, field: str) -> Rows:
    """The same from the tenant's typed relation."""
    relation = f"{quote_identifier(tenant.relation)}.products"
    found = workspace.clickhouse.query(f"SELECT sku, name, {quote_identifier(field)} FROM {relation}")
    return {row[0]: (row[1], row[2]) for row in found.result_rows}


def assert_engines_hold(workspace: Workspace, tenant: TenantInfo, expected: Rows, field: str) -> None:
    """Fail unless PostgreSQL, ClickHouse and the typed relation all hold exactly ``expected``."""
    assert postgres_rows(workspace, tenant.id, field) == expected
    assert clickhouse_rows(workspace, tenant.id, field) == expected
    assert typed_clickhouse_rows(workspace, tenant, field) == expected
