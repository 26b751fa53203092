"""Imports by URL, feeds and hosts over the API, against a real server of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.intake import fetching
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import TenantInfo
from tests.integration.api.conftest import ACTOR, Api, assert_problem
from tests.support.feeds import Shop, fetching_workspace, shop
from tests.support.imports import run_job
from tests.support.receivers import Reply


@pytest.fixture(scope="module")
def outbound_client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(fetching_workspace(workspace).settings), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def api(outbound_client: TestClient, workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> Api:
    tenant = make_tenant()
    key = create_key(workspace.app, tenant.id, role="admin", name="test", actor=ACTOR)
    made = Api(outbound_client, workspace, tenant, key)
    assert made.post("/api/pim/fetch-hosts/", json={"host": "127.0.0.1"}).status_code == 200
    return made


@pytest.fixture
def supplier() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_FIRST_PAUSE_SECONDS", 0.0)


def by_url(api: Api, supplier: Shop, **body: Any) -> Any:
    return api.post("/api/pim/import/url/", json={"url": supplier.url, "source": "acme"} | body)


def test_a_file_comes_by_its_url_as_if_it_were_uploaded(api: Api, supplier: Shop) -> None:
    answer = by_url(api, supplier)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["state"], body["filename"], body["headers"]) == ("mapping", "products.csv", ["SKU", "Name"])
    assert by_url(api, supplier).json()["job_id"] == body["job_id"], "unfinished: the same job"
    assert api.post(f"/api/pim/import/{body['job_id']}/confirm/").status_code == 202
    assert run_job(api.workspace, api.tenant.id, UUID(body["job_id"])).state == "done"
    again = by_url(api, supplier, skip_unchanged=True)
    assert (again.status_code, again.json()["skipped"], again.json()["job_id"]) == (200, True, body["job_id"])
    assert supplier.asked()[-1].headers["if-none-match"] == supplier.etag
    assert by_url(api, supplier).status_code == 201, "without it the file is imported again"


def test_what_the_server_says_is_told(api: Api, supplier: Shop) -> None:
    supplier.replies["/feeds/products.csv"] = [Reply(404)]
    assert "404" in str(assert_problem(by_url(api, supplier), 422, "remote_refused")["detail"])
    supplier.replies["/feeds/products.csv"] = [Reply(500)]
    answer = by_url(api, supplier)
    assert_problem(answer, 502, "remote_unavailable")
    assert answer.headers["retry-after"]
    assert_problem(by_url(api, supplier, url="ftp://127.0.0.1/x"), 422, "address_refused")
    assert_problem(by_url(api, supplier, url="http://localhost/x"), 422, "host_not_allowed")
    assert api.get("/api/pim/import/").json()["imports"] == []


def test_a_feed_is_set_asked_for_and_removed(api: Api, supplier: Shop) -> None:
    url = f"{supplier.url}?token=s3cret"
    auth = {"kind": "basic", "user": "ada", "password": "hunter22"}
    answer = api.request("PUT", "/api/pim/sources/acme/feed/", json={"url": url, "cron": "0 5 * * *", "auth": auth})
    assert answer.status_code == 200, answer.text
    feed = answer.json()["feed"]
    assert (feed["url"], feed["cron"], feed["auth"], feed["last"]) == (url, "0 5 * * *", "basic", None)
    assert "hunter22" not in answer.text
    asked = api.post("/api/pim/sources/acme/fetch/")
    assert (asked.status_code, asked.json()["slug"]) == (202, "acme")
    viewer = api.with_role("viewer")
    assert viewer.get("/api/pim/sources/acme/").json()["feed"]["url"] == supplier.url
    assert "s3cret" not in viewer.get("/api/pim/sources/").text
    assert api.request("DELETE", "/api/pim/sources/acme/feed/").status_code == 204
    assert api.get("/api/pim/sources/acme/").json()["feed"] is None
    assert_problem(api.post("/api/pim/sources/acme/fetch/"), 404, "unknown_feed")


def test_what_a_feed_cannot_be(api: Api, supplier: Shop) -> None:
    def put(**body: Any) -> Any:
        return api.request("PUT", "/api/pim/sources/acme/feed/", json={"url": supplier.url} | body)

    assert_problem(put(cron="often"), 422, "invalid_cron")
    assert_problem(put(interval_seconds=5), 422, "invalid_request")
    assert_problem(put(interval_seconds=60, cron="* * * * *"), 422, "invalid_request")
    assert_problem(put(url="http://ada:secret@127.0.0.1/"), 422, "address_refused")
    wrong = put(auth={"kind": "basic", "user": "ada", "password": "x" * 2000})
    assert_problem(wrong, 422, "invalid_request")
    assert "xxx" not in wrong.text


def test_hosts_are_an_admins_matter(api: Api) -> None:
    editor = api.with_role("editor")
    assert [one["host"] for one in editor.get("/api/pim/fetch-hosts/").json()["hosts"]] == ["127.0.0.1"]
    assert_problem(editor.post("/api/pim/fetch-hosts/", json={"host": "example.com"}), 403, "forbidden")
    assert api.post("/api/pim/fetch-hosts/", json={"host": "*.Example.com"}).json()["host"] == "*.example.com"
    assert api.request("DELETE", "/api/pim/fetch-hosts/*.example.com/").status_code == 204
    assert_problem(api.request("DELETE", "/api/pim/fetch-hosts/*.example.com/"), 404, "unknown_host")
