"""What changes of a schema do to the products that are stored, counted before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schema_changes import Step
from pim_platform.errors import Conflict
from pim_platform.intake.converting import WITH_VALUE, converted_values
from pim_platform.storage.postgres import driver_connection

#: Products shown of those that a change breaks.
EXAMPLES = 5


@dataclass(frozen=True)
class Effect:
    """What one change does: to how many products that have a value of the field, and how many of them it breaks.

    For a field that becomes required ``products`` and ``breaks`` are those without a value. ``examples`` are
    ``{sku, value}`` of broken ones.
    """

    op: str
    field: str
    narrowing: bool
    products: int
    breaks: int
    consequence: str
    examples: list[dict[str, Any]] = made_by(default_factory=list)


def effects_of(session: Session, after: ProductSchema, steps: Sequence[Step]) -> list[Effect]:
    """What each step does to the products of the session's tenant.

    Raises Conflict (``field_is_localizable``) where a step would convert values by locale.
    """
    connection = driver_connection(session)
    tenant_id: UUID = session.info["tenant_id"]
    return [_effect(connection, tenant_id, after, step) for step in steps]


def _effect(connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step) -> Effect:
    if step.op == "remove":
        count, examples = _with_value(connection, tenant_id, step.name)
        return Effect(
            step.op, step.name, True, count, count, "its values are cleared; undoing brings them back", examples
        )
    if step.narrowing and step.op in ("add", "require"):
        count, examples = _without_value(connection, tenant_id, step.name)
        consequence = "products without a value stay; new ones, and whoever replaces one, must give it"
        return Effect(step.op, step.name, True, count, count, consequence, examples)
    if step.converts:
        return _conversion(connection, tenant_id, after, step)
    return Effect(step.op, step.name, step.narrowing, 0, 0, "nothing that is stored changes")


def _with_value(connection: psycopg.Connection[Any], tenant_id: UUID, name: str) -> tuple[int, list[dict[str, Any]]]:
    given = {"tenant": sql.Literal(tenant_id), "name": sql.Literal(name)}
    return _counted(connection, WITH_VALUE.format(**given), sql.SQL("p.data -> {name}").format(**given))


def _without_value(connection: psycopg.Connection[Any], tenant_id: UUID, name: str) -> tuple[int, list[dict[str, Any]]]:
    lacking = sql.SQL("FROM pim.products p WHERE p.tenant_id = {} AND NOT p.data ? {}").format(
        sql.Literal(tenant_id), sql.Literal(name)
    )
    return _counted(connection, lacking, sql.SQL("NULL::jsonb"))


def _counted(
    connection: psycopg.Connection[Any], which: sql.Composable, value: sql.Composable
) -> tuple[int, list[dict[str, Any]]]:
    row = connection.execute(sql.SQL("SELECT count(*) {}").format(which)).fetchone()
    assert row is not None
    rows = connection.execute(
        sql.SQL("SELECT p.sku, {} {} ORDER BY p.sku_key LIMIT {}").format(value, which, sql.Literal(EXAMPLES))
    ).fetchall()
    return int(row[0]), [{"sku": sku, "value": found} for sku, found in rows]


def _conversion(connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step) -> Effect:
    assert step.before is not None
    assert step.after is not None
    count, _ = _with_value(connection, tenant_id, step.name)
    if count and step.before.localizable:
        raise Conflict(
            f"{count:,} products have values of {step.name!r} by locale; those cannot be converted.",
            fix="Add another field, or remove this one and add it anew.",
            code="field_is_localizable",
            column=step.name,
        )
    broken = 0
    examples: list[dict[str, Any]] = []
    for frame in converted_values(connection, tenant_id, after, step):
        lost = frame.filter(pl.col("value").is_null())
        broken += lost.height
        examples += lost.select("sku", value=pl.col("cell")).head(EXAMPLES - len(examples)).to_dicts()
    consequence = f"values that are no {step.after.type} are cleared; the others are converted"
    return Effect(step.op, step.name, step.narrowing, count, broken, consequence, examples)
