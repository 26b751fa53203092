"""Requests under an Idempotency-Key: done once, answered the same, and never done twice in silence."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from pim_platform.api import idempotency
from pim_platform.api.app import create_app
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.errors import EngineUnavailable, RequestInProgress
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.idempotency import Claim, claim, marks
from tests.integration.api.conftest import Api
from tests.support.imports import run_job

BULK = "/api/pim/products/bulk/"
DEAD = f"{socket.gethostname()}:4194305:0.00"  # above Linux's largest process id
ELSEWHERE = "another-host:1:0.00"


def bulk(name: str = "Tent") -> dict[str, Any]:
    return {"products": [{"sku": "T-1", "name": name}]}


def send(api: Api, key: str, body: dict[str, Any] | None = None, path: str = BULK) -> Any:
    return api.post(path, json=bulk() if body is None else body, headers={"Idempotency-Key": key})


def upserts(api: Api) -> int:
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        query = "SELECT count(*) FROM pim.audit_logs WHERE action = 'products.bulk_upsert'"
        return int(session.scalar(text(query)) or 0)


def rows(api: Api) -> list[dict[str, Any]]:
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        return [dict(row) for row in session.execute(text("SELECT * FROM pim.idempotency_keys")).mappings()]


def change(api: Api, statement: str, **values: Any) -> None:
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        session.execute(text(f"UPDATE pim.idempotency_keys SET {statement}"), values)


def test_the_same_request_again_is_answered_again_and_not_done_again(api: Api) -> None:
    first, second = send(api, "a-1"), send(api, "a-1")
    assert (first.status_code, first.json()["created"]) == (200, 1)
    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert upserts(api) == 1


def test_a_quoted_key_is_the_same_key(api: Api) -> None:
    assert send(api, "a-1").status_code == 200
    assert send(api, '"a-1"').headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, '"open'])
def test_what_is_no_key_is_refused(api: Api, problem: Callable[..., Any], key: str) -> None:
    problem(send(api, key), 422, "invalid_request")
    assert upserts(api) == 0


def test_another_request_under_the_same_key_is_refused(api: Api, problem: Callable[..., Any]) -> None:
    send(api, "a-1")
    problem(send(api, "a-1", bulk("Another")), 422, "idempotency_key_reused")
    problem(send(api, "a-1", path=BULK + "?x=1"), 422, "idempotency_key_reused")
    problem(send(api, "a-1", {"skus": ["T-1"]}, "/api/pim/products/bulk-delete/"), 422, "idempotency_key_reused")
    assert upserts(api) == 1


def test_keys_belong_to_a_caller_and_a_tenant(api: Api, make_api: Callable[..., Api]) -> None:
    answers = [
        send(one, "a-1", bulk(f"Tent {at}")) for at, one in enumerate((api, api.with_role("editor"), make_api()))
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["updated"] for answer in answers] == [0, 1, 0]


def test_a_request_that_changed_nothing_frees_its_key(api: Api, problem: Callable[..., Any]) -> None:
    problem(send(api, "a-1", {"products": []}), 422, "invalid_request")
    assert rows(api) == []
    assert send(api, "a-1").status_code == 200


def test_while_the_first_is_at_work_the_second_is_asked_to_wait(api: Api, problem: Callable[..., Any]) -> None:
    send(api, "a-1")
    change(api, "answered_at = NULL, effect_at = NULL, owner = :owner", owner=ELSEWHERE)
    answer = send(api, "a-1")
    problem(answer, 409, "idempotency_in_progress")
    assert int(answer.headers["retry-after"]) > 0
    problem(send(api, "a-1", bulk("Another")), 422, "idempotency_key_reused")


@pytest.mark.parametrize("left", [f"owner = '{DEAD}'", "claimed_at = claimed_at - interval '20 minutes'"])
def test_what_a_dead_process_left_without_an_effect_is_done(api: Api, left: str) -> None:
    key = str(uuid4())
    send(api, key, {"products": [{"sku": "T-0", "name": "Before"}]})
    change(api, f"answered_at = NULL, effect_at = NULL, status = NULL, body = NULL, {left}")
    again = send(api, key, {"products": [{"sku": "T-0", "name": "Before"}]})
    assert again.status_code == 200
    assert "idempotency-replayed" not in again.headers
    assert [(row["attempt"], row["status"]) for row in rows(api)] == [(2, 200)]


def test_what_a_dead_process_left_after_its_effect_is_told_and_not_done(api: Api, problem: Callable[..., Any]) -> None:
    first = send(api, "a-1")
    change(api, "answered_at = NULL, status = NULL, body = NULL, owner = :owner", owner=DEAD)
    body = problem(send(api, "a-1"), 409, "idempotency_outcome_unknown")
    assert body["value"] == first.headers["x-request-id"]
    assert upserts(api) == 1


def test_an_answer_that_cannot_be_kept_is_given_and_not_done_again(
    api: Api, problem: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: Any) -> None:
        raise EngineUnavailable("PostgreSQL does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "store_answer", away)
        assert send(api, "a-1").json()["created"] == 1
    problem(send(api, "a-1"), 409, "idempotency_outcome_unknown")
    assert upserts(api) == 1


def test_the_effect_is_noted_in_the_very_transaction_that_has_it(api: Api) -> None:
    held = _claim(api, "a-1")
    with marks(held):
        with tenant_session(api.workspace.app, api.tenant.id) as session:
            session.execute(text("SELECT count(*) FROM pim.products"))
        assert rows(api)[0]["effect_at"] is None, "who only reads has no effect"
        with tenant_session(api.workspace.app, api.tenant.id) as session:
            record(session, Actor("test"), "test.done", "test")
            session.flush()
            session.rollback()
        assert rows(api)[0]["effect_at"] is None, "who rolls back has none"
        with tenant_session(api.workspace.app, api.tenant.id) as session:
            record(session, Actor("test"), "test.done", "test")
        assert rows(api)[0]["effect_at"] is not None


def test_who_lost_its_claim_cannot_commit(api: Api) -> None:
    held = _claim(api, "a-1")
    change(api, "attempt = attempt + 1")
    with pytest.raises(RequestInProgress), marks(held), tenant_session(api.workspace.app, api.tenant.id) as session:
        record(session, Actor("test"), "test.too_late", "test")
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        assert session.scalar(text("SELECT count(*) FROM pim.audit_logs WHERE action = 'test.too_late'")) == 0


def _claim(api: Api, key: str) -> Claim:
    wanted = Claim(api.tenant.id, "key:test", key)
    held = claim(
        api.workspace.app, wanted, b"f", owner="me", lives=lambda _: True, retention=timedelta(hours=24), request_id="r"
    )
    assert isinstance(held, Claim)
    return held


def test_past_its_retention_a_key_is_free(api: Api) -> None:
    send(api, "a-1")
    change(api, "claimed_at = claimed_at - interval '25 hours'")
    assert send(api, "a-1", bulk("Another")).json()["updated"] == 1


def test_parts_of_a_form_are_compared_and_not_their_boundaries(api: Api, problem: Callable[..., Any]) -> None:
    job_id = api.upload("SKU,Name\nT-1,Tent\n,Nameless\n").json()["job_id"]
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, UUID(job_id))

    def rework(content: str) -> Any:
        return api.post(
            f"/api/pim/import/{job_id}/rejects/",
            files={"file": ("fixed.csv", content, "text/csv")},
            headers={"Idempotency-Key": "a-1"},
        )

    rejected = api.get(f"/api/pim/import/{job_id}/rejects/").text
    header, row = rejected.lstrip("\ufeff").splitlines()[:2]
    fixed = f"{header}\n{row.replace(',Nameless', 'T-2,Named', 1)}\n"
    first = rework(fixed)
    assert first.status_code == 202, first.text
    second = rework(fixed)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (202, "true")
    problem(rework(fixed + "\n"), 422, "idempotency_key_reused")


def test_an_upload_under_a_key_is_its_job_for_ever(api: Api) -> None:
    first = api.upload("SKU,Name\nT-1,Tent\n", key="a-1")
    api.post(f"/api/pim/import/{first.json()['job_id']}/confirm/")
    second = api.upload("SKU,Name\nT-1,Tent\n", key="a-1")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["job_id"] == first.json()["job_id"]
    assert second.json()["state"] == "confirmed", "the job as it is now"
    assert second.headers["idempotency-replayed"] == "true"


def test_a_secret_in_an_answer_is_not_kept(api: Api, problem: Callable[..., Any]) -> None:
    router = APIRouter(route_class=KeyRoute)
    made: list[int] = []

    @router.post("/api/pim/secrets/", openapi_extra=needs("viewer", scope="any", keeps="nothing"))
    def secret() -> dict[str, str]:
        made.append(1)
        return {"key": "shown once"}

    app = create_app(api.workspace.settings)
    app.include_router(router)
    with TestClient(app) as client:
        mine = Api(client, api.workspace, api.tenant, api.key)
        assert send(mine, "a-1", path="/api/pim/secrets/").json() == {"key": "shown once"}
        problem(send(mine, "a-1", path="/api/pim/secrets/"), 409, "idempotency_answer_not_kept")
    assert made == [1]
    assert b"shown once" not in repr(rows(api)).encode()


def test_every_route_that_shows_a_secret_keeps_no_answer(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    shows = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method.upper() not in idempotency.METHODS or "x-role" not in operation:
                continue
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                    if {"secret", "key", "ticket", "link"} & set(schemas.get(name, {}).get("properties", {})):
                        shows.add((path, operation.get("x-idempotency", "answer")))
    assert len(shows) >= 3
    assert {path for path, keeps in shows if keeps != "nothing"} == set()
