"""The audit trail: one row per operation, written in the operation's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from pim_platform.tenancy.models import AuditLog


@dataclass(frozen=True)
class Actor:
    """Who acts: ``name`` such as ``cli:ada``, ``key:<id>``, ``user:<id>``, ``sensor:inbox``."""

    name: str
    ip: str | None = None
    user_agent: str | None = None
    trace_id: str | None = None


def record(
    session: Session, actor: Actor, action: str, object_kind: str, object_id: str | None = None, **details: Any
) -> None:
    """Add an audit row to the session's transaction; ``details`` must be JSON values without secrets."""
    session.add(
        AuditLog(
            tenant_id=session.info["tenant_id"],
            actor=actor.name,
            action=action,
            object_kind=object_kind,
            object_id=object_id,
            details=details,
            ip=actor.ip,
            user_agent=actor.user_agent,
            trace_id=actor.trace_id,
        )
    )
