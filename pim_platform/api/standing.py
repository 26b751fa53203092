"""What a connection that lives on was opened with, so that it can be looked at again; and tickets that stand for it.

A request is over before its key could be revoked; a stream is not. Neither a key nor a token is kept for that: of a
key its hash, as it is stored, of a token the login it names and when it ends.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import HTTPConnection

from pim_platform.api.rate_limits import count_caller, count_stranger
from pim_platform.api.request_ids import actor_of
from pim_platform.errors import Unauthorized
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.sealing import BrokenSeal, seal, unseal
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.keys import KEY_PREFIX, Caller, caller_of_hash, hash_key
from pim_platform.tenancy.logins import person_of
from pim_platform.tenancy.rates import is_first_use
from pim_platform.tenancy.tokens import login_of, not_valid

#: Seconds in which a ticket opens a connection; the connection lives on.
TICKET_SECONDS = 60


@dataclass(frozen=True)
class Standing:
    """A caller's credential in one tenant, by what it can be looked up with: a key's hash, or a login."""

    tenant_id: UUID
    key_hash: str | None = None
    session_id: UUID | None = None
    until: float = 0.0
    """When the token of a login ends, in seconds since 1970."""

    def caller(self, workspace: Workspace, actor: Actor) -> Caller:
        """Who that is now. Raises Unauthorized where the credential is worth nothing any more, Forbidden where its
        person does not belong to the tenant any more."""
        if self.key_hash is not None:
            found = caller_of_hash(workspace.app, bytes.fromhex(self.key_hash), actor)
            if found.tenant_id != self.tenant_id:
                raise not_valid()
            return found
        if self.session_id is None or time.time() >= self.until:
            raise not_valid()
        person = person_of(workspace.app, self.session_id, actor)
        slugs = {one.tenant_id: one.slug for one in person.tenants}
        return person.caller(slugs.get(self.tenant_id, str(self.tenant_id)))


def standing_of(connection: HTTPConnection, tenant_id: UUID) -> Standing:
    """What the header of an admitted connection holds. Raises Unauthorized."""
    workspace: Workspace = connection.app.state.workspace
    value = connection.headers.get("authorization", "").partition(" ")[2].strip()
    if value.startswith(KEY_PREFIX):
        return Standing(tenant_id, key_hash=hash_key(value).hex())
    session_id, until = login_of(workspace.settings, value)
    return Standing(tenant_id, session_id=session_id, until=until.timestamp())


def make_ticket(connection: HTTPConnection, purpose: str, subject: str, tenant_id: UUID) -> str:
    """What opens ``subject`` once, within :data:`TICKET_SECONDS`, for whoever the connection's header is."""
    workspace: Workspace = connection.app.state.workspace
    held = standing_of(connection, tenant_id)
    session_id = None if held.session_id is None else str(held.session_id)
    return seal(workspace.settings, purpose, [subject, str(held.tenant_id), held.key_hash, session_id, held.until])


def redeem_ticket(connection: HTTPConnection, purpose: str, subject: str, ticket: str) -> tuple[Caller, Standing]:
    """Whose ticket it is, counted like any caller. Raises Unauthorized, Forbidden, TooManyRequests."""
    workspace: Workspace = connection.app.state.workspace
    try:
        held = _opened(workspace, purpose, subject, ticket)
        caller = held.caller(workspace, actor_of(connection))
    except Unauthorized:
        count_stranger(connection)
        raise
    count_caller(connection, caller)
    return caller, held


def _opened(workspace: Workspace, purpose: str, subject: str, ticket: str) -> Standing:
    refused = Unauthorized("The ticket is not valid, or not any more.", fix="Get a new one; each opens one connection.")
    try:
        found, tenant_id, key_hash, session_id, until = unseal(
            workspace.settings, purpose, ticket, seconds=TICKET_SECONDS
        )
    except BrokenSeal as error:
        raise refused from error
    # Remembered for longer than it is good for: the clock that made it may be another.
    used = f"ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"
    if found != subject or not is_first_use(workspace.app, used, seconds=10 * TICKET_SECONDS):
        raise refused
    return Standing(UUID(tenant_id), key_hash, None if session_id is None else UUID(session_id), until)
