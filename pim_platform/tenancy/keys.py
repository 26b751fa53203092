"""API keys: made once, shown once, found by hash."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from pim_platform.errors import Forbidden, InvalidRequest, Unauthorized
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import ApiKey

Role = Literal["admin", "editor", "reviewer", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)

Scope = Literal[
    "products:read",
    "products:write",
    "scores:write",
    "schema:read",
    "schema:write",
    "imports:read",
    "imports:write",
    "webhooks:manage",
    "admin",
]
#: What a credential may be limited to, within its role; none includes another. ``imports:*`` covers sources and
#: mappings, ``products:read`` exports, ``admin`` users, keys, the tenant's settings and the audit trail.
SCOPES: tuple[Scope, ...] = get_args(Scope)

#: What each role may do; every role includes the ones after it in this order of power.
_POWER = {"viewer": 0, "reviewer": 1, "editor": 2, "admin": 3}

_PREFIX = "pim_"
_KEY_BYTES = 32  # 256 random bits (design D22): no salt or slow hash is needed
_SHOWN = 12

_NOTE_SECONDS = 60.0
_noted: dict[UUID, float] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Caller:
    """An authenticated caller: one tenant, one role."""

    tenant_id: UUID
    role: Role
    actor: Actor
    scopes: frozenset[Scope] | None = None
    """What the credential is limited to within its role; None: nothing less than the role."""

    def require(self, role: Role, scope: Scope | Literal["any"] | None = "any") -> None:
        """Raise Forbidden unless the caller has ``role`` or a stronger one, and ``scope`` where it is limited.

        ``any``: whatever its scopes are; None: only a caller that is not limited.
        """
        if _POWER[self.role] < _POWER[role]:
            raise Forbidden(
                f"The role {self.role} may not do this.", fix=f"Use a key with the role {role}.", expected=role
            )
        if self.scopes is not None and scope != "any" and scope not in self.scopes:
            raise Forbidden(
                "The scopes of this key do not include this.",
                fix=f"Use a key with the scope {scope}." if scope else "Use a key without scopes.",
                code="scope_missing",
                expected=scope,
            )


def hash_key(key: str) -> bytes:
    """SHA-256 of a key, as stored."""
    return hashlib.sha256(key.encode()).digest()


def create_key(
    engine: Engine, tenant_id: UUID, *, role: Role, name: str, actor: Actor, expires_at: datetime | None = None
) -> str:
    """Make a key of a tenant and return its text, which is never readable again. Raises InvalidRequest."""
    if role not in ROLES:
        raise InvalidRequest(f"{role!r} is not a role.", fix=f"Choose one of {', '.join(ROLES)}.", value=role)
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    with tenant_session(engine, tenant_id) as session:
        _add(session, tenant_id, key, role, name, expires_at)
        record(session, actor, "key.created", "api_key", None, name=name, role=role)
    return key


def _add(session: Session, tenant_id: UUID, key: str, role: Role, name: str, expires_at: datetime | None) -> None:
    session.add(
        ApiKey(
            tenant_id=tenant_id,
            name=name,
            prefix=key[:_SHOWN],
            key_hash=hash_key(key),
            role=role,
            expires_at=expires_at,
        )
    )


def _note_use(engine: Engine, tenant_id: UUID, key_id: UUID) -> None:
    """Note that a key is in use, at most once a minute: a write per request would be a queue per key."""
    now = time.monotonic()
    with _guard:
        if now - _noted.get(key_id, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        _noted[key_id] = now
    with tenant_session(engine, tenant_id) as session:
        session.execute(
            text(
                "UPDATE pim.api_keys SET last_used_at = clock_timestamp() WHERE tenant_id = :tenant AND id = :key "
                "AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - make_interval(secs => :seconds))"
            ),
            {"tenant": tenant_id, "key": key_id, "seconds": _NOTE_SECONDS},
        )


def authenticate(engine: Engine, key: str, actor: Actor | None = None) -> Caller:
    """Whose key this is. Raises Unauthorized for one that is unknown, expired or revoked, without saying which."""
    with anonymous_session(engine) as session:
        row = session.execute(text("SELECT * FROM pim.find_api_key(:hash)"), {"hash": hash_key(key)}).mappings().first()
    now = datetime.now(UTC)
    if (
        row is None
        or row["revoked_at"] is not None
        or not row["tenant_active"]
        or (row["expires_at"] is not None and row["expires_at"] <= now)
    ):
        raise Unauthorized("The API key is not valid.", fix="Send a valid key as `Authorization: Bearer pim_...`.")
    _note_use(engine, row["tenant_id"], row["key_id"])
    actor = actor or Actor("")
    name = f"key:{row['key_id']}"
    return Caller(row["tenant_id"], row["role"], Actor(name, actor.ip, actor.user_agent, actor.trace_id))
