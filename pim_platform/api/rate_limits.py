"""Rate limits at the doors: per key or user behind them, per address in front of them; and the fields that tell.

The fields are those of draft-ietf-httpapi-ratelimit-headers-11: ``RateLimit-Policy`` says what is allowed,
``RateLimit`` what is left (``r``) for how many seconds (``t``). What is refused is answered with 429, ``rate_limited``
and ``Retry-After``, which names the end of the window.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pim_platform.api.body_limits import limited_body
from pim_platform.api.problems import http_problem, pim_problem
from pim_platform.api.request_ids import address_of
from pim_platform.errors import PimError
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import Caller
from pim_platform.tenancy.rates import Allowance, require_admitted, take_for_address, take_for_caller

#: Bodies of doors that are open to everybody: a login, a new password.
OPEN_BYTES = 64 * 1024
#: Everything below checks a credential by itself, and counts who has none.
_KEYED = ("/api/", "/ws/")
#: What monitoring asks every few seconds, and what guards itself.
_UNCOUNTED = ("/health/", "/metrics")


def count_caller(connection: HTTPConnection, caller: Caller) -> None:
    """Count a request of an authenticated caller. Raises TooManyRequests."""
    workspace: Workspace = connection.app.state.workspace
    settings = workspace.settings
    _note(
        connection,
        take_for_caller(
            workspace.app,
            caller.tenant_id,
            caller.actor.name,
            default_quota=settings.rate_limit_requests,
            window=settings.rate_limit_seconds,
        ),
    )


def count_stranger(connection: HTTPConnection) -> None:
    """Count a request without a valid credential against its address. Raises TooManyRequests."""
    workspace: Workspace = connection.app.state.workspace
    settings = workspace.settings
    _note(
        connection,
        take_for_address(
            workspace.app,
            address_of(connection),
            quota=settings.rate_limit_address_requests,
            window=settings.rate_limit_seconds,
        ),
    )


def _note(connection: HTTPConnection, allowance: Allowance | None) -> None:
    connection.state.allowance = allowance
    require_admitted(allowance)


class OpenDoorMiddleware:
    """Limits what needs no credential: requests per address, and bodies to some kilobytes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(_KEYED):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            if not f"{scope['path']}/".startswith(_UNCOUNTED):
                await run_in_threadpool(count_stranger, connection)
            receive = limited_body(connection.headers, receive, OPEN_BYTES)
        except PimError as error:
            await pim_problem(error)(scope, receive, send)
        except HTTPException as error:
            await http_problem(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class RateLimitFieldsMiddleware:
    """Writes the fields of the allowance that was noted while the request was served."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def answer(message: Message) -> None:
            allowance: Allowance | None = state.get("allowance")
            if allowance is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"{allowance.policy}";q={allowance.quota};w={allowance.window}'
                headers["RateLimit"] = f'"{allowance.policy}";r={allowance.remaining};t={allowance.seconds}'
            await send(message)

        await self._app(scope, receive, answer)
