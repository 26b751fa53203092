"""``HEAD`` on everything that answers ``GET``: the same way in, the same fields, no body (RFC 9110, 9.3.2).

FastAPI gives it to no route of its own. Here it is one rule for all instead of a second method on each, so the OpenAPI
document, which lists what differs, stays as it is.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODIES = ("http.response.body", "http.response.pathsend")


class _Enough(OSError):
    """What is told to who goes on sending; as a server does when nobody reads any more."""


class HeadMiddleware:
    """Serves a ``HEAD`` as the ``GET`` that it stands for, and names it wherever ``Allow`` names that.

    A download or a stream ends with its first piece: it is not made for nobody.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bodiless = scope["method"] == "HEAD"
        ended = False

        async def answer(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                _name_head(message)
            elif bodiless and message["type"] in _BODIES:
                goes_on = message.get("more_body", False)
                if not ended:
                    ended = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                if goes_on:
                    raise _Enough
                return
            await send(message)

        if not bodiless:
            await self._app(scope, receive, answer)
            return
        inner = {**scope, "method": "GET"}  # a copy: the server outside looks at its own to leave bodies out
        try:
            await self._app(inner, receive, answer)
        except (_Enough, ClientDisconnect):
            if not ended:
                raise
        finally:
            # What routing found out, for those outside who tell of it.
            scope.update({name: value for name, value in inner.items() if name not in scope})


def _name_head(start: Message) -> None:
    headers = MutableHeaders(scope=start)
    methods = [method.strip() for method in headers.get("allow", "").split(",")]
    if "GET" in methods and "HEAD" not in methods:
        headers["Allow"] = ", ".join([*methods, "HEAD"])
