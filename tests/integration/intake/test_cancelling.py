"""Cancelling at every stage: before a run, in each of its steps, inside a statement that takes for ever; not after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from pim_platform.catalog.models import Product
from pim_platform.errors import Conflict, JobCancelled
from pim_platform.intake import running
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.lease import Lease
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, confirmed_job, job_of, run_job
from tests.support.stacks import wait_for

MakeTenant = Callable[..., TenantInfo]


def products(workspace: Workspace, tenant_id: UUID) -> int:
    with tenant_session(workspace.app, tenant_id) as session:
        query = select(func.count()).select_from(Product).where(Product.tenant_id == tenant_id)
        return int(session.scalar(query) or 0)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("stage", ["staging", "waiting for the catalogue", "loading", "comparing", "writing"])
def test_a_job_cancelled_at_a_stage_writes_nothing(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch, stage: str, dry_run: bool
) -> None:
    if dry_run and stage == "writing":
        stage = "describing the changes"
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id, dry_run=dry_run)
    tell = Lease.tell

    def cancel_there(self: Lease, name: str, done: int, total: int | None = None) -> None:
        if name == stage and not job_of(workspace, tenant.id, job_id).cancel_requested:
            cancel_job(workspace, tenant.id, job_id, ACTOR)
        tell(self, name, done, total)

    monkeypatch.setattr(Lease, "tell", cancel_there)
    with pytest.raises(JobCancelled):
        run_job(workspace, tenant.id, job_id)

    job = job_of(workspace, tenant.id, job_id)
    assert (job.state, job.reason_code, job.committed) == ("cancelled", "cancelled", False)
    assert products(workspace, tenant.id) == 0


def test_a_statement_that_takes_for_ever_is_interrupted_and_shows_meanwhile_that_it_lives(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    began = threading.Event()

    def slow(session: Any, *_arguments: Any, **_options: Any) -> None:
        began.set()
        driver_connection(session).execute("SELECT pg_sleep(3600)")

    def seconds() -> float:
        return float(job_of(workspace, tenant.id, job_id).progress.get("seconds", 0.0))

    def watch() -> None:
        began.wait()
        seen.append(seconds())
        wait_for(lambda: seconds() > seen[0], "the time in the stage to go on")
        seen.append(seconds())
        cancel_job(workspace, tenant.id, job_id, ACTOR)

    seen: list[float] = []
    monkeypatch.setattr(running, "merge", slow)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with pytest.raises(JobCancelled):
            run_job(workspace, tenant.id, job_id)
    finally:
        thread.join()
    assert seen[1] > seen[0]
    assert job_of(workspace, tenant.id, job_id).state == "cancelled"


def test_after_the_merge_it_is_too_late(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    tell = Lease.tell
    refused: list[str] = []

    def cancel_there(self: Lease, name: str, done: int, total: int | None = None) -> None:
        if name in ("publishing", "refreshing typed relations"):
            with pytest.raises(Conflict) as caught:
                cancel_job(workspace, tenant.id, job_id, ACTOR)
            refused.append(caught.value.code)
        tell(self, name, done, total)

    monkeypatch.setattr(Lease, "tell", cancel_there)
    assert run_job(workspace, tenant.id, job_id).state == "done"
    assert set(refused) == {"already_merged"}
    assert products(workspace, tenant.id) == 2
