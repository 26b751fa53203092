"""Diff: what each incoming row would do to the catalogue. A dry run ends here; merge applies exactly this.

The answer is the temporary table ``plan``: the incoming rows plus ``product_id`` and ``product_ctid`` (where
the product lies: nobody moves it while the tenant's lock is held), ``changed`` (a bit per differing column)
and ``action``, one of

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

from pim_platform.catalog.incoming import TABLE, Column, Incoming
from pim_platform.catalog.joins import joining

PLAN = sql.Identifier("plan")

_LAST_BIT = 61


@dataclass(frozen=True)
class DiffCounts:
    """How many products a diff would create, update and leave, and how many rows it rejects.

    ``changed`` names the staged columns in which any update differs from its product.
    """

    created: int
    updated: int
    unchanged: int
    nameless: int
    changed: frozenset[str] = frozenset()


def diff(
    connection: psycopg.Connection[Any], tenant_id: UUID, source_id: UUID | None, incoming: Incoming
) -> DiffCounts:
    """Compare the loaded rows with the tenant's products into ``plan``; ``incoming`` is dropped.

    A row whose hash equals the one its source wrote last, on a product nobody touched since (any other
    writer replaces hash and source), is unchanged without reading its data (design D8).
    """
    if _is_empty(connection, tenant_id):
        _plan_all_new(connection, incoming)
    else:
        with joining(connection, TABLE):
            _compare(connection, tenant_id, source_id, incoming)
    rows = connection.execute(
        sql.SQL("SELECT action, count(*), bit_or(changed) FROM {} GROUP BY action").format(PLAN)
    ).fetchall()
    counts = {action: count for action, count, _ in rows}
    changed = next((bits for action, _, bits in rows if action == "update"), 0)
    return DiffCounts(
        created=counts.get("create", 0),
        updated=counts.get("update", 0),
        unchanged=counts.get("same", 0),
        nameless=counts.get("nameless", 0),
        changed=frozenset(column.staged for column, bit in _bits(incoming) if changed & bit),
    )


def _is_empty(connection: psycopg.Connection[Any], tenant_id: UUID) -> bool:
    found = connection.execute("SELECT EXISTS (SELECT FROM pim.products WHERE tenant_id = %s)", (tenant_id,)).fetchone()
    return found == (False,)


def _plan_all_new(connection: psycopg.Connection[Any], incoming: Incoming) -> None:
    """The plan for a tenant without products: the incoming rows as they lie, given the columns of a plan.

    Constant defaults are kept in the catalogue, so no row is written a second time.
    """
    connection.execute(
        sql.SQL(
            """
            ALTER TABLE {incoming} ADD COLUMN product_id uuid, ADD COLUMN product_ctid tid,
              ADD COLUMN changed bigint NOT NULL DEFAULT 0, ADD COLUMN action text NOT NULL DEFAULT {action};
            ALTER TABLE {incoming} RENAME TO {plan}
            """
        ).format(incoming=TABLE, plan=PLAN, action=sql.Literal("create" if incoming.column("name") else "nameless"))
    )
    if "name" in incoming.nullable:
        connection.execute(sql.SQL("UPDATE {} SET action = 'nameless' WHERE name IS NULL").format(PLAN))


def _compare(connection: psycopg.Connection[Any], tenant_id: UUID, source_id: UUID | None, incoming: Incoming) -> None:
    connection.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE {plan} ON COMMIT DROP AS
            SELECT d.*, CASE WHEN product_id IS NULL AND {name} IS NULL THEN 'nameless'
                             WHEN product_id IS NULL THEN 'create'
                             WHEN changed <> 0 THEN 'update'
                             ELSE 'same' END AS action
            FROM (SELECT i.*, p.id AS product_id, p.ctid AS product_ctid,
                         CASE WHEN p.id IS NULL OR (p.row_hash = i.row_hash AND p.source_id = {source}) THEN 0
                              ELSE {changed} END AS changed
                  FROM {incoming} i LEFT JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = i.sku_key
                  OFFSET 0) d  -- a fence: without it the comparison is made twice
            """
        ).format(
            plan=PLAN,
            incoming=TABLE,
            name=sql.SQL("d.name") if incoming.column("name") else sql.SQL("NULL"),
            source=sql.Literal(str(source_id) if source_id else None) + sql.SQL("::uuid"),
            changed=_changed(incoming),
            tenant=sql.Literal(str(tenant_id)),
        )
    )
    connection.execute(sql.SQL("DROP TABLE {}").format(TABLE))
    connection.execute(sql.SQL("ANALYZE {} (action, sku_key)").format(PLAN))


def _bits(incoming: Incoming) -> list[tuple[Column, int]]:
    """A bit per column; columns past the 62nd share the last, so that any number fits a bigint."""
    return [(column, 1 << min(position, _LAST_BIT)) for position, column in enumerate(incoming.columns)]


def _changed(incoming: Incoming) -> sql.Composable:
    """SQL for the bits of the columns in which an incoming row differs from its product."""
    if incoming.replace:  # the row is the whole: any key of the product may go
        tests = [(_differs(incoming, column), bit) for column, bit in _bits(incoming) if column.kind == "column"]
        whole = sql.SQL("{} IS DISTINCT FROM p.data").format(incoming.new_data("i", "p.data"))
        tests.append((whole, sum({bit for column, bit in _bits(incoming) if column.kind == "field"}) or 1 << _LAST_BIT))
    else:
        tests = [(_differs(incoming, column), bit) for column, bit in _bits(incoming)]
    bits = [sql.SQL("CASE WHEN {} THEN {}::bigint ELSE 0 END").format(test, sql.Literal(bit)) for test, bit in tests]
    return sql.SQL(" | ").join(bits) if bits else sql.SQL("0::bigint")


def _differs(incoming: Incoming, column: Column) -> sql.Composable:
    given = sql.SQL("i.{}").format(column.identifier)
    if column.kind == "column":
        test = sql.SQL("{g} IS DISTINCT FROM p.{n}").format(g=given, n=sql.Identifier(column.name))
    elif column.sql_type == "text":
        test = sql.SQL("{g} IS DISTINCT FROM p.data ->> {n}").format(g=given, n=sql.Literal(column.name))
    else:
        value = sql.SQL("to_jsonb({})").format(incoming.value("i", column, "p.data"))
        test = sql.SQL("{v} IS DISTINCT FROM p.data -> {n}").format(v=value, n=sql.Literal(column.name))
    if column.staged not in incoming.nullable or incoming.clears(column):
        return test
    return sql.SQL("({} IS NOT NULL AND {})").format(given, test)


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
