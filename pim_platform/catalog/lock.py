"""The per-tenant catalogue lock and commit numbers: the one place that defines lock order (design D7).

Order: catalogue lock, then the schema's (:func:`pim_platform.catalog.schemas.lock_schema`), then ``catalog_state``,
then the job's row. The publisher has a lock of its own, taken alone.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg import errors

from pim_platform.errors import TenantBusy

_CATALOGUE, _PUBLISHER = 1, 2


def lock_catalogue(connection: psycopg.Connection[Any], tenant_id: UUID, *, wait_seconds: float | None) -> None:
    """Be the only writer of the tenant's catalogue until the transaction ends.

    ``wait_seconds`` None waits for ever (imports); else raises TenantBusy after that time (API, UI).
    """
    try:
        if wait_seconds is not None:
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{round(wait_seconds * 1000)}ms",))
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (str(tenant_id), _CATALOGUE))
        if wait_seconds is not None:
            connection.execute("SELECT set_config('lock_timeout', '0', true)")
    except errors.LockNotAvailable as error:
        raise TenantBusy(
            "An import is writing this tenant's catalogue.", fix="Try again in some seconds.", expected=wait_seconds
        ) from error


def lock_publisher(connection: psycopg.Connection[Any], tenant_id: UUID) -> None:
    """Be the only publisher of the tenant until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (str(tenant_id), _PUBLISHER))


def next_commit(connection: psycopg.Connection[Any], tenant_id: UUID) -> int:
    """The number of the tenant's next commit; the caller holds the catalogue lock."""
    row = connection.execute(
        "UPDATE pim.catalog_state SET commit_seq = commit_seq + 1 WHERE tenant_id = %s RETURNING commit_seq",
        (tenant_id,),
    ).fetchone()
    assert row is not None, "a tenant is made with its catalog_state"
    return int(row[0])
