"""API keys: made once, shown once, found by hash."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args
from uuid import UUID

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from pim_platform.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from pim_platform.storage.postgres import call_definer, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.cursors import paged, read_id_cursor
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

KEY_PREFIX = "pim_"
"""What every API key begins with; people's tokens do not."""
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
    tenant_slug: str = ""
    user_id: UUID | None = None
    """The person, where it is one."""
    key_id: UUID | None = None
    """The key, where it is one."""

    def require(self, role: Role, scope: Scope | Literal["any", "unlimited"] = "any") -> None:
        """Raise Forbidden unless the caller has ``role`` or a stronger one, and ``scope`` where it is limited.

        ``any``: whatever its scopes are; ``unlimited``: only a caller that is not limited.
        """
        if _POWER[self.role] < _POWER[role]:
            raise Forbidden(
                f"The role {self.role} may not do this.", fix=f"Use a key with the role {role}.", expected=role
            )
        if self.scopes is not None and scope != "any" and scope not in self.scopes:
            raise Forbidden(
                "The scopes of this key do not include this.",
                fix="Use a key without scopes." if scope == "unlimited" else f"Use a key with the scope {scope}.",
                code="scope_missing",
                expected=scope,
            )


def check_role(role: str) -> None:
    """Raise InvalidRequest for what is no role."""
    if role not in ROLES:
        raise InvalidRequest(f"{role!r} is not a role.", fix=f"Choose one of {', '.join(ROLES)}.", value=role)


def hash_key(key: str) -> bytes:
    """SHA-256 of a key, as stored."""
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True)
class KeyInfo:
    """A key as its tenant's admins see it: all but the key."""

    id: UUID
    name: str
    prefix: str
    role: Role
    scopes: list[Scope] | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def state(self) -> Literal["active", "expired", "revoked"]:
        """Whether it still opens anything."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= datetime.now(UTC) else "active"

    def as_json(self) -> dict[str, Any]:
        """Its fields by name, with its state."""
        return {**asdict(self), "state": self.state}


def make_key(
    engine: Engine,
    tenant_id: UUID,
    *,
    role: Role,
    name: str,
    actor: Actor,
    scopes: Collection[Scope] | None = None,
    expires_at: datetime | None = None,
    within: Collection[Scope] | None = None,
    rate_limit: int | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key of a tenant; returns it and its text, which is never readable again.

    ``scopes``: what it is limited to; None: nothing less than its role. ``within``: the scopes that its maker is
    limited to. ``rate_limit``: requests per window, an operator's to give; None: as the installation says, 0: no limit.
    Raises InvalidRequest for an unknown role or scope, Forbidden for more than ``within``.
    """
    check_role(role)
    limited = _known_scopes(scopes)
    if within is not None and (limited is None or not set(limited) <= set(within)):
        raise Forbidden(
            "A key with scopes makes no key that may do more.",
            fix=f"Give scopes out of {', '.join(sorted(within))}.",
            code="scope_missing",
        )
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    with tenant_session(engine, tenant_id) as session:
        row = ApiKey(
            tenant_id=tenant_id,
            name=name,
            prefix=key[:_SHOWN],
            key_hash=hash_key(key),
            role=role,
            scopes=limited,
            created_by=actor.name,
            expires_at=expires_at,
            rate_limit=rate_limit,
        )
        session.add(row)
        session.flush()
        record(
            session,
            actor,
            "key.created",
            "api_key",
            str(row.id),
            name=name,
            role=role,
            scopes=limited,
            expires_at=expires_at.isoformat() if expires_at else None,
        )
        return _info(row), key


def create_key(
    engine: Engine,
    tenant_id: UUID,
    *,
    role: Role,
    name: str,
    actor: Actor,
    scopes: Collection[Scope] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """The text of a new key, as :func:`make_key` makes it."""
    return make_key(engine, tenant_id, role=role, name=name, actor=actor, scopes=scopes, expires_at=expires_at)[1]


def _known_scopes(scopes: Collection[Scope] | None) -> list[Scope] | None:
    if scopes is None:
        return None
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidRequest(
            f"{unknown[0]!r} is not a scope." if unknown else "A key needs a scope where it is limited.",
            fix=f"Choose of {', '.join(SCOPES)}, or leave the scopes out.",
            code="unknown_scope",
            column="scopes",
            value=unknown[0] if unknown else None,
            expected=list(SCOPES),
        )
    return [scope for scope in SCOPES if scope in scopes]


def list_keys(session: Session, *, cursor: str | None = None, limit: int = 100) -> tuple[list[KeyInfo], str | None]:
    """A page of the keys of the session's tenant, newest first, revoked and expired ones too, and the next's cursor.

    Raises InvalidRequest for a cursor that is none.
    """
    query = select(ApiKey).where(ApiKey.tenant_id == session.info["tenant_id"])
    if cursor is not None:
        query = query.where(ApiKey.id < read_id_cursor(cursor))
    rows = session.scalars(query.order_by(ApiKey.id.desc()).limit(limit + 1))
    return paged([_info(row) for row in rows], limit, lambda key: str(key.id))


def get_key(session: Session, key_id: UUID) -> KeyInfo:
    """A key of the session's tenant. Raises NotFound with code ``unknown_key``."""
    return _info(_row(session, key_id))


def revoke_key(session: Session, key_id: UUID, *, actor: Actor) -> KeyInfo:
    """Let a key open nothing from now on; revoking twice changes nothing. Raises NotFound."""
    row = _row(session, key_id)
    if row.revoked_at is None:
        row.revoked_at = datetime.now(UTC)
        record(session, actor, "key.revoked", "api_key", str(key_id), name=row.name)
    return _info(row)


def _row(session: Session, key_id: UUID) -> ApiKey:
    found = session.get(ApiKey, (session.info["tenant_id"], key_id))
    if found is None:
        raise NotFound(
            f"There is no key {key_id}.",
            fix="GET /api/pim/keys/ lists them.",
            code="unknown_key",
            value=str(key_id),
        )
    return found


def _info(row: ApiKey) -> KeyInfo:
    return KeyInfo(
        row.id,
        row.name,
        row.prefix,
        cast("Role", row.role),
        cast("list[Scope] | None", row.scopes),
        row.created_by,
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.last_used_at,
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
    found = caller_of_hash(engine, hash_key(key), actor)
    assert found.key_id is not None
    _note_use(engine, found.tenant_id, found.key_id)
    return found


def caller_of_hash(engine: Engine, key_hash: bytes, actor: Actor | None = None) -> Caller:
    """Whose key has that hash; looking is no use of it. Raises Unauthorized as :func:`authenticate` does."""
    row = next(iter(call_definer(engine, "SELECT * FROM pim.find_api_key(:hash)", hash=key_hash)), None)
    now = datetime.now(UTC)
    if (
        row is None
        or row["revoked_at"] is not None
        or not row["tenant_active"]
        or (row["expires_at"] is not None and row["expires_at"] <= now)
    ):
        raise Unauthorized("The API key is not valid.", fix="Send a valid key as `Authorization: Bearer pim_...`.")
    actor = actor or Actor("")
    name = f"key:{row['key_id']}"
    return Caller(
        row["tenant_id"],
        row["role"],
        Actor(name, actor.ip, actor.user_agent, actor.trace_id),
        None if row["scopes"] is None else frozenset(row["scopes"]),
        tenant_slug=row["slug"],
        key_id=row["key_id"],
    )
