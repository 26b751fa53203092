"""Products read from PostgreSQL for an export: one snapshot, keyset batches, COPY; memory is that of a batch."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from uuid import UUID

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from pim_platform.catalog.exporting.layout import ExportColumn
from pim_platform.catalog.schema import ProductSchema

Form = Literal["cells", "json"]
"""``cells``: the notation of :mod:`pim_platform.catalog.notation`, not guarded yet; ``json``: JSON texts."""

#: Rows of the first batch (a response begins with it), and of any later one at most.
FIRST_ROWS, MOST_ROWS = 1_000, 32_768
#: Bytes of text that a batch should have; its rows follow from those of the batch before.
_BATCH_BYTES = 8 * 1024**2

#: Column of the keys beside those of the headers; no field is called so.
_KEY = ":key"
_CHOSEN = sql.Identifier("export_keys")
_TIME = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


class Products:
    """The products of one tenant, or those of a set of keys, as one transaction sees them."""

    def __init__(self, connection: psycopg.Connection[Any], tenant_id: UUID, *, chosen: bool = False) -> None:
        self._connection = connection
        self._tenant = sql.Literal(str(tenant_id))
        self._chosen = chosen

    def count(self) -> int:
        """How many there are."""
        return int(self._one(sql.SQL("SELECT count(*) FROM {}").format(self._source()))[0])

    def locales(self, schema: ProductSchema, names: Iterable[str]) -> dict[str, list[str]]:
        """The locales in which any product has a value, for each localizable field; at least the tenant's own."""
        found: dict[str, list[str]] = {}
        for name in names:
            field = schema.field(name)
            if field is None or not field.localizable or field.scopable:
                continue
            value = sql.SQL("p.data -> {}").format(sql.Literal(name))
            row = self._one(
                sql.SQL(
                    "SELECT array_agg(DISTINCT k.key ORDER BY k.key) FROM {source}, LATERAL jsonb_object_keys("
                    "CASE WHEN {plain} THEN '{{}}' ELSE {value} END) k (key)"
                ).format(source=self._source(), plain=_is_plain(value), value=value)
            )
            # The tenant's own first: it is the one that people look for.
            found[name] = [
                schema.default_locale,
                *(locale for locale in row[0] or () if locale != schema.default_locale),
            ]
        return found

    def digits(self, columns: Sequence[ExportColumn]) -> dict[str, tuple[int, int] | None]:
        """Digits before and behind the point that the numbers and amounts of a column need, by header.

        None: some value is no JSON number.
        """
        wanted = [column for column in columns if column.kind in ("number", "price") and not column.own]
        if not wanted:
            return {}
        parts: list[sql.Composable] = []
        for column in wanted:
            value = _json_value(column)
            value = sql.SQL("({}) -> 'amount'").format(value) if column.kind == "price" else value
            # trim_scale: 1.50 needs one digit behind the point.
            number = sql.SQL("CASE WHEN jsonb_typeof({v}) = 'number' THEN trim_scale(({v})::numeric) END").format(
                v=value
            )
            parts += [
                sql.SQL("max(length(trunc(abs({}))::text))").format(number),
                sql.SQL("max(scale({}))").format(number),
                sql.SQL("bool_or(jsonb_typeof({}) NOT IN ('number', 'null'))").format(value),
            ]
        query = sql.SQL("SELECT {} FROM {}, {}").format(
            sql.SQL(", ").join(parts), self._source(), _record(wanted, "json")
        )
        row = self._one(query)
        return {
            column.header: None if other else (whole or 1, behind or 0)
            for column, (whole, behind, other) in zip(
                wanted, zip(row[0::3], row[1::3], row[2::3], strict=True), strict=True
            )
        }

    def frames(self, columns: Sequence[ExportColumn], form: Form) -> Generator[pl.DataFrame]:
        """The products by key: a String column per header, null where there is no value; no frame is empty.

        To be closed before the transaction ends: a thread may be reading ahead.
        """
        record, headers = _record(columns, form), [column.header for column in columns]
        values = sql.SQL(", ").join(_value(column, form, self._tenant) for column in columns)

        def read(after: str, rows: int) -> tuple[pl.DataFrame, int]:
            source = self._source(sql.SQL("sku_key > {}").format(sql.Literal(after)), rows)
            query = sql.SQL("COPY (SELECT p.sku_key, {} FROM {}, {} ORDER BY p.sku_key) TO STDOUT (FORMAT csv)")
            with self._connection.cursor() as cursor, cursor.copy(query.format(values, source, record)) as copy:
                text = b"".join(copy)
            return _parsed(text, headers), len(text)

        rows = FIRST_ROWS
        with ThreadPoolExecutor(1, thread_name_prefix="export") as ahead:
            coming = ahead.submit(read, "", rows)
            while True:
                frame, size = coming.result()
                if frame.height == rows:  # read by a thread while the caller works on this one
                    rows = min(MOST_ROWS, max(1, _BATCH_BYTES * rows // size))
                    coming = ahead.submit(read, frame[_KEY][-1], rows)
                    yield frame.drop(_KEY)
                    continue
                if frame.height:
                    yield frame.drop(_KEY)
                return

    def _source(self, condition: sql.Composable | None = None, rows: int | None = None) -> sql.Composable:
        """The products as ``p``: all, or the first ``rows`` by key of those that meet a condition on ``sku_key``."""
        limit = sql.SQL("") if rows is None else sql.SQL("ORDER BY sku_key LIMIT {}").format(sql.Literal(rows))
        where = condition or sql.SQL("true")
        if self._chosen:
            return sql.SQL(
                "(SELECT sku_key FROM {chosen} WHERE {where} {limit}) c "
                "JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = c.sku_key"
            ).format(chosen=_CHOSEN, where=where, limit=limit, tenant=self._tenant)
        return sql.SQL("(SELECT * FROM pim.products WHERE tenant_id = {tenant} AND {where} {limit}) p").format(
            tenant=self._tenant, where=where, limit=limit
        )

    def _one(self, query: sql.Composed) -> tuple[Any, ...]:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return tuple(row)


def _parsed(text: bytes, headers: list[str]) -> pl.DataFrame:
    """Rows of COPY's CSV by header, keys beside them; an empty text is quoted there, what is no value is not."""
    names = dict(zip(map(str, range(len(headers))), headers, strict=True))
    schema = {_KEY: pl.String, **dict.fromkeys(names, pl.String)}
    if not text:
        return pl.DataFrame(schema=schema).rename(names)
    return pl.read_csv(io.BytesIO(text), has_header=False, schema=schema).rename(names)


def choose(connection: psycopg.Connection[Any], batches: Iterable[pa.RecordBatch]) -> None:
    """Put the keys of the products to export (column ``sku_key``) into the transaction's temporary table."""
    connection.execute(
        sql.SQL('CREATE TEMP TABLE {} (sku_key text COLLATE "C" PRIMARY KEY) ON COMMIT DROP').format(_CHOSEN)
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(_CHOSEN)) as copy,
    ):
        for batch in batches:
            buffer = io.BytesIO()
            pl.DataFrame({"sku_key": batch.column("sku_key")}).write_csv(
                buffer, include_header=False, quote_style="always"
            )
            copy.write(buffer.getbuffer())
    connection.execute(sql.SQL("ANALYZE {}").format(_CHOSEN))


def _record(columns: Sequence[ExportColumn], form: Form) -> sql.Composable:
    """``d``: the fields of a product's data that the columns need, taken out in one pass."""
    types: dict[str, str] = {}
    for column in columns:
        if not column.own:
            plain = form == "cells" and column.locale is None and column.kind in _TEXTS
            types[column.name] = "text" if plain else "jsonb"
    if not types:
        return sql.SQL("(VALUES (0)) d (n)")
    named = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()]
    return sql.SQL("LATERAL jsonb_to_record(p.data) d ({})").format(sql.SQL(", ").join(named))


#: Kinds whose cell is the text of the JSON value.
_TEXTS = frozenset({"string", "url", "number", "boolean"})


def _is_plain(value: sql.Composable) -> sql.Composable:
    """Whether a localizable field's value is none per locale: it was written before the field became localizable."""
    return sql.SQL("jsonb_typeof({v}) <> 'object' OR ({v}) ? 'amount'").format(v=value)


def _json_value(column: ExportColumn) -> sql.Composable:
    """One value of a field as jsonb."""
    field = sql.SQL("d.{}").format(sql.Identifier(column.name))
    if column.locale is None:
        return field
    plain = field if column.plain else sql.SQL("NULL")
    return sql.SQL("(CASE WHEN {} THEN {} ELSE {} -> {} END)").format(
        _is_plain(field), plain, field, sql.Literal(column.locale)
    )


def _value(column: ExportColumn, form: Form, tenant: sql.Composable) -> sql.Composable:
    if column.own:
        return _own_value(column, form, tenant)
    value = _json_value(column)
    if form == "json":
        return value
    if column.kind in _TEXTS:
        return value if column.locale is None else sql.SQL("{} #>> '{{}}'").format(value)
    if column.kind == "price":
        # A price that lacks one of the two is told as it is, not left out.
        return sql.SQL(
            "coalesce((({v}) ->> 'currency') || ' ' || (({v}) ->> 'amount'), nullif({v}, 'null')::text)"
        ).format(v=value)
    return sql.SQL("nullif({}, 'null')").format(value)


def _own_value(column: ExportColumn, form: Form, tenant: sql.Composable) -> sql.Composable:
    if column.name == "parent_sku":
        value: sql.Composable = sql.SQL(
            "(CASE WHEN p.parent_id IS NOT NULL THEN "
            "(SELECT x.sku FROM pim.products x WHERE x.tenant_id = {} AND x.id = p.parent_id) END)"
        ).format(tenant)
    else:
        value = sql.SQL("p.{}").format(sql.Identifier(column.name))
    if column.kind == "time":
        value = sql.SQL("to_char({} AT TIME ZONE 'UTC', {})").format(value, sql.Literal(_TIME))
    if form == "json":
        return sql.SQL("to_json({})").format(value)
    if column.kind == "boolean":
        return sql.SQL("CASE WHEN {} THEN 'true' ELSE 'false' END").format(value)
    return value
