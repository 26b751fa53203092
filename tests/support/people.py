"""People who log in through the API, each from a network address of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy import passwords
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.invitations import accept_invitation, invite
from pim_platform.tenancy.keys import Role
from pim_platform.tenancy.tenants import TenantInfo
from pim_platform.tenancy.users import create_user, find_member

PASSWORD = "correct horse battery"

_addresses = (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(256), range(256), range(1, 255)))


def at_address(app: FastAPI, address: str | None = None) -> TestClient:
    """A client at an address that nobody else has, or at the one given."""
    return TestClient(app, client=(address or next(_addresses), 50_000), raise_server_exceptions=False)


@dataclass
class Somebody:
    """A person at a client; ``tokens`` is what the last login gave."""

    client: TestClient
    email: str
    id: UUID
    tokens: dict[str, Any] = field(default_factory=dict)

    def log_in(self, password: str = PASSWORD) -> httpx.Response:
        answer = self.client.post("/auth/token", json={"email": self.email, "password": password})
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    def refresh(self, token: str | None = None) -> httpx.Response:
        given = token or self.tokens["refresh_token"]
        return self.client.post("/auth/token", json={"grant_type": "refresh_token", "refresh_token": given})

    def request(self, method: str, path: str, tenant: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"} | ({"X-Tenant": tenant} if tenant else {})
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, tenant: str | None = None) -> httpx.Response:
        return self.request("GET", path, tenant)


@pytest.fixture(scope="module")
def quick_passwords() -> Iterator[None]:
    """Argon2 as it is, with less work: these tests log in often. What is in force is tested in tests/unit/tenancy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        passwords._nobodys.cache_clear()
        yield
    passwords._nobodys.cache_clear()


def make_person(
    app: FastAPI, workspace: Workspace, *belongs: tuple[TenantInfo, Role], email: str | None = None
) -> Somebody:
    """Somebody who belongs to these tenants, not logged in yet."""
    email = email or f"{uuid4().hex[:12]}@example.com"
    first, *others = belongs
    actor = Actor("test")
    user_id = create_user(
        workspace.app, first[0].id, email=email, name="Ana", password=PASSWORD, role=first[1], actor=actor
    )
    for tenant, role in others:
        with tenant_session(workspace.app, tenant.id) as session:
            _, link = invite(session, workspace.settings, email=email, role=role, actor=actor)
        accept_invitation(workspace.app, link, password=PASSWORD, name="Ana", actor=actor)
        with tenant_session(workspace.app, tenant.id) as session:
            assert find_member(session, email).id == user_id
    return Somebody(at_address(app), email, user_id)
