"""Tables of syndication."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pim_platform.storage.base import Base
from pim_platform.tenancy.models import Tenant

Event = Literal[
    "product.created",
    "product.updated",
    "product.deleted",
    "import.completed",
    "import.failed",
    "import.needs_confirmation",
]
EVENTS: tuple[Event, ...] = get_args(Event)

#: ``disabled`` by a person, ``gone`` by the receiver (410), ``suspended`` because nothing went through for days.
WebhookState = Literal["active", "disabled", "suspended", "gone"]
DeliveryState = Literal["pending", "delivered", "failed"]

_PENDING = text("state = 'pending'")


class Webhook(Base):
    """A subscription: where events of a tenant go, and how the receiver behaves."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint(
            f"cardinality(events) > 0 AND events <@ ARRAY[{', '.join(map(repr, EVENTS))}]",
            name="events",
        ),
        CheckConstraint("state IN ('active', 'disabled', 'suspended', 'gone')", name="state"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default="")
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    import_products: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether imports tell of each product too, besides ``import.completed``."""
    secret: Mapped[str] = mapped_column(Text)
    """Sealed (:mod:`pim_platform.storage.sealing`), as is the one before, which signs too until its time is over."""
    old_secret: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(Text, server_default="active")
    reason: Mapped[str | None] = mapped_column(Text)
    stopped_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """Failed calls in a row."""
    pauses: Mapped[int] = mapped_column(server_default=text("0"))
    """How often in a row the receiver was left in peace because of them."""
    paused_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_owner: Mapped[str | None] = mapped_column(Text)
    dropped: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Deliveries that still waited when retention removed them."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookDelivery(Base):
    """One event for one webhook: waiting, or what became of it. ``number`` follows the order of the commits."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
        ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            [Webhook.tenant_id, Webhook.id],
            name="fk_webhook_deliveries_tenant_id_webhook_id",
            ondelete="CASCADE",
        ),
        Index("ix_webhook_deliveries_log", "tenant_id", "webhook_id", "number"),
        Index("ix_webhook_deliveries_pending", "tenant_id", "webhook_id", "number", postgresql_where=_PENDING),
        Index(
            "ix_webhook_deliveries_in_order",
            "tenant_id",
            "webhook_id",
            "ordering_key",
            "number",
            postgresql_where=_PENDING,
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    webhook_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    event: Mapped[str] = mapped_column(Text)
    ordering_key: Mapped[str] = mapped_column(Text(collation="C"))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    attempted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status: Mapped[int | None]
    duration_ms: Mapped[int | None]
    answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
