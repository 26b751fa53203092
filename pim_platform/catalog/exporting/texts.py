"""CSV and JSON Lines: a batch becomes bytes by expressions, no row is touched by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl

from pim_platform.catalog.exporting.layout import ExportColumn
from pim_platform.catalog.notation import PRODUCT_ID, guard

#: Types whose cells are somebody's text; of the others no cell can begin like a formula but a negative number.
GUARDED = frozenset({"string", "url"})


def csv_pieces(
    columns: Sequence[ExportColumn], frames: Iterator[pl.DataFrame], *, formulas: bool, delimiter: str = ","
) -> Iterator[bytes]:
    """RFC 4180, UTF-8 without byte order mark, one line end per record; ``formulas``: guard against them."""
    names = [column.header for column in columns]
    # The header goes out with the first rows, so that what keeps them from being read is known before anything is sent.
    head = pl.DataFrame(schema=dict.fromkeys(names, pl.String)).write_csv(separator=delimiter)
    cells = [
        guard(pl.col(c.header), formulas=formulas) if c.kind in GUARDED and c.header != PRODUCT_ID else pl.col(c.header)
        for c in columns
    ]
    for frame in frames:
        yield (head + frame.select(cells).write_csv(include_header=False, separator=delimiter)).encode()
        head = ""
    if head:
        yield head.encode()


def json_pieces(columns: Sequence[ExportColumn], frames: Iterator[pl.DataFrame]) -> Iterator[bytes]:
    """One object per line; the values are JSON texts already, and a key without value is left out."""
    members = [pl.concat_str(pl.lit(json.dumps(c.header) + ":"), pl.col(c.header)) for c in columns]
    line = pl.concat_str(
        pl.lit("{"), pl.concat_str(members, separator=",", ignore_nulls=True), pl.lit("}\n"), separator=""
    )
    for frame in frames:
        yield "".join(frame.select(line.alias("line"))["line"].to_list()).encode()
