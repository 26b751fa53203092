"""Real product files with hand-made labels, what the catalogue made of them, and tenants with products of a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.imports import ACTOR


def labelled(catalogues: Path, name: str) -> tuple[bytes, dict[str, Any]]:
    """A real catalogue file and its labels."""
    manifest = json.loads((catalogues / "MANIFEST.json").read_text("utf-8"))
    labels = next(entry for entry in manifest["files"] if entry["id"] == name)
    return (catalogues / name).read_bytes(), labels


def products(workspace: Workspace, tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """The tenant's products in PostgreSQL by key; numbers as Decimal."""
    with tenant_session(workspace.app, tenant_id) as session:
        rows = session.execute(
            text("SELECT *, data::text AS raw FROM pim.products WHERE tenant_id = :t"), {"t": tenant_id}
        ).mappings()
        return {row["sku_key"]: dict(row) | {"data": json.loads(row["raw"], parse_float=Decimal)} for row in rows}


def stocked(workspace: Workspace, documents: Sequence[dict[str, Any]]) -> TenantInfo:
    """A new tenant that has these products; its name is its own, so that a whole module may keep it."""
    made = create_tenant(
        workspace.app, "s" + uuid4().hex[:12], currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    bulk_upsert(workspace, made.id, documents, actor=ACTOR)
    return made
