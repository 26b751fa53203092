"""Webhooks of a tenant: who is told of what, and whether it is told at present.

A secret is shown by the function that makes it and never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, InvalidRequest, NotFound
from pim_platform.settings import Settings
from pim_platform.storage.addresses import without_query
from pim_platform.storage.outbound import Policy, check_address
from pim_platform.storage.sealing import seal, unseal
from pim_platform.syndication.models import EVENTS, Webhook
from pim_platform.syndication.signing import new_secret
from pim_platform.tenancy.audit import Actor, record

#: Webhooks a tenant may have.
MAXIMUM = 50
#: How long the secret before signs too after a rotation.
ROTATION = timedelta(hours=24)
_PURPOSE = "webhook"


def list_webhooks(session: Session) -> list[Webhook]:
    """The webhooks of the session's tenant, oldest first."""
    query = select(Webhook).where(Webhook.tenant_id == session.info["tenant_id"])
    return list(session.scalars(query.order_by(Webhook.created_at, Webhook.id)))


def get_webhook(session: Session, webhook_id: UUID, *, lock: bool = False) -> Webhook:
    """A webhook of the session's tenant. Raises NotFound, for another tenant's as well."""
    query = select(Webhook).where(Webhook.tenant_id == session.info["tenant_id"], Webhook.id == webhook_id)
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"There is no webhook {webhook_id}.",
            fix="List the webhooks to find its id.",
            code="unknown_webhook",
            value=str(webhook_id),
        )
    return found


def create_webhook(
    session: Session,
    settings: Settings,
    *,
    url: str,
    events: Sequence[str],
    description: str = "",
    import_products: bool = False,
    actor: Actor,
) -> tuple[Webhook, str]:
    """Subscribe a receiver; returns the webhook and its secret, which is not shown again.

    Raises AddressRefused (the URL must not be called), InvalidRequest (events), Conflict (too many webhooks).
    """
    tenant_id: UUID = session.info["tenant_id"]
    check_address(url, Policy.for_calls(settings))
    count = session.scalar(select(func.count()).select_from(Webhook).where(Webhook.tenant_id == tenant_id)) or 0
    if count >= MAXIMUM:
        raise Conflict(
            f"The tenant has {count} webhooks already.", fix="Delete one that is not used.", code="too_many_webhooks"
        )
    secret = new_secret()
    made = Webhook(
        tenant_id=tenant_id,
        url=url,
        description=description,
        events=_known(events),
        import_products=import_products,
        secret=seal(settings, _PURPOSE, secret),
    )
    session.add(made)
    session.flush()
    session.refresh(made)
    record(session, actor, "webhook.created", "webhook", str(made.id), url=without_query(url), events=made.events)
    return made, secret


def change_webhook(
    session: Session,
    settings: Settings,
    webhook_id: UUID,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    import_products: bool | None = None,
    actor: Actor,
) -> Webhook:
    """Change what is given; what waits already is delivered to the new address.

    Raises NotFound, AddressRefused, InvalidRequest.
    """
    if url is not None:
        check_address(url, Policy.for_calls(settings))
    found = get_webhook(session, webhook_id, lock=True)
    if url is not None and url != found.url:
        found.url = url
        found.failures, found.pauses, found.paused_until = 0, 0, None
    if events is not None:
        found.events = _known(events)
    if description is not None:
        found.description = description
    if import_products is not None:
        found.import_products = import_products
    shown: dict[str, Any] = {"url": without_query(found.url), "events": found.events}
    return _changed(session, found, actor, "webhook.changed", **shown, import_products=found.import_products)


def delete_webhook(session: Session, webhook_id: UUID, actor: Actor) -> None:
    """Remove a webhook and its log; what waits is not delivered. Raises NotFound."""
    found = get_webhook(session, webhook_id, lock=True)
    record(session, actor, "webhook.deleted", "webhook", str(found.id), url=without_query(found.url))
    session.delete(found)
    session.flush()


def disable_webhook(session: Session, webhook_id: UUID, actor: Actor) -> Webhook:
    """Stop delivering: new events are not kept for it, those that wait stay. Raises NotFound."""
    found = get_webhook(session, webhook_id, lock=True)
    if found.state != "disabled":
        found.state, found.reason, found.stopped_at = "disabled", f"Disabled by {actor.name}.", func.clock_timestamp()
    return _changed(session, found, actor, "webhook.disabled")


def enable_webhook(session: Session, webhook_id: UUID, actor: Actor) -> Webhook:
    """Deliver again, from a receiver's clean slate; what has waited goes out first. Raises NotFound."""
    found = get_webhook(session, webhook_id, lock=True)
    if found.state != "active":
        found.state, found.reason, found.stopped_at = "active", None, None
    found.failures, found.pauses, found.paused_until = 0, 0, None
    session.flush()
    hurry(session, found.id)
    return _changed(session, found, actor, "webhook.enabled")


def rotate_secret(session: Session, settings: Settings, webhook_id: UUID, actor: Actor) -> tuple[Webhook, str]:
    """Make a new secret, shown once; calls are signed with both for a day. Raises NotFound."""
    found = get_webhook(session, webhook_id, lock=True)
    secret = new_secret()
    found.old_secret, found.secret = found.secret, seal(settings, _PURPOSE, secret)
    found.old_secret_until = func.clock_timestamp() + ROTATION
    return _changed(session, found, actor, "webhook.secret_rotated"), secret


def hurry(session: Session, webhook_id: UUID) -> int:
    """Let what waits for its next attempt be tried now, because the receiver is back; returns how many."""
    return len(
        session.execute(
            text(
                "UPDATE pim.webhook_deliveries SET due_at = clock_timestamp() WHERE tenant_id = :tenant "
                "AND webhook_id = :webhook AND state = 'pending' AND due_at > clock_timestamp() RETURNING 1"
            ),
            {"tenant": session.info["tenant_id"], "webhook": webhook_id},
        ).all()
    )


def secrets_of(settings: Settings, secret: str, old_secret: str | None) -> list[str]:
    """The signing secrets behind what is stored, the present one first. Raises BrokenSeal where the key is gone."""
    return [unseal(settings, _PURPOSE, sealed) for sealed in (secret, old_secret) if sealed is not None]


def _known(events: Sequence[str]) -> list[str]:
    unknown = sorted(set(events) - set(EVENTS))
    if unknown or not events:
        raise InvalidRequest(
            f"There is no event {unknown[0]!r}." if unknown else "No event is named.",
            fix=f"Choose of {', '.join(EVENTS)}.",
            code="unknown_event",
            column="events",
            value=unknown[0] if unknown else None,
            expected=list(EVENTS),
        )
    return [event for event in EVENTS if event in events]


def _changed(session: Session, found: Webhook, actor: Actor, action: str, **details: Any) -> Webhook:
    found.updated_at = func.clock_timestamp()
    record(session, actor, action, "webhook", str(found.id), **details)
    session.flush()
    session.refresh(found)
    return found
