"""Who may work on a job, when another may take it over, and what a run that lost it can no longer do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text

from pim_platform.catalog.products import list_products
from pim_platform.errors import Conflict, EngineUnavailable, JobCancelled, LeaseLost
from pim_platform.intake import running
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.lease import Lease, claim, is_alive, this_process
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.running import attempt, finish_job, merge_job, publish_job, stage_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, confirmed_job, job_of, land_bytes, run_job

MakeTenant = Callable[..., TenantInfo]


def change(workspace: Workspace, tenant_id: UUID, job_id: UUID, **values: Any) -> None:
    """Put a job into a state that another process or time would have made."""
    sets = ", ".join(f"{name} = {value}" for name, value in values.items())
    with tenant_session(workspace.app, tenant_id) as session:
        session.execute(text(f"UPDATE pim.import_jobs SET {sets} WHERE id = :id"), {"id": job_id})


def skus(workspace: Workspace, tenant_id: UUID) -> list[str]:
    with tenant_session(workspace.app, tenant_id) as session:
        return [product.sku for product in list_products(session).products]


def dead_owner() -> str:
    """A process of this host that is gone."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(child.pid).create_time()
    host = this_process().split(":")[0]
    child.communicate(b"\n")
    return f"{host}:{child.pid}:{created:.2f}"


# --- claiming ----------------------------------------------------------------------------------------------------


def test_a_confirmed_job_is_claimed_once(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)

    job = claim(workspace, tenant.id, job_id)

    assert (job.state, job.attempt, job.lease_owner) == ("staging", 1, this_process())
    assert job.lease_at is not None
    assert job.started_at is not None
    with pytest.raises(Conflict) as caught:
        claim(workspace, tenant.id, job_id)
    assert caught.value.code == "already_running"
    assert job_of(workspace, tenant.id, job_id).attempt == 1


@pytest.mark.parametrize("state", ["pending", "mapping", "staged", "held", "failed", "cancelled"])
def test_only_a_confirmed_job_is_due(workspace: Workspace, make_tenant: MakeTenant, state: str) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, b"SKU,Name\nA,Alpha\n")
    change(workspace, tenant.id, job_id, state=f"'{state}'")
    with pytest.raises(Conflict) as caught:
        claim(workspace, tenant.id, job_id)
    assert caught.value.code == "not_due"
    assert state in caught.value.message


def test_of_many_that_claim_at_once_one_wins(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    results: list[str] = []

    def run() -> None:
        try:
            claim(workspace, tenant.id, job_id)
            results.append("won")
        except Conflict:
            results.append("lost")

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["lost"] * 5 + ["won"]


def test_a_stale_lease_of_another_host_is_taken_over_with_the_next_attempt(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    change(workspace, tenant.id, job_id, lease_owner="'elsewhere:1:1.0'")
    with pytest.raises(Conflict):
        claim(workspace, tenant.id, job_id)  # fresh: nobody can ask that host whether it lives

    change(workspace, tenant.id, job_id, lease_at="clock_timestamp() - interval '61 seconds'")
    job = claim(workspace, tenant.id, job_id)

    assert (job.attempt, job.lease_owner, job.state) == (2, this_process(), "staging")
    assert run_claimed(workspace, job).state == "done"


def test_a_dead_process_of_this_host_is_taken_over_at_once(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    change(workspace, tenant.id, job_id, lease_owner=f"'{dead_owner()}'")

    assert claim(workspace, tenant.id, job_id).attempt == 2


def test_a_pid_that_was_given_to_another_process_is_not_alive() -> None:
    host, pid, created = this_process().rsplit(":", 2)
    assert is_alive(this_process()) is True
    assert is_alive(f"{host}:{pid}:{float(created) - 100:.2f}") is False
    assert is_alive(f"elsewhere:{pid}:{created}") is None
    assert is_alive(None) is False
    assert is_alive(dead_owner()) is False


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = f"{this_process().split(':')[0]}:{child.pid}:{psutil.Process(child.pid).create_time():.2f}"
    assert is_alive(owner) is True
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended, and nobody took its status
    assert is_alive(owner) is False
    child.wait()


def test_after_the_last_attempt_the_job_fails_for_good(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    limit = workspace.settings.max_attempts
    change(workspace, tenant.id, job_id, attempt=limit, reason="'the disk was full'")

    with pytest.raises(Conflict) as caught:
        claim(workspace, tenant.id, job_id)

    assert caught.value.code == "too_many_attempts"
    job = job_of(workspace, tenant.id, job_id)
    assert (job.state, job.reason_code, job.attempt) == ("failed", "too_many_attempts", limit)
    assert "the disk was full" in str(job.reason)
    assert job.finished_at is not None


def run_claimed(workspace: Workspace, job: ImportJob) -> ImportJob:
    with attempt(workspace, job.tenant_id, job.id) as (mine, lease):
        if not mine.merged:
            stage_job(workspace, mine, lease)
            mine = merge_job(workspace, mine, lease)
        publish_job(workspace, mine, lease)
        return finish_job(workspace, mine, lease)


def broken_off(workspace: Workspace, tenant_id: UUID, job_id: UUID, *steps: Callable[..., Any]) -> None:
    """Run these steps of a claimed attempt; then an engine is gone."""

    def run() -> None:
        with attempt(workspace, tenant_id, job_id) as (job, lease):
            for step in steps:
                step(workspace, job, lease)
            raise EngineUnavailable("ClickHouse does not answer.")

    with pytest.raises(EngineUnavailable):
        run()


def due(workspace: Workspace) -> set[UUID]:
    with anonymous_session(workspace.app) as session:
        return set(session.scalars(text("SELECT job_id FROM pim.jobs_due(interval '60 seconds')")))


def test_jobs_that_are_due_are_the_confirmed_and_the_forsaken(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    waiting = land_bytes(workspace, tenant.id, b"SKU,Name\nC,Gamma\n")
    propose_job(workspace, tenant.id, waiting)
    ready, fresh, old = (confirmed_job(workspace, tenant.id, source=name) for name in ("one", "two", "three"))
    for job_id in (fresh, old):
        claim(workspace, tenant.id, job_id)
    change(workspace, tenant.id, old, lease_at="clock_timestamp() - interval '61 seconds'")

    found = due(workspace)

    assert {ready, old} <= found
    assert not {waiting, fresh} & found


# --- running -----------------------------------------------------------------------------------------------------


def test_a_run_of_another_process_cannot_be_continued(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    change(workspace, tenant.id, job_id, lease_owner="'elsewhere:1:1.0'")
    with pytest.raises(LeaseLost), attempt(workspace, tenant.id, job_id):
        pytest.fail("the attempt is another's")
    assert job_of(workspace, tenant.id, job_id).state == "staging"


def test_a_lost_lease_cannot_commit(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)

    with attempt(workspace, tenant.id, job_id) as (job, lease):
        stage_job(workspace, job, lease)
        change(workspace, tenant.id, job_id, attempt=2, lease_owner="'elsewhere:1:1.0'")  # somebody took over
        with pytest.raises(LeaseLost):
            merge_job(workspace, job, lease)

    assert skus(workspace, tenant.id) == []
    after = job_of(workspace, tenant.id, job_id)
    assert (after.ledger(), after.staged_attempt, after.commit_seq) == (None, None, None)
    assert (after.state, after.attempt, after.lease_owner, after.reason) == ("staging", 2, "elsewhere:1:1.0", None)
    with tenant_session(workspace.app, tenant.id) as session:
        assert session.scalar(text("SELECT commit_seq FROM pim.catalog_state")) == 0


def test_a_lost_lease_cannot_finish_the_job_either(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    with attempt(workspace, tenant.id, job_id) as (job, lease):
        stage_job(workspace, job, lease)
        job = merge_job(workspace, job, lease)
        change(workspace, tenant.id, job_id, attempt=2)
        with pytest.raises(LeaseLost):
            finish_job(workspace, job, lease)
    assert job_of(workspace, tenant.id, job_id).state == "importing"


def tell_for_a_minute(lease: Lease) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lease.tell("staging", 1)
        time.sleep(0.02)


def test_the_heartbeat_notices_a_lost_lease_and_a_wish_to_cancel(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    for values, error in (({"attempt": 2}, LeaseLost), ({"cancel_requested": "true"}, JobCancelled)):
        job_id = confirmed_job(workspace, tenant.id, source=f"s{error.__name__.lower()}")
        claim(workspace, tenant.id, job_id)
        change(workspace, tenant.id, job_id, **values)
        with Lease(workspace, tenant.id, job_id, 1) as lease, pytest.raises(error):
            tell_for_a_minute(lease)


def test_a_lease_keeps_its_time_fresh_and_tells_progress(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    change(workspace, tenant.id, job_id, lease_at="clock_timestamp() - interval '59 seconds'")
    before = job_of(workspace, tenant.id, job_id).lease_at
    deadline = time.monotonic() + 60
    with Lease(workspace, tenant.id, job_id, 1) as lease:
        lease.tell("staging", 30, 120)
        while not (job := job_of(workspace, tenant.id, job_id)).progress:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert job.progress["stage"] == "staging"
    assert (job.progress["rows"], job.progress["total"]) == (30, 120)
    assert job.lease_at is not None
    assert before is not None
    assert job.lease_at > before


def test_cancelling_while_staging_stops_before_the_merge(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)

    def run() -> None:
        with attempt(workspace, tenant.id, job_id) as (job, lease):
            stage_job(workspace, job, lease)
            asked = cancel_job(workspace, tenant.id, job_id, ACTOR)
            assert (asked.state, asked.cancel_requested) == ("staging", True)
            merge_job(workspace, job, lease)

    with pytest.raises(JobCancelled):
        run()

    after = job_of(workspace, tenant.id, job_id)
    assert (after.state, after.reason_code, after.ledger()) == ("cancelled", "cancelled", None)
    assert skus(workspace, tenant.id) == []
    with pytest.raises(Conflict):
        claim(workspace, tenant.id, job_id)


def test_cancelling_is_at_once_before_a_run_and_refused_after_the_merge(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    early = confirmed_job(workspace, tenant.id, source="early")
    assert cancel_job(workspace, tenant.id, early, ACTOR).state == "cancelled"

    late = confirmed_job(workspace, tenant.id, source="late")
    claim(workspace, tenant.id, late)
    with attempt(workspace, tenant.id, late) as (job, lease):
        stage_job(workspace, job, lease)
        job = merge_job(workspace, job, lease)
        with pytest.raises(Conflict) as caught:
            cancel_job(workspace, tenant.id, late, ACTOR)
        assert caught.value.code == "already_merged"
        publish_job(workspace, job, lease)
        finish_job(workspace, job, lease)
    with pytest.raises(Conflict) as caught:
        cancel_job(workspace, tenant.id, late, ACTOR)
    assert caught.value.code == "already_finished"
    assert not job_of(workspace, tenant.id, late).cancel_requested


def test_a_transient_error_gives_the_lease_up_so_that_the_next_attempt_may_begin(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)

    with pytest.raises(EngineUnavailable), attempt(workspace, tenant.id, job_id):
        raise EngineUnavailable("ClickHouse does not answer.")

    after = job_of(workspace, tenant.id, job_id)
    assert (after.state, after.lease_owner, after.reason_code) == ("staging", None, "engine_unavailable")
    assert job_id in due(workspace)
    job = claim(workspace, tenant.id, job_id)
    assert job.attempt == 2
    done = run_claimed(workspace, job)
    assert (done.state, done.reason_code, done.reason, done.staged_attempt) == ("done", None, None, 2)


class Interruption(BaseException):
    """What Dagster raises in a run that is to stop is no Exception either."""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, Interruption])
def test_an_interrupted_run_is_taken_up_and_not_failed(
    workspace: Workspace, make_tenant: MakeTenant, interruption: type[BaseException]
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)

    with pytest.raises(interruption), attempt(workspace, tenant.id, job_id):
        raise interruption

    after = job_of(workspace, tenant.id, job_id)
    assert (after.state, after.lease_owner, after.reason_code) == ("staging", None, "interrupted")
    assert after.reason == interruption.__name__
    assert job_id in due(workspace)
    done = run_claimed(workspace, claim(workspace, tenant.id, job_id))
    assert (done.state, done.attempt, done.reason_code, done.reason) == ("done", 2, None, None)


def test_an_interrupted_run_of_a_job_that_was_to_be_cancelled_cancels_it(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)

    def stopped() -> None:
        with attempt(workspace, tenant.id, job_id):
            cancel_job(workspace, tenant.id, job_id, ACTOR)
            raise Interruption

    with pytest.raises(Interruption):
        stopped()

    after = job_of(workspace, tenant.id, job_id)
    assert (after.state, after.reason_code) == ("cancelled", "cancelled")
    assert job_id not in due(workspace)


def test_an_unknown_error_fails_the_job_with_its_words(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    with pytest.raises(ZeroDivisionError), attempt(workspace, tenant.id, job_id):
        _ = 1 / 0
    after = job_of(workspace, tenant.id, job_id)
    assert (after.state, after.reason_code) == ("failed", "internal")
    assert "ZeroDivisionError" in str(after.reason)


def test_a_run_that_died_after_the_merge_only_publishes(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    broken_off(workspace, tenant.id, job_id, stage_job, merge_job)
    assert skus(workspace, tenant.id) == ["A", "B"]
    ledger = job_of(workspace, tenant.id, job_id).ledger()

    job = claim(workspace, tenant.id, job_id)
    assert (job.state, job.attempt, job.merged) == ("importing", 2, True)
    monkeypatch.setattr(running, "stage", lambda *_, **__: pytest.fail("it was staged again"))
    done = run_claimed(workspace, job)

    assert (done.state, done.ledger(), done.staged_attempt) == ("done", ledger, 1)
    with tenant_session(workspace.app, tenant.id) as session:
        assert session.scalar(text("SELECT commit_seq FROM pim.catalog_state")) == 1


def test_what_a_dead_attempt_staged_is_removed_in_the_end(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id)
    claim(workspace, tenant.id, job_id)
    broken_off(workspace, tenant.id, job_id, stage_job)
    first = running.attempt_folder(tenant.id, job_id, 1)
    assert list(workspace.objects.list(first))

    claim(workspace, tenant.id, job_id)
    run_claimed(workspace, job_of(workspace, tenant.id, job_id))

    assert list(workspace.objects.list(first)) == []
    assert list(workspace.objects.list(running.attempt_folder(tenant.id, job_id, 2)))


def test_a_whole_run_leaves_no_owner(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job = run_job(workspace, tenant.id, confirmed_job(workspace, tenant.id))
    assert (job.state, job.lease_owner, job.attempt) == ("done", None, 1)
