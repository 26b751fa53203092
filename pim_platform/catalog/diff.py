"""Diff: what each incoming row would do to the catalogue. A dry run ends here; merge applies exactly this.

The answer is the temporary table ``plan``: the incoming rows plus ``product_id`` and ``action``, one of

* ``create``   there is no product of that key
* ``nameless`` the same, but the row gives no name, so it cannot create one: a reject (design D3)
* ``update``   at least one given value differs
* ``same``     nothing differs; the product is never rewritten
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from pim_platform.catalog.incoming import TABLE, Incoming

PLAN = sql.Identifier("plan")


@dataclass(frozen=True)
class DiffCounts:
    """How many products a diff would create, update and leave, and how many rows it rejects."""

    created: int
    updated: int
    unchanged: int
    nameless: int


def diff(
    connection: psycopg.Connection[Any], tenant_id: UUID, source_id: UUID | None, incoming: Incoming
) -> DiffCounts:
    """Compare the loaded rows with the tenant's products into ``plan``; ``incoming`` is dropped.

    A row whose hash equals the one its source wrote last, on a product nobody touched since (any other
    writer replaces hash and source), is unchanged without reading its data (design D8).
    """
    connection.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE {plan} ON COMMIT DROP AS
            SELECT i.*, p.id AS product_id,
                   CASE WHEN p.id IS NULL AND {name} IS NULL THEN 'nameless'
                        WHEN p.id IS NULL THEN 'create'
                        WHEN p.row_hash = i.row_hash AND p.source_id = {source} THEN 'same'
                        WHEN {differs} THEN 'update'
                        ELSE 'same' END AS action
            FROM {incoming} i LEFT JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = i.sku_key
            """
        ).format(
            plan=PLAN,
            incoming=TABLE,
            name=sql.SQL("i.name") if incoming.column("name") else sql.SQL("NULL"),
            source=sql.Literal(str(source_id) if source_id else None) + sql.SQL("::uuid"),
            differs=_differs(incoming),
            tenant=sql.Literal(str(tenant_id)),
        )
    )
    connection.execute(sql.SQL("DROP TABLE {}").format(TABLE))
    connection.execute(sql.SQL("ANALYZE {} (action, sku_key)").format(PLAN))
    counts = dict(
        connection.execute(sql.SQL("SELECT action, count(*) FROM {} GROUP BY action").format(PLAN)).fetchall()
    )
    return DiffCounts(
        created=counts.get("create", 0),
        updated=counts.get("update", 0),
        unchanged=counts.get("same", 0),
        nameless=counts.get("nameless", 0),
    )


def _differs(incoming: Incoming) -> sql.Composable:
    tests = [
        sql.SQL("(i.{c} IS NOT NULL AND i.{c} IS DISTINCT FROM p.{n})").format(
            c=column.identifier, n=sql.Identifier(column.name)
        )
        for column in incoming.columns
        if column.kind == "column"
    ]
    if incoming.fields or incoming.replace:
        tests.append(sql.SQL("({} IS DISTINCT FROM p.data)").format(incoming.new_data("i", "p.data")))
    return sql.SQL(" OR ").join(tests) if tests else sql.SQL("false")


def nameless_rows(connection: psycopg.Connection[Any]) -> list[int]:
    """Record numbers of the rows that would create a product but give no name.

    Where several rows of one key give none, all of them are: nothing supersedes a row but one that counts.
    """
    query = sql.SQL(
        """
        SELECT coalesce(n, p."row") FROM {} p LEFT JOIN doubled d USING (sku_key)
        LEFT JOIN LATERAL unnest(d.rows) n ON true
        WHERE p.action = 'nameless' ORDER BY 1
        """
    ).format(PLAN)
    return [row[0] for row in connection.execute(query)]
