"""A refresh that brings the content of its source's last accepted import is skipped where that is wanted."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from pim_platform.errors import InvalidRequest
from pim_platform.intake.inbox import Dropped, take
from pim_platform.intake.landing import Landed, land
from pim_platform.intake.models import ImportJob
from pim_platform.intake.sources import set_source
from pim_platform.intake.undoing import undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.models import AuditLog
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes

MakeTenant = Callable[..., TenantInfo]

A = b"SKU,Name,Colour\nA-1,Alpha,red\nB-1,Beta,blue\n"
B = A.replace(b"red", b"pink")


def refresh(workspace: Workspace, tenant: TenantInfo, content: bytes, **options: Any) -> Landed:
    given = {"source": "test", "origin": "api", "actor": ACTOR, "skip_unchanged": True} | options
    return land(workspace, tenant.id, io.BytesIO(content), filename="feed.csv", **given)


def number_of_jobs(workspace: Workspace, tenant: TenantInfo) -> int:
    with tenant_session(workspace.app, tenant.id) as session:
        return len(session.scalars(select(ImportJob.id).where(ImportJob.tenant_id == tenant.id)).all())


def test_the_last_accepted_content_makes_no_job_and_the_trail_says_so(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, A)
    assert refresh(workspace, tenant, A) == Landed(first.id, new=False, skipped=True)
    assert number_of_jobs(workspace, tenant) == 1
    with tenant_session(workspace.app, tenant.id) as session:
        query = select(AuditLog.object_id).where(AuditLog.tenant_id == tenant.id, AuditLog.action == "import.skipped")
        assert session.scalars(query).all() == [str(first.id)]


def test_only_the_last_one_counts(workspace: Workspace, make_tenant: MakeTenant) -> None:
    """A, B, A: the older content came back, and that is news."""
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, A)
    import_bytes(workspace, tenant.id, B)
    assert refresh(workspace, tenant, A).new


@pytest.mark.parametrize(
    "options",
    [{"source": "other"}, {"dry_run": True}, {"full_feed": True}, {"skip_unchanged": False}, {"skip_unchanged": None}],
    ids=["another source", "a dry run", "another kind of feed", "not wanted", "the source does not say"],
)
def test_what_is_not_the_same_refresh_is_a_job(
    workspace: Workspace, make_tenant: MakeTenant, options: dict[str, Any]
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, A)
    landed = refresh(workspace, tenant, A, **options)
    assert (landed.new, landed.skipped) == (True, False)


def test_an_undone_import_is_not_accepted_any_more(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, A)
    second = import_bytes(workspace, tenant.id, B)
    undo_job(workspace, tenant.id, second.id, actor=ACTOR, origin="cli")
    assert refresh(workspace, tenant, A) == Landed(first.id, new=False, skipped=True)
    assert refresh(workspace, tenant, B).new


def test_a_source_may_say_so_for_all_its_files_and_the_inbox_obeys(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, A, source="feed")
    with tenant_session(workspace.app, tenant.id) as session:
        set_source(session, "feed", skip_unchanged=True, reject_policy="stop_above:5%")
    key = f"inbox/{tenant.slug}/feed/products.csv"
    workspace.objects.put_bytes(key, A)
    taken = take(workspace, Dropped(key, "1", tenant.slug, "feed", "products.csv"))
    assert (taken.job_id, taken.confirmed) == (first.id, False)
    assert "skipped" in (taken.problem or "")
    assert not workspace.objects.exists(key)
    assert number_of_jobs(workspace, tenant) == 1


def test_bad_rows_do_what_the_import_says_else_what_the_source_says(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    with tenant_session(workspace.app, tenant.id) as session:
        set_source(session, "strict", reject_policy="stop_first")

    def policy(**options: Any) -> str:
        job_id = refresh(workspace, tenant, A, same_while_unfinished=False, **options).job_id
        with tenant_session(workspace.app, tenant.id) as session:
            return session.get_one(ImportJob, (tenant.id, job_id)).reject_policy

    assert policy(source="strict") == "stop_first"
    assert policy(source="strict", reject_policy="skip") == "skip"
    assert policy(source="other") == "skip"
    with pytest.raises(InvalidRequest):
        policy(reject_policy="stop_above:101%")
    with tenant_session(workspace.app, tenant.id) as session, pytest.raises(InvalidRequest):
        set_source(session, "strict", reject_policy="never")
