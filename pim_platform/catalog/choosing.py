"""Which products a bulk operation means, as a temporary table, and whether they are still as they were shown.

The digest of a choice is over the ids and versions of its products. A version never comes back for an id, so equal
digests mean that the same products are meant and that none of them was written in between; whatever is computed from
them is then the same as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg import sql

from pim_platform.catalog.joins import joining

if TYPE_CHECKING:
    import pyarrow as pa

#: The temporary table of ids.
CHOSEN = sql.Identifier("chosen")

_DIGEST = sql.SQL("""
SELECT count(*), coalesce(bit_xor(hashtextextended(p.id::text || ':' || p.version, 0)), 0)
FROM {chosen} c JOIN pim.products p ON p.tenant_id = {tenant} AND p.id = c.id
""")


@dataclass(frozen=True)
class Choice:
    """How many products are meant, and the digest of their ids and versions."""

    products: int
    digest: str


def choose(
    connection: psycopg.Connection[Any],
    tenant_id: UUID,
    condition: sql.Composable | None,
    found: Iterable[pa.RecordBatch] | None = None,
) -> Choice:
    """Fill the temporary table ``chosen`` with the ids of the products that are meant.

    ``condition`` is SQL over ``pim.products p``; ``found`` are batches with a column ``id`` (see
    :func:`pim_platform.catalog.matching.matching`). Where both are given a product must be among both.
    """
    names = {"chosen": CHOSEN, "tenant": sql.Literal(tenant_id), "condition": condition or sql.SQL("true")}
    some = sql.SQL("")
    if found is not None:
        connection.execute("CREATE TEMP TABLE found (id uuid) ON COMMIT DROP")
        with connection.cursor() as cursor, cursor.copy("COPY found FROM STDIN") as writer:
            for batch in found:
                ids = batch.column("id").to_pylist()
                writer.write("".join(f"{one}\n" for one in ids))
        connection.execute("ANALYZE found")
        some = sql.SQL("AND p.id IN (SELECT id FROM found)")
    statement = sql.SQL(
        "CREATE TEMP TABLE {chosen} ON COMMIT DROP AS "
        "SELECT p.id FROM pim.products p WHERE p.tenant_id = {tenant} AND {condition} {some}"
    ).format(some=some, **names)
    if found is None:
        connection.execute(statement)
    else:
        with joining(connection, sql.Identifier("found")):
            connection.execute(statement)
        connection.execute("DROP TABLE found")
    connection.execute(sql.SQL("ANALYZE {}").format(CHOSEN))
    with joining(connection, CHOSEN):
        row = connection.execute(_DIGEST.format(**names)).fetchone()
    assert row is not None
    return Choice(int(row[0]), f"{int(row[0])}:{int(row[1]) & (2**64 - 1):016x}")


def sample_of(connection: psycopg.Connection[Any], tenant_id: UUID, limit: int) -> list[dict[str, Any]]:
    """The first of the chosen products by key: ``id, sku, name``."""
    rows = connection.execute(
        sql.SQL(
            "SELECT p.id, p.sku, p.name FROM pim.products p "
            "WHERE p.tenant_id = {} AND p.id IN (SELECT id FROM {}) ORDER BY p.sku_key LIMIT {}"
        ).format(sql.Literal(tenant_id), CHOSEN, sql.Literal(limit))
    ).fetchall()
    return [{"id": str(found), "sku": sku, "name": name} for found, sku, name in rows]
