"""Joins of many rows with a tenant's products, kept from plans that fit only a few.

A partition of ``products`` is shared by many tenants. Until it has been analysed again, a tenant that has just
imported does not occur in its statistics, so the planner expects one row of it and loops over the other side: a
quadratic plan for a catalogue of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

#: From this many rows on, reading the tenant's products once is no worse than looking up each of them.
MANY = 1_000


@contextmanager
def joining(connection: psycopg.Connection[Any], rows: sql.Composable) -> Iterator[None]:
    """Have statements in the block join by hashing or sorting where ``rows``, a table or query in SQL, are many.

    Fewer are looked up one by one. The setting belongs to the caller's transaction; blocks do not nest.
    """
    found = connection.execute(
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} r LIMIT {}) l").format(rows, sql.Literal(MANY))
    ).fetchone()
    many = found is not None and found[0] >= MANY
    if many:
        connection.execute("SET LOCAL enable_nestloop = off")
    yield
    if many:
        connection.execute("SET LOCAL enable_nestloop = on")
