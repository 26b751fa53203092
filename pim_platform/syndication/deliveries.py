"""The log of deliveries: what was told to whom, what the receiver said, and what still waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, defer

from pim_platform.catalog.products import decode_cursor, encode_cursor
from pim_platform.errors import InvalidRequest, NotFound
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.models import DeliveryState, Webhook, WebhookDelivery
from pim_platform.syndication.subscriptions import get_webhook
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.tenants import list_tenants

#: Deliveries a page may hold.
MAXIMUM_PAGE = 500
_FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True)
class DeliveryPage:
    """A page of deliveries, newest first, without their payloads; and the cursor of the next, None at the end."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None


def list_deliveries(
    session: Session,
    webhook_id: UUID,
    *,
    state: DeliveryState | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> DeliveryPage:
    """What was and is to be delivered to a webhook of the session's tenant, newest first.

    Raises NotFound, InvalidRequest for a bad cursor or limit.
    """
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise InvalidRequest(
            f"A page cannot hold {limit} deliveries.",
            fix=f"Ask for 1 to {MAXIMUM_PAGE}.",
            column="limit",
            value=limit,
        )
    webhook = get_webhook(session, webhook_id)
    query = select(WebhookDelivery).where(
        WebhookDelivery.tenant_id == session.info["tenant_id"], WebhookDelivery.webhook_id == webhook.id
    )
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if cursor is not None:
        query = query.where(WebhookDelivery.number < _number(cursor))
    newest = query.order_by(WebhookDelivery.number.desc()).limit(limit + 1).options(defer(WebhookDelivery.payload))
    found = list(session.scalars(newest))
    page = found[:limit]
    return DeliveryPage(page, encode_cursor(str(page[-1].number)) if len(found) > limit else None)


def get_delivery(session: Session, webhook_id: UUID, delivery_id: UUID, *, lock: bool = False) -> WebhookDelivery:
    """One delivery of a webhook of the session's tenant, with its payload. Raises NotFound."""
    query = select(WebhookDelivery).where(
        WebhookDelivery.tenant_id == session.info["tenant_id"],
        WebhookDelivery.webhook_id == get_webhook(session, webhook_id).id,
        WebhookDelivery.id == delivery_id,
    )
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"There is no delivery {delivery_id} of this webhook.",
            fix="List its deliveries; those past retention are gone.",
            code="unknown_delivery",
            value=str(delivery_id),
        )
    return found


def redeliver(session: Session, webhook_id: UUID, delivery_id: UUID, actor: Actor) -> WebhookDelivery:
    """Let an event be delivered (again), under the same ``webhook-id``, with all its attempts.

    It goes out where it stands in its product's order: before what waits and is newer, after what was delivered.
    Raises NotFound.
    """
    found = get_delivery(session, webhook_id, delivery_id, lock=True)
    found.state, found.attempts, found.due_at = "pending", 0, func.clock_timestamp()
    record(session, actor, "webhook.redelivered", "webhook", str(webhook_id), delivery=str(delivery_id))
    session.flush()
    session.refresh(found)
    return found


_FORGET = text("""
WITH old AS (
  SELECT d.id FROM pim.webhook_deliveries d
  WHERE d.tenant_id = :tenant AND d.webhook_id = :webhook AND d.created_at < clock_timestamp() - CAST(:keep AS interval)
  ORDER BY d.number LIMIT :most),
gone AS (
  DELETE FROM pim.webhook_deliveries d USING old WHERE d.tenant_id = :tenant AND d.id = old.id RETURNING d.state)
SELECT count(*), count(*) FILTER (WHERE state = 'pending') FROM gone
""")

_OLD = text("""
SELECT count(*), count(*) FILTER (WHERE state = 'pending') FROM pim.webhook_deliveries
WHERE tenant_id = :tenant AND webhook_id = :webhook AND created_at < clock_timestamp() - CAST(:keep AS interval)
""")


@dataclass
class Forgotten:
    """Deliveries that retention removed (or would), and how many of these still waited for their receiver."""

    deliveries: int = 0
    waiting: int = 0


def forget_deliveries(workspace: Workspace, *, dry_run: bool = False) -> Forgotten:
    """Remove deliveries past ``PIM_WEBHOOK_RETENTION_DAYS``, of every tenant, in pieces.

    Also those that still wait: a receiver that took nothing for so long shall not fill the database. They are
    counted on their webhook (``dropped``), never lost in silence.
    """
    found = Forgotten()
    keep = timedelta(days=workspace.settings.webhook_retention_days)
    for tenant in list_tenants(workspace.app):
        with tenant_session(workspace.app, tenant.id) as session:
            webhooks = list(session.scalars(select(Webhook.id).where(Webhook.tenant_id == tenant.id)))
        for webhook_id in webhooks:
            given = {"tenant": tenant.id, "webhook": webhook_id, "keep": keep, "most": _FORGOTTEN_AT_ONCE}
            while True:
                with tenant_session(workspace.app, tenant.id) as session:
                    count, waiting = session.execute(_OLD if dry_run else _FORGET, given).one()
                    if waiting and not dry_run:
                        get_webhook(session, webhook_id, lock=True).dropped += waiting
                found.deliveries += count
                found.waiting += waiting
                if dry_run or count < _FORGOTTEN_AT_ONCE:
                    break
    return found


def _number(cursor: str) -> int:
    decoded = decode_cursor(cursor)
    if not decoded.isdecimal() or len(decoded) > 18:
        raise InvalidRequest(
            f"{cursor!r} is not a cursor.",
            fix="Send the next_cursor of the page before.",
            column="cursor",
            value=cursor,
        )
    return int(decoded)
