"""What every answer tells browsers and caches, and who of them may call at all."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.api.headers import FIXED
from tests.integration.api.conftest import Api
from tests.support.imports import confirmed_job, import_bytes
from tests.support.served import served


@pytest.mark.parametrize("path", ["/api/pim/products/", "/health/live", "/nothing", "/openapi.json", "/metrics"])
def test_every_answer_carries_them(api: Api, path: str) -> None:
    for answer in (api.get(path), api.client.get(path)):
        for name, value in FIXED.items():
            assert answer.headers[name] == value, f"{path} {name}"
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers, "plain http promises nothing"
        assert "access-control-allow-origin" not in answer.headers


def test_https_is_for_a_year(api: Api) -> None:
    with TestClient(create_app(api.workspace.settings), base_url="https://pim.example") as client:
        assert client.get("/health/live").headers["strict-transport-security"] == "max-age=31536000"


def test_the_reference_page_allows_its_own_style_and_nothing_else(client: TestClient) -> None:
    page = client.get("/docs")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert "style=" not in page.text
    assert policy["frame-ancestors"] == "'none'"


def test_a_failure_nobody_foresaw_carries_them_too(api: Api) -> None:
    broken = create_app(api.workspace.settings)

    @broken.get("/boom", include_in_schema=False)
    def boom() -> None:
        raise RuntimeError("x")

    with TestClient(broken, raise_server_exceptions=False) as client:
        answer = client.get("/boom")
    assert answer.status_code == 500
    assert FIXED.items() <= {name: answer.headers.get(name) for name in FIXED}.items()


def preflight(client: TestClient, origin: str) -> Any:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH",
               "Access-Control-Request-Headers": "authorization, idempotency-key"}  # fmt: skip
    return client.options("/api/pim/products/", headers=headers)


def test_other_origins_are_let_in_only_where_a_setting_names_them(api: Api) -> None:
    assert "access-control-allow-origin" not in preflight(api.client, "https://shop.example").headers
    settings = api.workspace.settings.model_copy(update={"cors_origins": "https://shop.example, https://b.example/"})
    with TestClient(create_app(settings)) as client:
        allowed = preflight(client, "https://shop.example")
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in allowed.headers
        assert preflight(client, "https://evil.example").status_code == 400
        mine = Api(client, api.workspace, api.tenant, api.key)
        answer = mine.get("/api/pim/products/", headers={"Origin": "https://b.example"})
        assert answer.headers["access-control-allow-origin"] == "https://b.example"
        assert "ratelimit" in answer.headers["access-control-expose-headers"].lower()


def test_head_of_a_download_and_of_a_stream_ends_at_once(api: Api) -> None:
    import_bytes(api.workspace, api.tenant.id, b"SKU,Name\nS-1,Tent\n")
    job_id = confirmed_job(api.workspace, api.tenant.id, b"SKU,Name\nS-2,Stove\n")
    bearer = {"Authorization": f"Bearer {api.key}"}
    with served(create_app(api.workspace.settings)) as base:
        for path in ("/api/pim/export/?format=csv", f"/api/pim/import/{job_id}/events/", "/api/pim/products/"):
            answer = httpx.head(base + path, headers=bearer, timeout=30)
            assert (answer.status_code, answer.content) == (200, b""), path
            assert answer.headers["content-type"], path
        with httpx.Client(base_url=base, headers=bearer) as one_connection:
            for _ in range(3):
                assert one_connection.head(f"/api/pim/import/{job_id}/events/").status_code == 200
            assert one_connection.get("/api/pim/products/").json()["products"][0]["sku"] == "S-1"


def test_head_where_there_is_no_get_and_allow_where_there_is(api: Api) -> None:
    assert api.request("HEAD", "/api/pim/products/bulk-edit/preview/").status_code == 405
    refused = api.request("DELETE", "/api/pim/products/")
    assert {"GET", "HEAD"} <= {name.strip() for name in refused.headers["allow"].split(",")}
