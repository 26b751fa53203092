"""A workspace whose webhooks may call two addresses of the loopback network, and only those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.schemas import current_schema
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.staging import stage_records
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.models import EVENTS, Webhook, WebhookDelivery
from pim_platform.syndication.subscriptions import create_webhook, get_webhook
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo

ACTOR = Actor("key:test", trace_id="request-1")

#: Where receivers of these tests are; 127.0.0.1 stands for what must not be reached.
OUTSIDE = "127.0.0.2"


@pytest.fixture
def calling(workspace: Workspace) -> Workspace:
    """The session's engines, with webhooks that may reach OUTSIDE."""
    changes = {
        "outbound_allow_http": True,
        "outbound_private_networks": f"{OUTSIDE}/32",
        "lease_timeout_seconds": 3.0,
        "webhook_timeout_seconds": 20.0,
    }
    return Workspace(workspace.settings.model_copy(update=changes))


@dataclass(frozen=True)
class Shop:
    """A tenant that tells of what happens in it."""

    workspace: Workspace
    tenant: TenantInfo

    @property
    def id(self) -> UUID:
        return self.tenant.id

    def subscribe(self, url: str, events: Sequence[str] = EVENTS, **options: Any) -> tuple[UUID, str]:
        with tenant_session(self.workspace.app, self.id) as session:
            made, secret = create_webhook(
                session, self.workspace.settings, url=url, events=events, actor=ACTOR, **options
            )
            return made.id, secret

    def write(self, *products: dict[str, Any]) -> None:
        """Write by the API's door, which publishes to ClickHouse as well."""
        bulk_upsert(self.workspace, self.id, products, actor=ACTOR)

    def merge(self, *products: dict[str, Any]) -> None:
        """The same into PostgreSQL only, which is quicker; fields must be known."""
        with tenant_session(self.workspace.app, self.id) as session, TemporaryDirectory() as folder:
            schema = current_schema(session)
            staged, _ = stage_records(products, schema)
            path = Path(folder) / "staged.parquet"
            staged.write_parquet(path)
            origin = Origin(source="api", actor=ACTOR.name, request_id=ACTOR.trace_id)
            merge(session, Incoming.of([path], schema), origin)

    def webhook(self, webhook_id: UUID) -> Webhook:
        with tenant_session(self.workspace.app, self.id) as session:
            return get_webhook(session, webhook_id)

    def outbox(self) -> list[WebhookDelivery]:
        """All deliveries in the order of commits."""
        with tenant_session(self.workspace.app, self.id) as session:
            return list(session.query(WebhookDelivery).order_by(WebhookDelivery.number))

    def told(self) -> list[str]:
        return [delivery.event for delivery in self.outbox()]

    def now(self) -> None:
        """Let everything that waits for a later time be due, and no receiver be left in peace."""
        with tenant_session(self.workspace.app, self.id) as session:
            session.execute(text("UPDATE pim.webhook_deliveries SET due_at = now() WHERE state = 'pending'"))
            session.execute(text("UPDATE pim.webhooks SET paused_until = NULL, lease_until = NULL"))


@pytest.fixture
def make_shop(calling: Workspace, make_tenant: Callable[..., TenantInfo]) -> Callable[..., Shop]:
    def make(**options: Any) -> Shop:
        return Shop(calling, make_tenant(**options))

    return make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()
