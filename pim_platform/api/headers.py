"""What every answer tells browsers and caches, and which pages of other origins may call the API at all.

After OWASP's REST security cheat sheet: nothing here is a page that may be framed, run scripts or be kept by a cache.
A route that knows better (an ETag that may be kept, a download) sets the field itself and is left alone.
"""

from __future__ import annotations

import base64
import hashlib

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_YEAR = 31_536_000

#: For data: nothing may be loaded, run or framed.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": DATA_POLICY,
    "Cache-Control": "no-store",
}

#: What a browser may send and read of an answer where another origin's pages are let in.
CORS_REQUEST_FIELDS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID",
                       "X-Tenant")  # fmt: skip
CORS_ANSWER_FIELDS = ("Content-Disposition", "ETag", "Idempotency-Replayed", "Location", "RateLimit",
                      "RateLimit-Policy", "Retry-After", "X-Request-ID")  # fmt: skip
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def page_policy(style: str) -> str:
    """The Content-Security-Policy of a page whose one style sheet stands inside it: that one, and no script."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"{DATA_POLICY}; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def origins(setting: str) -> list[str]:
    """The origins of ``PIM_CORS_ORIGINS``."""
    return [origin for part in setting.split(",") if (origin := part.strip().rstrip("/"))]


class SecurityHeadersMiddleware:
    """Adds the fixed fields, and Strict-Transport-Security where the request came by https."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in FIXED.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR}")
            await send(message)

        await self._app(scope, receive, answer)
