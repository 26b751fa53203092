"""Publishing right after a write that is committed, as far as ClickHouse is there (design D10)."""

from __future__ import annotations

from uuid import UUID

from pim_platform.catalog.publisher import publish
from pim_platform.catalog.typed_relations import refresh_typed_relations
from pim_platform.errors import EngineUnavailable
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.tenants import get_tenant


def publish_now(workspace: Workspace, tenant_id: UUID) -> bool:
    """Publish what is committed and refresh the typed relations; returns whether ClickHouse has it.

    Where it does not answer, the publisher's sensor sends it once ClickHouse is back.
    """
    try:
        publish(workspace.app, workspace.clickhouse, tenant_id)
        tenant = get_tenant(workspace.app, tenant_id)
        refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    except EngineUnavailable:
        return False
    return True
