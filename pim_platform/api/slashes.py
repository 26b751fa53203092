"""Every route answers with and without its trailing slash, and never by a redirect.

A redirect costs a client another upload of the same file, and many clients drop the credential on the way.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASHED = "/api/"


class SlashMiddleware:
    """Adds the slash to paths under ``/api/`` (so the documents spell them) and drops it from all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] in ("http", "websocket"):
            path: str = scope["path"]
            bare = path.rstrip("/")
            wanted = f"{bare}/" if path.startswith(_SLASHED) else bare or "/"
            if wanted != path:
                scope = {**scope, "path": wanted, "raw_path": wanted.encode()}
        await self._app(scope, receive, send)
