"""Webhooks: who is told of what happens, trying them out, and the log of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.paging import CursorQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.deliveries import MAXIMUM_PAGE, get_delivery, list_deliveries, redeliver
from pim_platform.syndication.models import DeliveryState, Event, Webhook, WebhookDelivery, WebhookState
from pim_platform.syndication.subscriptions import (
    change_webhook,
    create_webhook,
    delete_webhook,
    disable_webhook,
    enable_webhook,
    get_webhook,
    list_webhooks,
    rotate_secret,
)
from pim_platform.syndication.trying import try_webhook

router = APIRouter(prefix="/api/pim/webhooks", tags=["webhooks"], route_class=KeyRoute, dependencies=[Security(bearer)])

_NEEDS = needs("admin", scope="webhooks:manage")
_SHOWS_SECRET = needs("admin", scope="webhooks:manage", keeps="nothing")

_ID = "01a1fc95-e36a-7de1-9112-478c69e3dddc"
_SHOWN: dict[str, Any] = {
    "id": _ID,
    "url": "https://shop.example/hooks/pim",
    "description": "The shop's cache",
    "events": ["product.updated", "import.completed"],
    "import_products": False,
    "state": "active",
    "reason": None,
    "stopped_at": None,
    "paused_until": None,
    "failures": 0,
    "dropped": 0,
    "created_at": "2026-11-21T05:30:44Z",
    "updated_at": "2026-11-21T05:30:44Z",
}
_DELIVERY: dict[str, Any] = {
    "id": "01a1fc95-e55e-72db-842a-2957ac341a42",
    "event": "product.updated",
    "state": "delivered",
    "attempts": 1,
    "created_at": "2026-11-21T05:30:44Z",
    "due_at": "2026-11-21T05:30:44Z",
    "attempted_at": "2026-11-21T05:30:49Z",
    "status": 204,
    "duration_ms": 38,
    "answer": "",
    "error": None,
}

Url = Annotated[Text, Field(min_length=1, max_length=2_048, description="https, on a public address.")]
Events = Annotated[list[Event], Field(min_length=1, max_length=20, description="What it is told of.")]
Description = Annotated[Text, Field(max_length=500, description="For people.")]
ImportProducts = Annotated[
    bool,
    Field(
        description="Whether imports tell of each product too. Else an import is one `import.completed`, whatever "
        "number of products it changes."
    ),
]


class WebhookIn(BaseModel):
    """A receiver to subscribe."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": _SHOWN["url"], "events": _SHOWN["events"]}]},
    )

    url: Url
    events: Events
    description: Description = ""
    import_products: ImportProducts = False


class WebhookPatch(BaseModel):
    """What to change; what is absent stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"events": ["product.updated"]}]})

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    import_products: ImportProducts | None = None


class WebhookOut(BaseModel):
    """A webhook, and how its receiver behaves."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: UUID
    url: str
    description: str
    events: list[Event]
    import_products: bool
    state: WebhookState = Field(
        description="`disabled` by a person, `gone` by the receiver (410): new events are not kept for it. "
        "`suspended`, because nothing went through for days: they are. Enabling it delivers what waits."
    )
    reason: str | None = Field(description="Why it is not active.")
    stopped_at: datetime | None
    paused_until: datetime | None = Field(description="Until when the receiver is left in peace after failures.")
    failures: int = Field(description="Failed calls in a row.")
    dropped: int = Field(description="Deliveries that still waited when retention removed them.")
    created_at: datetime
    updated_at: datetime


class WebhookSecretOut(WebhookOut):
    """A webhook with a secret that is not shown again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_SHOWN | {"secret": "whsec_bm90IGEgc2VjcmV0LCBqdXN0IGFuIGV4YW1wbGUhISE="}]}
    )

    secret: str = Field(description="Signs every call (Standard Webhooks). Keep it: it is not shown again.")


class WebhookListOut(BaseModel):
    """All webhooks of the tenant, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"webhooks": [_SHOWN]}]})

    webhooks: list[WebhookOut]


class TestOut(BaseModel):
    """What the receiver said to one call."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"delivered": True, "status": 204, "duration_ms": 38, "answer": "", "error": None}]
        }
    )

    delivered: bool = Field(description="Whether it answered with a status from 200 to 299.")
    status: int | None = Field(description="Null: it did not answer.")
    duration_ms: int | None
    answer: str | None = Field(description="The first 1,024 bytes of what it said.")
    error: str | None


class DeliveryOut(BaseModel):
    """An event for a webhook and what became of its last attempt."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: UUID = Field(description="`msg_` and this is the header `webhook-id`, the same at every attempt.")
    event: Event
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_at: datetime = Field(description="While it is pending: not before this.")
    attempted_at: datetime | None
    status: int | None = Field(description="Of the last attempt; null: no answer.")
    duration_ms: int | None
    answer: str | None = Field(description="The first 1,024 bytes of what it said.")
    error: str | None


class DeliveryDetail(DeliveryOut):
    """A delivery with what is sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _DELIVERY
                | {
                    "payload": {
                        "type": "product.updated",
                        "timestamp": "2026-11-21T05:30:44.420408Z",
                        "data": {
                            "product_id": _ID,
                            "sku": "TENT-2",
                            "name": "Tent for two",
                            "version": 2,
                            "changes": [{"field": "name", "old": "Tent", "new": "Tent for two"}],
                        },
                    }
                }
            ]
        }
    )

    payload: dict[str, Any]


class DeliveryPageOut(BaseModel):
    """A page of deliveries, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deliveries": [_DELIVERY], "next_cursor": None}]})

    deliveries: list[DeliveryOut]
    next_cursor: NextCursor


def _webhook(found: Webhook) -> dict[str, Any]:
    return {name: getattr(found, name) for name in WebhookOut.model_fields}


def _delivery(found: WebhookDelivery) -> dict[str, Any]:
    return {name: getattr(found, name) for name in DeliveryOut.model_fields}


@router.get("/", summary="List webhooks", response_model=WebhookListOut, responses=documented(), openapi_extra=_NEEDS)
def webhooks(session: SessionDep) -> dict[str, Any]:
    """All webhooks of the tenant. Secrets are not shown."""
    return {"webhooks": [_webhook(found) for found in list_webhooks(session)]}


@router.post(
    "/",
    status_code=201,
    summary="Subscribe a receiver",
    response_model=WebhookSecretOut,
    responses=documented(409, 413, 422),
    openapi_extra=_SHOWS_SECRET,
)
def create(workspace: WorkspaceDep, caller: CallerDep, body: WebhookIn) -> dict[str, Any]:
    """Tell a receiver of events from now on. The answer holds the signing secret, once."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        made, secret = create_webhook(session, workspace.settings, **body.model_dump(), actor=caller.actor)
        return _webhook(made) | {"secret": secret}


@router.get(
    "/{webhook_id}/",
    summary="One webhook",
    response_model=WebhookOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def webhook(session: SessionDep, webhook_id: UUID) -> dict[str, Any]:
    """A webhook and how its receiver behaves."""
    return _webhook(get_webhook(session, webhook_id))


@router.patch(
    "/{webhook_id}/",
    summary="Change a webhook",
    response_model=WebhookOut,
    responses=documented(404, 413, 422),
    openapi_extra=_NEEDS,
)
def change(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID, body: WebhookPatch) -> dict[str, Any]:
    """Change its address, events or description. What waits already goes to the new address."""
    given = {name: value for name, value in body.model_dump().items() if value is not None}
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _webhook(change_webhook(session, workspace.settings, webhook_id, **given, actor=caller.actor))


@router.delete(
    "/{webhook_id}/",
    status_code=204,
    summary="Delete a webhook",
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def delete(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> None:
    """Remove a webhook with its log. What waits is not delivered."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        delete_webhook(session, webhook_id, caller.actor)


@router.post(
    "/{webhook_id}/enable/",
    summary="Enable a webhook",
    response_model=WebhookOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def enable(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> dict[str, Any]:
    """Deliver again, at once; what has waited goes out first, in order."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _webhook(enable_webhook(session, webhook_id, caller.actor))


@router.post(
    "/{webhook_id}/disable/",
    summary="Disable a webhook",
    response_model=WebhookOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def disable(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> dict[str, Any]:
    """Stop delivering. What waits stays; events from now on are not kept for it."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _webhook(disable_webhook(session, webhook_id, caller.actor))


@router.post(
    "/{webhook_id}/rotate-secret/",
    summary="Make a new secret",
    response_model=WebhookSecretOut,
    responses=documented(404, 422),
    openapi_extra=_SHOWS_SECRET,
)
def rotate(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> dict[str, Any]:
    """Replace the signing secret; for 24 hours calls are signed with the one before as well."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        changed, secret = rotate_secret(session, workspace.settings, webhook_id, caller.actor)
        return _webhook(changed) | {"secret": secret}


@router.post(
    "/{webhook_id}/test/",
    summary="Try a webhook",
    response_model=TestOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def test(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID) -> dict[str, Any]:
    """Send a signed `webhook.test` event now and answer what the receiver said, also where that is nothing."""
    said = try_webhook(workspace, caller.tenant_id, webhook_id, caller.actor)
    return {
        "delivered": said.taken,
        "status": said.status,
        "duration_ms": said.ms,
        "answer": said.answer,
        "error": said.error,
    }


@router.get(
    "/{webhook_id}/deliveries/",
    summary="Deliveries of a webhook",
    response_model=DeliveryPageOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def deliveries(
    session: SessionDep,
    webhook_id: UUID,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 50,
) -> dict[str, Any]:
    """What was and is to be delivered, newest first. Kept for 30 days, unless the operator says otherwise."""
    page = list_deliveries(session, webhook_id, state=state, cursor=cursor, limit=limit)
    return {"deliveries": [_delivery(found) for found in page.deliveries], "next_cursor": page.next_cursor}


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}/",
    summary="One delivery",
    response_model=DeliveryDetail,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def delivery(session: SessionDep, webhook_id: UUID, delivery_id: UUID) -> Response:
    """A delivery with the body that is sent."""
    found = get_delivery(session, webhook_id, delivery_id)
    return exact_answer(DeliveryDetail, _delivery(found) | {"payload": found.payload})


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver/",
    status_code=202,
    summary="Deliver again",
    response_model=DeliveryOut,
    responses=documented(404, 422),
    openapi_extra=_NEEDS,
)
def deliver_again(workspace: WorkspaceDep, caller: CallerDep, webhook_id: UUID, delivery_id: UUID) -> dict[str, Any]:
    """Put an event back into the queue, under the same `webhook-id`, whatever became of it."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _delivery(redeliver(session, webhook_id, delivery_id, caller.actor))
