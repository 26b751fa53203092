"""Trying a webhook out: one call now, and what the receiver says to it. Nothing is put into the outbox."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.outbound import Caller, Policy
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.delivering import Called, call_receiver
from pim_platform.syndication.subscriptions import get_webhook, secrets_of
from pim_platform.tenancy.audit import Actor, record

#: The event of such a call. A receiver that checks signatures takes it like any other.
TEST_EVENT = "webhook.test"


def try_webhook(workspace: Workspace, tenant_id: UUID, webhook_id: UUID, actor: Actor) -> Called:
    """Send a signed ``webhook.test`` event, also to a webhook that is disabled; returns what came back.

    Raises NotFound, BrokenSeal. Not to be called from a coroutine.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        found = get_webhook(session, webhook_id)
        until = found.old_secret_until
        old = found.old_secret if until is not None and until > datetime.now(UTC) else None
        secrets = secrets_of(workspace.settings, found.secret, old)
        url = found.url
        record(session, actor, "webhook.tested", "webhook", str(webhook_id))
    event = {
        "type": TEST_EVENT,
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {"webhook_id": str(webhook_id)},
    }

    async def run() -> Called:
        async with Caller(Policy.for_calls(workspace.settings)) as caller:
            seconds = workspace.settings.webhook_timeout_seconds
            return await call_receiver(caller, url, secrets, uuid4(), json.dumps(event), seconds)

    return asyncio.run(run())
