"""The route class of everything that needs a key or a person's token: both, role and size are checked before the
body is read.

FastAPI parses a body before it runs dependencies, so without this a stranger could have gigabytes spooled
to disk before being turned away.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Receive
from starlette.types import Scope as AsgiScope

from pim_platform.api import idempotency
from pim_platform.api.body_limits import limited_body
from pim_platform.api.idempotency import Keeping
from pim_platform.api.json_bodies import read_json
from pim_platform.api.rate_limits import count_caller, count_stranger
from pim_platform.api.request_ids import actor_of
from pim_platform.errors import Forbidden, Unauthorized
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import KEY_PREFIX, SCOPES, Caller, Role, Scope, authenticate
from pim_platform.tenancy.logins import Person, authenticate_token

#: Largest JSON body: ten thousand products of six kilobytes.
JSON_BYTES = 64 * 1024**2
#: What a multipart form may hold beside its file.
FORM_BYTES = 1024**2

#: Which of a person's tenants is meant, by its slug (design D22).
TENANT_HEADER = "X-Tenant"

_ROLE, _SCOPE, _UPLOAD, _ABOVE, _KEEPS = "x-role", "x-scope", "x-upload", "x-above-tenants", "x-idempotency"
_NO_TENANT = UUID(int=0)


def needs(
    role: Role,
    *,
    scope: Scope | Literal["any", "unlimited"],
    upload: bool = False,
    above_tenants: bool = False,
    keeps: Keeping = "answer",
) -> dict[str, Any]:
    """The ``openapi_extra`` of a route: who may call it.

    ``role`` and stronger ones may. A key that is limited to some scopes must hold ``scope`` besides; ``any``: whatever
    its scopes are; ``unlimited``: no key that is limited. ``upload``: the body is a file.
    ``above_tenants``: it is about the person who calls, or the key itself; a person of several tenants names none, and
    the route asks for :data:`pim_platform.api.dependencies.CredentialDep`. ``keeps``: what is kept of an answer under
    an Idempotency-Key; ``nothing`` where it shows a secret once.
    """
    extra: dict[str, Any] = {_ROLE: role, _SCOPE: scope}
    if upload:
        extra[_UPLOAD] = True
    if above_tenants:
        extra[_ABOVE] = True
    if keeps != "answer":
        extra[_KEEPS] = keeps
    return extra


def role_and_scope(route: APIRoute) -> tuple[Role, Scope | Literal["any", "unlimited"]]:
    """What :func:`needs` said of a route. Raises TypeError where it said nothing, or what there is not."""
    extra = route.openapi_extra or {}
    role: Role = extra.get(_ROLE, "")
    if role not in get_args(Role):
        raise TypeError(f"{route.path} names no role: give it openapi_extra=needs(...)")
    scope: Scope | Literal["any", "unlimited"] = extra.get(_SCOPE, "")
    if scope not in ("any", "unlimited", *SCOPES):
        raise TypeError(f"{route.path} names the scope {scope!r}, which there is not: choose of {SCOPES}")
    return role, scope


class KeyRoute(APIRoute):
    """A route behind an API key. One that names no role is refused when the application is put together."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the checks in front."""
        extra = self.openapi_extra or {}
        role, scope = role_and_scope(self)
        keeping: Keeping = extra.get(_KEEPS, "answer")
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            caller: Caller | None = None
            if extra.get(_ABOVE):
                request.state.credential = await run_in_threadpool(_admit_credential, request)
            else:
                caller = await run_in_threadpool(self.admitted, request)
                caller.require(role, scope)
                request.state.caller = caller
            workspace: Workspace = request.app.state.workspace
            limit = workspace.settings.max_upload_bytes + FORM_BYTES if extra.get(_UPLOAD) else JSON_BYTES
            request = _Body(request.scope, limited_body(request.headers, request.receive, limit))
            key = request.headers.get(idempotency.HEADER)
            if key is None or caller is None or keeping == "job" or request.method not in idempotency.METHODS:
                return await inner(request)
            return await idempotency.once(request, caller, key, inner, keeping)

        return handler

    def admitted(self, request: Request) -> Caller:
        """Who calls; see :func:`admit`."""
        return admit(request)


class OpenRoute(APIRoute):
    """A route without a credential, whose JSON is read as exactly as that of the others."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await inner(_Body(request.scope, request.receive))

        return handler


class _Body(Request):
    """A request whose JSON is read exactly."""

    def __init__(self, scope: AsgiScope, receive: Receive) -> None:
        super().__init__(scope, receive)

    async def json(self) -> Any:
        """The JSON value of the body."""
        return read_json(await self.body())


def admit(connection: HTTPConnection) -> Caller:
    """Who calls, counted: a caller against its own limit, and who shows no valid credential against its address.

    Raises Unauthorized, TooManyRequests; InvalidRequest with code ``tenant_needed`` and Forbidden with code
    ``not_a_member`` where a person names no tenant of theirs.
    """
    found = _credential(connection)
    wanted = connection.headers.get(TENANT_HEADER)
    if isinstance(found, Person):
        caller = found.caller(wanted)
    elif wanted in (None, found.tenant_slug):
        caller = found
    else:
        raise Forbidden(
            "This key does not belong to that tenant.",
            fix=f"Leave {TENANT_HEADER} out: a key belongs to one tenant.",
            code="not_a_member",
        )
    count_caller(connection, caller)
    return caller


def _admit_credential(request: Request) -> Caller | Person:
    """The same for a route that is about the person or the key itself."""
    found = _credential(request)
    if isinstance(found, Person):
        count_caller(request, Caller(_NO_TENANT, "viewer", found.actor, user_id=found.user_id))
    else:
        count_caller(request, found)
    return found


def _credential(connection: HTTPConnection) -> Caller | Person:
    """What the key opens, or whose token it is."""
    workspace: Workspace = connection.app.state.workspace
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    value = value.strip()
    try:
        if scheme.lower() != "bearer" or not value:
            raise Unauthorized(
                "The request carries no API key and no access token.",
                fix="Send `Authorization: Bearer pim_...`; make a key with `pim key create`, or log in at /auth/token.",
            )
        actor = actor_of(connection)
        if value.startswith(KEY_PREFIX):
            return authenticate(workspace.app, value, actor)
        return authenticate_token(workspace.app, workspace.settings, value, actor)
    except Unauthorized:
        count_stranger(connection)
        raise
