"""Quotas: what a tenant may have is checked wherever rows, files and imports come in."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from pim_platform.cli import tenant as tenant_cli
from pim_platform.cli.quota import quota
from pim_platform.errors import InvalidRequest, QuotaExceeded
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.confirming import confirm_by_policy, confirm_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.quotas import Quotas, quota_report, set_quotas
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, land_bytes, run_job


@pytest.fixture
def tenant(make_tenant: Callable[..., TenantInfo]) -> TenantInfo:
    return make_tenant()


def upsert(workspace: Workspace, tenant: TenantInfo, *skus: str) -> dict[str, int]:
    records = [{"sku": sku, "name": sku} for sku in skus]
    return bulk_upsert(workspace, tenant.id, records, actor=ACTOR).ledger


def confirmed(workspace: Workspace, tenant: TenantInfo, content: bytes) -> UUID:
    job_id = land_bytes(workspace, tenant.id, content)
    propose_job(workspace, tenant.id, job_id)
    confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
    return job_id


def report(workspace: Workspace, tenant: TenantInfo) -> dict[str, dict[str, int | None]]:
    with tenant_session(workspace.app, tenant.id) as session:
        return quota_report(session)


def test_a_bulk_upsert_stops_at_the_quota_as_a_whole(workspace: Workspace, tenant: TenantInfo) -> None:
    set_quotas(workspace.app, tenant.id, Quotas(products=3), actor=ACTOR)
    upsert(workspace, tenant, "A", "B")
    with pytest.raises(QuotaExceeded, match=r"3 products; it has 2, and 2 more") as caught:
        upsert(workspace, tenant, "C", "D")
    assert caught.value.place["limit"] == 3
    assert caught.value.http_status == 403
    assert report(workspace, tenant)["products"] == {"limit": 3, "used": 2}
    assert upsert(workspace, tenant, "A", "C")["created"] == 1, "to the last place"
    assert upsert(workspace, tenant, "A", "B", "C")["rejected"] == 0, "what is there may always be written"


def test_an_import_that_would_exceed_it_fails_with_the_reason(workspace: Workspace, tenant: TenantInfo) -> None:
    set_quotas(workspace.app, tenant.id, Quotas(products=1), actor=ACTOR)
    job_id = confirmed(workspace, tenant, b"SKU,Name\nA,a\nB,b\n")
    with pytest.raises(QuotaExceeded):
        run_job(workspace, tenant.id, job_id)
    with tenant_session(workspace.app, tenant.id) as session:
        job = get_job(session, job_id)
        assert (job.state, job.reason_code) == ("failed", "quota_exceeded")
        assert "1 products" in str(job.reason)
    assert report(workspace, tenant)["products"]["used"] == 0


def test_files_stop_at_the_quota_and_the_same_bytes_cost_nothing(workspace: Workspace, tenant: TenantInfo) -> None:
    first, second = b"SKU,Name\nA,a\n", b"SKU,Name\nB,bbbb\n"
    set_quotas(workspace.app, tenant.id, Quotas(storage_bytes=len(first) + 5), actor=ACTOR)
    land_bytes(workspace, tenant.id, first)
    with pytest.raises(QuotaExceeded):
        land_bytes(workspace, tenant.id, second)
    land_bytes(workspace, tenant.id, first)
    assert report(workspace, tenant)["storage_bytes"] == {"limit": len(first) + 5, "used": len(first)}
    assert len(list(workspace.objects.list(f"tenants/{tenant.id}/uploads/"))) == 1, "nothing is stored of the refused"


def test_imports_at_once_stop_at_the_quota_and_go_on_after(workspace: Workspace, tenant: TenantInfo) -> None:
    set_quotas(workspace.app, tenant.id, Quotas(concurrent_jobs=1), actor=ACTOR)
    first = confirmed(workspace, tenant, b"SKU,Name\nA,a\n")
    with pytest.raises(QuotaExceeded, match="1 jobs at once"):
        confirmed(workspace, tenant, b"SKU,Name\nB,b\n")
    run_job(workspace, tenant.id, first)
    confirmed(workspace, tenant, b"SKU,Name\nC,c\n")
    assert report(workspace, tenant)["concurrent_jobs"] == {"limit": 1, "used": 1}


def test_a_policy_that_meets_the_quota_leaves_the_import_waiting(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant(policy="all_sure")
    set_quotas(workspace.app, tenant.id, Quotas(concurrent_jobs=0), actor=ACTOR)
    job_id = land_bytes(workspace, tenant.id, b"SKU,Name\nA,a\n")
    propose_job(workspace, tenant.id, job_id)
    assert not confirm_by_policy(workspace, tenant.id, job_id)
    with tenant_session(workspace.app, tenant.id) as session:
        job = get_job(session, job_id)
        assert (job.state, job.reason_code) == ("mapping", "quota_exceeded")


def test_two_at_once_cannot_both_take_the_last_place(workspace: Workspace, tenant: TenantInfo) -> None:
    set_quotas(workspace.app, tenant.id, Quotas(concurrent_jobs=2), actor=ACTOR)
    jobs = [land_bytes(workspace, tenant.id, f"SKU,Name\nA,{n}\n".encode()) for n in range(6)]
    for job_id in jobs:
        propose_job(workspace, tenant.id, job_id)

    def confirm(job_id: UUID) -> bool:
        try:
            confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(confirm, jobs)) == 2


def test_one_tenants_quota_is_nobody_elses(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> None:
    full, other = make_tenant(), make_tenant()
    set_quotas(workspace.app, full.id, Quotas(products=0, storage_bytes=0, concurrent_jobs=0), actor=ACTOR)
    assert upsert(workspace, other, "A")["created"] == 1
    confirmed(workspace, other, b"SKU,Name\nA,a\n")
    assert report(workspace, full) == {
        "products": {"limit": 0, "used": 0},
        "storage_bytes": {"limit": 0, "used": 0},
        "concurrent_jobs": {"limit": 0, "used": 0},
    }


@pytest.mark.parametrize("wrong", [Quotas(products=-1), Quotas(storage_bytes=2**63), Quotas(concurrent_jobs=2**31)])
def test_what_is_no_quota_is_refused(workspace: Workspace, tenant: TenantInfo, wrong: Quotas) -> None:
    with pytest.raises(InvalidRequest):
        set_quotas(workspace.app, tenant.id, wrong, actor=ACTOR)


def test_the_command_sets_shows_and_lifts(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_cli, "get_settings", lambda: workspace.settings)

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(quota, [tenant.slug, *arguments])
        assert done.exit_code == 0, done.output
        return json.loads(done.output) if "--json" in arguments else done.output

    shown = run("--products", "10", "--storage", "2GB", "--json")
    assert shown["products"] == {"limit": 10, "used": 0}
    assert shown["storage_bytes"]["limit"] == 2 * 1024**3
    assert shown["concurrent_jobs"]["limit"] is None
    shown = run("--products", "none", "--jobs", "4", "--json")
    assert (shown["products"]["limit"], shown["storage_bytes"]["limit"]) == (None, 2 * 1024**3)
    assert "concurrent_jobs" in run()
    assert CliRunner().invoke(quota, [tenant.slug, "--jobs", "4GB"]).exit_code == 2
    with tenant_session(workspace.app, tenant.id) as session:
        audited = session.scalar(text("SELECT count(*) FROM pim.audit_logs WHERE action = 'tenant.quota_changed'"))
    assert audited == 2
