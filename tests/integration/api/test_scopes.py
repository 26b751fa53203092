"""Which role and which scope open which route: every pair, against the rule and over the wire."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.errors import Forbidden
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.keys import ROLES, SCOPES, Caller, Role, Scope, create_key
from tests.integration.api.conftest import ACTOR, Api
from tests.integration.api.test_isolation import PUBLIC
from tests.support.route_walk import filled, parameters, routes

POWER = {role: strength for strength, role in enumerate(reversed(ROLES))}
ANYWHERE = "any"
UNLIMITED = "unlimited"


@given(
    role=st.sampled_from(ROLES),
    scopes=st.none() | st.sets(st.sampled_from(SCOPES), min_size=1),
    needed=st.sampled_from(ROLES),
    scope=st.sampled_from((*SCOPES, ANYWHERE, UNLIMITED)),
)
def test_a_caller_may_what_its_role_may_and_its_scopes_name(
    role: Role, scopes: set[Scope] | None, needed: Role, scope: Scope
) -> None:
    caller = Caller(UUID(int=1), role, Actor("key:x"), None if scopes is None else frozenset(scopes))
    strong = POWER[role] >= POWER[needed]
    named = scopes is None or scope == ANYWHERE or scope in scopes
    if strong and named:
        caller.require(needed, scope)
        return
    with pytest.raises(Forbidden) as refused:
        caller.require(needed, scope)
    assert refused.value.code == ("scope_missing" if strong else "forbidden")


def _needs(app: FastAPI) -> dict[tuple[str, str], tuple[Role, str]]:
    """Role and scope of every route behind a key, as the application has them."""
    return {
        key: (extra["x-role"], extra["x-scope"])
        for key, extra in routes(app).items()
        if key not in PUBLIC and key[0] != "WS" and "x-role" in extra
    }


def test_every_route_names_a_scope_and_reading_and_writing_are_told_apart(app: FastAPI) -> None:
    for (method, path), (role, scope) in _needs(app).items():
        where = f"{method} {path} needs {role} and {scope}"
        assert scope in (*SCOPES, ANYWHERE, UNLIMITED), where
        if scope in (ANYWHERE, "admin", UNLIMITED, "webhooks:manage"):
            continue
        searches = path.endswith(("/search/", "/facets/", "/export/", "/preview/", "/ticket/"))
        if scope.endswith(":read"):
            assert method == "GET" or searches, where
        elif method == "GET":
            # What one may do next is shown to who may do it: a preview of an edit, a token.
            assert POWER[role] >= POWER["reviewer"], where


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_the_routes_of_its_scope_and_no_others(
    app: FastAPI, make_api: Callable[..., Api], scope: Scope
) -> None:
    api = make_api("admin")
    key = create_key(api.workspace.app, api.tenant.id, role="admin", name=scope, scopes=[scope], actor=ACTOR)
    limited = Api(api.client, api.workspace, api.tenant, key)
    for (method, path), (_, needed) in _needs(app).items():
        ids = {name: str(uuid4()) for name in parameters(path)}
        answer = limited.request(method, filled(path, ids))
        where = f"{method} {path}: {answer.text[:300]}"
        assert answer.status_code < 500, where
        if needed in (ANYWHERE, scope):
            assert answer.status_code not in (401, 403), where
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), where
