"""``pim user`` and ``pim key``: what an operator does for people, from the command to the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from pim_platform.cli import cli, tenant, users
from pim_platform.errors import Conflict, InvalidRequest, NotFound, Unauthorized
from pim_platform.intake.workspace import Workspace
from pim_platform.local import engines as local_engines
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.invitations import accept_invitation
from pim_platform.tenancy.keys import authenticate
from pim_platform.tenancy.logins import check_login
from pim_platform.tenancy.tenants import TenantInfo
from pim_platform.tenancy.users import use_password_link

ACTOR = Actor("test")
PASSWORD = "correct horse battery"

Pim = Callable[..., Result]


@pytest.fixture
def pim(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Pim:
    """Runs a command in this process against the session's engines, which run already."""

    @contextmanager
    def running(settings: Settings) -> Iterator[Endpoints]:
        yield Endpoints.of(settings)

    monkeypatch.setattr(local_engines, "engines", running)
    for module in (tenant, users):
        monkeypatch.setattr(module, "get_settings", lambda: workspace.settings)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=True)

    return run


def _out(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout.strip()


def test_an_operator_invites_promotes_resets_and_removes(
    pim: Pim, workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    slug, email = make_tenant().slug, f"{uuid4().hex[:12]}@example.com"
    token = _out(pim("user", "invite", email, "--tenant", slug, "--role", "reviewer"))
    accept_invitation(workspace.app, token, password=PASSWORD, name="Ben", actor=ACTOR)
    assert _out(pim("user", "role", email, "admin", "--tenant", slug)) == f"{email} is admin of {slug}"
    (listed,) = json.loads(_out(pim("user", "list", "--tenant", slug, "--json")))
    assert (listed["email"], listed["role"]) == (email, "admin")
    last = pim("user", "remove", email, "--tenant", slug)
    assert isinstance(last.exception, Conflict)
    link = _out(pim("user", "reset", email))
    use_password_link(workspace.app, link, PASSWORD + " anew", actor=ACTOR)
    assert check_login(workspace.app, email, PASSWORD + " anew", ACTOR).email == email
    assert _out(pim("user", "logout", email)) == "0 logins ended"
    assert isinstance(pim("user", "reset", "nobody@example.com").exception, NotFound)


def test_an_operator_makes_lists_and_revokes_keys(
    pim: Pim, workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    slug = make_tenant().slug
    limited = ("--scope", "products:read", "--scope", "scores:write", "--days", "30", "--name", "scores")
    made = _out(pim("key", "create", "--tenant", slug, *limited))
    assert authenticate(workspace.app, made).scopes == {"products:read", "scores:write"}
    (listed,) = json.loads(_out(pim("key", "list", "--tenant", slug, "--json")))
    assert (listed["state"], listed["scopes"]) == ("active", ["products:read", "scores:write"])
    assert made not in _out(pim("key", "list", "--tenant", slug))
    assert "is revoked" in _out(pim("key", "revoke", listed["id"], "--tenant", slug))
    with pytest.raises(Unauthorized):
        authenticate(workspace.app, made)
    unknown = pim("key", "create", "--tenant", slug, "--scope", "everything")
    assert isinstance(unknown.exception, InvalidRequest)
