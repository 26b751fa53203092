"""What all aliases have in common: they are deprecated, and say so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response, Security

from pim_platform.api.dependencies import bearer
from pim_platform.api.routes import KeyRoute

#: When these paths were deprecated (RFC 9745: seconds since 1970), which is since they are here: 2026-11-21.
_DEPRECATED = "@1795219200"
_SUCCESSOR = "x-successor"


class AliasRoute(KeyRoute):
    """A route whose answers say that it is deprecated and what to use instead."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the headers behind."""
        inner = super().get_route_handler()
        successor = (self.openapi_extra or {})[_SUCCESSOR]

        async def handler(request: Request) -> Response:
            answer = await inner(request)
            answer.headers["Deprecation"] = _DEPRECATED
            answer.headers["Link"] = f'<{successor}>; rel="successor-version"'
            return answer

        return handler


def alias_router(prefix: str) -> APIRouter:
    """A router of deprecated routes; each of them says with :func:`instead` what to use."""
    return APIRouter(
        prefix=prefix, tags=["aliases"], route_class=AliasRoute, dependencies=[Security(bearer)], deprecated=True
    )


def instead(path: str) -> dict[str, Any]:
    """The part of a route's ``openapi_extra`` that names its successor."""
    return {_SUCCESSOR: path}
