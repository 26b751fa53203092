"""Bulk edits as rows for the one merge: what an operation makes of a field, in SQL over the chosen products.

Belongs here: the expressions, what stands in their way, and the SELECT that :mod:`pim_platform.catalog.merge` reads
instead of staged files. Does not belong here: reading what a request asks for (:mod:`pim_platform.intake.operations`).
Arithmetic is on ``numeric``, so decimals stay exact (design D16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql

from pim_platform.catalog.choosing import CHOSEN
from pim_platform.catalog.incoming import COLUMNS, Column, Incoming
from pim_platform.catalog.joins import joining
from pim_platform.catalog.staged import FIELD_PREFIX

#: SKUs shown for a conflict.
_EXAMPLES = 5

Reason = Literal["no_value", "not_a_number", "not_a_list", "other_currency", "required"]


@dataclass(frozen=True)
class Edit:
    """What becomes of one column or field: SQL for its new value over ``pim.products p``, null for none.

    ``conflict`` is SQL for why a product stays as it is in this field (one of :data:`Reason`), null where nothing
    stands in the way.
    """

    column: Column
    value: sql.Composable
    conflict: sql.Composable | None = None


@dataclass(frozen=True)
class Conflicts:
    """Products that an edit leaves as they are, for one reason; a few of their SKUs."""

    field: str
    reason: Reason
    products: int
    skus: list[str]


def set_column(name: str, value: Any) -> Edit:
    """A column of the product gets a value; None: ``variant_group`` is cleared."""
    kind = COLUMNS[name]
    return Edit(Column(name, name, kind, "column"), sql.SQL("{}::" + kind).format(sql.Literal(value)))


def set_field(name: str, json_text: str, *, into_locales: bool = False) -> Edit:
    """A field gets a JSON value; ``into_locales``: the value is an object of locales that are merged into it."""
    value: sql.Composable = sql.SQL("{}::jsonb").format(sql.Literal(json_text))
    if into_locales:
        value = sql.SQL("((CASE WHEN jsonb_typeof({old}) = 'object' THEN {old} ELSE '{{}}' END) || {given})").format(
            old=_old(name), given=value
        )
    return Edit(_field(name), value)


def clear_field(name: str, locale: str | None = None) -> Edit:
    """A field loses its value, or that of one locale."""
    if locale is None:
        return Edit(_field(name), sql.SQL("NULL::jsonb"))
    rest = sql.SQL(
        "(CASE WHEN jsonb_typeof({old}) = 'object' THEN nullif({old} - {locale}, '{{}}') ELSE {old} END)"
    ).format(old=_old(name), locale=sql.Literal(locale))
    return Edit(_field(name), rest)


def append(name: str, entries: str) -> Edit:
    """A list gets the entries of a JSON array that it does not hold yet, at its end."""
    value = sql.SQL(
        "(CASE WHEN {old} IS NULL OR jsonb_typeof({old}) = 'array' THEN coalesce({old}, '[]') || "
        "(SELECT coalesce(jsonb_agg(e.v ORDER BY e.n), '[]') "
        "FROM jsonb_array_elements({given}::jsonb) WITH ORDINALITY e (v, n) "
        "WHERE NOT coalesce({old}, '[]') @> jsonb_build_array(e.v)) ELSE {old} END)"
    ).format(old=_old(name), given=sql.Literal(entries))
    return Edit(_field(name), value, _no_list(name))


def remove(name: str, entries: str, *, required: bool) -> Edit:
    """A list loses every entry that is in a JSON array; a list without entries is no value."""
    rest = sql.SQL(
        "(SELECT jsonb_agg(e.v ORDER BY e.n) FROM jsonb_array_elements({old}) WITH ORDINALITY e (v, n) "
        "WHERE NOT {given}::jsonb @> jsonb_build_array(e.v))"
    ).format(old=_old(name), given=sql.Literal(entries))
    kept = sql.SQL("coalesce({}, {})").format(rest, _old(name)) if required else rest
    value = sql.SQL("(CASE WHEN jsonb_typeof({old}) = 'array' THEN {kept} ELSE {old} END)").format(
        old=_old(name), kept=kept
    )
    conflict = _no_list(name)
    if required:
        conflict = sql.SQL(
            "(CASE WHEN jsonb_typeof({old}) = 'array' AND {rest} IS NULL THEN 'required' ELSE {other} END)"
        ).format(old=_old(name), rest=rest, other=conflict)
    return Edit(_field(name), value, conflict)


def calculate(
    name: str,
    kind: Literal["number", "price", "multi_price"],
    sign: Literal["*", "+"],
    by: Decimal,
    *,
    decimals: int | None = None,
    currency: str | None = None,
) -> Edit:
    """A number or the amounts of a price are multiplied by, or get added, ``by``.

    ``decimals``: rounded to so many, halves away from zero; else every digit stays. ``currency``: only amounts in it.
    """

    def result(amount: sql.Composable) -> sql.Composable:
        made = sql.SQL("(({})::numeric {} {}::numeric)").format(amount, sql.SQL(sign), sql.Literal(f"{by:f}"))
        if decimals is not None:
            made = sql.SQL("round({}, {})").format(made, sql.Literal(decimals))
        return sql.SQL("to_jsonb(trim_scale({}))").format(made)

    def priced(price: sql.Composable) -> sql.Composable:
        fits: sql.Composable = sql.SQL("jsonb_typeof({p} -> 'amount') = 'number'").format(p=price)
        if currency is not None:
            fits += sql.SQL(" AND {p} ->> 'currency' = {c}").format(p=price, c=sql.Literal(currency))
        return sql.SQL("(CASE WHEN {fits} THEN jsonb_set({p}, '{{amount}}', {made}) ELSE {p} END)").format(
            fits=fits, p=price, made=result(sql.SQL("{p} ->> 'amount'").format(p=price))
        )

    old = _old(name)
    other: sql.Composable = sql.SQL("")
    if kind == "number":
        text = sql.SQL("p.data ->> {}").format(sql.Literal(name))
        value: sql.Composable = sql.SQL("(CASE WHEN jsonb_typeof({old}) = 'number' THEN {made} ELSE {old} END)").format(
            old=old, made=result(text)
        )
        shape = "number"
    elif kind == "price":
        value, shape = priced(old), "object"
        wrong = sql.SQL(" WHEN {old} ->> 'currency' <> {c} THEN 'other_currency'")
        other = wrong.format(old=old, c=sql.Literal(currency)) if currency else other
    else:
        value = sql.SQL(
            "(CASE WHEN jsonb_typeof({old}) = 'array' THEN (SELECT jsonb_agg({made} ORDER BY e.n) "
            "FROM jsonb_array_elements({old}) WITH ORDINALITY e (v, n)) ELSE {old} END)"
        ).format(old=old, made=priced(sql.SQL("e.v")))
        shape = "array"
        wrong = sql.SQL(" WHEN NOT {old} @> {c}::jsonb THEN 'other_currency'")
        some = sql.Literal(f'[{{"currency": "{currency}"}}]')
        other = wrong.format(old=old, c=some) if currency else other
    conflict = sql.SQL(
        "(CASE WHEN {old} IS NULL THEN 'no_value' WHEN jsonb_typeof({old}) <> {shape} THEN 'not_a_number'{other} END)"
    ).format(old=old, shape=sql.Literal(shape), other=other)
    return Edit(_field(name), value, conflict)


_NO_JOINS = sql.SQL("")


def edited(tenant_id: UUID, edits: Sequence[Edit], *, joins: sql.Composable = _NO_JOINS) -> Incoming:
    """The chosen products as rows for the merge, each with what the edits make of it.

    ``joins`` are joins with what the edits' expressions refer to beside ``p``.
    """
    values = [sql.SQL(", {} AS {}").format(edit.value, edit.column.identifier) for edit in edits]
    query = sql.SQL(
        'SELECT row_number() OVER (ORDER BY p.sku_key) AS "row", p.sku, p.sku_key, NULL::bigint AS row_hash{values} '
        "FROM pim.products p {joins} WHERE p.tenant_id = {tenant} AND p.id IN (SELECT id FROM {chosen})"
    ).format(values=sql.SQL("").join(values), joins=joins, tenant=sql.Literal(tenant_id), chosen=CHOSEN)
    columns = tuple(edit.column for edit in edits)
    return Incoming(
        (),
        columns,
        clear=frozenset(column.name for column in columns),
        nullable=frozenset(column.staged for column in columns),
        query=query,
    )


def conflicts_of(connection: psycopg.Connection[Any], tenant_id: UUID, edits: Sequence[Edit]) -> list[Conflicts]:
    """Why which of the chosen products stay as they are, by field and reason."""
    found: list[Conflicts] = []
    with joining(connection, CHOSEN):
        for edit in edits:
            if edit.conflict is None:
                continue
            rows = connection.execute(
                sql.SQL(
                    "SELECT reason, count(*), (array_agg(sku ORDER BY sku_key) FILTER (WHERE place <= {few})) FROM ("
                    "SELECT reason, sku, sku_key, row_number() OVER (PARTITION BY reason ORDER BY sku_key) AS place "
                    "FROM (SELECT p.sku, p.sku_key, {reason} AS reason FROM pim.products p "
                    "WHERE p.tenant_id = {tenant} AND p.id IN (SELECT id FROM {chosen})) r "
                    "WHERE reason IS NOT NULL) r GROUP BY reason ORDER BY reason"
                ).format(few=sql.Literal(_EXAMPLES), reason=edit.conflict, tenant=sql.Literal(tenant_id), chosen=CHOSEN)
            ).fetchall()
            found += [Conflicts(edit.column.name, reason, int(count), skus) for reason, count, skus in rows]
    return found


def _field(name: str) -> Column:
    return Column(f"{FIELD_PREFIX}{name}", name, "jsonb", "field")


def _old(name: str) -> sql.Composed:
    return sql.SQL("(p.data -> {})").format(sql.Literal(name))


def _no_list(name: str) -> sql.Composable:
    return sql.SQL("(CASE WHEN {old} IS NOT NULL AND jsonb_typeof({old}) <> 'array' THEN 'not_a_list' END)").format(
        old=_old(name)
    )
