"""Absent rows: products of a source's last full feed that its next one does not hold any more (design D6).

Found against the merge's own ``plan``, written under its commit number, in its transaction. Only SKUs of the
last accepted full feed of the same source are ever touched; a record that was rejected is not absent.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import polars as pl
import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from pim_platform.catalog.deleting import Author, delete_rows, log_author

_KEYS = 262_144


@dataclass(frozen=True)
class FullFeed:
    """What a merge needs to know of a full feed.

    ``last`` are the staged files of the source's last accepted full feed; ``rejected`` the keys of records
    that this one holds but that were rejected; above ``limit`` (a share of the last feed's products, None: no
    limit) nothing is written and the merge is held.
    """

    policy: Literal["deactivate", "delete"]
    last: tuple[Path, ...]
    rejected: pl.Series
    limit: float | None


@dataclass(frozen=True)
class Absent:
    """How many products are absent of how many the last feed held, and whether that is above the limit."""

    rows: int = 0
    of: int = 0
    held: bool = False

    @property
    def share(self) -> float:
        """Absent products as a share of the last feed's, 0 to 1."""
        return self.rows / self.of if self.of else 0.0


#: What a merge without a full feed finds.
NONE_ABSENT = Absent()


def find_absent(connection: psycopg.Connection[Any], tenant_id: UUID, feed: FullFeed) -> Absent:
    """Fill the temporary table ``absent``; ``plan`` holds the rows that are there (see :mod:`..catalog.diff`)."""
    connection.execute('CREATE TEMP TABLE last_feed (sku_key text COLLATE "C") ON COMMIT DROP')
    connection.execute('CREATE TEMP TABLE rejected_keys (sku_key text COLLATE "C") ON COMMIT DROP')
    _copy_keys(connection, "last_feed", feed.last)
    _copy(connection, "rejected_keys", [feed.rejected.to_frame("sku_key")])
    connection.execute("ANALYZE last_feed, rejected_keys")
    connection.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE absent ON COMMIT DROP AS
            SELECT p.id FROM (SELECT DISTINCT sku_key FROM last_feed) f
            JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = f.sku_key
            WHERE NOT EXISTS (SELECT FROM plan s WHERE s.sku_key = f.sku_key)
              AND NOT EXISTS (SELECT FROM rejected_keys r WHERE r.sku_key = f.sku_key) AND {wanted}
            """
        ).format(
            tenant=sql.Literal(tenant_id),
            wanted=sql.SQL("p.active" if feed.policy == "deactivate" else "true"),
        )
    )
    connection.execute("ANALYZE absent")
    row = connection.execute(
        "SELECT (SELECT count(*) FROM absent), (SELECT count(DISTINCT sku_key) FROM last_feed)"
    ).fetchone()
    assert row is not None
    rows, total = int(row[0]), int(row[1])
    return Absent(rows, total, held=feed.limit is not None and rows > feed.limit * total)


def write_absent(
    connection: psycopg.Connection[Any], tenant_id: UUID, commit_seq: int, feed: FullFeed, author: Author
) -> int:
    """Deactivate or delete what :func:`find_absent` found, with log entries; returns how many products."""
    if feed.policy == "delete":
        return delete_rows(connection, tenant_id, commit_seq, sql.SQL("p.id IN (SELECT id FROM absent)"), author)
    return connection.execute(
        sql.SQL(
            """
            WITH logged AS (
              INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                               actor, job_id, request_id, source, old, new)
              SELECT {tenant}, {seq}, p.id, now(), 'update', p.sku_key, p.version + 1, {actor}, {job}::uuid, {request},
                     {source}, '{{"active": true}}', '{{"active": false}}'
              FROM absent a JOIN pim.products p ON p.tenant_id = {tenant} AND p.id = a.id)
            UPDATE pim.products p
            SET active = false, row_hash = NULL, version = p.version + 1, commit_seq = {seq}, updated_at = now()
            FROM absent a WHERE p.tenant_id = {tenant} AND p.id = a.id
            """
        ).format(tenant=sql.Literal(tenant_id), seq=sql.Literal(commit_seq), **log_author(author))
    ).rowcount


def drop_absent(connection: psycopg.Connection[Any]) -> None:
    """Drop the temporary tables, so that the transaction may merge again."""
    connection.execute("DROP TABLE absent, last_feed, rejected_keys")


def _copy_keys(connection: psycopg.Connection[Any], table: str, paths: Sequence[Path]) -> None:
    for path in paths:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=_KEYS, columns=["sku_key"])
            _copy(connection, table, [pl.DataFrame(batch) for batch in batches])


def _copy(connection: psycopg.Connection[Any], table: str, frames: Sequence[pl.DataFrame]) -> None:
    query = sql.SQL("COPY {} (sku_key) FROM STDIN (FORMAT csv)").format(sql.Identifier(table))
    with connection.cursor() as cursor, cursor.copy(query) as writer:
        for frame in frames:
            buffer = io.BytesIO()
            frame.write_csv(buffer, include_header=False, quote_style="always")
            writer.write(buffer.getbuffer())
