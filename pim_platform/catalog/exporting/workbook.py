"""XLSX: a workbook in constant memory, written to a file because its archive ends with what its rows began.

Texts are written as texts, so no cell is a formula here; they are guarded nevertheless, because people save workbooks
as CSV. Numbers of more than 15 digits are texts, because a workbook's are binary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from pim_platform.catalog.exporting.layout import ExportColumn
from pim_platform.catalog.exporting.texts import GUARDED
from pim_platform.catalog.notation import guard
from pim_platform.errors import InvalidRequest

#: Excel specifications and limits: rows below the header, columns, characters of a cell.
SHEET_ROWS, SHEET_COLUMNS, CELL_CHARACTERS = 1_048_575, 16_384, 32_767
#: Significant digits of a number in a workbook (IEEE 754 binary64 as Excel shows it).
_DIGITS = 15
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_OTHER = "Export as CSV, JSON Lines or Parquet, which have no such limit, or fewer products."


def check_size(rows: int, columns: int) -> None:
    """Raises InvalidRequest where a sheet cannot hold so many products or columns."""
    for count, most, what in ((rows, SHEET_ROWS, "products"), (columns, SHEET_COLUMNS, "columns")):
        if count > most:
            raise InvalidRequest(
                f"An XLSX sheet holds {most:,} {what}; the export has {count:,}.",
                fix=_OTHER,
                code="too_large_for_xlsx",
                value=count,
                expected=f"at most {most:,} {what}",
            )


def write_workbook(
    columns: Sequence[ExportColumn], frames: Iterator[pl.DataFrame], path: Path, *, formulas: bool
) -> int:
    """Write the products to ``path``; returns how many.

    Raises InvalidRequest (``too_large_for_xlsx``) naming SKU and field of a cell that holds more than Excel allows.
    """
    import xlsxwriter  # only who writes workbooks pays for loading it

    cells = [guard(pl.col(c.header), formulas=formulas) if c.kind in GUARDED else pl.col(c.header) for c in columns]
    count = 0
    options = {"constant_memory": True, "tmpdir": str(path.parent)}
    with xlsxwriter.Workbook(str(path), options) as book:
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet("Products")
        sheet.freeze_panes(1, 1)
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column.header, bold)
        kinds = [column.kind for column in columns]
        for frame in frames:
            frame = frame.select(cells)
            _check_lengths(columns, frame, count)
            for row in frame.iter_rows():
                count += 1
                for place, (kind, cell) in enumerate(zip(kinds, row, strict=True)):
                    if cell is None:
                        continue
                    if kind == "number" and _is_exact(cell):
                        sheet.write_number(count, place, float(cell))
                    elif kind == "boolean" and cell in ("true", "false"):
                        sheet.write_boolean(count, place, cell == "true")
                    else:
                        sheet.write_string(count, place, cell)
    return count


def _check_lengths(columns: Sequence[ExportColumn], frame: pl.DataFrame, before: int) -> None:
    # Excel counts UTF-16 code units: a character outside the basic plane is two.
    for column in columns:
        lengths = frame[column.header].str.len_chars() + frame[column.header].str.count_matches(
            "[\U00010000-\U0010ffff]"
        )
        longest = lengths.max()
        if isinstance(longest, int) and longest > CELL_CHARACTERS:
            at = lengths.arg_max()
            assert at is not None
            sku = frame[columns[0].header][at]
            raise InvalidRequest(
                f"{column.header} of product {sku!r} (row {before + at + 2}) has {longest:,} characters; "
                f"a cell of an XLSX sheet holds {CELL_CHARACTERS:,}.",
                fix=_OTHER.replace("fewer products", "without this field"),
                code="too_large_for_xlsx",
                row=before + at + 2,
                column=column.header,
                value=sku,
                expected=f"at most {CELL_CHARACTERS:,} characters",
            )


def _is_exact(text: str) -> bool:
    """Whether a workbook's binary number is this number, digit for digit as it is read again."""
    if not _PLAIN.fullmatch(text) or len(text.replace("-", "").replace(".", "").strip("0")) > _DIGITS:
        return False
    return abs(Decimal(text)) < Decimal(10) ** _DIGITS and Decimal(repr(float(text))) == Decimal(text)
