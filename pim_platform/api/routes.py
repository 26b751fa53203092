"""The route class of everything that needs a key: key, role and size are checked before the body is read.

FastAPI parses a body before it runs dependencies, so without this a stranger could have gigabytes spooled
to disk before being turned away.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive
from starlette.types import Scope as AsgiScope

from pim_platform.api.body_limits import limited_body
from pim_platform.api.json_bodies import read_json
from pim_platform.api.rate_limits import count_caller, count_stranger
from pim_platform.api.request_ids import actor_of
from pim_platform.errors import Unauthorized
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import SCOPES, Caller, Role, Scope, authenticate

#: Largest JSON body: ten thousand products of six kilobytes.
JSON_BYTES = 64 * 1024**2
#: What a multipart form may hold beside its file.
FORM_BYTES = 1024**2

_ROLE, _SCOPE, _UPLOAD = "x-role", "x-scope", "x-upload"


def needs(role: Role, *, scope: Scope | Literal["any"] | None = None, upload: bool = False) -> dict[str, Any]:
    """The ``openapi_extra`` of a route: who may call it.

    ``role`` and stronger ones may. A credential that is limited to some scopes must hold ``scope`` besides; ``any``:
    whatever its scopes are; None: only a credential that is not limited. ``upload``: the body is a file.
    """
    return {_ROLE: role} | ({_SCOPE: scope} if scope else {}) | ({_UPLOAD: True} if upload else {})


class KeyRoute(APIRoute):
    """A route behind an API key. One that names no role is refused when the application is put together."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the checks in front."""
        extra = self.openapi_extra or {}
        role: Role = extra.get(_ROLE, "")
        if role not in get_args(Role):
            raise TypeError(f"{self.path} names no role: give it openapi_extra=needs(...)")
        scope: Scope | Literal["any"] | None = extra.get(_SCOPE)
        if scope not in (None, "any", *SCOPES):
            raise TypeError(f"{self.path} names the scope {scope!r}, which there is not: choose of {SCOPES}")
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            caller = await run_in_threadpool(_admitted, request)
            caller.require(role, scope)
            workspace: Workspace = request.app.state.workspace
            limit = workspace.settings.max_upload_bytes + FORM_BYTES if extra.get(_UPLOAD) else JSON_BYTES
            request.state.caller = caller
            return await inner(_Body(request.scope, limited_body(request.headers, request.receive, limit)))

        return handler


class _Body(Request):
    """A request whose JSON is read exactly."""

    def __init__(self, scope: AsgiScope, receive: Receive) -> None:
        super().__init__(scope, receive)

    async def json(self) -> Any:
        """The JSON value of the body."""
        return read_json(await self.body())


def _admitted(request: Request) -> Caller:
    """Who calls, counted: a caller against its own limit, and who shows no valid credential against its address."""
    try:
        caller = _caller(request)
    except Unauthorized:
        count_stranger(request)
        raise
    count_caller(request, caller)
    return caller


def _caller(request: Request) -> Caller:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorized(
            "The request carries no API key.",
            fix="Send `Authorization: Bearer pim_...`; make a key with `pim key create`.",
        )
    workspace: Workspace = request.app.state.workspace
    return authenticate(workspace.app, key.strip(), actor_of(request))
