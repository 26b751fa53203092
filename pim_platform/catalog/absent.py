"""Absent rows: products of a source's last full feed that its next one does not hold any more (design D6).

Written under the merge's commit number, in its transaction. Only SKUs of the
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
from psycopg import sql

from pim_platform.catalog.deleting import Author, delete_rows, log_author
from pim_platform.catalog.joins import joining


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


_DEACTIVATE = sql.SQL("""
WITH logged AS (
  INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                   actor, job_id, request_id, source, old, new)
  SELECT {tenant}, {seq}, p.id, now(), 'update', p.sku_key, p.version + 1, {actor}, {job}::uuid, {request},
         {source}, '{{"active": true}}', '{{"active": false}}'
  FROM absent a JOIN pim.products p ON p.tenant_id = {tenant} AND p.id = a.id)
UPDATE pim.products p
SET active = false, row_hash = NULL, version = p.version + 1, commit_seq = {seq}, updated_at = now()
FROM absent a WHERE p.tenant_id = {tenant} AND p.id = a.id
""")


def find_absent(connection: psycopg.Connection[Any], tenant_id: UUID, feed: FullFeed, staged: Sequence[Path]) -> Absent:
    """Fill the temporary table ``absent``; ``staged`` are this feed's own files.

    What is there is read from the files and not from the merge's plan: rows that are certainly unchanged never
    come that far.
    """
    last = _keys(feed.last).unique()
    missing = last.filter(~last.is_in(_keys(staged).append(feed.rejected).implode()))
    connection.execute('CREATE TEMP TABLE missing_keys (sku_key text COLLATE "C") ON COMMIT DROP')
    with connection.cursor() as cursor, cursor.copy("COPY missing_keys FROM STDIN (FORMAT csv)") as writer:
        buffer = io.BytesIO()
        missing.to_frame("sku_key").write_csv(buffer, include_header=False, quote_style="always")
        writer.write(buffer.getbuffer())
    connection.execute("ANALYZE missing_keys")
    with joining(connection, sql.Identifier("missing_keys")):
        connection.execute(
            sql.SQL(
                """
                CREATE TEMP TABLE absent ON COMMIT DROP AS
                SELECT p.id FROM missing_keys m
                JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = m.sku_key WHERE {wanted}
                """
            ).format(
                tenant=sql.Literal(tenant_id),
                wanted=sql.SQL("p.active" if feed.policy == "deactivate" else "true"),
            )
        )
    connection.execute("ANALYZE absent")
    row = connection.execute("SELECT count(*) FROM absent").fetchone()
    assert row is not None
    rows, total = int(row[0]), last.len()
    return Absent(rows, total, held=feed.limit is not None and rows > feed.limit * total)


def write_absent(
    connection: psycopg.Connection[Any], tenant_id: UUID, commit_seq: int, feed: FullFeed, author: Author
) -> int:
    """Deactivate or delete what :func:`find_absent` found, with log entries; returns how many products."""
    with joining(connection, sql.Identifier("absent")):
        if feed.policy == "delete":
            return delete_rows(connection, tenant_id, commit_seq, sql.SQL("p.id IN (SELECT id FROM absent)"), author)
        names = {"tenant": sql.Literal(tenant_id), "seq": sql.Literal(commit_seq), **log_author(author)}
        return connection.execute(_DEACTIVATE.format(**names)).rowcount


def drop_absent(connection: psycopg.Connection[Any]) -> None:
    """Drop the temporary tables, so that the transaction may merge again."""
    connection.execute("DROP TABLE absent, missing_keys")


def _keys(paths: Sequence[Path]) -> pl.Series:
    """The keys in staged files; none where there are no files."""
    if not paths:
        return pl.Series("sku_key", [], dtype=pl.String)
    # Corrected rejects have more raw columns than the file they come from.
    return pl.scan_parquet(list(paths), extra_columns="ignore").select("sku_key").collect()["sku_key"]
