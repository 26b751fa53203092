"""Undo as a job: states, chains of undos, retention, corrected sources, and ClickHouse away."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog.deleting import Selection
from pim_platform.errors import Conflict, EngineUnavailable, TenantBusy
from pim_platform.intake import publishing
from pim_platform.intake.jobs import get_job
from pim_platform.intake.models import ImportJob, Source
from pim_platform.intake.removing import delete_selection
from pim_platform.intake.undoing import preview_undo_job, undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, land_bytes

FIRST = b"SKU,Name\na,A\nb,B\n"
SECOND = b"SKU,Name\na,AA\nc,C\n"


@pytest.fixture
def tenant(make_tenant: Callable[..., TenantInfo]) -> TenantInfo:
    return make_tenant()


def job_of(workspace: Workspace, tenant: TenantInfo, job_id: UUID) -> ImportJob:
    with tenant_session(workspace.app, tenant.id) as session:
        return get_job(session, job_id)


def undo(workspace: Workspace, tenant: TenantInfo, job_id: UUID) -> ImportJob:
    return undo_job(workspace, tenant.id, job_id, actor=ACTOR, origin="cli").job


def names(workspace: Workspace, tenant: TenantInfo) -> str:
    query = text("SELECT string_agg(name, ',' ORDER BY sku_key) FROM pim.products WHERE tenant_id = :tenant")
    with tenant_session(workspace.app, tenant.id) as session:
        return str(session.scalar(query, {"tenant": tenant.id}))


def test_jobs_say_what_undid_them_and_who_is_in_force(workspace: Workspace, tenant: TenantInfo) -> None:
    first = import_bytes(workspace, tenant.id, FIRST)
    second = import_bytes(workspace, tenant.id, SECOND)
    assert names(workspace, tenant) == "AA,B,C"
    one = undo(workspace, tenant, second.id)
    assert names(workspace, tenant) == "A,B"
    undone = job_of(workspace, tenant, second.id)
    assert (undone.state, undone.undone_by_job_id) == ("undone", one.id)
    with tenant_session(workspace.app, tenant.id) as session:
        source = session.get_one(Source, (tenant.id, first.source_id))
        assert source.last_accepted_job_id == first.id
    two = undo(workspace, tenant, one.id)
    assert names(workspace, tenant) == "AA,B,C"
    assert job_of(workspace, tenant, second.id).state == "done"
    with pytest.raises(Conflict, match=str(two.id)):
        undo(workspace, tenant, second.id)
    undo(workspace, tenant, two.id)
    assert names(workspace, tenant) == "A,B"
    assert job_of(workspace, tenant, second.id).state == "undone"
    assert job_of(workspace, tenant, one.id).state == "done"


def test_past_the_retention_of_the_log_it_is_refused_with_the_date(workspace: Workspace, tenant: TenantInfo) -> None:
    job = import_bytes(workspace, tenant.id, FIRST)
    days = workspace.settings.change_retention_days
    with tenant_session(workspace.app, tenant.id) as session:
        session.execute(
            text("UPDATE pim.import_jobs SET finished_at = '2020-01-31' WHERE tenant_id = :t AND id = :j"),
            {"t": tenant.id, "j": job.id},
        )
    for attempt in (undo, lambda w, t, j: preview_undo_job(w, t.id, j)):
        with pytest.raises(Conflict) as caught:
            attempt(workspace, tenant, job.id)
        assert (caught.value.code, caught.value.place["value"]) == ("past_retention", "2021-01-30")
        assert str(days) in caught.value.message
    assert names(workspace, tenant) == "A,B"


def test_what_has_not_been_merged_cannot_be_undone(workspace: Workspace, tenant: TenantInfo) -> None:
    dry = import_bytes(workspace, tenant.id, FIRST, dry_run=True)
    waiting = land_bytes(workspace, tenant.id, SECOND)
    for job_id in (dry.id, waiting):
        with pytest.raises(Conflict) as caught:
            undo(workspace, tenant, job_id)
        assert caught.value.code == "not_done"


def test_an_import_that_changed_nothing_is_undone_without_a_commit(workspace: Workspace, tenant: TenantInfo) -> None:
    import_bytes(workspace, tenant.id, FIRST)
    same = import_bytes(workspace, tenant.id, FIRST)
    done = undo(workspace, tenant, same.id)
    assert (done.state, done.commit_seq, done.rows_read) == ("done", None, 0)
    assert names(workspace, tenant) == "A,B"


def test_a_busy_catalogue_leaves_no_trace_of_the_undo(workspace: Workspace, tenant: TenantInfo) -> None:
    job = import_bytes(workspace, tenant.id, FIRST)
    with tenant_session(workspace.app, tenant.id) as holder:
        driver_connection(holder).execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (str(tenant.id),))
        with pytest.raises(TenantBusy):
            undo_job(workspace, tenant.id, job.id, actor=ACTOR, origin="api", wait_seconds=0.05)
    assert job_of(workspace, tenant, job.id).state == "done"


def test_without_clickhouse_it_is_done_and_published_later(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_bytes(workspace, tenant.id, FIRST)

    def away(*_args: object, **_options: object) -> None:
        raise EngineUnavailable("ClickHouse does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "publish", away)
        gone = delete_selection(workspace, tenant.id, Selection(everything=True), actor=ACTOR, origin="cli")
    assert (gone.deleted, gone.published, gone.job.state) == (2, False, "done")
    assert publishing.publish_now(workspace, tenant.id)
