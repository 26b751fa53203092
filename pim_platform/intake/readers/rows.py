"""What readers hand over: batches of rows, and records that are no rows in the reject layout, with reason and fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect

#: Characters of a cell or line that a reject quotes.
SHOWN = 200


@dataclass(frozen=True)
class Batch:
    """Some consecutive records of a file."""

    frame: pl.DataFrame
    """``row`` Int64 and ``raw.0`` ... ``raw.n`` String; empty cells are null."""
    bad: pl.DataFrame
    """Records that are no rows, in the reject layout of :mod:`pim_platform.catalog.staged`."""
    bytes_read: int
    """Bytes of the file consumed so far."""
    gaps: tuple[int, ...] = ()
    """Numbers of the records that follow a blank line: where another table may begin."""


@dataclass(frozen=True)
class BadRow:
    """One unreadable record: its number, an error code, its cells as far as they can be told apart."""

    row: int
    code: str
    cells: list[str]


def reject_schema(width: int) -> dict[str, type[pl.DataType]]:
    """Columns and types of a reject frame for a file of ``width`` columns."""
    texts = ("column", "value", "error_code", "error", "suggestion")
    return {"row": pl.Int64, **dict.fromkeys(texts, pl.String), **{f"{RAW_PREFIX}{i}": pl.String for i in range(width)}}


def empty_bad_frame(width: int) -> pl.DataFrame:
    """A reject frame without rows."""
    return pl.DataFrame(schema=reject_schema(width))


def bad_frame(rows: list[BadRow], width: int, dialect: Dialect) -> pl.DataFrame:
    """The bad rows as a reject frame; the cells beyond the last column stay in its ``value`` only."""
    data = []
    for bad in rows:
        error, suggestion = _words(bad, width, dialect)
        known = bad.cells
        if len(known) > width and bad.code != "too_many_fields":
            known = [*known[: width - 1], dialect.delimiter.join(known[width - 1 :])]
        cells: list[str | None] = [cell or None for cell in known[:width]]
        cells += [None] * (width - len(cells))
        value = dialect.delimiter.join(bad.cells[width:] if bad.code == "too_many_fields" else bad.cells)[:SHOWN]
        data.append((bad.row, None, value, bad.code, error, suggestion, *cells))
    return pl.DataFrame(data, schema=reject_schema(width), orient="row")


def _words(bad: BadRow, width: int, dialect: Dialect) -> tuple[str, str]:
    if bad.code == "too_many_fields":
        return (
            f"record {bad.row} has {len(bad.cells)} cells, expected at most {width}",
            f"put quotes around cells that hold the delimiter {dialect.delimiter!r}",
        )
    if bad.code == "broken_quotes":
        return (
            f"record {bad.row} has a quote that does not close, expected {dialect.quote} at both ends of the cell",
            "double the quotes inside quoted cells, or remove the stray one",
        )
    if bad.code == "nul_byte":
        return f"record {bad.row} holds a NUL byte, expected text", "remove the NUL bytes, or export the file again"
    return (
        f"record {bad.row} holds bytes that are not {dialect.encoding}",
        "save the file as UTF-8, or correct the encoding in the dialect",
    )
