"""Files dropped into the inbox become jobs, each drop once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pim_platform.errors import EngineUnavailable
from pim_platform.intake import inbox
from pim_platform.intake.inbox import Dropped, Taken, decide, take
from pim_platform.intake.jobs import get_job, list_jobs
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.object_store import StoredObject
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import run_job

MakeTenant = Callable[..., TenantInfo]

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
CONTENT = b"SKU,Name,Price\nA,Alpha,1.50\nB,Beta,2.50\n"


def entry(key: str, size: int = 10, modified: datetime = NOW) -> StoredObject:
    return StoredObject(key, size, modified)


def drop(workspace: Workspace, tenant: TenantInfo, content: bytes, name: str = "feed.csv") -> None:
    workspace.objects.put_bytes(f"inbox/{tenant.slug}/supplier/{name}", content)


def look(workspace: Workspace, slug: str) -> list[Dropped]:
    """Two looks a moment apart, as the sensor takes them; what is complete."""
    prefix = f"{inbox.PREFIX}/{slug}"
    _, seen = decide(workspace.objects.list(prefix), {})
    ready, _ = decide(workspace.objects.list(prefix), seen)
    return ready


def take_all(workspace: Workspace, slug: str) -> list[Taken]:
    return [take(workspace, dropped) for dropped in look(workspace, slug)]


def job_of(workspace: Workspace, tenant_id: UUID, job_id: UUID | None) -> ImportJob:
    assert job_id is not None
    with tenant_session(workspace.app, tenant_id) as session:
        return get_job(session, job_id)


# --- deciding ----------------------------------------------------------------------------------------------------


def test_a_file_is_taken_when_two_looks_saw_the_same() -> None:
    ready, seen = decide([entry("inbox/t/s/a.csv")], {})
    assert ready == []
    ready, _ = decide([entry("inbox/t/s/a.csv")], seen)
    assert [(d.key, d.tenant, d.source, d.filename) for d in ready] == [("inbox/t/s/a.csv", "t", "s", "a.csv")]


@pytest.mark.parametrize(
    "later",
    [entry("inbox/t/s/a.csv", size=11), entry("inbox/t/s/a.csv", modified=NOW + timedelta(microseconds=1))],
    ids=["it grew", "it was written"],
)
def test_a_file_that_changed_since_the_last_look_waits(later: StoredObject) -> None:
    _, seen = decide([entry("inbox/t/s/a.csv")], {})
    ready, seen = decide([later], seen)
    assert ready == []
    ready, _ = decide([later], seen)
    assert len(ready) == 1


@pytest.mark.parametrize("name", ["a.csv.part", "a.tmp", "a.csv.crdownload", "a.csv.filepart", "a.csv~", ".a.csv"])
def test_a_temporary_file_is_never_taken(name: str) -> None:
    found = [entry(f"inbox/t/s/{name}")]
    _, seen = decide(found, {})
    assert decide(found, seen)[0] == []


def test_a_file_beside_the_tenants_folders_is_left_alone_and_one_without_source_gets_the_default() -> None:
    found = [entry("inbox/readme.txt"), entry("inbox/t/a.csv"), entry("inbox/t/s/deep/er/b.csv")]
    _, seen = decide(found, {})
    assert [(d.tenant, d.source, d.filename) for d in decide(found, seen)[0]] == [
        ("t", "inbox", "a.csv"),
        ("t", "s", "b.csv"),
    ]


def test_what_is_gone_is_forgotten() -> None:
    _, seen = decide([entry("inbox/t/s/a.csv")], {})
    _, seen = decide([], seen)
    assert seen == {}


# --- taking ------------------------------------------------------------------------------------------------------


def test_without_a_policy_a_dropped_file_waits_and_says_so(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant("never")
    drop(workspace, tenant, CONTENT)

    (taken,) = take_all(workspace, tenant.slug)

    assert (taken.confirmed, taken.problem, taken.tenant_id) == (False, None, tenant.id)
    job = job_of(workspace, tenant.id, taken.job_id)
    assert (job.state, job.reason_code, job.origin, job.filename) == ("mapping", "waiting", "inbox", "feed.csv")
    assert "waits for a person" in str(job.reason)
    assert f"/api/pim/import/{job.id}/confirm/" in str(job.reason)
    assert look(workspace, tenant.slug) == [], "the inbox is empty"


def test_under_all_sure_a_plain_file_goes_through(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant("all_sure")
    drop(workspace, tenant, CONTENT)

    (taken,) = take_all(workspace, tenant.slug)

    assert taken.confirmed
    assert job_of(workspace, tenant.id, taken.job_id).state == "confirmed"
    job = run_job(workspace, tenant.id, taken.job_id)  # type: ignore[arg-type]
    assert (job.state, job.rows_created) == ("done", 2)


def test_under_all_sure_a_file_without_a_sku_waits_and_says_which_column_is_missing(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant("all_sure")
    drop(workspace, tenant, b"Title,Remark\nAlpha,some words here\nAlpha,other words there\n")

    (taken,) = take_all(workspace, tenant.slug)

    job = job_of(workspace, tenant.id, taken.job_id)
    assert (taken.confirmed, job.state) == (False, "mapping")
    assert "SKU" in str(job.reason)


def test_a_file_for_nobody_stays_where_it_is(workspace: Workspace) -> None:
    slug = "x" + uuid.uuid4().hex[:10]
    workspace.objects.put_bytes(f"inbox/{slug}/s/a.csv", CONTENT)

    (taken,) = take_all(workspace, slug)

    assert (taken.tenant_id, taken.job_id) == (None, None)
    assert slug in str(taken.problem)
    assert len(look(workspace, slug)) == 1


def test_a_bad_file_fails_its_job_and_leaves_the_inbox(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant("all_sure")
    drop(workspace, tenant, b"SKU,Name\n")

    (taken,) = take_all(workspace, tenant.slug)

    job = job_of(workspace, tenant.id, taken.job_id)
    assert (job.state, job.reason_code) == ("failed", "header_only")
    assert "feed.csv" in str(taken.problem)
    assert look(workspace, tenant.slug) == []


def test_the_same_bytes_dropped_twice_are_two_jobs_the_second_all_unchanged(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant("all_sure")
    jobs = []
    for _ in range(2):
        drop(workspace, tenant, CONTENT)
        (taken,) = take_all(workspace, tenant.slug)
        assert taken.job_id is not None
        jobs.append(run_job(workspace, tenant.id, taken.job_id))

    assert jobs[0].id != jobs[1].id
    assert (jobs[0].rows_created, jobs[0].rows_unchanged) == (2, 0)
    assert (jobs[1].rows_created, jobs[1].rows_updated, jobs[1].rows_unchanged) == (0, 0, 2)


def test_the_same_bytes_dropped_again_before_the_first_ran_are_two_jobs(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant("never")
    ids = []
    for _ in range(2):
        drop(workspace, tenant, CONTENT)
        ids.append(take_all(workspace, tenant.slug)[0].job_id)
    assert len(set(ids)) == 2


def test_a_crash_between_landing_and_removal_makes_no_second_job(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant("all_sure")
    drop(workspace, tenant, CONTENT)
    dropped = look(workspace, tenant.slug)

    def crash(*_: object) -> None:
        raise EngineUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "propose_job", crash)
        with pytest.raises(EngineUnavailable):
            take(workspace, dropped[0])
    with monkeypatch.context() as patch:
        patch.setattr(type(workspace.objects), "delete", crash)
        with pytest.raises(EngineUnavailable):
            take(workspace, dropped[0])
    assert look(workspace, tenant.slug) == dropped, "it is found again as it was"

    taken = take(workspace, dropped[0])

    with tenant_session(workspace.app, tenant.id) as session:
        assert [job.id for job in list_jobs(session)] == [taken.job_id]
    assert taken.confirmed
    assert look(workspace, tenant.slug) == []
