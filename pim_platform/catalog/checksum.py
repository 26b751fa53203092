"""Do both engines hold the same rows? Answered by row checksum, not by count (design D10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from clickhouse_connect.driver.client import Client
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from pim_platform.catalog.lock import lock_publisher
from pim_platform.catalog.models import CatalogState
from pim_platform.catalog.publisher import publish
from pim_platform.errors import TenantBusy
from pim_platform.storage.clickhouse import clickhouse_errors
from pim_platform.storage.postgres import driver_connection, tenant_session

#: How often a comparison is begun again because somebody committed meanwhile.
_TRIES = 20

# Per row the first 60 bits of an MD5 over key, sku, name, active and data; summed modulo 2^64, so order is free.
_POSTGRES = """
SELECT {rows},
       coalesce(sum(('x' || left(md5(concat_ws(chr(31), sku_key, sku, name, active::int, data::text)), 15))
         ::bit(60)::bigint), 0) % 18446744073709551616,
       (SELECT commit_seq FROM pim.catalog_state WHERE tenant_id = {tenant})
FROM pim.products WHERE tenant_id = {tenant} AND commit_seq > {after}
"""
_CLICKHOUSE = """
SELECT sum(reinterpretAsUInt64(reverse(unhex(concat('0', substring(hex(MD5(
         concat(sku_key, char(31), sku, char(31), name, char(31), toString(toUInt8(active)), char(31), data)
       )), 1, 15))))))
FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String} AND version > {after:Int64}
"""
_CLICKHOUSE_ROWS = "SELECT count() FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String}"


@dataclass(frozen=True)
class Agreement:
    """Count of a tenant's rows in each engine, and checksum of those that were compared.

    ``settled`` is False where PostgreSQL held a commit that was not published yet: a difference is no fault then.
    """

    postgres_rows: int
    clickhouse_rows: int
    postgres_sum: int
    clickhouse_sum: int
    settled: bool = True

    @property
    def equal(self) -> bool:
        """Whether every row is the same in both."""
        return (self.postgres_rows, self.postgres_sum) == (self.clickhouse_rows, self.clickhouse_sum)


@dataclass(frozen=True)
class _InPostgres:
    rows: int
    sum: int
    commit_seq: int


def compare_engines(engine: Engine, clickhouse: Client, tenant_id: UUID) -> Agreement:
    """Count and checksum all of a tenant's products in both engines; nobody publishes meanwhile."""
    with tenant_session(engine, tenant_id) as session, ThreadPoolExecutor(1) as beside:
        state = _lock_state(session, tenant_id)
        asked = beside.submit(_ask_clickhouse, clickhouse, tenant_id, -1)
        postgres = _ask_postgres(driver_connection(session), tenant_id, -1)
        rows, total = asked.result()
    return Agreement(postgres.rows, rows, postgres.sum, total, settled=postgres.commit_seq == state.published_seq)


def publish_and_compare(engine: Engine, clickhouse: Client, tenant_id: UUID, *, only_new: bool = False) -> Agreement:
    """Publish, and compare what was published; begins again where another writer committed in between.

    ``only_new`` compares the rows of commits since both engines were last seen to agree, and the number of all.
    Raises EngineUnavailable, and TenantBusy where writers leave no moment in which to compare.
    """
    for _ in range(_TRIES):
        after = -1
        if only_new:
            with tenant_session(engine, tenant_id) as session:
                after = session.get_one(CatalogState, tenant_id).verified_seq
        # Both read what is committed: PostgreSQL makes checksums on one connection while it writes on another.
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(_read_postgres, engine, tenant_id, after)
            publish(engine, clickhouse, tenant_id)
            postgres = asked.result()
        found = _verify(engine, clickhouse, tenant_id, postgres, after)
        if found.equal or found.settled:
            return found
    raise TenantBusy(
        "The catalogue is written faster than its engines can be compared.", fix="The comparison is tried again."
    )


def _verify(engine: Engine, clickhouse: Client, tenant_id: UUID, postgres: _InPostgres, after: int) -> Agreement:
    """Compare ClickHouse's rows of commits later than ``after`` with PostgreSQL's; note it where they agree."""
    with tenant_session(engine, tenant_id) as session:
        state = _lock_state(session, tenant_id)
        rows, total = _ask_clickhouse(clickhouse, tenant_id, after)
        # Somebody may have committed since PostgreSQL was asked, and another publisher have sent that.
        settled = postgres.commit_seq == state.published_seq == state.commit_seq
        found = Agreement(postgres.rows, rows, postgres.sum, total, settled=settled)
        if found.equal and postgres.commit_seq == state.published_seq and after <= state.verified_seq:
            # Who merges meanwhile holds the row until it commits; a note is not worth waiting for.
            driver_connection(session).execute(
                "UPDATE pim.catalog_state SET verified_seq = %s WHERE verified_seq < %s AND tenant_id = "
                "(SELECT tenant_id FROM pim.catalog_state WHERE tenant_id = %s FOR UPDATE SKIP LOCKED)",
                (postgres.commit_seq, postgres.commit_seq, tenant_id),
            )
    return found


def _lock_state(session: Session, tenant_id: UUID) -> CatalogState:
    lock_publisher(driver_connection(session), tenant_id)
    return session.get_one(CatalogState, tenant_id)


def _read_postgres(engine: Engine, tenant_id: UUID, after: int) -> _InPostgres:
    with tenant_session(engine, tenant_id) as session:
        return _ask_postgres(driver_connection(session), tenant_id, after)


def _ask_postgres(connection: psycopg.Connection[Any], tenant_id: UUID, after: int) -> _InPostgres:
    tenant = sql.Literal(str(tenant_id))
    every = "count(*)" if after < 0 else "(SELECT count(*) FROM pim.products WHERE tenant_id = {tenant})"
    rows = sql.SQL(every).format(tenant=tenant)
    query = sql.SQL(_POSTGRES).format(rows=rows, tenant=tenant, after=sql.Literal(after))
    row = connection.execute(query).fetchone()
    assert row is not None
    return _InPostgres(int(row[0]), int(row[1]), int(row[2]))


def _ask_clickhouse(clickhouse: Client, tenant_id: UUID, after: int) -> tuple[int, int]:
    """How many rows there are, and the checksum of those of commits later than ``after``."""
    values = {"tenant": str(tenant_id), "after": after}
    with clickhouse_errors("comparing the engines"):
        rows = clickhouse.query(_CLICKHOUSE_ROWS, parameters=values).result_rows[0][0]
        return int(rows), int(clickhouse.query(_CLICKHOUSE, parameters=values).result_rows[0][0])
