"""CSV and its kin, streamed: every record comes out as a row or as a bad row, with its number.

Blocks go through :mod:`.structure`; what is well formed is parsed by Polars at once, the rest one
record at a time by :mod:`.exact`. Lines without any value are no records and get no number.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.exact import BROKEN_QUOTES, MAX_RECORD_BYTES, Record, RecordParser
from pim_platform.intake.readers.headers import join_headers
from pim_platform.intake.readers.rows import BadRow, Batch, bad_frame, empty_bad_frame
from pim_platform.intake.readers.source import utf8_chunks
from pim_platform.intake.readers.structure import Positions, Structure, find_structure
from pim_platform.intake.readers.tables import only_products

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect

#: After trouble the fast path goes on with blocks of this many bytes and doubles them while all is well.
SMALL_BLOCK = 64 * 1024
#: Longest run of records given to the exact parser before the fast path is tried again.
LONGEST_STREAK = 4096


def read_headers(path: Path, dialect: Dialect) -> list[str]:
    """The header cells, trimmed; ``column_1`` ... where the file has no header.

    Blank and repeated headers stay as they are: the index of a column is its identity.
    """
    return _Reader(path, dialect).headers()


def read_batches(path: Path, dialect: Dialect, *, batch_rows: int = 65_536) -> Iterator[Batch]:
    """Read a file in batches of at most ``batch_rows`` rows, in order, in bounded memory.

    Records that are no products (totals, notes, another table below) are among the bad ones.
    Raises :class:`UnreadableFile` where gzip data is damaged or the encoding is unknown.
    """
    reader = _Reader(path, dialect)
    headers = reader.headers()
    batches = reader.batches()
    if dialect.notation == "free":
        batches = only_products(batches, headers if dialect.header_row is not None else [""] * len(headers))
    for batch in batches:
        if batch.frame.height <= batch_rows:
            yield batch
            continue
        for offset in range(0, batch.frame.height, batch_rows):
            part = batch.frame.slice(offset, batch_rows)
            # Bad rows travel with the rows around them, so that the order of the file is kept.
            low = 0 if offset == 0 else int(part["row"][0])
            last = offset + batch_rows >= batch.frame.height
            high = None if last else int(batch.frame["row"][offset + batch_rows])
            bad = batch.bad.filter(pl.col("row") >= low)
            yield Batch(part, bad if high is None else bad.filter(pl.col("row") < high), batch.bytes_read)


def batches_of_bytes(data: bytes, dialect: Dialect, width: int, *, header: bool) -> Iterator[Batch]:
    """Read a piece of a file, in the file's encoding, that starts and ends with a record.

    ``width``: columns of the file; ``header``: whether the piece is the start of the file.
    """
    piece = dialect if header else dialect.model_copy(update={"header_row": None, "width": width})
    text = data.decode(dialect.encoding, "pim_mark").encode("utf-8", "surrogatepass").removeprefix(b"\xef\xbb\xbf")
    if text.strip():
        yield from _Reader(Path("sample"), piece, text).batches()


#: Delimiters behind the last column of a record that are taken off at once; more go the exact way.
_MOST_PADDING = 64


class _Reader:
    def __init__(self, path: Path, dialect: Dialect, data: bytes | None = None) -> None:
        self._path = path
        self._data = data
        self._dialect = dialect
        self._delimiter, self._line_end = ord(dialect.delimiter), ord(dialect.line_end)
        self._quote = ord(dialect.quote) if dialect.quote else None
        self._width = 0
        self._next_row = 1
        self._after_blank = False

    def headers(self) -> list[str]:
        for _ in self._after_header():
            break
        return self._headers

    def batches(self) -> Iterator[Batch]:
        self._block, self._position, self._final, self._consumed = b"", 0, False, 0
        source = self._after_header()
        block_size, streak = 1 << 62, 1
        for _ in source:
            while True:
                part = self._block[self._position : self._position + block_size]
                whole = self._position + len(part) == len(self._block)
                if not part:
                    break
                batch, used, trouble = self._fast(part, final=self._final and whole)
                self._position += used
                if batch is not None:
                    yield batch
                if trouble or (used == 0 and len(part) >= MAX_RECORD_BYTES):
                    block_size = SMALL_BLOCK
                    streak = 1 if used > SMALL_BLOCK // 2 else min(streak * 2, LONGEST_STREAK)
                    exact = self._exact(streak)
                    if exact is None:
                        break
                    yield exact
                elif used == 0 and whole:
                    break
                elif block_size < 1 << 62:
                    block_size, streak = block_size * 2, 1

    def _after_header(self) -> Iterator[None]:
        """Fill ``_block``; yields when it holds more bytes, the first time with the header behind it."""
        self._block, self._position, self._final, self._consumed = b"", 0, False, 0
        ready = False
        dialect = self._dialect
        chunks: Iterable[tuple[bytes, int]]
        if self._data is not None:
            chunks = [(self._data, len(self._data))]
        else:
            chunks = utf8_chunks(self._path, packed=dialect.compression == "gzip", encoding=dialect.encoding)
        for chunk, consumed in chunks:
            self._block = self._block[self._position :] + chunk
            self._position, self._consumed = 0, consumed
            ready = ready or self._take_header()
            if ready:
                yield
        # A last line without line end is a record like any other.
        self._block = self._block[self._position :]
        self._position, self._final = 0, True
        if self._block and not self._block.endswith(dialect.line_end.encode()):
            self._block += dialect.line_end.encode()
        if not ready and not self._take_header():
            raise UnreadableFile(
                f"{self._path.name} ends before its header, record {(dialect.header_row or 0) + 1}.",
                fix="Correct the header row in the dialect.", code="empty_file", file=self._path.name,
            )  # fmt: skip
        yield

    def _take_header(self) -> bool:
        dialect = self._dialect
        parser = self._parser(dialect.width or 1)
        position = found = 0
        wanted = dialect.header_row or 0
        rows: list[list[str]] = []
        while True:
            if position >= len(self._block):
                return False
            record = parser.read(self._block, position, final=self._final)
            if record is None:
                return False
            if any(cell.strip() for cell in record.cells):
                if found >= wanted:
                    rows.append(
                        [cell.decode("utf-8", "replace").replace("\ufeff", "").strip() for cell in record.cells]
                    )
                if len(rows) == dialect.header_rows or (rows and dialect.header_row is None):
                    break
                found += 1
            position = record.end
        if dialect.header_row is None:
            self._width = max(dialect.width, 1) if dialect.width else len(record.cells)
            self._headers = [f"column_{index + 1}" for index in range(self._width)]
            self._next_row = 1
        else:
            self._headers = join_headers(rows) if len(rows) > 1 else rows[0]
            self._width = len(self._headers)
            self._position, self._next_row = record.end, found + 2
        self._after_blank = False
        self._parser_of_file = self._parser(self._width)
        self._schema = {f"{RAW_PREFIX}{index}": pl.String for index in range(self._width)}
        return True

    def _parser(self, width: int) -> RecordParser:
        dialect = self._dialect
        return RecordParser(dialect.delimiter, dialect.quote, dialect.escape, dialect.line_end, width)

    def _fast(self, part: bytes, *, final: bool) -> tuple[Batch | None, int, bool]:
        """Rows of the well-formed records at the start of ``part``, the bytes used, whether trouble follows."""
        if self._dialect.escape and self._dialect.escape.encode() in part:
            return None, 0, True
        found = find_structure(part, self._delimiter, self._quote, self._line_end, final=final)
        trouble = found.trouble is not None
        if len(found.ends) == 0:
            return None, 0, trouble
        starts = np.concatenate(([0], found.ends[:-1] + 1))
        used = int(found.ends[-1]) + 1
        region = part[:used]
        lengths = found.ends - starts
        if self._line_end == 10:
            ended = np.frombuffer(region, dtype=np.uint8)[np.maximum(found.ends - 1, 0)]
            lengths = lengths - ((ended == 13) & (lengths > 0))
        blank = lengths == found.fields - 1
        for index in np.flatnonzero((found.fields == 1) & (lengths > 0) & (lengths < 64)) if self._width > 1 else ():
            blank[index] = not region[starts[index] : found.ends[index]].strip()
        if ((found.fields > self._width) & ~blank).any():
            region, found = self._without_padding(region, found, starts + lengths, ~blank)
            starts = np.concatenate(([0], found.ends[:-1] + 1))
        gaps = np.flatnonzero(~blank & np.concatenate(([self._after_blank], blank[:-1])))
        self._after_blank = bool(blank[-1])
        odd = (found.fields > self._width) & ~blank
        _mark_undecodable(region, found.ends, odd)
        rows = self._next_row + np.cumsum(~blank) - 1
        self._next_row += int((~blank).sum())
        plain = ~odd & ~blank
        if plain.all():
            clean = region
        else:
            keep = np.flatnonzero(plain)
            clean = b"".join(region[starts[i] : found.ends[i] + 1] for i in keep.tolist())
        frame = self._parse(clean, rows[plain], short=bool((found.fields[plain][:1] < self._width).any()))
        if frame is None:  # Polars read other records than the structure shows: believe neither, go one by one
            odd, frame = ~blank, self._frame([], [])
        singles = [
            (int(rows[i]), self._one(region[starts[i] : found.ends[i] + 1])) for i in np.flatnonzero(odd).tolist()
        ]
        return self._batch(frame, singles, tuple(rows[gaps].tolist())), used, trouble

    def _without_padding(
        self, region: bytes, found: Structure, stops: Positions, wanted: np.ndarray[tuple[int, ...], np.dtype[np.bool]]
    ) -> tuple[bytes, Structure]:
        """The records without the delimiters behind their last column, which some programs write on every line."""
        data = np.frombuffer(region, dtype=np.uint8)
        keep = np.ones(len(data), dtype=np.bool)
        removed = np.zeros(len(found.ends), dtype=np.intp)
        extra = np.where(wanted, np.clip(found.fields - self._width, 0, _MOST_PADDING + 1), 0)
        for number in np.unique(extra[(extra > 0) & (extra <= _MOST_PADDING)]).tolist():
            at = np.flatnonzero(extra == number)
            behind = stops[at][:, None] - np.arange(1, number + 1)
            at = at[(data[behind] == self._delimiter).all(axis=1)]
            behind = stops[at][:, None] - np.arange(1, number + 1)
            keep[behind.ravel()] = False
            removed[at] = number
        if not removed.any():
            return region, found
        ends = found.ends - np.cumsum(removed)
        return data[keep].tobytes(), Structure(ends, found.fields - removed, found.trouble)

    def _parse(
        self, data: bytes, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]], *, short: bool
    ) -> pl.DataFrame | None:
        """The rows of well-formed records; ``short``: the first has fewer cells than the file has columns."""
        if not data:
            return self._frame([], [])
        if short:  # Polars counts the columns by the first line, so give it a full one
            data = (self._dialect.delimiter * (self._width - 1) + self._dialect.line_end).encode() + data
        frame = pl.read_csv(
            io.BytesIO(data), has_header=False, schema=self._schema, separator=self._dialect.delimiter,
            quote_char=self._dialect.quote, eol_char=self._dialect.line_end,
        )  # fmt: skip
        if short:
            frame = frame.slice(1)
        if frame.height != len(rows):
            return None
        if self._quote is not None and self._quote in data:
            frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
        return frame.insert_column(0, pl.Series("row", rows, dtype=pl.Int64))

    def _one(self, data: bytes) -> Record:
        record = self._parser_of_file.read(data, 0, final=True)
        assert record is not None
        return record

    def _exact(self, count: int) -> Batch | None:
        """The next ``count`` records by the exact parser; None where the block holds no whole one."""
        records: list[tuple[int, Record]] = []
        gaps: list[int] = []
        moved = False
        while count and self._position < len(self._block):
            record = self._parser_of_file.read(self._block, self._position, final=self._final)
            if record is None:
                break
            self._position, moved = record.end, True
            count -= 1
            if record.problem or any(cell.strip() for cell in record.cells):
                records.append((self._next_row, record))
                if self._after_blank:
                    gaps.append(self._next_row)
                self._next_row += 1
                self._after_blank = False
            else:
                self._after_blank = True
        return self._batch(self._frame([], []), records, tuple(gaps)) if moved else None

    def _batch(self, frame: pl.DataFrame, singles: list[tuple[int, Record]], gaps: tuple[int, ...]) -> Batch:
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        bad: list[BadRow] = []
        for number, record in singles:
            cells = _decoded(record.cells)
            if record.problem is None and cells is not None and not any(c and "\0" in c for c in cells):
                if not any(cells[self._width :]):
                    numbers.append(number)
                    rows.append([cell or None for cell in cells[: self._width]] + [None] * (self._width - len(cells)))
                    continue
                code = "too_many_fields"
            else:
                code = record.problem or ("undecodable" if cells is None else "nul_byte")
            shown = [cell.decode("utf-8", "replace").replace("\0", "\ufffd") for cell in record.cells]
            bad.append(BadRow(number, code, shown))
        if rows:
            frame = pl.concat([frame, self._frame(rows, numbers)]).sort("row")
        reject = bad_frame(bad, self._width, self._dialect) if bad else empty_bad_frame(self._width)
        return Batch(frame, reject, self._consumed, gaps)

    def _frame(self, rows: list[list[str | None]], numbers: list[int]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema=self._schema, orient="row")
        return frame.insert_column(0, pl.Series("row", numbers, dtype=pl.Int64))


def _decoded(cells: list[bytes]) -> list[str] | None:
    try:
        return [cell.decode("utf-8") for cell in cells]
    except UnicodeDecodeError:
        return None


def _mark_undecodable(
    region: bytes,
    ends: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
    odd: np.ndarray[tuple[int, ...], np.dtype[np.bool]],
) -> None:
    """Mark in ``odd`` the records that hold NULs or bytes that are not UTF-8."""
    at = region.find(b"\0")
    while at >= 0:
        index = int(np.searchsorted(ends, at))
        odd[index] = True
        at = region.find(b"\0", int(ends[index]))
    start = 0
    while start < len(region) and not region.isascii():
        try:
            # A line end is never part of a UTF-8 sequence, so decoding may start anew after one.
            str(memoryview(region)[start:], "utf-8")
            return
        except UnicodeDecodeError as error:
            index = int(np.searchsorted(ends, start + error.start))
            odd[index] = True
            start = int(ends[index]) + 1


__all__ = ["BROKEN_QUOTES", "Batch", "read_batches", "read_headers"]
