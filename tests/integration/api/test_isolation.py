"""Every route of the OpenAPI document, called with no key, an expired one, a weak one, and another tenant's ids.

Two tenants hold the same SKUs with different values; no answer to one may hold a value of the other. A route
that is in the document but not in ``CASES`` fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from pim_platform.tenancy.keys import ROLES, Role
from tests.integration.api.conftest import Api, assert_problem
from tests.support.imports import run_job

SECRETS = ("zzfirstsecret", "yysecondsecret")
POWER = {role: strength for strength, role in enumerate(reversed(ROLES))}


@dataclass(frozen=True)
class Case:
    """How to call a route: what it needs besides the ids in its path, and what another tenant's ids answer."""

    foreign: int
    options: Callable[[], dict[str, Any]] = dict
    code: str | None = None
    job: str = "job_id"
    figures: bool = False
    """It shows counts alone: whose they are is tested beside the route."""


def _file() -> dict[str, Any]:
    return {"files": {"file": ("mine.csv", "SKU,Name\nS-1,Mine\n", "text/csv")}}


def _records() -> dict[str, Any]:
    return {"json": {"products": [{"sku": "S-1", "name": "Mine"}]}}


CASES: dict[tuple[str, str], Case] = {
    ("POST", "/api/pim/import/csv/"): Case(201, _file),
    ("GET", "/api/pim/import/"): Case(200),
    ("GET", "/api/pim/import/{job_id}/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/confirm/"): Case(404, lambda: {"json": {}}, "unknown_job"),
    ("POST", "/api/pim/import/{job_id}/cancel/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/rejects/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/rejects/"): Case(404, _file, "unknown_job"),
    ("GET", "/api/pim/import/{job_id}/diff/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/diff/summary/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/promote/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/undo/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/conflicts/"): Case(404, code="unknown_job", job="undo_id"),
    ("POST", "/api/pim/import/{job_id}/release/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/changes/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/products/"): Case(200),
    ("GET", "/api/pim/products/{product_id}/history/"): Case(404, code="unknown_product"),
    ("POST", "/api/pim/products/bulk-delete/"): Case(200, lambda: {"json": {"skus": ["nobody's"]}}),
    ("GET", "/api/pim/products/{product_id}/"): Case(404, code="unknown_product"),
    ("POST", "/api/pim/products/bulk/"): Case(200, _records),
    ("GET", "/api/pim/schema/"): Case(200),
    ("GET", "/api/pim/mapping/accuracy/"): Case(200, figures=True),
    ("GET", "/api/pim/mapping/costs/"): Case(200, figures=True),
    ("GET", "/api/pim/mapping/templates/"): Case(200),
    ("DELETE", "/api/pim/mapping/templates/{source}/{fingerprint}/"): Case(404, code="unknown_template"),
    # Last: it takes back what the others look at.
    ("POST", "/api/pim/import/{job_id}/undo/"): Case(404, code="unknown_job"),
}
PUBLIC = {("GET", "/health/live"), ("GET", "/health/ready")}


def operations(app: FastAPI) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


@dataclass(frozen=True)
class Side:
    """A tenant with a catalogue and a finished import, and the ids of both."""

    api: Api
    secret: str
    ids: dict[str, str]


@pytest.fixture
def sides(make_api: Callable[..., Api]) -> tuple[Side, Side]:
    return _side(make_api("admin"), SECRETS[0]), _side(make_api("admin"), SECRETS[1])


def _side(api: Api, secret: str) -> Side:
    content = f"SKU,Name,{secret}_field\nS-1,Name {secret},v {secret}\nS-2,Other {secret},w {secret}\n,{secret},x\n"
    upload = api.upload(content, name=f"{secret}.csv", source=secret, dry_run="true").json()
    job_id = upload["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    assert api.post(f"/api/pim/import/{job_id}/promote/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    product_id = api.get("/api/pim/products/").json()["products"][0]["id"]
    (template,) = api.get("/api/pim/mapping/templates/").json()["templates"]
    ids = {"job_id": job_id, "product_id": product_id, "source": secret, "fingerprint": template["fingerprint"]}
    return Side(api, secret, ids | {"undo_id": _undone(api, secret)})


def _undone(api: Api, secret: str) -> str:
    """An undo that met a product somebody had changed."""
    job_id = api.upload("SKU,Name\nX-9,Changed later\n", source=secret).json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    api.post("/api/pim/products/bulk/", json={"products": [{"sku": "X-9", "name": f"Kept {secret}"}]})
    undo_id: str = api.post(f"/api/pim/import/{job_id}/undo/").json()["job"]["job_id"]
    return undo_id


def _path(path: str, side: Side, case: Case) -> str:
    return path.format(**side.ids | {"job_id": side.ids[case.job]})


def test_every_route_has_its_case(app: FastAPI) -> None:
    known = operations(app)
    assert set(known) == set(CASES) | PUBLIC, "a new route needs a case here"
    for route in CASES:
        assert known[route]["x-role"] in ROLES
        assert known[route]["security"] == [{"key": []}]
        assert {"401", "403", "500", "503"} <= known[route]["responses"].keys()


def test_no_answer_holds_a_value_of_another_tenant(app: FastAPI, sides: tuple[Side, Side]) -> None:
    first, second = sides
    for side, other in ((first, second), (second, first)):
        for (method, path), case in CASES.items():
            answer = side.api.request(method, _path(path, other, case), **case.options())
            assert answer.status_code == case.foreign, f"{method} {path}: {answer.text}"
            assert other.secret not in answer.text + str(answer.headers), f"{method} {path}"
            if case.code:
                assert_problem(answer, case.foreign, case.code)
            if method == "GET":
                own = side.api.request(method, _path(path, side, case))
                assert own.status_code == 200, f"{method} {path}: {own.text}"
                assert case.figures or side.secret in own.text, f"{method} {path} shows the tenant's own values"
                assert other.secret not in own.text + str(own.headers), f"{method} {path}"
    for side in sides:
        assert side.api.get(f"/api/pim/import/{side.ids['job_id']}/").json()["state"] == "done"
        product = side.api.get(f"/api/pim/products/{side.ids['product_id']}/").json()
        assert product["name"] == "Mine", "each tenant's bulk upsert reached its own product only"


def test_no_key_an_unknown_and_an_expired_one(app: FastAPI, sides: tuple[Side, Side]) -> None:
    side = sides[0]
    expired = side.api.with_role("admin", days=-1)
    headers = [
        {},
        {"Authorization": "Bearer pim_" + "x" * 43},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {side.api.key}"},
        {"Authorization": f"Bearer {expired.key}"},
    ]
    for (method, path), case in CASES.items():
        for given in headers:
            answer = side.api.client.request(method, path.format(**side.ids), headers=given, **case.options())
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert side.secret not in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_the_document_says(app: FastAPI, sides: tuple[Side, Side], role: Role) -> None:
    side = sides[0]
    key = side.api.with_role(role)
    for (method, path), case in CASES.items():
        needed = operations(app)[method, path]["x-role"]
        answer: httpx.Response = key.request(method, path.format(**side.ids), **case.options())
        if POWER[role] >= POWER[needed]:
            assert answer.status_code not in (401, 403), f"{role} may {method} {path}: {answer.text}"
        else:
            assert_problem(answer, 403, "forbidden")
            assert side.secret not in answer.text


def test_who_needs_no_key_tells_nothing_of_a_tenant(sides: tuple[Side, Side]) -> None:
    for method, path in PUBLIC | {("GET", "/docs"), ("GET", "/openapi.json")}:
        answer = sides[0].api.client.request(method, path)
        assert answer.status_code == 200, answer.text
        assert not any(side.secret in answer.text or side.api.tenant.slug in answer.text for side in sides)
