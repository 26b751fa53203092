"""The audit trail: one row per operation, written in the operation's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from pim_platform.tenancy.cursors import not_ours, paged, read_cursor
from pim_platform.tenancy.models import AuditLog

MAXIMUM_PAGE = 500


@dataclass(frozen=True)
class Actor:
    """Who acts: ``name`` such as ``cli:ada``, ``key:<id>``, ``user:<id>``, ``sensor:inbox``."""

    name: str
    ip: str | None = None
    user_agent: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class AuditFilter:
    """Which entries of the trail: those that meet all that is given."""

    action: str | None = None
    """Exactly this action, or with ``.*`` at its end all that begin so, such as ``key.*``."""
    actor: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    """At this moment or later."""
    until: datetime | None = None
    """Before this moment."""


@dataclass(frozen=True)
class AuditPage:
    """Entries, newest first, and where the next page begins."""

    entries: list[dict[str, Any]]
    next_cursor: str | None


def read_audit(
    session: Session, wanted: AuditFilter | None = None, *, cursor: str | None = None, limit: int = 100
) -> AuditPage:
    """A page of the audit trail of the session's tenant. Raises InvalidRequest for a cursor that is none of ours."""
    wanted = wanted or AuditFilter()
    query = select(AuditLog).where(AuditLog.tenant_id == session.info["tenant_id"])
    if wanted.action is not None:
        prefix = wanted.action.removesuffix("*") if wanted.action.endswith(".*") else None
        query = query.where(
            AuditLog.action.startswith(prefix, autoescape=True) if prefix else AuditLog.action == wanted.action
        )
    for column in ("actor", "object_kind", "object_id", "trace_id"):
        value = getattr(wanted, column)
        if value is not None:
            query = query.where(getattr(AuditLog, column) == value)
    if wanted.since is not None:
        query = query.where(AuditLog.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditLog.at < wanted.until)
    if cursor is not None:
        query = query.where(tuple_(AuditLog.at, AuditLog.id) < _place(cursor))
    rows = list(session.scalars(query.order_by(AuditLog.at.desc(), AuditLog.id.desc()).limit(limit + 1)))
    shown, following = paged(rows, limit, lambda row: f"{row.at.isoformat()} {row.id}")
    return AuditPage([_entry(row) for row in shown], following)


def _entry(row: AuditLog) -> dict[str, Any]:
    names = ("id", "at", "actor", "action", "object_kind", "object_id", "details", "user_agent", "trace_id")
    return {name: getattr(row, name) for name in names} | {"ip": None if row.ip is None else str(row.ip)}


def _place(cursor: str) -> tuple[datetime, UUID]:
    at, _, number = read_cursor(cursor).partition(" ")
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(UTC), UUID(number)
    except (ValueError, OverflowError) as error:
        raise not_ours(cursor) from error


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
