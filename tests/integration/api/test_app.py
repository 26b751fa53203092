"""The application itself: documents, health, request ids, failures that nobody foresaw."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from sqlalchemy import text

from pim_platform.api.app import create_app
from pim_platform.api.routes import KeyRoute
from pim_platform.errors import EngineUnavailable
from pim_platform.settings import Settings
from pim_platform.storage.postgres import tenant_session


def test_every_operation_is_described(app):
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            good = {s: response for s, response in operation["responses"].items() if s.startswith("2")}
            assert good, where
            # 204 is the one success without a body (RFC 9110, 15.3.5).
            assert all(("content" in response) == (s != "204") for s, response in good.items()), where
            for status, response in operation["responses"].items():
                if status >= "400" and not path.startswith("/health"):
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, f"{where} {status}"


def test_the_document_refers_to_nothing_that_is_not_there(app):
    document = app.openapi()
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert wanted <= document["components"]["schemas"].keys()


def test_the_reference_page_needs_no_network(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "/api/pim/import/csv/" in page.text
    assert "<script" not in page.text
    assert not re.search(r'(src|href)="(https?:)?//', page.text)


def test_health(client):
    assert client.get("/health/live").json() == {"status": "ok"}
    answer = client.get("/health/ready")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"ready": True, "parts": {"postgres": "ok", "clickhouse": "ok"}}


def test_not_ready_says_which_part_and_why(workspace):
    away = workspace.settings.model_copy(update={"clickhouse_url": "http://pim:secret@127.0.0.1:9"})
    away = Settings.model_validate(away.model_dump() | {"clickhouse_url": "http://pim:secret@127.0.0.1:9"})
    with TestClient(create_app(away)) as client:
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["parts"]["postgres"] == "ok"
    assert answer.json()["parts"]["clickhouse"] != "ok"
    assert "secret" not in answer.text


@pytest.mark.parametrize("given", ["", "x" * 200, "two words", "näh"])
def test_a_request_id_that_cannot_be_taken_over_is_replaced(client, given):
    answer = client.get("/health/live", headers={"X-Request-ID": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_an_unforeseen_failure_tells_nothing_but_its_number(workspace, problem, monkeypatch):
    broken = create_app(workspace.settings)

    @broken.get("/boom", include_in_schema=False)
    def boom() -> None:
        raise RuntimeError("the password is hunter2")

    with TestClient(broken, raise_server_exceptions=False) as client:
        answer = client.get("/boom")
    body = problem(answer, 500, "internal")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "hunter2" not in answer.text


def test_an_engine_that_is_away_asks_for_patience(workspace, problem):
    broken = create_app(workspace.settings)

    @broken.get("/away", include_in_schema=False)
    def away() -> None:
        raise EngineUnavailable("PostgreSQL does not answer.", fix="Start it.")

    with TestClient(broken) as client:
        answer = client.get("/away")
    problem(answer, 503, "engine_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_route_without_a_role_is_refused_at_start():
    router = APIRouter(route_class=KeyRoute)
    with pytest.raises(TypeError, match="names no role"):
        router.get(f"/{uuid4()}")(lambda: None)


def test_a_key_says_when_it_was_used_last(api):
    assert api.get("/api/pim/products/").status_code == 200
    query = text("SELECT last_used_at, clock_timestamp() - last_used_at < interval '10 minutes' FROM pim.api_keys")
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        first, recent = session.execute(query).one()
    assert recent
    assert api.get("/api/pim/products/").status_code == 200
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        assert session.execute(query).one()[0] == first, "a write per request would be a queue per key"
