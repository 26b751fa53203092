"""Webhooks as the first importer knew them: of one event each."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.aliases.routes import alias_router, instead
from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep
from pim_platform.api.problems import documented
from pim_platform.api.routes import needs
from pim_platform.api.webhooks import TestOut
from pim_platform.api.webhooks import test as try_webhook
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.models import Webhook
from pim_platform.syndication.subscriptions import (
    change_webhook,
    create_webhook,
    delete_webhook,
    disable_webhook,
    enable_webhook,
    get_webhook,
    list_webhooks,
)

router = alias_router("/api/webhooks")

_EventType = Literal["product.created", "product.updated", "product.deleted"]

_WEBHOOK: dict[str, JsonValue] = {
    "id": "01a1fc95-e36a-7de1-9112-478c69e3dddc",
    "url": "https://shop.example/hooks/pim",
    "event_type": "product.updated",
    "enabled": True,
    "created_at": "2026-11-21T05:30:44Z",
    "updated_at": "2026-11-21T05:30:44Z",
}


class AliasWebhook(BaseModel):
    """A webhook as the first importer knew it: of one event."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WEBHOOK]})

    id: UUID
    url: str
    event_type: str = Field(description="The first of its events, where it was given several.")
    enabled: bool
    created_at: datetime
    updated_at: datetime


class AliasWebhookSecret(AliasWebhook):
    """A new webhook, with the secret that signs its calls."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_WEBHOOK | {"secret": "whsec_bm90IGEgc2VjcmV0LCBqdXN0IGFuIGV4YW1wbGUhISE="}]}
    )

    secret: str = Field(description="Not shown again.")


class AliasWebhookList(BaseModel):
    """All webhooks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"webhooks": [_WEBHOOK]}]})

    webhooks: list[AliasWebhook]


class AliasWebhookIn(BaseModel):
    """A receiver of one event."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://shop.example/hooks/pim", "event_type": "product.updated"}]},
    )

    url: Text = Field(min_length=1, max_length=2_048)
    event_type: _EventType
    enabled: bool = True


class AliasWebhookPut(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": False}]})

    url: Text | None = Field(None, min_length=1, max_length=2_048)
    event_type: _EventType | None = None
    enabled: bool | None = None


_HOOKS = needs("admin", scope="webhooks:manage")


def _webhook(found: Webhook) -> dict[str, Any]:
    return {
        "id": found.id,
        "url": found.url,
        "event_type": found.events[0],
        "enabled": found.state == "active",
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


@router.get(
    "/",
    summary="List webhooks (alias)",
    response_model=AliasWebhookList,
    responses=documented(),
    openapi_extra=_HOOKS | instead("/api/pim/webhooks/"),
)
def hooks(session: SessionDep) -> dict[str, Any]:
    """All webhooks of the tenant."""
    return {"webhooks": [_webhook(found) for found in list_webhooks(session)]}


@router.post(
    "/",
    status_code=201,
    summary="Create a webhook (alias)",
    response_model=AliasWebhookSecret,
    responses=documented(409, 413, 422),
    openapi_extra=needs("admin", scope="webhooks:manage", keeps="nothing") | instead("/api/pim/webhooks/"),
)
def create_hook(workspace: WorkspaceDep, caller: CallerDep, body: AliasWebhookIn) -> dict[str, Any]:
    """Tell a receiver of one event, of imports too: the first importer told of each product."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        made, secret = create_webhook(
            session,
            workspace.settings,
            url=body.url,
            events=[body.event_type],
            import_products=True,
            actor=caller.actor,
        )
        if not body.enabled:
            made = disable_webhook(session, made.id, caller.actor)
        return _webhook(made) | {"secret": secret}


@router.put(
    "/{webhook_id}/",
    summary="Update a webhook (alias)",
    response_model=AliasWebhook,
    responses=documented(404, 413, 422),
    openapi_extra=_HOOKS | instead("/api/pim/webhooks/{webhook_id}/"),
)
def update_hook(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID, body: AliasWebhookPut) -> dict[str, Any]:
    """Change a webhook's address or event, enable or disable it."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        found = get_webhook(session, webhook_id, lock=True)
        if body.url is not None or body.event_type is not None:
            events = [body.event_type] if body.event_type is not None else None
            found = change_webhook(
                session, workspace.settings, webhook_id, url=body.url, events=events, actor=caller.actor
            )
        if body.enabled is not None and body.enabled != (found.state == "active"):
            switch = enable_webhook if body.enabled else disable_webhook
            found = switch(session, webhook_id, caller.actor)
        return _webhook(found)


@router.delete(
    "/{webhook_id}/",
    status_code=204,
    summary="Delete a webhook (alias)",
    responses=documented(404, 422),
    openapi_extra=_HOOKS | instead("/api/pim/webhooks/{webhook_id}/"),
)
def delete_hook(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> None:
    """Remove a webhook."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        delete_webhook(session, webhook_id, caller.actor)


@router.post(
    "/{webhook_id}/test/",
    summary="Test a webhook (alias)",
    response_model=TestOut,
    responses=documented(404, 422),
    openapi_extra=_HOOKS | instead("/api/pim/webhooks/{webhook_id}/test/"),
)
def test_hook(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> dict[str, Any]:
    """Send a sample now and answer what the receiver said."""
    return try_webhook(workspace, caller, webhook_id)
