"""A client of the API on the session's engines, and keys of throwaway tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.keys import Role, Scope, create_key
from pim_platform.tenancy.tenants import TenantInfo

ACTOR = Actor("test")


@pytest.fixture(scope="session")
def app(workspace: Workspace) -> FastAPI:
    return create_app(workspace.settings)


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@dataclass(frozen=True)
class Api:
    """The API as one tenant's key sees it."""

    client: TestClient
    workspace: Workspace
    tenant: TenantInfo
    key: str

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"} | dict(options.pop("headers", {}))  # type: ignore[call-overload]
        return self.client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]

    def get(self, path: str, **options: object) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: object) -> httpx.Response:
        return self.request("POST", path, **options)

    def upload(self, content: bytes | str, *, name: str = "products.csv", key: str | None = None, **form: str):
        return self.post(
            "/api/pim/import/csv/",
            files={"file": (name, content, "text/csv")},
            data=form,
            headers={"Idempotency-Key": key} if key else {},
        )

    def with_role(self, role: Role, *, days: int = 1, scopes: Collection[Scope] | None = None) -> Api:
        """The same tenant with another key; negative ``days``: one that expired."""
        expires = datetime.now(UTC) + timedelta(days=days)
        key = create_key(
            self.workspace.app, self.tenant.id, role=role, name=role, actor=ACTOR, scopes=scopes, expires_at=expires
        )
        return Api(self.client, self.workspace, self.tenant, key)


@pytest.fixture
def make_api(client: TestClient, workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> Callable[..., Api]:
    def make(role: Role = "editor", **tenant: object) -> Api:
        made = make_tenant(**tenant)
        key = create_key(workspace.app, made.id, role=role, name="test", actor=ACTOR)
        return Api(client, workspace, made, key)

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """A tenant of its own with an editor's key."""
    return make_api()


TENTS = (
    "SKU,Product Name,Price,Colour,In stock\n"
    "T-1,Tent for one,199.90,green,3\n"
    "T-2,Tent for two,299.90,red,0\n"
    "T-3,Tent for three,399.90,blue,7\n"
    "T-4,Tent for four,499.90,green,1\n"
    "T-5,Tent for five,599.90,sand,2\n"
    "T-6,Tent for six,699.90,grey,5\n"
)


@pytest.fixture
def tents() -> str:
    """A small catalogue whose columns everybody recognises."""
    return TENTS


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """The answer is a complete problem document of that status and code; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert {"type", "title", "status", "detail", "code", "fix"} <= body.keys(), body
    assert (body["status"], body["code"]) == (status, code), body
    assert body["fix"], "a problem says what to do about it"
    assert answer.headers["x-request-id"]
    return body


@pytest.fixture
def problem() -> Callable[[httpx.Response, int, str], dict[str, object]]:
    return assert_problem
