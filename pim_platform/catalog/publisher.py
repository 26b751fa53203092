"""The one publisher: committed changes of any origin become ClickHouse rows (design D10).

PostgreSQL's COPY text is ClickHouse's TabSeparated, so the bytes stream from one engine to the other
untouched. Publishing again is harmless: ``version`` is the tenant's commit number, the newest wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from clickhouse_connect.driver.client import Client
from psycopg import sql
from sqlalchemy import Engine

from pim_platform.catalog.joins import joining
from pim_platform.catalog.lock import lock_publisher
from pim_platform.storage.clickhouse import clickhouse_errors
from pim_platform.storage.postgres import driver_connection, tenant_session

_COLUMNS = (
    "tenant_id", "sku_key", "sku", "name", "data", "updated_at", "product_id", "active", "kind", "source",
    "created_at", "version", "is_deleted",
)  # fmt: skip
#: What a tombstone has none of.
_LIVE_COLUMNS = (*_COLUMNS, "parent_id", "variant_group", "job_id", "source_id")

#: ClickHouse makes the tombstones itself, of all keys it has: nothing crosses from engine to engine.
_ALL_GONE = """
INSERT INTO segmentation.product_versions
  (tenant_id, sku_key, data, updated_at, product_id, kind, source, created_at, version, is_deleted)
SELECT tenant_id, sku_key, '{}', now64(6), product_id, 'simple', source, now64(6), {newest:UInt64}, 1
FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String}
"""

_LIVE = """
COPY (SELECT tenant_id, sku_key, sku, name, data::text, updated_at AT TIME ZONE 'UTC', id, active::int, kind, source,
             created_at AT TIME ZONE 'UTC', commit_seq, 0, parent_id, variant_group, job_id, source_id
      FROM pim.products WHERE tenant_id = {tenant} AND commit_seq > {after}) TO STDOUT
"""

_DELETED = """
(SELECT FROM pim.product_changes WHERE tenant_id = {tenant} AND commit_seq > {after} AND action = 'delete')
"""

#: A key goes with its product, or with another SKU of it (which only writes outside of imports give).
#: A key that comes back later gets a higher version than its tombstone; one that comes back in the same commit
#: gets no tombstone. Several tombstones of a key are as harmless: the newest wins. In the order of the log's primary
#: key, or a planner without statistics reads it by product.
_GONE = """
COPY (SELECT c.tenant_id, c.gone, '', '', '{{}}', c.changed_at AT TIME ZONE 'UTC',
             c.product_id, 0, 'simple', c.source, c.changed_at AT TIME ZONE 'UTC', c.commit_seq, 1
      FROM (SELECT *, CASE action WHEN 'delete' THEN sku_key ELSE old ->> 'sku_key' END AS gone
            FROM pim.product_changes
            WHERE tenant_id = {tenant} AND commit_seq > {after}
              AND (action = 'delete' OR action = 'update' AND job_id IS NULL AND old ? 'sku_key')) c
      WHERE NOT EXISTS (SELECT FROM pim.products p
                        WHERE p.tenant_id = {tenant} AND p.sku_key = c.gone AND p.commit_seq = c.commit_seq)
      ORDER BY c.tenant_id, c.commit_seq) TO STDOUT
"""


@dataclass(frozen=True)
class Published:
    """How far ClickHouse is after publishing: the commit number, and whether anything was sent."""

    commit_seq: int
    sent: bool


def publish(engine: Engine, clickhouse: Client, tenant_id: UUID, *, rebuild: bool = False) -> Published:
    """Send every commit ClickHouse has not seen; ``rebuild`` starts from nothing.

    Raises EngineUnavailable where ClickHouse does not take the rows; PostgreSQL keeps what is due.
    """
    with tenant_session(engine, tenant_id) as session:
        connection = driver_connection(session)
        lock_publisher(connection, tenant_id)
        row = connection.execute(
            "SELECT commit_seq, published_seq FROM pim.catalog_state WHERE tenant_id = %s", (tenant_id,)
        ).fetchone()
        assert row is not None, "a tenant is made with its catalog_state"
        newest, after = int(row[0]), 0 if rebuild else int(row[1])
        if newest == after and not rebuild:
            return Published(newest, sent=False)
        with clickhouse_errors("taking products"):
            if rebuild:
                clickhouse.command(
                    "ALTER TABLE segmentation.product_versions DELETE WHERE tenant_id = {tenant:String} "
                    "SETTINGS mutations_sync = 2",
                    parameters={"tenant": str(tenant_id)},
                )
            _stream(connection, clickhouse, _LIVE, _LIVE_COLUMNS, tenant_id, after)
            if not rebuild and _emptied(connection, tenant_id, after):
                clickhouse.command(_ALL_GONE, parameters={"tenant": str(tenant_id), "newest": newest}, settings=_INSERT)
            else:
                with joining(connection, _deleted(tenant_id, after)):
                    _stream(connection, clickhouse, _GONE, _COLUMNS, tenant_id, after)
        # What a slower transaction commits meanwhile has a higher number: writers hold the tenant's lock.
        connection.execute(
            "UPDATE pim.catalog_state SET published_seq = %s, typed_seq = CASE WHEN %s THEN 0 ELSE typed_seq END, "
            "verified_seq = CASE WHEN %s THEN -1 ELSE verified_seq END WHERE tenant_id = %s",
            (newest, rebuild, rebuild, tenant_id),
        )
    return Published(newest, sent=True)


def _deleted(tenant_id: UUID, after: int) -> sql.Composable:
    return sql.SQL(_DELETED).format(tenant=sql.Literal(str(tenant_id)), after=sql.Literal(after))


def _emptied(connection: psycopg.Connection[Any], tenant_id: UUID, after: int) -> bool:
    """Whether commits later than ``after`` deleted products and the tenant has none left.

    It may have been emptied later than the commit that is published: what comes back has a higher version still.
    In the order of the primary key, or a planner without statistics reads the whole partition; EXISTS has no order.
    """
    row = connection.execute(
        sql.SQL(
            "SELECT CASE WHEN (SELECT id FROM pim.products WHERE tenant_id = {tenant} ORDER BY id LIMIT 1) IS NULL "
            "THEN EXISTS {deleted} END"
        ).format(deleted=_deleted(tenant_id, after), tenant=sql.Literal(str(tenant_id)))
    ).fetchone()
    return row == (True,)


def _stream(
    connection: psycopg.Connection[Any],
    clickhouse: Client,
    statement: str,
    columns: Sequence[str],
    tenant_id: UUID,
    after: int,
) -> None:
    query = sql.SQL(statement).format(tenant=sql.Literal(str(tenant_id)), after=sql.Literal(after))
    with connection.cursor() as cursor, cursor.copy(query) as copy, ThreadPoolExecutor(1) as beside:
        sending: Future[object] | None = None
        for piece in _pieces(copy):
            if sending is not None:
                sending.result()
            # ClickHouse takes one piece while PostgreSQL writes the next.
            sending = beside.submit(_send, clickhouse, columns, piece)
        if sending is not None:
            sending.result()


def _send(clickhouse: Client, columns: Sequence[str], rows: bytes) -> object:
    return clickhouse.raw_insert(
        "segmentation.product_versions",
        column_names=columns,
        insert_block=rows,
        fmt="TabSeparated",
        settings=_INSERT,
    )


#: Bytes of one insert: large enough for few parts, small enough that memory does not grow with the catalogue.
_PIECE = 32 * 1024 * 1024

#: Every key stands once in what is sent, so there is nothing to replace while inserting; merges do that later.
_INSERT = {"optimize_on_insert": 0, "max_insert_threads": 2}


def _pieces(copy: psycopg.Copy) -> Iterator[bytes]:
    """The COPY stream in pieces of whole rows: psycopg hands out one row at a time."""
    held = bytearray()
    for row in copy:
        held += row
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
