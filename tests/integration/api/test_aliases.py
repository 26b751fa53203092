"""The paths of seed 004, with their names: a program that was written against the first importer works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import TenantInfo
from tests.integration.api.conftest import ACTOR, Api, assert_problem
from tests.support.feeds import fetching_workspace
from tests.support.imports import run_job
from tests.support.receivers import receiver

CSV = "name,sku,description\nTent for one,T-1,green\nTent for two,T-2,\ntent for one again,t-1,still green\n"

#: As the seed spells them.
PATHS = {
    ("GET", "/api/products/"),
    ("POST", "/api/products/"),
    ("GET", "/api/products/{product_id}/"),
    ("PUT", "/api/products/{product_id}/"),
    ("DELETE", "/api/products/{product_id}/"),
    ("POST", "/api/products/upload/"),
    ("GET", "/api/products/upload/{job_id}/status/"),
    ("DELETE", "/api/products/bulk-delete/"),
    ("GET", "/api/webhooks/"),
    ("POST", "/api/webhooks/"),
    ("PUT", "/api/webhooks/{webhook_id}/"),
    ("DELETE", "/api/webhooks/{webhook_id}/"),
    ("POST", "/api/webhooks/{webhook_id}/test/"),
}


@pytest.fixture
def admin(make_api: Callable[..., Api]) -> Api:
    return make_api("admin")


def upload(api: Api, content: str = CSV) -> dict[str, Any]:
    answer = api.post("/api/products/upload/", files={"file": ("products.csv", content, "text/csv")})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def status(api: Api, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/products/upload/{job_id}/status/").json()
    return found


def create(api: Api, sku: str = "T-1", **more: Any) -> dict[str, Any]:
    answer = api.post("/api/products/", json={"sku": sku, "name": f"Tent {sku}"} | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_every_path_of_the_seed_is_there_and_marked_as_deprecated(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    for method, path in PATHS:
        assert paths[path][method.lower()]["deprecated"] is True, (method, path)


def test_answers_name_their_successor(admin: Api) -> None:
    product = create(admin)
    for path, successor in {
        "/api/products/": "/api/pim/products/",
        f"/api/products/{product['id']}": "/api/pim/products/{product_id}/",
        "/api/webhooks/": "/api/pim/webhooks/",
    }.items():
        answer = admin.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["deprecation"].startswith("@")
        assert answer.headers["link"] == f'<{successor}>; rel="successor-version"'


def test_a_file_is_uploaded_followed_and_imported_without_a_confirmation(admin: Api) -> None:
    started = upload(admin)
    assert (started["status"], started["progress"], started["error_message"]) == ("pending", 0, None)
    run_job(admin.workspace, admin.tenant.id, UUID(started["job_id"]))
    done = status(admin, started["job_id"])
    assert (done["status"], done["progress"], done["total_records"], done["processed_records"]) == (
        "completed",
        100,
        3,
        3,
    )
    found = admin.get("/api/products/").json()["products"]
    assert [(one["sku"], one["name"], one["description"]) for one in found] == [
        ("T-1", "tent for one again", "still green"),
        ("T-2", "Tent for two", ""),
    ]
    assert all(one["active"] for one in found)


def test_what_is_not_sure_waits_and_says_for_what(admin: Api) -> None:
    waiting = upload(admin, "col1,col2\nA,B\nC,D\n")
    assert waiting["status"] == "pending"
    assert "SKU" in waiting["error_message"]


def test_a_file_that_cannot_be_read_is_refused(admin: Api) -> None:
    answer = admin.post("/api/products/upload/", files={"file": ("x.csv", b"", "text/csv")})
    assert_problem(answer, 422, "empty_file")


@pytest.mark.parametrize(
    ("state", "told", "expected"),
    [
        ("staging", {"stage": "staging", "rows": 50, "total": 100}, ("processing", 20, 50)),
        ("importing", {"stage": "publishing", "rows": 0, "total": None}, ("processing", 85, 0)),
        ("failed", {"stage": "staging", "rows": 50, "total": 100}, ("failed", 0, 0)),
        ("held", {}, ("pending", 0, 0)),
        ("cancelled", {}, ("failed", 0, 0)),
    ],
)
def test_states_by_their_old_names(
    admin: Api, state: str, told: dict[str, Any], expected: tuple[str, int, int]
) -> None:
    job_id = upload(admin)["job_id"]
    with tenant_session(admin.workspace.app, admin.tenant.id) as session:
        job = session.get_one(ImportJob, (admin.tenant.id, UUID(job_id)))
        job.state, job.progress, job.row_count = state, told, 100
    found = status(admin, job_id)
    assert (found["status"], found["progress"], found["processed_records"]) == expected
    assert (found["error_message"] is not None) == (expected[0] == "failed")


def test_products_are_created_read_updated_and_deleted(admin: Api) -> None:
    made = create(admin, description="green")
    assert made | {"description": "green", "active": True} == made
    path = f"/api/products/{made['id']}/"
    admin.request("PATCH", f"/api/pim/products/{made['id']}/", json={"variant_group": "tents"})
    changed = admin.request("PUT", path, json={"name": "Other", "active": False}).json()
    assert (changed["name"], changed["active"], changed["description"]) == ("Other", False, "green")
    assert admin.get(f"/api/pim/products/{made['id']}/").json()["variant_group"] == "tents", "unknown to it: untouched"
    assert admin.get(path).json() == changed
    assert_problem(admin.post("/api/products/", json={"sku": "t-1", "name": "Twice"}), 409, "sku_exists")
    assert admin.request("DELETE", path).status_code == 204
    assert_problem(admin.get(path), 404, "unknown_product")


def test_products_are_filtered_and_paged(admin: Api) -> None:
    for number in range(3):
        create(admin, f"T-{number}", active=number != 1, description=f"colour {number}")

    def skus(query: str) -> list[str]:
        return [one["sku"] for one in admin.get(f"/api/products/?{query}").json()["products"]]

    assert skus("active=false") == ["T-1"]
    assert skus("name=tent+t-2") == ["T-2"]
    assert skus("sku=-0&active=true") == ["T-0"]
    assert skus("description=colour") == ["T-0", "T-1", "T-2"]
    page = admin.get("/api/products/?limit=2").json()
    assert len(page["products"]) == 2
    assert skus(f"limit=2&cursor={page['next_cursor']}") == ["T-2"]


def test_everything_is_deleted_by_an_admin_alone_and_can_be_undone(admin: Api) -> None:
    create(admin)
    assert_problem(admin.with_role("editor").request("DELETE", "/api/products/bulk-delete/"), 403, "forbidden")
    done = admin.request("DELETE", "/api/products/bulk-delete/").json()
    assert done["deleted"] == 1
    assert admin.get("/api/products/").json()["products"] == []
    assert admin.post(f"/api/pim/import/{done['job_id']}/undo/").status_code == 200
    assert len(admin.get("/api/products/").json()["products"]) == 1


@pytest.fixture
def calling(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> Iterator[Api]:
    """An admin whose webhooks may be on this machine."""
    tenant = make_tenant()
    key = create_key(workspace.app, tenant.id, role="admin", name="test", actor=ACTOR)
    with TestClient(create_app(fetching_workspace(workspace).settings), raise_server_exceptions=False) as client:
        yield Api(client, workspace, tenant, key)


def test_webhooks_of_one_event(calling: Api) -> None:
    with receiver() as shop:
        body = {"url": f"{shop.url}/hook", "event_type": "product.updated", "enabled": True}
        made = calling.post("/api/webhooks/", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["secret"]
        path = f"/api/webhooks/{made.json()['id']}/"
        tried = calling.post(f"{path}test/").json()
        assert (tried["delivered"], tried["status"]) == (True, 200)
        assert len(shop.snapshot()) == 1
    changed = calling.request("PUT", path, json={"event_type": "product.deleted", "enabled": False}).json()
    assert (changed["event_type"], changed["enabled"]) == ("product.deleted", False)
    (listed,) = calling.get("/api/webhooks/").json()["webhooks"]
    assert listed == changed
    assert "secret" not in listed
    assert calling.request("DELETE", path).status_code == 204
    assert calling.get("/api/webhooks/").json()["webhooks"] == []
