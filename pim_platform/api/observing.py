"""One log line and one count per request: who, which route, with what outcome, and how long it took."""

from __future__ import annotations

import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pim_platform.api.logs import logger
from pim_platform.api.metrics import count_request
from pim_platform.tenancy.keys import Caller

#: Shown as the route of a request that matches none: its path is the client's own text.
NO_ROUTE = "(none)"
#: Asked every few seconds by supervisors; at INFO they would be most of the log.
_PROBES = ("/health/", "/metrics")

#: Codes that a WebSocket ends with (RFC 6455, 7.4.1): as it should, and without a word.
_NORMAL, _ABNORMAL = 1000, 1006

_log = logger("pim.api")


class ObserveMiddleware:
    """Watches each request from the first byte to the last."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        started = time.perf_counter()
        status = 500 if scope["type"] == "http" else _ABNORMAL  # whatever ends without an answer

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.close":
                status = message.get("code", _NORMAL)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=state.get("request_id")):
            try:
                await self._app(scope, receive, answer)
            finally:
                _report(scope, state, status, time.perf_counter() - started)


def _report(scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", None) or _document(scope) or NO_ROUTE
    method = scope.get("method", "WEBSOCKET")
    if scope["type"] == "http":
        count_request(method, route, status, seconds)
    told: dict[str, Any] = {"method": method, "route": route, "status": status, "ms": round(seconds * 1e3, 1)}
    caller: Caller | None = state.get("caller")
    if caller is not None:
        told |= {"tenant_id": str(caller.tenant_id), "actor": caller.actor.name}
    tell = _log.debug if route.startswith(_PROBES) else _log.info
    tell("request", **told)


def _document(scope: Scope) -> str | None:
    """The path of the OpenAPI document, which FastAPI serves by a route that it does not name."""
    path: str | None = scope["app"].openapi_url
    return path if scope["path"] == path else None
