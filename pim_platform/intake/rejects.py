"""The reject file: rejected records as they came in, with what was wrong and how to mend it.

Delimited text comes back as it was written, a workbook as a workbook, JSON as JSON Lines. XML and Parquet, which
nobody corrects by hand, come back as CSV. Every one of them can be corrected and uploaded again
(:mod:`pim_platform.intake.reworking`). What a spreadsheet would take for a formula is guarded
(:mod:`pim_platform.catalog.notation`), which importing undoes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
import pyarrow.parquet as pq

from pim_platform.catalog.notation import guard_foreign, guarded_foreign, unguard
from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.intake.dialect import Dialect

#: Rows written at a time.
CHUNK_ROWS = 16_384
#: Rows of a sheet (Excel specifications and limits); more rejects come as CSV.
SHEET_ROWS = 1_048_576
#: What is told of each record, behind its own columns.
TOLD = tuple(name for name in REJECT_COLUMNS if name != "value")
#: Key under which a line of JSON tells it: no key of the record can be taken for it.
TOLD_KEY = "_reject"

_PACKED_SUFFIXES = frozenset({".gz", ".gzip", ".zip"})


@dataclass(frozen=True)
class RejectFormat:
    """What a reject file is."""

    suffix: str
    media_type: str


_CSV = RejectFormat("csv", "text/csv")
_XLSX = RejectFormat("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
_JSON_LINES = RejectFormat("jsonl", "application/jsonl")


def reject_format(dialect: Dialect, rows: int) -> RejectFormat:
    """The format in which ``rows`` rejects of a file come back."""
    if dialect.format == "xlsx" and rows < SHEET_ROWS:
        return _XLSX
    return _JSON_LINES if dialect.format in ("json", "jsonl") else _CSV


def reject_name(filename: str, form: RejectFormat) -> str:
    """What the reject file of a file is called.

    >>> reject_name("prices.csv.gz", RejectFormat("csv", "text/csv"))
    'rejects-prices.csv'
    """
    name = PurePosixPath(filename)
    if name.suffix.lower() in _PACKED_SUFFIXES:
        name = PurePosixPath(name.stem)
    same = form is _CSV and name.suffix.lower() in (".tsv", ".txt", ".tab")
    return f"rejects-{name.name if same else f'{name.stem}.{form.suffix}'}"


def write_rejects_file(reject_paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path) -> int:
    """Write the rejects in the format that :func:`reject_format` tells; returns how many rows. Streams."""
    rows = sum(pq.read_metadata(path).num_rows for path in reject_paths)
    form = reject_format(dialect, rows)
    if form is _XLSX:
        return _write_workbook(reject_paths, headers, dialect, out_path)
    if form is _JSON_LINES:
        return _write_json_lines(reject_paths, headers, out_path, own=dialect.notation == "own")
    if dialect.format == "csv":
        return write_rejects_csv(reject_paths, headers, dialect, out_path)
    return _write(reject_paths, headers, Dialect(notation=dialect.notation), out_path, "utf-8-sig")


def write_rejects_csv(reject_paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path) -> int:
    """Write the rejects in the delimiter and encoding of their file; returns how many rows.

    The original columns come first under their own headers, then ``row, column, error_code, error,
    suggestion``; mended and without the last five, the file can be uploaded again. Where the
    encoding lacks a character the file is UTF-8 with a byte order mark instead. Streams.
    """
    try:
        return _write(reject_paths, headers, dialect, out_path, dialect.encoding)
    except UnicodeEncodeError:
        return _write(reject_paths, headers, dialect, out_path, "utf-8-sig")


def column_labels(headers: Sequence[str]) -> list[str]:
    """The headers as keys: a blank one and the second of two equal ones are ``#n``, n counting columns from 1."""
    labels: list[str] = []
    for index, header in enumerate(headers):
        labels.append(header if header and header not in labels else f"#{index + 1}")
    return labels


def _write(paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path, encoding: str) -> int:
    quote = dialect.quote or '"'
    count = 0
    # The text layer writes a byte order mark once, however many pieces follow.
    with out_path.open("w", encoding=encoding, newline="") as out:
        out.write(_line([*map(guarded_foreign, headers), *TOLD], dialect.delimiter, quote))
        for frame in _guarded(_frames(paths, headers), dialect):
            count += frame.height
            out.write(frame.write_csv(include_header=False, separator=dialect.delimiter, quote_char=quote))
    return count


def _line(cells: list[str], delimiter: str, quote: str) -> str:
    special = {delimiter, quote, "\n", "\r"}
    written = [quote + c.replace(quote, quote * 2) + quote if special & set(c) else c for c in cells]
    return delimiter.join(written) + "\n"


def _guarded(frames: Iterator[pl.DataFrame], dialect: Dialect) -> Iterator[pl.DataFrame]:
    """The rejects as spreadsheets may open them; cells of the platform's own notation are guarded already."""
    told = [name for name in TOLD if name != "row"]
    for frame in frames:
        cells = [] if dialect.notation == "own" else [name for name in frame.columns if name.startswith(RAW_PREFIX)]
        yield frame.with_columns(guard_foreign(pl.col(name)) for name in [*cells, *told])


def _write_workbook(paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path) -> int:
    import xlsxwriter  # only who writes workbooks pays for loading it

    count = 0
    with xlsxwriter.Workbook(str(out_path), {"constant_memory": True, "nan_inf_to_errors": True}) as book:
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet("Rejects")
        # Longer texts than Excel shows are the file's own: none is cut.
        sheet.xls_strmax = 1 << 31
        sheet.freeze_panes(1, 0)
        for column, header in enumerate([*map(guarded_foreign, headers), *TOLD]):
            sheet.write_string(0, column, header, bold)
        number = len(headers) + TOLD.index("row")
        for frame in _guarded(_frames(paths, headers), dialect):
            for row in frame.iter_rows():
                count += 1
                for column, cell in enumerate(row):
                    if column == number:
                        sheet.write_number(count, column, cell)
                    elif cell is not None:
                        # Always as text, and guarded as well: workbooks are saved as CSV.
                        sheet.write_string(count, column, cell)
    return count


def _write_json_lines(paths: Sequence[Path], headers: Sequence[str], out_path: Path, *, own: bool) -> int:
    """``own``: the cells are in the platform's own notation, whose texts JSON holds without their guard."""
    labels = column_labels(headers)
    count = 0
    with out_path.open("w", encoding="utf-8", newline="\n") as out:
        for frame in _frames(paths, headers):
            count += frame.height
            if own:
                frame = frame.with_columns(unguard(pl.col(n)) for n in frame.columns if n.startswith(RAW_PREFIX))
            for row in frame.iter_rows():
                record = {label: cell for label, cell in zip(labels, row, strict=False) if cell is not None}
                record[TOLD_KEY] = dict(zip(TOLD, row[len(labels) :], strict=True))
                out.write(json.dumps(record, ensure_ascii=False) + "\n")
    return count


def _frames(paths: Sequence[Path], headers: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rejects, a piece at a time: the cells of the file's columns, then what is told."""
    columns = [*(f"{RAW_PREFIX}{index}" for index in range(len(headers))), *TOLD]
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(CHUNK_ROWS, columns=columns):
            yield pl.DataFrame(batch).select(columns)
