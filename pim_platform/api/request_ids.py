"""One id per request: taken from ``X-Request-ID`` or made here, answered in the same header.

It reaches the audit trail and the change log as ``Actor.trace_id``, so a line in a client's log, an
answer and a row in the database can be put side by side.
"""

from __future__ import annotations

import ipaddress
import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pim_platform.tenancy.audit import Actor

HEADER = "X-Request-ID"

_ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # anything else could forge log lines
_USER_AGENT = 300


class RequestIdMiddleware:
    """Gives every request its id, in ``request.state.request_id`` and in the answer's header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTED.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def answer(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, answer)


def request_id(connection: HTTPConnection) -> str:
    """The id of this request."""
    return str(connection.state.request_id)


def actor_of(connection: HTTPConnection) -> Actor:
    """Address, program and id of a request whose caller is not known yet."""
    agent = connection.headers.get("user-agent")
    return Actor("", address_of(connection), agent[:_USER_AGENT] if agent else None, request_id(connection))


def address_of(connection: HTTPConnection) -> str | None:
    """The peer's address; None for what is none, such as a Unix socket."""
    try:
        return str(ipaddress.ip_address(connection.client.host)) if connection.client else None
    except ValueError:
        return None


def from_this_machine(connection: HTTPConnection) -> bool:
    """Whether the caller runs on this machine, by its address; what a proxy beside us passes on does not."""
    if any(name.startswith(("forwarded", "x-forwarded-")) for name in connection.headers):
        return False
    address = address_of(connection)
    return address is not None and ipaddress.ip_address(address).is_loopback
