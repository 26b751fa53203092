"""Workbooks (.xlsx, .xlsm, .xlsb, .xls, .ods): the sheet that holds the products, its header, its rows.

Rows keep the numbers that the sheet shows. A row without any value is no record; what stands above the header is none
either. Numbers, dates and booleans come as the text a person reads (see :mod:`.plain_text`, :mod:`.number_formats`).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import python_calamine as calamine

from pim_platform.catalog.notation import is_own
from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers.cells import CellsWriter
from pim_platform.intake.readers.formats import not_a_workbook
from pim_platform.intake.readers.headers import find_header
from pim_platform.intake.readers.merged import MergedCells, Range, is_group_row, joined_headers
from pim_platform.intake.readers.number_formats import Shown
from pim_platform.intake.readers.ooxml import column_letters, special_cells
from pim_platform.intake.readers.plain_text import plain_text
from pim_platform.intake.readers.sheet_choice import Look, choose

#: Rows with any value that are looked at to find a sheet's header.
LOOKED_AT = 250
#: Significant digits that a workbook's numbers have (Excel specifications and limits).
_DIGITS = 15

Row = tuple[int, list[str]]
"""0-based row and its cells, from the sheet's first column on."""


def detect(path: Path, name: str, *, sheet: str | None = None, note: Callable[[str], None] | None = None) -> Dialect:
    """The sheet (``sheet``, or the one that looks most like a table of products) and where its header is.

    ``note`` is told which sheets are not read.

    Raises :class:`UnreadableFile` with code ``not_a_workbook``, ``encrypted``, ``unknown_sheet``, ``empty_file`` or
    ``header_only``.
    """
    book = _opened(path, name)
    if sheet is None and (own := _own_dialect(path, name, _worksheets(book, name, None))) is not None:
        return own
    looks = [_look(_sheet(path, name, meta.name), meta) for meta in _worksheets(book, name, sheet)]
    filled = [look for look in looks if look.rows]
    if not filled:
        where = f"Sheet {sheet!r} of {name}" if sheet else name
        raise UnreadableFile(
            f"{where} is empty: it holds no records.",
            fix="Upload a workbook with a header and at least one product below it.", code="empty_file",
            file=name, expected="a header and products",
        )  # fmt: skip
    best, notes = choose(filled)
    if best.header is not None and best.records == 0:
        headers = ", ".join(repr(cell.strip()) for cell in best.rows[-1][1][:12] if cell.strip())
        raise UnreadableFile(
            f"Sheet {best.name!r} of {name} holds a header ({headers}) but no records.",
            fix="Add at least one product below the header.", code="header_only", file=name,
            expected="products below the header",
        )  # fmt: skip
    first, last = best.header or (None, None)
    if note is not None:
        for text in notes:
            note(text)
    return Dialect(
        format="xlsx",
        sheet=best.name,
        header_row=first,
        header_rows=1 if first is None or last is None else last - first + 1,
    )


def _own_dialect(path: Path, name: str, sheets: list[Any]) -> Dialect | None:
    """The dialect of the first sheet whose first row says that it is in the platform's own notation."""
    for meta in sheets:
        rows = list(itertools.islice(_rows(_sheet(path, name, meta.name), {}, {}, 0), 2))
        if len(rows) == 2 and is_own([cell.strip() for cell in rows[0][1]]):
            return Dialect(format="xlsx", sheet=meta.name, header_row=rows[0][0], notation="own")
    return None


def convert(path: Path, dialect: Dialect, out: CellsWriter) -> None:
    """Write the rows of the dialect's sheet, under the numbers that the sheet shows.

    Raises :class:`UnreadableFile` with code ``not_a_workbook``, ``encrypted`` or ``unknown_sheet``.
    """
    book = _opened(path, out.name)
    meta = _worksheets(book, out.name, dialect.sheet)[0]
    sheet = _sheet(path, out.name, meta.name)
    special = special_cells(path, meta.name)
    start = sheet.start[1] if sheet.start else 0
    rows = _rows(sheet, special.formats, special.errors, start)
    ranges = sheet.merged_cell_ranges or []
    above, pending = _take_header(rows, dialect)
    headers = _headers(above, pending, dialect, ranges, start)
    if above is not None and not headers:
        raise _no_header(dialect, out.name)
    out.columns(headers)
    merged = MergedCells(ranges, start, pending[0][0] if pending else 0)
    broken = {row for row, _ in special.uncomputed}
    for row, cells in (*pending, *rows):
        heading = merged.heading(row, cells, len(headers))
        merged.fill(row, cells)
        while cells and not cells[-1]:
            cells.pop()
        if heading:
            out.bad(
                row + 1, "section_line", f"row {row + 1} is a heading over several columns, expected a product",
                "remove the row", " ".join(filter(None, cells)), cells,
            )  # fmt: skip
        elif row in broken and (columns := [c for r, c in special.uncomputed if r == row]):
            cell = f"{column_letters(columns[0])}{row + 1}"
            out.bad(
                row + 1, "formula_without_value", f"cell {cell} holds a formula whose result the file does not tell",
                "open the workbook in Excel or LibreOffice, save it, and upload it again", cell, cells,
            )  # fmt: skip
        else:
            out.row(cells, row + 1)


@lru_cache(maxsize=1)
def _opened(path: Path, name: str) -> Any:
    """The workbook; kept, because detecting and converting follow each other in one process."""
    try:
        with _panics_told(name):
            return calamine.CalamineWorkbook.from_path(path)
    except calamine.PasswordError as error:
        raise UnreadableFile(
            f"{name} is protected by a password.", fix="Save it without a password and upload it again.",
            code="encrypted", file=name, expected="a workbook without a password",
        ) from error  # fmt: skip
    except calamine.CalamineError as error:
        raise not_a_workbook(name, f"{error}") from error


@contextmanager
def _panics_told(name: str) -> Iterator[None]:
    """A panic of the Rust library, which is no Exception, as a damaged workbook."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise not_a_workbook(name, "it is damaged") from error


@lru_cache(maxsize=1)
def _sheet(path: Path, name: str, sheet: str) -> Any:
    """A sheet's cells, the last one asked for kept: most workbooks have but one."""
    try:
        with _panics_told(name):
            return _opened(path, name).get_sheet_by_name(sheet)
    except calamine.CalamineError as error:
        raise not_a_workbook(name, f"its sheet {sheet!r} is damaged ({error})") from error


def _worksheets(book: Any, name: str, wanted: str | None) -> list[Any]:
    """Metadata of the wanted sheet, or of all that hold cells."""
    sheets = [meta for meta in book.sheets_metadata if meta.typ == calamine.SheetTypeEnum.WorkSheet]
    if wanted is None:
        if sheets:
            return sheets
        raise not_a_workbook(name, "it has no worksheet")
    exact = [meta for meta in sheets if meta.name == wanted]
    found = exact or [meta for meta in sheets if meta.name.strip().casefold() == wanted.strip().casefold()]
    if not found:
        names = ", ".join(repr(meta.name) for meta in sheets[:20])
        raise UnreadableFile(
            f"{name} has no sheet {wanted!r}; it has {names}.", fix="Give one of these as `sheet`.",
            code="unknown_sheet", file=name, value=wanted, expected=names,
        )  # fmt: skip
    return found[:1]


def _look(sheet: Any, meta: Any) -> Look:
    """The first rows of a sheet and where its header is among them."""
    rows: list[Row] = []
    for row, cells in _rows(sheet, {}, {}, 0):
        rows.append((row, cells))
        if len(rows) >= LOOKED_AT:
            break
    visible = meta.visible == calamine.SheetVisibleEnum.Visible
    if not rows:
        return Look(meta.name, visible, [], None, 0)
    if len(rows) == 1:
        header: tuple[int, int] | None = (rows[0][0], rows[0][0])
    else:
        place = find_header([cells for _, cells in rows])
        header = None if place.row is None else _spanned(rows, place.row, place.row + place.rows - 1, sheet)
    above = sum(row <= header[1] for row, _ in rows) if header else 0
    # Beyond the rows looked at all are taken to be filled: what counts is which sheet has more.
    records = len(rows) - above if len(rows) < LOOKED_AT else sheet.total_height - above
    return Look(meta.name, visible, rows, header, records)


def _spanned(rows: list[Row], first: int, last: int, sheet: Any) -> tuple[int, int]:
    """The sheet's rows of a header found at these places of ``rows``, with the groups merged above it."""
    ranges = sheet.merged_cell_ranges or []
    start = sheet.start[1] if sheet.start else 0
    width = sum(bool(cell.strip()) for cell in rows[last][1])
    while first > 0 and rows[first - 1][0] == rows[first][0] - 1:
        if not is_group_row(rows[first - 1][0], rows[first - 1][1], ranges, start, width):
            break
        first -= 1
    return rows[first][0], rows[last][0]


def _rows(
    sheet: Any, formats: dict[tuple[int, int], Shown], errors: dict[tuple[int, int], str], start: int
) -> Iterator[Row]:
    """The rows with any value, as texts; ``start``: the sheet's column that the first cell is in."""
    styled = {row for row, _ in formats} | {row for row, _ in errors}
    for row, values in enumerate(sheet.iter_rows()):
        cells = [value if type(value) is str else _text(value) for value in values]
        if row in styled:
            for index, text in enumerate(cells):
                place = row, start + index
                if text and place in formats and type(values[index]) in (float, int):
                    cells[index] = formats[place](text)
                elif place in errors:
                    cells[index] = errors[place]
        if any(cells) and any(cell.strip() for cell in cells):
            yield row, cells


def _text(value: Any) -> str:
    if type(value) is float:
        whole = int(value) if value == value and abs(value) < 1e15 else None
        if whole is not None and whole == value:
            return str(whole)
        # What arithmetic left behind the fifteenth digit is not what anybody reads in the cell.
        return plain_text(float(f"{value:.{_DIGITS}g}"))
    if isinstance(value, dt.datetime) and value.microsecond:
        value = (value + dt.timedelta(microseconds=500_000)).replace(microsecond=0)
    return plain_text(value)


def _take_header(rows: Iterator[Row], dialect: Dialect) -> tuple[list[Row] | None, list[Row]]:
    """The rows of the header, None where there is none, and rows read on the way that come below."""
    if dialect.header_row is None:
        return None, [row for _, row in zip(range(LOOKED_AT), rows, strict=False)]
    above: list[Row] = []
    for row, cells in rows:
        if row >= dialect.header_row + dialect.header_rows:
            return above, [(row, cells)]
        if row >= dialect.header_row:
            above.append((row, cells))
    return above, []


def _headers(
    above: list[Row] | None, pending: list[Row], dialect: Dialect, ranges: list[Range], start: int
) -> list[str]:
    if above is None:
        return [f"column_{index + 1}" for index in range(max((len(cells) for _, cells in pending), default=0))]
    if not above:
        return []
    first, last = above[0][0], above[-1][0]
    by_row = dict(above)
    headers = joined_headers([by_row.get(row, []) for row in range(first, last + 1)], first, ranges, start)
    while headers and not headers[-1].strip():
        headers.pop()
    return headers


def _no_header(dialect: Dialect, name: str) -> UnreadableFile:
    row = (dialect.header_row or 0) + 1
    return UnreadableFile(
        f"Row {row} of sheet {dialect.sheet!r} of {name} is blank, expected the header.",
        fix="Correct the header row.", code="no_header", file=name, row=row, expected="the header",
    )  # fmt: skip
