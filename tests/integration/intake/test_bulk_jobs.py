"""Bulk deletes as runs of Dagster: launched like imports, and taken up again by the next attempt."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.definitions import build_defs
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.bulk_jobs import confirm_bulk, preview_delete, preview_edit
from pim_platform.intake.lease import claim
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from resources import WorkspaceResource
from sensors.imports import run_config, run_tags
from tests.support.imports import ACTOR, job_of

_WORKSPACES: list[Workspace] = []


class _Stores(WorkspaceResource):
    """The engines of the test session, in the place of those that settings name."""

    def workspace(self) -> Workspace:
        return _WORKSPACES[-1]


@pytest.fixture(autouse=True)
def _stores(workspace: Workspace) -> None:
    _WORKSPACES[:] = [workspace]


def run(tenant: TenantInfo, job: ImportJob, attempt: int) -> bool:
    """Execute the run that the sensor would request; returns whether it succeeded."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("tenants", [tenant.slug])
        made = build_defs({"stores": _Stores()}).resolve_job_def("import_products")
        result = made.execute_in_process(
            partition_key=tenant.slug,
            instance=instance,
            tags=run_tags(str(job.id), tenant.slug, attempt),
            run_config=run_config(str(job.id)),
            raise_on_error=False,
        )
        return bool(result.success)


def confirmed(workspace: Workspace, tenant: TenantInfo) -> ImportJob:
    records = [{"sku": f"S-{n}", "name": f"Product {n}", "color": ["red", "blue"][n % 2]} for n in range(10)]
    assert bulk_upsert(workspace, tenant.id, records, actor=ACTOR).ledger["created"] == 10
    shown = preview_delete(workspace, tenant.id, {"filter": {"color": "red"}}, actor=ACTOR)
    assert shown.products == 5
    return confirm_bulk(workspace, tenant.id, "delete", shown.confirmation.token, actor=ACTOR)


def test_a_confirmed_delete_is_a_run_like_an_imports(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant()
    job = confirmed(workspace, tenant)
    assert run(tenant, job, 1)
    job = job_of(workspace, tenant.id, job.id)
    assert (job.state, job.rows_removed, job.attempt) == ("done", 5, 1)
    found = compare_engines(workspace.app, workspace.clickhouse, tenant.id)
    assert found.equal
    assert found.postgres_rows == 5


def test_a_delete_whose_run_died_goes_on_in_the_next_run(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant()
    job = confirmed(workspace, tenant)
    claim(workspace, tenant.id, job.id)
    with tenant_session(workspace.app, tenant.id) as session:  # its process is gone
        session.get_one(ImportJob, (tenant.id, job.id)).lease_owner = None
    assert run(tenant, job, 2)
    assert job_of(workspace, tenant.id, job.id).rows_removed == 5


@pytest.mark.full
def test_a_run_that_finds_the_catalogue_moved_deletes_nothing(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant()
    job = confirmed(workspace, tenant)
    bulk_upsert(workspace, tenant.id, [{"sku": "S-0", "color": "green"}], actor=ACTOR)
    assert not run(tenant, job, 1)
    job = job_of(workspace, tenant.id, job.id)
    assert (job.state, job.reason_code) == ("failed", "catalogue_moved")
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).postgres_rows == 10


@pytest.mark.full
def test_an_edit_that_is_left_to_a_run_does_what_was_shown(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant()
    confirmed(workspace, tenant)
    operations = [{"op": "set", "field": "color", "value": "grey"}]
    shown = preview_edit(workspace, tenant.id, {"all": True}, operations, actor=ACTOR)
    job = confirm_bulk(workspace, tenant.id, "edit", shown.confirmation.token, actor=ACTOR)
    assert job.state == "staging"
    with tenant_session(workspace.app, tenant.id) as session:  # the process that had claimed it is gone
        session.get_one(ImportJob, (tenant.id, job.id)).lease_owner = None
    assert run(tenant, job, 2)
    job = job_of(workspace, tenant.id, job.id)
    assert (job.state, job.rows_updated, job.attempt) == ("done", 10, 2)
