"""Staged rows on their way into the catalogue: the temporary table that diff and merge work on.

The table is typed (one column per staged field) because building ``data`` in SQL from typed columns is
faster than copying JSON (design, section 6). It is temporary: a killed import leaves nothing behind.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.staged import FIELD_PREFIX
from pim_platform.catalog.unchanged import Rows, without

TABLE = sql.Identifier("incoming")

#: Columns of a product that a staged file may carry beside ``sku``.
COLUMNS: dict[str, str] = {
    "name": "text",
    "active": "boolean",
    "kind": "text",
    "variant_group": "text",
    "parent_id": "uuid",
}

#: Staged column that names a parent by its SKU key; ``parent_id`` is found from it (see :mod:`.parents`).
PARENT_SKU = "parent_sku"

#: Staged columns that give the product of a row another SKU: the only way to change one (design D2).
RENAMED: dict[str, tuple[str, str]] = {"new_sku": ("sku", "text"), "new_sku_key": ("sku_key", 'text COLLATE "C"')}

#: Columns of a product that may be without a value, so that a row can clear them.
_CLEARABLE = frozenset({"variant_group", "parent_id"})

_TYPES = {"string": "text", "url": "text", "number": "numeric", "boolean": "boolean"}
_COPY_ROWS = 65_536
_CSV_ROWS = 16_384  # written at a time by one thread: the library's own 1,024 take a third longer


@dataclass(frozen=True)
class Column:
    """One staged column: where it is in Parquet, in the table, and what it writes."""

    staged: str
    name: str
    sql_type: str
    kind: Literal["column", "field"]
    by_locale: bool = False
    """Whether its values are objects keyed by locale or channel, of which a row gives some (design D16)."""

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in the temporary table; a field never clashes with a product's own column."""
        return sql.Identifier(self.staged)


@dataclass(frozen=True)
class Incoming:
    """What is to be written: staged Parquet files and how empty cells and whole rows are meant.

    ``clear`` names fields whose empty cell removes the value; ``replace`` makes a row the whole of a
    product's data. Without either, writes are patches (design D3). ``query`` gives the rows instead of files:
    a SELECT of ``row, sku, sku_key, row_hash`` and the columns, one row per product; such rows are no records that
    a product could point at.
    """

    staged: tuple[Path, ...]
    columns: tuple[Column, ...]
    clear: frozenset[str] = frozenset()
    replace: bool = False
    nullable: frozenset[str] = frozenset()
    query: sql.Composable | None = None

    @classmethod
    def of(
        cls,
        staged: Sequence[Path],
        schema: ProductSchema,
        *,
        clear: frozenset[str] = frozenset(),
        replace: bool = False,
        whole: bool = False,
    ) -> Incoming:
        """Read from the files' own schema which columns they carry; all files have the same ones.

        ``whole``: the locales that a row gives of a field are all that are left of it.
        """
        found: list[Column] = []
        names = pq.read_schema(staged[0]).names if staged else []
        for name in names:
            if name == PARENT_SKU:
                found.append(Column("parent_id", "parent_id", COLUMNS["parent_id"], "column"))
            elif name in COLUMNS:
                found.append(Column(name, name, COLUMNS[name], "column"))
            elif name in RENAMED:
                found.append(Column(name, *RENAMED[name], "column"))
            elif name.startswith(FIELD_PREFIX):
                field = schema.field(name.removeprefix(FIELD_PREFIX))
                assert field is not None, f"staged column {name} has no field in schema version {schema.version}"
                keyed = field.localizable or field.scopable
                kind = "jsonb" if keyed else _TYPES.get(field.type, "jsonb")
                found.append(Column(name, field.name, kind, "field", keyed and not whole))
        return cls(tuple(staged), tuple(found), clear, replace, _nullable(staged))

    @property
    def names_parents(self) -> bool:
        """Whether rows name the parent that they are a variant of."""
        return self.column("parent_id") is not None

    @property
    def copied(self) -> tuple[Column, ...]:
        """The columns as they are copied from the staged files: a parent is a SKU key there, not an id yet."""
        return tuple(
            Column(PARENT_SKU, PARENT_SKU, 'text COLLATE "C"', "column") if column.name == "parent_id" else column
            for column in self.columns
        )

    @property
    def fields(self) -> tuple[Column, ...]:
        """The columns that write into ``data``."""
        return tuple(column for column in self.columns if column.kind == "field")

    def column(self, name: str) -> Column | None:
        """The staged column that writes the product column ``name``."""
        return next((column for column in self.columns if column.kind == "column" and column.name == name), None)

    def clears(self, column: Column) -> bool:
        """Whether a row that gives no value for this column removes the product's."""
        return column.name in self.clear and (column.kind == "field" or column.name in _CLEARABLE)

    def value(self, alias: str, column: Column, old: str | None) -> sql.Composable:
        """SQL for the value of a field that a row gives, null where it gives none.

        Locales that the row does not give stay as they are in ``old``, the expression of the product's data.
        """
        given = sql.SQL("{}.{}").format(sql.Identifier(alias), column.identifier)
        if old is None or not column.by_locale:
            return given
        return sql.SQL(
            "(CASE WHEN jsonb_typeof({old} -> {name}) = 'object' THEN {old} -> {name} ELSE '{{}}' END || {given})"
        ).format(old=sql.SQL(old), name=sql.Literal(column.name), given=given)

    def patch(self, alias: str, only: Collection[str] | None = None, old: str | None = None) -> sql.Composable:
        """SQL for the JSON object of the values a row gives, empty cells left out; of the fields in ``only``."""
        # A row turned into JSON is a quarter faster than jsonb_build_object, which looks up the type of every
        # argument for every row; in the order that jsonb keeps keys in (length, then bytes) nothing is sorted.
        ordered = sorted(self.fields, key=lambda column: (len(column.name.encode()), column.name.encode()))
        objects: list[sql.Composable] = []
        for nullable, builder in ((False, "to_jsonb(r)"), (True, "jsonb_strip_nulls(to_jsonb(r))")):
            values = [
                sql.SQL("{} AS {}").format(self.value(alias, column, old), sql.Identifier(column.name))
                for column in ordered
                if (column.staged in self.nullable) == nullable and (only is None or column.name in only)
            ]
            if values:
                objects.append(
                    sql.SQL("(SELECT {} FROM (SELECT {}) r)").format(sql.SQL(builder), sql.SQL(", ").join(values))
                )
        return sql.SQL(" || ").join(objects) if objects else sql.SQL("'{}'::jsonb")

    def new_data(self, alias: str, old: str, only: Collection[str] | None = None) -> sql.Composable:
        """SQL for a product's ``data`` after this row, given the expression of its data before.

        ``only`` names the fields that differ anywhere in this import: writing those is writing all.
        """
        if self.replace:
            return sql.SQL("({})").format(self.patch(alias))
        merged = sql.SQL("({} || {})").format(sql.SQL(old), self.patch(alias, only, old))
        cleared = [
            column for column in self.fields if column.name in self.clear and (only is None or column.name in only)
        ]
        if not cleared:
            return merged
        keys = [
            sql.SQL("CASE WHEN {}.{} IS NULL THEN {} END").format(
                sql.Identifier(alias), column.identifier, sql.Literal(column.name)
            )
            for column in cleared
        ]
        return sql.SQL("({} - array_remove(ARRAY[{}]::text[], NULL))").format(merged, sql.SQL(", ").join(keys))


def _nullable(paths: Sequence[Path]) -> frozenset[str]:
    """Staged columns that hold a null somewhere, or whose file does not say: Parquet's own statistics."""
    found = {"parent_id"}  # found later: a parent may be unknown
    for path in paths:
        metadata = pq.read_metadata(path)
        for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
            for column in (group.column(number) for number in range(group.num_columns)):
                statistics = column.statistics
                if statistics is None or not statistics.has_null_count or statistics.null_count:
                    found.add(column.path_in_schema)
    return frozenset(found)


def load(
    connection: psycopg.Connection[Any],
    incoming: Incoming,
    on_rows: Callable[[int], None] | None = None,
    *,
    leave_out: Rows | None = None,
) -> tuple[int, int]:
    """Fill the temporary table ``incoming`` and fold rows of one SKU into its last; ``leave_out`` is not loaded.

    Returns (rows loaded, rows superseded). Rows of one key act as if imported one after another: the last
    given value of each column wins (design D3); where empty clears, the last row's cell wins as it is.
    """
    if incoming.query is not None:
        return _load_query(connection, incoming.query), 0
    typed = [sql.SQL("{} {}").format(column.identifier, sql.SQL(column.sql_type)) for column in incoming.copied]
    fixed = [sql.SQL('"row" bigint, sku text, sku_key text COLLATE "C", row_hash bigint')]
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(TABLE, sql.SQL(", ").join(fixed + typed))
    )
    names = ["row", "sku", "sku_key", "row_hash", *(column.staged for column in incoming.copied)]
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        TABLE, sql.SQL(", ").join(sql.Identifier(name) for name in names)
    )
    loaded = 0
    keys: list[pl.Series] = []
    with connection.cursor() as cursor, cursor.copy(copy) as writer, ThreadPoolExecutor(1) as ahead:
        frames = _frames(incoming.staged, names, leave_out)
        coming = ahead.submit(_next_csv, frames)
        while (batch := coming.result()) is not None:
            coming = ahead.submit(_next_csv, frames)  # written as text while the server reads the one before
            text, hashes = batch
            writer.write(text)
            keys.append(hashes)
            loaded += hashes.len()
            if on_rows is not None:
                on_rows(loaded)
    connection.execute(sql.SQL("ANALYZE {} (sku_key)").format(TABLE))
    # Equal keys have equal hashes: where all hashes differ the server need not look for rows of one SKU.
    if not keys or pl.concat(keys).n_unique() == loaded:
        connection.execute(_NONE_DOUBLED)
        return loaded, 0
    return loaded, _fold(connection, incoming)


_NONE_DOUBLED = 'CREATE TEMP TABLE doubled (sku_key text COLLATE "C", rows bigint[]) ON COMMIT DROP'


def _load_query(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    loaded = connection.execute(sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS {}").format(TABLE, query)).rowcount
    connection.execute(sql.SQL("ANALYZE {} (sku_key)").format(TABLE))
    connection.execute(_NONE_DOUBLED)
    return loaded


def _frames(paths: Sequence[Path], names: list[str], leave_out: Rows | None) -> Iterator[pl.DataFrame]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            # By row group, which is a batch of staging: pyarrow's iter_batches takes four times as long.
            for group in range(file.num_row_groups):
                if leave_out is not None and _none_left(file, group, leave_out):
                    continue
                whole = pl.from_arrow(file.read_row_group(group, columns=names))
                assert isinstance(whole, pl.DataFrame)
                for frame in whole.select(names).iter_slices(_COPY_ROWS):
                    yield frame if leave_out is None else without(frame, leave_out)


def _none_left(file: pq.ParquetFile, group: int, leave_out: Rows) -> bool:
    """Whether every row of a group is left out: told by their numbers, before any other column is read."""
    rows = pl.from_arrow(file.read_row_group(group, columns=["row"]))
    assert isinstance(rows, pl.DataFrame)
    return without(rows, leave_out).is_empty()


def _next_csv(frames: Iterator[pl.DataFrame]) -> tuple[memoryview, pl.Series] | None:
    """The next batch as CSV, and the hashes of its keys."""
    frame = next(frames, None)
    if frame is None:
        return None
    buffer = io.BytesIO()
    # Nulls become unquoted nothing, which COPY reads as NULL; an empty string would be quoted.
    frame.write_csv(buffer, include_header=False, null_value="", quote_style="necessary", batch_size=_CSV_ROWS)
    return buffer.getbuffer(), frame["sku_key"].hash()


def _fold(connection: psycopg.Connection[Any], incoming: Incoming) -> int:
    doubled = connection.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE doubled ON COMMIT DROP AS
            SELECT sku_key, array_agg("row") AS rows
            FROM {table} JOIN (SELECT sku_key FROM {table} GROUP BY sku_key HAVING count(*) > 1) d USING (sku_key)
            GROUP BY sku_key
            """
        ).format(table=TABLE)
    ).rowcount
    if not doubled:
        return 0
    values = []
    for column in incoming.copied:
        given = (
            sql.SQL("")
            if column.name in incoming.clear or incoming.replace
            else sql.SQL(" FILTER (WHERE {} IS NOT NULL)").format(column.identifier)
        )
        if column.by_locale and given != sql.SQL(""):  # rows of one SKU may each give another locale
            values.append(
                sql.SQL(
                    '(SELECT jsonb_object_agg(e.key, e.value) FROM unnest(array_agg({} ORDER BY "row")) o (v), '
                    "jsonb_each(o.v) e)"
                ).format(column.identifier)
            )
            continue
        values.append(sql.SQL('(array_agg({} ORDER BY "row" DESC){})[1]').format(column.identifier, given))
    folded = connection.execute(
        sql.SQL(
            """
            WITH gone AS (DELETE FROM {table} i USING doubled d WHERE i.sku_key = d.sku_key RETURNING i.*),
            kept AS (
              INSERT INTO {table} ("row", sku, sku_key, row_hash{columns})
              SELECT max("row"), (array_agg(sku ORDER BY "row"))[1], sku_key,
                     hashtextextended(string_agg(row_hash::text, ',' ORDER BY "row"), 0){values}
              FROM gone GROUP BY sku_key RETURNING 1)
            SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM kept)
            """
        ).format(
            table=TABLE,
            columns=sql.SQL("").join(sql.SQL(", {}").format(column.identifier) for column in incoming.copied),
            values=sql.SQL("").join(sql.SQL(", {}").format(value) for value in values),
        )
    ).fetchone()
    assert folded is not None
    return int(folded[0])
