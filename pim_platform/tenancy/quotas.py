"""How much a tenant may have: products, bytes of uploaded files, and jobs at once: imports, bulk edits and
deletes, conversions of a schema change that run or wait for their run.

An operator sets them (``pim tenant quota``); null is unlimited. They are checked where something comes in, in the
transaction that brings it, so that two requests at once cannot both take the last place. What is there already is
never touched: a quota below what a tenant has only keeps more from coming, and an undo may always bring back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from pim_platform.errors import InvalidRequest, QuotaExceeded
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant

#: Largest value of PostgreSQL's `bigint`, and of the `integer` that counts jobs.
_MOST, _MOST_JOBS = 2**63 - 1, 2**31 - 1

_PRODUCTS = "SELECT count(*) FROM pim.products WHERE tenant_id = {tenant}"
_STORAGE = "SELECT coalesce(sum(size_bytes), 0) FROM pim.uploads WHERE tenant_id = :tenant"
_JOBS = (
    "SELECT count(*) FROM pim.import_jobs WHERE tenant_id = :tenant AND state IN ('confirmed', 'staging', 'importing')"
)
_LIMIT = "SELECT {column} FROM pim.tenants WHERE id = {tenant}"


@dataclass(frozen=True)
class Quotas:
    """What a tenant may have at most; None: unlimited."""

    products: int | None = None
    storage_bytes: int | None = None
    concurrent_jobs: int | None = None


@dataclass(frozen=True)
class Used:
    """How much a tenant has of what quotas limit: products, bytes of its uploads, imports due or running."""

    products: int
    storage_bytes: int
    concurrent_jobs: int


def quotas_of(session: Session) -> Quotas:
    """The quotas of the session's tenant."""
    tenant = session.get_one(Tenant, session.info["tenant_id"])
    return Quotas(tenant.max_products, tenant.max_storage_bytes, tenant.max_concurrent_jobs)


def usage_of(session: Session) -> Used:
    """How much the session's tenant has. Counts its products: 0.1 s for a million."""
    parameters = {"tenant": session.info["tenant_id"]}
    counted = [
        session.scalar(text(query), parameters) for query in (_PRODUCTS.format(tenant=":tenant"), _STORAGE, _JOBS)
    ]
    return Used(*(int(value or 0) for value in counted))


def quota_report(session: Session) -> dict[str, dict[str, int | None]]:
    """``{"products": {"limit": ..., "used": ...}, "storage_bytes": ..., "concurrent_jobs": ...}``; null: unlimited."""
    limits, used = asdict(quotas_of(session)), asdict(usage_of(session))
    return {name: {"limit": limits[name], "used": used[name]} for name in used}


def set_quotas(engine: Engine, tenant_id: UUID, quotas: Quotas, *, actor: Actor) -> None:
    """Say what a tenant may have. Raises InvalidRequest for a number below 0 or beyond what can be counted."""
    for name, value in asdict(quotas).items():
        most = _MOST_JOBS if name == "concurrent_jobs" else _MOST
        if value is not None and not 0 <= value <= most:
            raise InvalidRequest(f"{value} is no quota.", fix=f"Give {name} from 0 to {most}, or none.", column=name)
    with tenant_session(engine, tenant_id) as session:
        tenant = session.get_one(Tenant, tenant_id)
        tenant.max_products = quotas.products
        tenant.max_storage_bytes = quotas.storage_bytes
        tenant.max_concurrent_jobs = quotas.concurrent_jobs
        record(session, actor, "tenant.quota_changed", "tenant", str(tenant_id), **asdict(quotas))


def require_products(connection: psycopg.Connection[Any], tenant_id: UUID, adding: int) -> None:
    """Raise QuotaExceeded where a merge would leave the tenant with more products than it may have.

    Runs in the merge's transaction, under the tenant's lock, before anything is written.
    """
    parameters = {"tenant": tenant_id}
    limit = _one(connection, _LIMIT.format(column="max_products", tenant="%(tenant)s"), parameters)
    if limit is None or adding <= 0:
        return
    used = _one(connection, _PRODUCTS.format(tenant="%(tenant)s"), parameters) or 0
    if used + adding > limit:
        raise _exceeded("products", "products", limit, used, adding)


def require_storage(session: Session, adding: int) -> None:
    """Raise QuotaExceeded where the session's tenant may not store another ``adding`` bytes."""
    limit = _locked_limit(session, "max_storage_bytes")
    if limit is None:
        return
    used = int(session.scalar(text(_STORAGE), {"tenant": session.info["tenant_id"]}) or 0)
    if used + adding > limit:
        raise _exceeded("storage_bytes", "bytes of uploaded files", limit, used, adding)


def require_job_slot(session: Session) -> None:
    """Raise QuotaExceeded where the session's tenant has as many imports due or running as it may."""
    limit = _locked_limit(session, "max_concurrent_jobs")
    if limit is None:
        return
    used = int(session.scalar(text(_JOBS), {"tenant": session.info["tenant_id"]}) or 0)
    if used >= limit:
        raise _exceeded("concurrent_jobs", "jobs at once", limit, used, 1)


def _locked_limit(session: Session, column: str) -> int | None:
    """The limit; where there is one, who else asks waits until this transaction has taken its place."""
    query = _LIMIT.format(column=column, tenant=":tenant")
    parameters = {"tenant": session.info["tenant_id"]}
    if session.scalar(text(query), parameters) is None:
        return None
    found: int | None = session.scalar(text(f"{query} FOR NO KEY UPDATE"), parameters)
    return found


def _one(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> int | None:
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


def _exceeded(name: str, what: str, limit: int, used: int, adding: int) -> QuotaExceeded:
    fixes = {
        "products": "Delete products",
        "storage_bytes": "Wait until old files are past their retention",
        "concurrent_jobs": "Wait until a job has ended, or cancel one",
    }
    return QuotaExceeded(
        f"The quota of this tenant is {limit:,} {what}; it has {used:,}, and {adding:,} more were asked for.",
        fix=f"{fixes[name]}, or ask the operator for more (`pim tenant quota`).",
        column=name,
        value=used + adding,
        expected=limit,
        limit=limit,
        used=used,
        asked=adding,
    )
