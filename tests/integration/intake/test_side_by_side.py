"""Imports beside each other: tenants never wait for one another, a writer of one tenant waits at most its time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from pim_platform.api.app import create_app
from pim_platform.catalog.products import find_product
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, confirmed_job, import_bytes, job_of
from tests.support.pausing import held_at
from tests.support.stacks import WAIT_SECONDS, wait_for

MakeTenant = Callable[..., TenantInfo]

ROWS = 2_000
LARGE = b"SKU,Name\n" + b"".join(b"S-%d,Number %d\n" % (n, n) for n in range(ROWS))

#: Stages of an import that is under way, with what it holds there: nothing, the tenant's lock, rows written.
STAGES = ["staging", "comparing", "writing", "publishing", "refreshing typed relations"]


def name_of(workspace: Workspace, tenant: TenantInfo, sku: str) -> str | None:
    with tenant_session(workspace.app, tenant.id) as session:
        found = find_product(session, sku)
        return found.name if found else None


def waiting_for_locks(workspace: Workspace) -> int:
    """Backends that wait for an advisory lock."""
    with anonymous_session(workspace.app) as session:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(session.scalar(query) or 0)


@pytest.mark.parametrize("stage", STAGES)
def test_two_tenants_importing_at_once_do_not_wait_for_each_other(
    workspace: Workspace, make_tenant: MakeTenant, stage: str
) -> None:
    slow, other = make_tenant(), make_tenant()
    job_id = confirmed_job(workspace, slow.id, LARGE)
    with held_at(workspace, slow.id, job_id, stage) as held, ThreadPoolExecutor(1) as pool:
        beside = pool.submit(import_bytes, workspace, other.id, LARGE)
        try:
            done = beside.result(WAIT_SECONDS)
            still = job_of(workspace, slow.id, job_id).state
        finally:
            finished = held.go()
    assert (done.state, done.rows_created) == ("done", ROWS)
    assert still in ("staging", "importing"), "the other import ended while this one stood"
    assert (finished.state, finished.rows_created) == ("done", ROWS)


class Editor:
    """A client that edits one product of a tenant over the API."""

    def __init__(self, workspace: Workspace, tenant: TenantInfo, client: TestClient) -> None:
        self._key = create_key(workspace.app, tenant.id, role="editor", name="test", actor=ACTOR)
        self._client = client

    def rename(self, sku: str, name: str) -> httpx.Response:
        return self._client.post(
            "/api/pim/products/bulk/",
            json={"products": [{"sku": sku, "name": name}]},
            headers={"Authorization": f"Bearer {self._key}"},
        )


@pytest.mark.parametrize("stage", ["staging", "publishing", "refreshing typed relations"])
def test_an_edit_while_an_import_does_not_write_succeeds_at_once(
    workspace: Workspace, make_tenant: MakeTenant, stage: str
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, b"SKU,Name\nX-1,Before\n")
    job_id = confirmed_job(workspace, tenant.id, LARGE)
    with held_at(workspace, tenant.id, job_id, stage) as held, TestClient(create_app(workspace.settings)) as client:
        answer = Editor(workspace, tenant, client).rename("X-1", "After")
        state = job_of(workspace, tenant.id, job_id).state
        finished = held.go()
    assert answer.status_code == 200, answer.text
    assert (answer.json()["updated"], state in ("staging", "importing")) == (1, True)
    assert finished.state == "done"
    assert name_of(workspace, tenant, "x-1") == "After"


def test_an_edit_during_the_merge_waits_and_succeeds_when_the_merge_ends_in_time(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(workspace, tenant.id, LARGE)
    patient = workspace.settings.model_copy(update={"lock_timeout_seconds": WAIT_SECONDS})
    with (
        held_at(workspace, tenant.id, job_id, "writing") as held,
        TestClient(create_app(patient)) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        edit = pool.submit(Editor(workspace, tenant, client).rename, "S-7", "Edited")
        wait_for(lambda: waiting_for_locks(workspace) or edit.done(), "the edit to wait for the catalogue")
        assert not edit.done(), "the edit did not wait for the merge"
        assert held.go().state == "done"
        answer = edit.result(WAIT_SECONDS)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["created"], answer.json()["updated"]) == (0, 1)
    assert name_of(workspace, tenant, "S-7") == "Edited"


def test_an_edit_whose_time_is_over_says_when_to_try_again_and_has_done_nothing(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant, other = make_tenant(), make_tenant()
    job_id = confirmed_job(workspace, tenant.id, LARGE)
    hurried = workspace.settings.model_copy(update={"lock_timeout_seconds": 0.1})
    with (
        held_at(workspace, tenant.id, job_id, "writing") as held,
        TestClient(create_app(hurried)) as client,
    ):
        editor = Editor(workspace, tenant, client)
        refused = editor.rename("S-7", "Edited")
        elsewhere = Editor(workspace, other, client).rename("S-7", "Another tenant's")
        assert held.go().state == "done"
        again = editor.rename("S-7", "Edited again")
    assert (refused.status_code, refused.json()["code"]) == (409, "tenant_busy")
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["fix"]
    assert elsewhere.status_code == 200
    assert (again.status_code, again.json()["updated"]) == (200, 1)
    assert name_of(workspace, tenant, "S-7") == "Edited again"


def test_a_writer_waits_five_seconds_where_nothing_else_is_set() -> None:
    assert Settings.model_fields["lock_timeout_seconds"].default == 5.0
