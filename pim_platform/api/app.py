"""The application: settings in, routers together, ready for uvicorn (``--factory``)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

import pim_platform
from pim_platform.api import (
    health,
    imports,
    mappings,
    previews,
    problems,
    products,
    reference,
    schema,
    sources,
    undo,
)
from pim_platform.api.problems import Problem
from pim_platform.api.rate_limits import OpenDoorMiddleware, RateLimitFieldsMiddleware
from pim_platform.api.request_ids import RequestIdMiddleware
from pim_platform.api.slashes import SlashMiddleware
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings, get_settings

_ROUTERS = (
    imports.router,
    previews.router,
    undo.imports,
    products.router,
    undo.products,
    schema.router,
    mappings.router,
    sources.router,
    health.router,
    reference.router,
)

_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")

_ABOUT = """Product information management for many tenants: upload a product file, confirm what its columns mean,
and read the catalogue it becomes.

Every route under `/api` needs `Authorization: Bearer pim_...`; a key belongs to one tenant and has a role
(`x-role` says the least one): viewer < reviewer < editor < admin. Errors are problem details (RFC 9457) with a
stable `code` and a `fix`. `X-Request-ID` is taken over, or made, and answered."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API of one installation. Opens no connection: engines are reached when they are first asked for."""
    app = FastAPI(
        title="PIM Platform",
        version=pim_platform.__version__,
        description=_ABOUT,
        docs_url=None,  # the usual pages load their scripts from elsewhere; ours is in `reference`
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.workspace = Workspace(settings or get_settings())
    problems.install(app)
    app.add_middleware(OpenDoorMiddleware)
    app.add_middleware(RateLimitFieldsMiddleware)
    app.add_middleware(SlashMiddleware)
    app.add_middleware(RequestIdMiddleware)
    for router in _ROUTERS:
        app.include_router(router)
    _describe_problems(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def _describe_problems(app: FastAPI) -> None:
    """Put the problem's schema into the document, and ours instead of FastAPI's own for invalid requests."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document["components"]["schemas"]
            model = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= model.pop("$defs", {}) | {"Problem": model}
            for name in _FASTAPI_OWN:
                schemas.pop(name, None)
            for operation in (found for methods in document["paths"].values() for found in methods.values()):
                # FastAPI promises its own 422 for every parameter, also for texts that cannot be wrong.
                if _FASTAPI_OWN[0] in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
