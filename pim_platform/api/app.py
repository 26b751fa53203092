"""The application: settings in, routers together, ready for uvicorn (``--factory``)."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

import pim_platform
from pim_platform.api import (
    audit,
    auth,
    bulk_operations,
    exports,
    feeds,
    headers,
    health,
    imports,
    keys,
    mappings,
    me,
    metrics,
    previews,
    problems,
    product_writes,
    products,
    progress,
    reference,
    schema,
    scores,
    search,
    sources,
    tenants,
    undo,
    users,
    webhooks,
)
from pim_platform.api.aliases import products as alias_products
from pim_platform.api.aliases import webhooks as alias_webhooks
from pim_platform.api.document import describe
from pim_platform.api.head import HeadMiddleware
from pim_platform.api.headers import SecurityHeadersMiddleware
from pim_platform.api.observing import ObserveMiddleware
from pim_platform.api.rate_limits import OpenDoorMiddleware, RateLimitFieldsMiddleware
from pim_platform.api.request_ids import RequestIdMiddleware
from pim_platform.api.slashes import SlashMiddleware
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings, get_settings

_ROUTERS = (
    search.pages,  # first, because it is asked for most and routers are tried in turn
    feeds.imports,
    imports.router,
    previews.router,
    undo.imports,
    search.router,  # before the routes that take a product's id
    scores.router,  # likewise
    products.router,
    undo.products,
    bulk_operations.router,
    product_writes.router,
    schema.router,
    exports.router,
    mappings.router,
    webhooks.router,
    sources.router,
    progress.sockets,
    progress.watched,
    progress.router,
    feeds.hosts,
    feeds.sources,
    users.router,
    keys.router,
    tenants.router,
    audit.router,
    me.router,
    auth.router,
    alias_products.router,
    alias_webhooks.router,
    health.router,
    metrics.router,
    reference.router,
)

_ABOUT = """Product information management for many tenants: upload a product file, confirm what its columns mean,
and read the catalogue it becomes.

Every route under `/api` needs `Authorization: Bearer ...` with an API key, which belongs to one tenant, or the access
token of a person who logged in at `/auth/token`; a person of several tenants names one in `X-Tenant`. Both have a role
(`x-role` says the least one): viewer < reviewer < editor < admin; a key may be limited to scopes (`x-scope`).
Errors are problem details (RFC 9457) with a stable `code` and a `fix`. `X-Request-ID` is taken over, or made, and
answered."""


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
    app.add_middleware(HeadMiddleware)  # innermost: those outside count and tell a HEAD as one
    app.add_middleware(OpenDoorMiddleware)
    app.add_middleware(RateLimitFieldsMiddleware)
    if allowed := headers.origins(app.state.workspace.settings.cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=headers.CORS_METHODS,
            allow_headers=headers.CORS_REQUEST_FIELDS,
            expose_headers=headers.CORS_ANSWER_FIELDS,
        )
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(ObserveMiddleware)
    app.add_middleware(SlashMiddleware)
    app.add_middleware(RequestIdMiddleware)
    for router in _ROUTERS:
        app.include_router(router)
    describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name
