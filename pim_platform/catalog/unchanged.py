"""Rows that are certainly unchanged, found before their values are loaded (design D8).

Most rows of a refreshed feed are the same as last time. Their hash equals the one that their source wrote last on
a product nobody touched since; three narrow columns are enough to know it. The caller holds the tenant's lock,
so what is unchanged here is unchanged at the commit.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from pim_platform.catalog.joins import joining

Rows = npt.NDArray[np.int64]

_KEYS = ["row", "sku_key", "row_hash"]
_CSV_ROWS = 16_384


def find_unchanged(
    connection: psycopg.Connection[Any], tenant_id: UUID, source_id: UUID | None, staged: Sequence[Path]
) -> Rows:
    """The record numbers, ascending, of rows that need not be loaded; keys that stand twice in the file never count."""
    none: Rows = np.empty(0, dtype=np.int64)
    if source_id is None or not staged:
        return none
    scope = {"tenant": sql.Literal(str(tenant_id)), "source": sql.Literal(str(source_id))}
    known = connection.execute(
        sql.SQL(
            "SELECT 1 FROM pim.products "
            "WHERE tenant_id = {tenant} AND source_id = {source} AND row_hash IS NOT NULL LIMIT 1"
        ).format(**scope)
    ).fetchone()
    if known is None:
        return none
    connection.execute(
        'CREATE TEMP TABLE incoming_keys ("row" bigint, sku_key text COLLATE "C", row_hash bigint) ON COMMIT DROP'
    )
    doubled = _doubled(staged)
    with connection.cursor() as cursor, cursor.copy("COPY incoming_keys FROM STDIN (FORMAT csv)") as writer:
        for frame in _frames(staged, _KEYS):
            if doubled.len():
                frame = frame.filter(~pl.col("sku_key").hash().is_in(doubled.implode()))
            buffer = io.BytesIO()
            frame.write_csv(buffer, include_header=False, null_value="", batch_size=_CSV_ROWS)
            writer.write(buffer.getbuffer())
    connection.execute("ANALYZE incoming_keys (sku_key)")
    with joining(connection, sql.Identifier("incoming_keys")):
        found = connection.execute(
            sql.SQL(
                """
                SELECT string_agg(k."row"::text, E'\\n')
                FROM incoming_keys k
                JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = k.sku_key
                                   AND p.row_hash = k.row_hash AND p.source_id = {source}
                """
            ).format(**scope)
        ).fetchone()
    connection.execute("DROP TABLE incoming_keys")
    if found is None or found[0] is None:
        return none
    return np.sort(np.fromstring(found[0], dtype=np.int64, sep="\n"))


def _doubled(staged: Sequence[Path]) -> pl.Series:
    """Hashes of the keys that stand twice; of a key that stands once only where two keys share a hash."""
    pieces = [frame["sku_key"].hash().to_numpy() for frame in _frames(staged, ["sku_key"])]
    hashes = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint64)
    hashes.sort()  # in place: a hash table of them would be several times as large
    return pl.Series(hashes[1:][hashes[1:] == hashes[:-1]], dtype=pl.UInt64).unique()


def _frames(staged: Sequence[Path], columns: list[str]) -> Iterator[pl.DataFrame]:
    """These columns by row group, which is a batch of staging, so that no file of them is held whole."""
    for path in staged:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                frame = pl.from_arrow(file.read_row_group(group, columns=columns))
                assert isinstance(frame, pl.DataFrame)
                yield frame.select(columns)


def without(frame: pl.DataFrame, unchanged: Rows) -> pl.DataFrame:
    """``frame`` without the rows whose numbers are in ``unchanged``."""
    if not len(unchanged) or not frame.height:
        return frame
    rows = frame["row"].to_numpy()
    # Only the stretch of numbers that this batch spans is looked at; rows of scattered groups come in another order.
    first, last = np.searchsorted(unchanged, [rows.min(), rows.max() + 1])
    return frame.filter(~np.isin(rows, unchanged[first:last]))
