"""Values of a field in another type: laid out as cells and read by the rules of imports.

A list of several entries is no single value; what is no value of the new type becomes none.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
from psycopg import sql

from pim_platform.catalog.editing import Edit, clear_field
from pim_platform.catalog.incoming import Column
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schema_changes import Step
from pim_platform.catalog.staged import FIELD_PREFIX, RAW_PREFIX
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.mapping.models import Mapping as ColumnMappings
from pim_platform.intake.plan import compile_plan

_BATCH = 50_000
_CSV_ROWS = 16_384
#: The products of ``tenant`` that have a value of the field ``name``.
WITH_VALUE = sql.SQL("FROM pim.products p WHERE p.tenant_id = {tenant} AND p.data ? {name}")


def edits_of(
    connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, steps: Sequence[Step]
) -> tuple[list[Edit], sql.Composable]:
    """What becomes of the fields, and the joins with the temporary tables of converted values."""
    edits: list[Edit] = []
    joins: list[sql.Composable] = []
    for number, step in enumerate(steps):
        if step.op == "remove":
            edits.append(clear_field(step.name))
        elif step.converts:
            table = sql.Identifier(f"converted_{number}")
            _copy(connection, table, converted_values(connection, tenant_id, after, step))
            joins.append(sql.SQL("LEFT JOIN {t} ON {t}.sku_key = p.sku_key").format(t=table))
            column = Column(f"{FIELD_PREFIX}{step.name}", step.name, "jsonb", "field")
            edits.append(Edit(column, sql.SQL("{}.value").format(table)))
    return edits, sql.SQL(" ").join(joins)


def _copy(connection: psycopg.Connection[Any], table: sql.Identifier, frames: Iterator[pl.DataFrame]) -> None:
    """Write ``sku_key, value`` of all frames into a temporary table."""
    connection.execute(
        sql.SQL('CREATE TEMP TABLE {} (sku_key text COLLATE "C", value jsonb) ON COMMIT DROP').format(table)
    )
    for frame in frames:
        buffer = io.BytesIO()
        kept = frame.select("sku_key", "value")
        kept.write_csv(buffer, include_header=False, null_value="", batch_size=_CSV_ROWS)
        copy = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
        with connection.cursor() as cursor, cursor.copy(copy) as writer:
            writer.write(buffer.getbuffer())
    connection.execute(sql.SQL("ANALYZE {}").format(table))


def converted_values(
    connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step
) -> Iterator[pl.DataFrame]:
    """Frames of ``sku, sku_key, cell, value``: the value of the new type as JSON text, null where there is none.

    Values are laid out as cells and read by the rules of imports. A list of several entries is no single value.
    """
    target = after.field(step.name)
    assert step.before is not None
    assert target is not None, "a field that is retyped stays"
    columns = (
        ColumnMapping(source="sku", index=0, field="sku"),
        ColumnMapping(source=step.name, index=1, field=step.name, type=target.type),
    )
    plan = compile_plan(ColumnMappings(columns=columns), after)
    query = sql.SQL("SELECT p.sku, p.sku_key, {cell} {values} ORDER BY p.sku_key").format(
        cell=_cell(step),
        values=WITH_VALUE.format(tenant=sql.Literal(tenant_id), name=sql.Literal(step.name)),
    )
    with connection.cursor(name="converting") as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            given = pl.DataFrame(rows, schema={"sku": pl.String, "sku_key": pl.String, "cell": pl.String}, orient="row")
            cells = given.select(
                row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
                **{f"{RAW_PREFIX}0": pl.col("sku"), f"{RAW_PREFIX}1": pl.col("cell")},
            )
            value = plan.apply(cells)[f"{FIELD_PREFIX}{step.name}"]
            yield given.with_columns(_json(value, step).alias("value"))


def _cell(step: Step) -> sql.Composable:
    """SQL for the text that stands for a value of the old type."""
    assert step.before is not None
    name = sql.Literal(step.name)
    one = sql.SQL("(p.data -> {} -> 0)").format(name)
    single = sql.SQL("jsonb_typeof(p.data -> {n}) = 'array' AND jsonb_array_length(p.data -> {n}) = 1").format(n=name)
    if step.before.type == "price":
        return sql.SQL("concat_ws(' ', p.data -> {n} ->> 'amount', p.data -> {n} ->> 'currency')").format(n=name)
    if step.before.type == "multi_price":
        amount = sql.SQL("concat_ws(' ', {o} ->> 'amount', {o} ->> 'currency')").format(o=one)
        return sql.SQL("CASE WHEN {} THEN {} END").format(single, amount)
    if step.before.type == "array":
        return sql.SQL("CASE WHEN {} THEN p.data -> {} ->> 0 END").format(single, name)
    return sql.SQL("p.data ->> {}").format(name)


def _json(value: pl.Series, step: Step) -> pl.Series:
    assert step.after is not None
    if step.after.type in ("string", "url"):
        written = value.alias("a").to_frame().select(
            pl.when(pl.col("a").is_not_null()).then(
                pl.struct("a").struct.json_encode().str.strip_prefix('{"a":').str.strip_suffix("}")
            )
        )  # fmt: skip
        return written.to_series()
    return value.cast(pl.String)
