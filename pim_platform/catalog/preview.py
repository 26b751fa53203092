"""The field-level diff of an import as data: what each row would change, one line per changed field.

Lines come from the ``plan`` that a merge would apply, in the order of the file, as PostgreSQL's COPY text; they are
hashed as they pass and written to Parquet, so neither server nor client holds more than a piece of them. The digest
is over the ordered lines: equal digests mean that a merge writes the very same values into the very same products.

==============  =======  ==================================================================
``position``    Int64    1, 2, 3 ... in the order of the lines: the key of a page
``row``         Int64    record number in the file
``sku``         String   as the file writes it
``product_id``  String   null where the product is created
``action``      String   ``create``, ``update``, ``reject`` (a new SKU without a name); ``deactivate`` and
                         ``delete`` for what a full feed holds no more: they come last, without a ``row``
``field``       String   a product column or schema field; ``name`` for a reject
``old, new``    String   JSON text; null where there is no value
==============  =======  ==================================================================
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import polars as pl
import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from pim_platform.catalog.diff import PLAN
from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.incoming import COLUMNS, Column, Incoming
from pim_platform.catalog.joins import joining
from pim_platform.catalog.notation import guard
from pim_platform.catalog.schema import ProductSchema

Action = Literal["create", "update", "reject", "deactivate", "delete"]

#: Lines of one file, and of one piece on the way into it.
_FILE_LINES, _PIECE_LINES = 1_000_000, 32_768
_EXAMPLES = 20

_COPIED = {
    "row": pl.Int64,
    "sku": pl.String,
    "product_id": pl.String,
    "action": pl.String,
    "field": pl.String,
    "old": pl.String,
    "new": pl.String,
}

#: Columns of a line, in the order in which they are shown.
LINE_COLUMNS = ("position", *_COPIED)

#: Borders of the price histogram, in percent of the old price.
PRICE_STEPS = (-50, -25, -10, -5, 0, 5, 10, 25, 50, 100)


@dataclass(frozen=True)
class Collision:
    """A SKU that the file spells differently from the stored product it means (design D2)."""

    row: int
    sku: str
    stored_sku: str


@dataclass(frozen=True)
class Preview:
    """A diff that was written: SHA-256 of its lines in hex, their number, its files and the collisions seen."""

    digest: str
    lines: int
    files: list[Path]
    collision_count: int
    collisions: list[Collision]


def write_preview(
    connection: psycopg.Connection[Any],
    tenant_id: UUID,
    incoming: Incoming,
    folder: Path,
    on_lines: Callable[[int], None] | None = None,
    *,
    absent: Literal["deactivate", "delete"] | None = None,
) -> Preview:
    """Write the lines of the transaction's ``plan`` to ``folder`` as ``diff-00000.parquet`` ...

    The catalogue must not change between the diff and this: the caller holds the tenant's lock, or reads a snapshot.
    ``on_lines`` is told the number of lines so far; ``absent`` is what happens to the products of the temporary table
    of that name (see :mod:`pim_platform.catalog.absent`).
    """
    hasher = hashlib.sha256()
    lines = 0
    writer = _Writer(folder)
    with (
        joining(connection, PLAN),
        writer,
        connection.cursor() as cursor,
        cursor.copy(_statement(tenant_id, incoming, absent)) as copy,
    ):
        blocks = iter(copy)
        # One block is one line: joined by the thousand, no line is touched by itself.
        while piece := b"".join(islice(blocks, _PIECE_LINES)):
            hasher.update(piece)
            frame = pl.read_csv(io.BytesIO(piece), has_header=False, schema=_COPIED)
            position = pl.int_range(lines + 1, lines + frame.height + 1, eager=True).alias("position")
            writer.write(frame.insert_column(0, position))
            lines += frame.height
            if on_lines is not None:
                on_lines(lines)
    with joining(connection, PLAN):
        count, examples = _collisions(connection, tenant_id)
    return Preview(hasher.hexdigest(), lines, writer.paths, count, examples)


class _Writer:
    def __init__(self, folder: Path) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._file: pq.ParquetWriter | None = None
        self._lines = 0

    def write(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._file is None or self._lines >= _FILE_LINES:
            self.close()
            path = self._folder / f"diff-{len(self.paths):05d}.parquet"
            self._file = pq.ParquetWriter(path, table.schema, compression="lz4", write_statistics=["position"])
            self.paths.append(path)
            self._lines = 0
        self._file.write_table(table)
        self._lines += table.num_rows

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _new_value(incoming: Incoming, column: Column) -> sql.Composable:
    if incoming.clears(column):
        return sql.SQL("s.{}").format(column.identifier)
    default = {"active": ", true", "kind": ", 'simple'"}.get(column.name, "")
    return sql.SQL("coalesce(s.{}, p.{}{})").format(column.identifier, sql.Identifier(column.name), sql.SQL(default))


def _statement(tenant_id: UUID, incoming: Incoming, absent: str | None) -> sql.Composed:
    given = [column for column in incoming.columns if column.kind == "column" and column.name != "parent_id"]
    values: list[sql.Composable] = [
        sql.SQL("({n}, {name}, to_jsonb(p.{c}), to_jsonb({new}))").format(
            n=sql.Literal(n),
            name=sql.Literal(column.name),
            c=sql.Identifier(column.name),
            new=_new_value(incoming, column),
        )
        for n, column in enumerate(given)
    ]
    values += [
        sql.SQL("({n}, {k}, p.data -> {k}, n.data -> {k})").format(
            n=sql.Literal(len(COLUMNS) + n), k=sql.Literal(column.name)
        )
        for n, column in enumerate(incoming.fields)
    ]
    if incoming.names_parents:  # by its SKU, because the id of a parent that is new is another one at each try
        known = sql.SQL(
            "(SELECT to_jsonb(x.sku_key) FROM pim.products x WHERE x.tenant_id = {} AND x.id = p.parent_id)"
        ).format(sql.Literal(str(tenant_id)))
        values.append(
            sql.SQL(
                "({n}, 'parent_sku', {known}, CASE WHEN s.parent_id IS NULL THEN {known} "
                "ELSE to_jsonb(s.parent_sku) END)"
            ).format(n=sql.Literal(len(given)), known=known)
        )
    gone: sql.Composable = sql.SQL("")
    if incoming.replace:  # any key may go
        gone = sql.SQL(
            "UNION ALL SELECT 1000000, o.key, o.value, NULL FROM jsonb_each(p.data) o WHERE NOT n.data ? o.key "
            "AND o.key <> ALL ({}::text[])"
        ).format(sql.Literal([column.name for column in incoming.fields]))
    return sql.SQL(
        """
        COPY (
          SELECT "row", sku, product_id, action, field, old, new
          FROM (
            SELECT s."row", s.sku, s.product_id, s.action, v.ord, v.field, v.old, v.new
            FROM {plan} s
            LEFT JOIN pim.products p ON s.action = 'update' AND p.tenant_id = {tenant} AND p.sku_key = s.sku_key
            CROSS JOIN LATERAL (SELECT {data} AS data OFFSET 0) n
            CROSS JOIN LATERAL (SELECT * FROM (VALUES {values}) w (ord, field, old, new) {gone}) v
            WHERE s.action IN ('create', 'update') AND v.old IS DISTINCT FROM v.new
            UNION ALL
            SELECT coalesce(r, s."row"), s.sku, NULL, 'reject', 0, 'name', NULL, NULL
            FROM {plan} s LEFT JOIN doubled d USING (sku_key) LEFT JOIN LATERAL unnest(d.rows) r ON true
            WHERE s.action = 'nameless'
            {absent}
          ) lines ("row", sku, product_id, action, ord, field, old, new)
          ORDER BY "row" NULLS LAST, ord, field COLLATE "C", sku COLLATE "C"
        ) TO STDOUT (FORMAT csv)
        """
    ).format(
        plan=PLAN,
        tenant=sql.Literal(str(tenant_id)),
        data=incoming.new_data("s", "coalesce(p.data, '{}')"),
        values=sql.SQL(", ").join(values or [sql.SQL("(0, NULL::text, NULL::jsonb, NULL::jsonb)")]),
        gone=gone,
        absent=_absent(tenant_id, absent),
    )


def _absent(tenant_id: UUID, action: str | None) -> sql.Composable:
    if action is None:
        return sql.SQL("")
    # A deleted product is told by its name.
    field, old, new = ("active", "'true'::jsonb", "'false'::jsonb") if action == "deactivate" else (
        "name", "to_jsonb(p.name)", "NULL"
    )  # fmt: skip
    return sql.SQL(
        "UNION ALL SELECT NULL, p.sku, p.id, {action}, 0, {field}, {old}, {new} "
        "FROM absent a JOIN pim.products p ON p.tenant_id = {tenant} AND p.id = a.id"
    ).format(
        action=sql.Literal(action),
        field=sql.Literal(field),
        old=sql.SQL(old),
        new=sql.SQL(new),
        tenant=sql.Literal(str(tenant_id)),
    )


def _collisions(connection: psycopg.Connection[Any], tenant_id: UUID) -> tuple[int, list[Collision]]:
    found = connection.execute(
        sql.SQL(
            """
            SELECT s."row", s.sku, p.sku, count(*) OVER () FROM {plan} s
            JOIN pim.products p ON p.tenant_id = %s AND p.sku_key = s.sku_key
            WHERE s.product_id IS NOT NULL AND p.sku <> s.sku ORDER BY 1 LIMIT %s
            """
        ).format(plan=PLAN),
        (tenant_id, _EXAMPLES),
    ).fetchall()
    return (int(found[0][3]) if found else 0), [Collision(int(row), sku, stored) for row, sku, stored, _ in found]


def summarise(preview: Preview, schema: ProductSchema) -> dict[str, Any]:
    """Counts by field and action, a histogram of price changes per price field, and the collisions, as JSON.

    A bucket holds changes of at least ``from`` and less than ``to`` percent of the old amount; null is open.
    """
    prices = [field.name for field in schema.fields if field.type == "price"]
    return {
        "digest": preview.digest,
        "lines": preview.lines,
        "fields": _field_counts(preview.files),
        "price_changes": {name: found for name in prices if (found := _histogram(preview.files, name))},
        "collisions": {"count": preview.collision_count, "examples": [asdict(one) for one in preview.collisions]},
    }


def _field_counts(files: Sequence[Path]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    if files:
        found = pl.scan_parquet(list(files)).group_by("field", "action").len().sort("field", "action")
        for field, action, count in found.collect(engine="streaming").rows():
            counts.setdefault(field, {})[action] = count
    return counts


def _histogram(files: Sequence[Path], field: str) -> dict[str, Any] | None:
    """Changes of one price field; None where no stored price changes."""
    if not files:
        return None

    def part(column: str, name: str) -> pl.Expr:
        return pl.col(column).str.json_path_match(f"$.{name}")

    old, new = (
        part("old", "amount").cast(pl.Float64, strict=False),
        part("new", "amount").cast(pl.Float64, strict=False),
    )
    bucket = pl.sum_horizontal((pl.col("percent") >= step).cast(pl.Int64) for step in PRICE_STEPS)
    found = (
        pl.scan_parquet(list(files))
        .filter((pl.col("field") == field) & pl.col("old").is_not_null() & pl.col("new").is_not_null())
        .select(
            other=(part("old", "currency") != part("new", "currency")) | (old == 0),
            percent=(new - old) / old * 100,
        )
        .select(other="other", bucket=pl.when("other").then(None).otherwise(bucket))
        .group_by("bucket")
        .len()
        .collect(engine="streaming")
    )
    counts = dict(found.rows())
    if not counts:
        return None
    edges = [None, *PRICE_STEPS, None]
    return {
        "buckets": [{"from": edges[n], "to": edges[n + 1], "count": counts.get(n, 0)} for n in range(len(edges) - 1)],
        "not_comparable": counts.get(None, 0),
    }


def read_lines(
    files: Sequence[Path],
    *,
    after: int = 0,
    limit: int = 100,
    action: str | None = None,
    field: str | None = None,
    sku_key: str | None = None,
) -> pl.DataFrame:
    """The next ``limit`` lines behind position ``after`` that fit the filters, in order.

    ``sku_key`` is compared with the SKUs by :func:`pim_platform.catalog.identity.sku_key`'s rule.
    """
    if not files:
        return pl.DataFrame(schema={"position": pl.Int64, **_COPIED})
    lines = _filtered(pl.scan_parquet(list(files)).filter(pl.col("position") > after), action, field, sku_key)
    return lines.head(limit).collect(engine="streaming")


def csv_pieces(
    files: Sequence[Path], *, action: str | None = None, field: str | None = None, sku_key: str | None = None
) -> Iterator[bytes]:
    """The lines that fit the filters as CSV with a header, in pieces of bounded size."""
    yield (",".join(_COPIED) + "\n").encode()
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_PIECE_LINES):
                lines = _filtered(pl.LazyFrame(batch), action, field, sku_key).select(*_COPIED).collect()
                if lines.height:
                    lines = lines.with_columns(guard(pl.col("sku")))  # values are JSON: none begins like a formula
                    yield lines.write_csv(include_header=False).encode()


def _filtered(lines: pl.LazyFrame, action: str | None, field: str | None, sku_key: str | None) -> pl.LazyFrame:
    if action is not None:
        lines = lines.filter(pl.col("action") == action)
    if field is not None:
        lines = lines.filter(pl.col("field") == field)
    if sku_key is not None:
        lines = lines.filter(sku_key_expr(pl.col("sku")) == sku_key)
    return lines


@dataclass(frozen=True)
class Moved:
    """How two diffs of the same rows differ: changed fields that are new, gone or other, and some of them."""

    count: int
    examples: list[dict[str, Any]]


def compare_previews(before: Sequence[Path], after: Sequence[Path], *, examples: int = 5) -> Moved:
    """Which changes differ between two diffs; a change is a (row, field). Holds eight bytes per line in memory."""
    old, new = _hashed(before), _hashed(after)
    gone = old.join(new.select("line"), on="line", how="anti").drop("line").collect(engine="streaming")
    come = new.join(old.select("line"), on="line", how="anti").drop("line").collect(engine="streaming")
    key = ("row", "field")
    count = pl.concat([gone.select(key), come.select(key)]).unique().height
    shown = (
        pl.concat([gone.with_columns(side=pl.lit("accepted")), come.with_columns(side=pl.lit("now"))])
        .sort("row", "field", "side")
        .head(examples)
    )
    return Moved(count, shown.select("side", *_COPIED).to_dicts())


def _hashed(files: Sequence[Path]) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema={**_COPIED, "line": pl.UInt64})
    return pl.scan_parquet(list(files)).drop("position").with_columns(line=pl.struct(list(_COPIED)).hash())
