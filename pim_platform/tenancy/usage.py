"""What calls of somebody else's API cost a tenant, and what it may still spend today.

A call is written down before it is made, at the most it may cost, and corrected after: two calls at once cannot both
spend the last cent, and one whose process died stays in the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from pim_platform.errors import InvalidRequest
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import ApiUsage, Tenant

_ERROR_LENGTH = 500


@dataclass(frozen=True)
class Reservation:
    """A call that is about to be made: its row in the log."""

    id: UUID
    created_at: datetime
    cost: Decimal


@dataclass(frozen=True)
class Budget:
    """What a tenant may spend per day (UTC) and has spent of it today, in USD."""

    daily: Decimal
    spent: Decimal

    @property
    def left(self) -> Decimal:
        """What may still be spent."""
        return max(self.daily - self.spent, Decimal(0))


def daily_budget(session: Session, default: float, provider: str = "anthropic") -> Budget:
    """The session's tenant's budget: its own, else ``default``, and what was spent or is reserved today."""
    tenant_id = session.info["tenant_id"]
    own = session.scalar(select(Tenant.claude_daily_budget_usd).where(Tenant.id == tenant_id))
    spent = session.scalar(
        text(
            "SELECT coalesce(sum(estimated_cost), 0) FROM pim.api_usage_log "
            "WHERE tenant_id = :tenant AND api_provider = :provider "
            "AND created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
        ),
        {"tenant": tenant_id, "provider": provider},
    )
    return Budget(own if own is not None else Decimal(str(default)), Decimal(spent or 0))


def reserve(
    engine: Engine,
    tenant_id: UUID,
    cost: Decimal,
    *,
    default_budget: float,
    endpoint: str,
    job_id: str | None = None,
    details: dict[str, Any] | None = None,
    provider: str = "anthropic",
) -> Reservation | None:
    """Write a call down before it is made; None where the day's budget does not cover ``cost`` USD."""
    with tenant_session(engine, tenant_id) as session:
        # Two proposals at once must not both see the last cent.
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('pim.api_usage_log:' || :tenant, 0))"),
            {"tenant": str(tenant_id)},
        )
        if cost > daily_budget(session, default_budget, provider).left:
            return None
        row = ApiUsage(
            tenant_id=tenant_id,
            api_provider=provider,
            endpoint=endpoint,
            estimated_cost=cost,
            job_id=job_id,
            details={**(details or {}), "outcome": "open"},
        )
        session.add(row)
        session.flush()
        return Reservation(row.id, row.created_at, cost)


def settle(
    engine: Engine,
    tenant_id: UUID,
    reservation: Reservation,
    *,
    cost: Decimal | None,
    outcome: str,
    tokens_input: int | None = None,
    tokens_output: int | None = None,
    http_status: int | None = None,
    response_time_ms: int | None = None,
    error: str | None = None,
) -> None:
    """Write down what became of a call; without ``cost`` nobody knows it, and the reservation stands."""
    with tenant_session(engine, tenant_id) as session:
        session.execute(
            update(ApiUsage)
            .where(
                ApiUsage.tenant_id == tenant_id,
                ApiUsage.id == reservation.id,
                ApiUsage.created_at == reservation.created_at,
            )
            .values(
                estimated_cost=reservation.cost if cost is None else cost,
                tokens_input=tokens_input,
                tokens_output=tokens_output,
                http_status=http_status,
                response_time_ms=response_time_ms,
                error_message=error[:_ERROR_LENGTH] if error else None,
                details=ApiUsage.details.op("||")({"outcome": outcome}),
            )
        )


def daily_costs(session: Session, since: date) -> list[dict[str, Any]]:
    """Costs per day and provider of the session's tenant, newest first (the view ``v_api_daily_costs``)."""
    rows = session.execute(
        text("SELECT * FROM pim.v_api_daily_costs WHERE tenant_id = :tenant AND date >= :since ORDER BY date DESC, 3"),
        {"tenant": session.info["tenant_id"], "since": since},
    )
    return [{key: value for key, value in row.items() if key != "tenant_id"} for row in rows.mappings()]


def own_budget(session: Session) -> Decimal | None:
    """What the session's tenant may spend on Claude per day; None: what the installation's setting says."""
    return session.scalar(select(Tenant.claude_daily_budget_usd).where(Tenant.id == session.info["tenant_id"]))


def set_daily_budget(engine: Engine, tenant_id: UUID, usd: Decimal | None, *, actor: Actor) -> None:
    """Say what a tenant may spend on Claude per day, as :func:`set_own_budget` does."""
    with tenant_session(engine, tenant_id) as session:
        set_own_budget(session, usd, actor=actor)


def set_own_budget(session: Session, usd: Decimal | None, *, actor: Actor) -> None:
    """Say what the session's tenant may spend per day; None: what the installation's setting says, 0: nothing.

    Raises InvalidRequest for a negative amount.
    """
    if usd is not None and not (usd.is_finite() and 0 <= usd < 1_000_000):
        raise InvalidRequest(f"{usd} is no budget.", fix="Give USD per day from 0 to 999999, such as 0.50.")
    tenant_id = session.info["tenant_id"]
    session.get_one(Tenant, tenant_id).claude_daily_budget_usd = usd
    session.flush()
    record(
        session,
        actor,
        "tenant.budget_changed",
        "tenant",
        str(tenant_id),
        claude_daily_budget_usd=None if usd is None else str(usd),
    )
