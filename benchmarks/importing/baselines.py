"""The floors that our import is compared with: raw COPY, and COPY + INSERT ... SELECT."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_CHUNK = 1 << 20


def header_of(path: Path) -> list[str]:
    """The column names of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def raw_copy(connection: psycopg.Connection[Any], path: Path, table: str) -> float:
    """Seconds for COPY of the file into a bare text table: the floor for anything that lands in PostgreSQL."""
    columns = header_of(path)
    name = sql.Identifier(table)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    definition = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(column)) for column in columns)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, definition))
    connection.execute("CHECKPOINT")
    start = time.perf_counter()
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER true)").format(name)
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy, path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            copy.write(chunk)
    return time.perf_counter() - start


def copy_and_insert(connection: psycopg.Connection[Any], path: Path) -> float:
    """Seconds for COPY + one plain INSERT ... SELECT into a table with the catalogue's columns and indexes.

    No validation, no types, no second engine: what a careful script would do.
    """
    connection.execute("DROP TABLE IF EXISTS bench_products")
    connection.execute("CREATE TABLE bench_products (LIKE pim.products INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    connection.execute("ALTER TABLE bench_products ADD PRIMARY KEY (tenant_id, id)")
    connection.execute("ALTER TABLE bench_products ADD UNIQUE (tenant_id, sku_key)")
    connection.execute("CREATE INDEX ON bench_products USING brin (commit_seq)")
    columns = [column for column in header_of(path) if column not in ("sku", "name")]
    pairs = sql.SQL(", ").join(sql.SQL("{}, {}").format(sql.Literal(c), sql.Identifier(c)) for c in columns)
    seconds = raw_copy(connection, path, "bench_bare")
    start = time.perf_counter()
    connection.execute(
        sql.SQL(
            """
            INSERT INTO bench_products (tenant_id, sku, sku_key, name, data, source, commit_seq)
            SELECT '00000000-0000-7000-8000-000000000000', sku, lower(trim(sku)), name,
                   jsonb_build_object({pairs}), 'csv', 1
            FROM bench_bare
            """
        ).format(pairs=pairs)
    )
    return seconds + time.perf_counter() - start
