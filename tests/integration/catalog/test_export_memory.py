"""The memory of an export does not grow with the catalogue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog.schema import SchemaField
from pim_platform.catalog.schemas import current_schema, save_schema
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.stacks import environment

SMALL, LARGE = 50_000, 300_000
#: What six times the products may take beyond the fewer ones; as CSV they have 150 MB more.
GROWTH_MB = 60

#: Exports in a process of its own and tells the most memory that it had.
CHILD = """
import json, resource, sys
from pim_platform.catalog.exporting import ExportRequest, open_export
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import get_settings
from pim_platform.tenancy.tenants import find_tenant
workspace = Workspace(get_settings())
tenant = find_tenant(workspace.app, sys.argv[1])
size = sum(len(piece) for piece in open_export(workspace, tenant, ExportRequest(sys.argv[2])))
print(json.dumps({"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "size": size}))
"""


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_memory_does_not_grow_with_the_products(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo], form: str
) -> None:
    few, many = (_exported(workspace, make_tenant(), form, rows) for rows in (SMALL, LARGE))
    assert many["size"] > 3 * few["size"] or form == "parquet"
    assert many["mb"] - few["mb"] < GROWTH_MB, (few, many)


def _exported(workspace: Workspace, tenant: TenantInfo, form: str, rows: int) -> dict[str, float]:
    _fill(workspace, tenant.id, rows)
    env = {**os.environ, **environment(workspace.settings)}
    command = [sys.executable, "-c", CHILD, tenant.slug, form]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _fill(workspace: Workspace, tenant_id: UUID, rows: int) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        wanted = current_schema(session).with_fields([SchemaField(name="note"), SchemaField(name="n", type="number")])
        save_schema(session, wanted, Actor("test"))
        session.execute(
            text(
                "INSERT INTO pim.products (tenant_id, sku, sku_key, name, data, source, commit_seq) "
                "SELECT :t, n::text, n::text, 'Product ' || n, "
                "jsonb_build_object('note', repeat(md5(n::text), 16), 'n', n), 'api', 1 FROM generate_series(1, :n) n"
            ),
            {"t": tenant_id, "n": rows},
        )
