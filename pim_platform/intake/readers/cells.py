"""Where a converter puts what it reads: numbered records of text cells, written to Arrow files in batches.

A converter calls :class:`CellsWriter` in the child process; :mod:`.opening` reads the batches back in the parent.
Columns are known by name, or announced and then addressed by position. They may appear at any record: a batch that
was written before a column appeared lacks it, and reads back as empty cells. The files live for moments only, so
Arrow's own format it is: writing Parquet took half of the time of reading a workbook.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.limits import Limits

if TYPE_CHECKING:  # it takes a fifth of a second to load, and a proposal of delimited text never needs it
    import pyarrow as pa

#: A batch ends with whichever comes first: as many records, cells, or characters.
BATCH_RECORDS = 65_536
BATCH_CELLS = 1_500_000
BATCH_CHARACTERS = 32_000_000

ROWS_FILE = "rows-{:05}.arrow"
BAD_FILE = "bad-{:05}.arrow"
SUMMARY_FILE = "cells.json"

#: What a bad record tells beside its number and cells; the names of the reject layout.
TOLD = ("value", "error_code", "error", "suggestion")
#: Characters of a record that a reject quotes.
_SHOWN = 200

Cells = Mapping[str, str | None] | Sequence[str | None]


@dataclass(frozen=True)
class Summary:
    """What was written: the headers in order, records that are rows, bad ones, and batches."""

    headers: list[str]
    rows: int
    bad: int
    batches: int
    notes: list[str]
    """What a person should know that is no record: a second table that was left out, a hidden sheet."""
    parts: int = 0
    """Rows among ``rows`` that are part of the record before them: the variants of a product."""


class CellsWriter:
    """Takes records one after another; memory does not grow with their number.

    ``name`` is what the user calls the file, for messages; ``first_number`` the number of the first record
    where none is given: 1 where a format has no header line.
    Raises :class:`UnreadableFile` with code ``too_many_records`` or ``too_many_columns`` beyond the limits.
    """

    def __init__(self, folder: Path, name: str, limits: Limits | None = None, *, first_number: int = 1) -> None:
        self._folder, self.name, self._limits = folder, name, limits or Limits()
        self._headers: list[str] = []
        self._index: dict[str, int] = {}
        self._next = first_number
        self._rows = self._bad_count = self._batches = self._parts = 0
        self._notes: list[str] = []
        self._start_batch()

    def columns(self, names: Iterable[str]) -> None:
        """Announce columns in their order. Blank and repeated names are columns of their own, told by position."""
        for name in names:
            self._add_column(name)

    def record(self, cells: Mapping[str, str | None], *, part: bool = False) -> None:
        """The next record as ``{column: text}``; unknown columns are added behind the known ones. Empty is null.

        ``part``: it belongs to the record before it, as a variant does.
        """
        self._parts += part
        at = len(self._numbers)
        for name, text in cells.items():
            index = self._index.get(name)
            if index is None:
                index = self._add_column(name)
            if text:
                self._put(index, at, text)
        self._end_record(self._next)

    def row(self, cells: Sequence[str], number: int | None = None) -> None:
        """The next record by position, empty cells as empty texts; ``number`` as people see it, None: the next one.

        Cells beyond the announced columns add a column without a header. One file is either all rows or all records.
        """
        while len(cells) > len(self._headers):
            self._add_column("")
        self._lines.append(cells)
        self._cells += len(cells)
        self._characters += len("".join(cells))
        self._end_record(self._next if number is None else number)

    def bad(
        self, number: int | None, code: str, error: str, suggestion: str, value: str = "", cells: Cells = ()
    ) -> None:
        """A record that is no row: its number (None: the next one), an error code, what is wrong and what to do."""
        given: dict[int, str] = {}
        named = cells.items() if isinstance(cells, Mapping) else enumerate(cells)
        for key, text in named:
            index = self._index.get(key) if isinstance(key, str) else key
            if index is None:
                index = self._add_column(str(key))
            while index >= len(self._headers):
                self._add_column("")
            if text:
                given[index] = _mended(text)
        number = self._next if number is None else number
        told = (_mended(value)[:_SHOWN], code, _mended(error), _mended(suggestion))
        self._bad.append((number, told, given))
        self._next = number + 1
        self._bad_count += 1
        self._characters += sum(map(len, given.values())) + sum(map(len, told))
        self._check()

    def note(self, text: str) -> None:
        """Something a person should know that is no record."""
        if text not in self._notes:
            self._notes.append(text)

    def close(self) -> Summary:
        """Write what is left and the summary; returns it."""
        self._flush()
        summary = Summary(self._headers, self._rows, self._bad_count, self._batches, self._notes, self._parts)
        (self._folder / SUMMARY_FILE).write_text(json.dumps(vars(summary)), "utf-8")
        return summary

    def _add_column(self, name: str) -> int:
        index = len(self._headers)
        if index >= self._limits.columns:
            raise UnreadableFile(
                f"{self.name} has more than {self._limits.columns:,} columns.",
                fix="Check where its records are (record path, sheet), or raise PIM_READER_MAX_COLUMNS.",
                code="too_many_columns", file=self.name, expected=f"at most {self._limits.columns:,} columns",
            )  # fmt: skip
        self._headers.append(_mended(name).strip())
        self._index.setdefault(name, index)
        return index

    def _put(self, index: int, at: int, text: str) -> None:
        column = self._buffer.get(index)
        if column is None:
            column = self._buffer[index] = []
        if len(column) < at:
            column.extend([None] * (at - len(column)))
        column.append(text)
        self._cells += 1
        self._characters += len(text)

    def _end_record(self, number: int) -> None:
        self._numbers.append(number)
        self._next = number + 1
        self._rows += 1
        self._check()

    def _check(self) -> None:
        if self._rows + self._bad_count > self._limits.records:
            raise UnreadableFile(
                f"{self.name} has more than {self._limits.records:,} records.",
                fix="Split it into several files, or raise PIM_READER_MAX_RECORDS.",
                code="too_many_records", file=self.name, expected=f"at most {self._limits.records:,} records",
            )  # fmt: skip
        if (
            len(self._numbers) + len(self._bad) >= BATCH_RECORDS
            or self._cells >= BATCH_CELLS
            or self._characters >= BATCH_CHARACTERS
        ):
            self._flush()

    def _start_batch(self) -> None:
        self._numbers: list[int] = []
        self._lines: list[Sequence[str]] = []
        self._buffer: dict[int, list[str | None]] = {}
        self._bad: list[tuple[int, tuple[str, ...], dict[int, str]]] = []
        self._cells = self._characters = 0

    def _flush(self) -> None:
        if not self._numbers and not self._bad:
            return
        height = len(self._numbers)
        for index, cells in enumerate(itertools.zip_longest(*self._lines, fillvalue="")):
            self._buffer[index] = list(cells)
        for column in self._buffer.values():
            column.extend([None] * (height - len(column)))
        arrays = self._arrays()
        import pyarrow as pa

        columns = {"row": pa.array(self._numbers, pa.int64()), **{str(i): arrays[i] for i in sorted(arrays)}}
        _write(pa.table(columns), self._folder / ROWS_FILE.format(self._batches))
        if self._bad:
            self._bad.sort(key=lambda bad: bad[0])
            _write(_bad_table(self._bad), self._folder / BAD_FILE.format(self._batches))
        self._batches += 1
        self._start_batch()

    def _arrays(self) -> dict[int, pa.Array]:
        """The columns. Records with a NUL or half a surrogate pair in a cell become bad: no database stores these."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wrong: dict[int, tuple[str, int]] = {}
        arrays: dict[int, pa.Array] = {}
        for index, column in self._buffer.items():
            try:
                array = pa.array(column, pa.string())
                if not pc.any(pc.match_substring(array, "\0")).as_py():
                    arrays[index] = pc.if_else(pc.not_equal(array, ""), array, pa.scalar(None, pa.string()))
                    continue
            except UnicodeEncodeError:
                pass
            for at, text in enumerate(column):
                if text is not None and at not in wrong and (code := _unstorable(text)):
                    wrong[at] = code, index
        if not wrong:
            return arrays
        for at, (code, index) in wrong.items():
            what = "a NUL character" if code == "nul_byte" else "half of a character (a lone surrogate)"
            number, header = self._numbers[at], self._headers[index]
            cells = {i: _mended(text) for i, column in self._buffer.items() if (text := column[at])}
            error = f"record {number} holds {what} in {header!r}, expected text"
            told = (cells[index][:_SHOWN], code, error, "remove it, or export the file again")
            self._bad.append((number, told, cells))
        for index, column in self._buffer.items():
            self._buffer[index] = [text for at, text in enumerate(column) if at not in wrong]
        self._numbers = [number for at, number in enumerate(self._numbers) if at not in wrong]
        self._rows, self._bad_count = self._rows - len(wrong), self._bad_count + len(wrong)
        return self._arrays()


def _write(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:
        file.write_table(table)


def _bad_table(bad: list[tuple[int, tuple[str, ...], dict[int, str]]]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {"row": pa.array([number for number, _, _ in bad], pa.int64())}
    for position, name in enumerate(TOLD):
        columns[name] = pa.array([told[position] for _, told, _ in bad], pa.string())
    for index in sorted({index for _, _, cells in bad for index in cells}):
        columns[str(index)] = pa.array([cells.get(index) for _, _, cells in bad], pa.string())
    return pa.table(columns)


def _unstorable(text: str) -> str | None:
    if "\0" in text:
        return "nul_byte"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "undecodable"
    return None


def _mended(text: str) -> str:
    """The text as far as it can be shown: what no database stores becomes U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
