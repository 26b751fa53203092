"""Where the table of products ends: totals, notes, repeated headers and other tables are told apart from rows.

Suppliers put a second table, a line of totals or a remark below their products. Read as products
these would be wrong, dropped they would be missed: they become rejects that say what they are. Only
what differs in kind from the rows above is moved; in doubt a record stays a row.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake import vocabulary as words
from pim_platform.intake.readers.headers import is_value
from pim_platform.intake.readers.rows import SHOWN, Batch

#: Rows from which the columns' nature is known, at least and at most.
_FEWEST, _MOST = 2, 200
#: Where more than this share of the rows follows a blank line, blank lines separate nothing.
_SPACED = 0.3
#: Rows of a section that are compared with the products' rows.
_COMPARED = 20
#: Columns from which a line of one cell is no row cut short.
_WIDE = 3
#: Titles above a second table's header, at most.
_TITLES = 3

_WORDS: dict[str, tuple[str, str]] = {
    "other_table": (
        "record {row} belongs to another table than the products above it, expected a product",
        "import that table as a file of its own",
    ),
    "repeated_header": ("record {row} repeats the header, expected a product", "remove the line"),
    "totals_line": ("record {row} is a line of totals, expected a product", "remove the line"),
    "comment_line": ("record {row} is a comment or note, expected a product", "remove the line"),
}
_TOTAL = r"(?i)^\s*(?:" + "|".join([*words.TOTAL_PHRASES, *words.TOTAL_WORDS]) + r")\s*:?\s*$"
_COMMENT = r"^\s*(?:#|//)\s"
_VALUE = r"^\s*[-+(]?[€$£¥]?\s?\d[\d.,'\s\u00a0\u202f]*\)?\s?[€$£¥%]?\s*$|^https?://"


@dataclass
class _Nature:
    """What is known of the products' rows."""

    values: list[int] = field(default_factory=list)
    always: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> _Nature:
        found = cls()
        for index in range(frame.width - 1):
            cells = [cell for cell in frame[f"{RAW_PREFIX}{index}"].to_list() if cell and cell.strip()]
            if len(cells) >= 0.95 * frame.height:
                found.always.append(index)
            if len(cells) >= 0.5 * frame.height and sum(map(is_value, cells)) >= 0.8 * len(cells):
                found.values.append(index)
        return found

    def fits(self, row: Sequence[str | None], share: float) -> bool:
        """Whether a record could be one of the products' rows: it fills ``share`` of what they always fill."""
        filled = [index for index in self.values if (row[index] or "").strip()]
        numbers = sum(is_value(row[index] or "") for index in filled)
        complete = sum(bool((row[index] or "").strip()) for index in self.always)
        return 2 * numbers >= len(filled) and complete >= share * len(self.always)

    def is_other_header(self, row: Sequence[str | None], share: float) -> bool:
        """Whether a record looks like labels, and not like one of the products' rows."""
        cells = [cell for cell in row if cell and cell.strip()]
        return len(cells) >= 2 and not any(map(is_value, cells)) and not self.fits(row, share)


def only_products(batches: Iterable[Batch], headers: Sequence[str]) -> Iterator[Batch]:
    """The batches with every record that is no product's row moved among the bad ones."""
    if len(headers) < 2:
        yield from batches
        return
    state = _Sections(list(headers))
    for batch in batches:
        yield state.split(batch)


class _Sections:
    def __init__(self, headers: list[str]) -> None:
        self._headers = headers
        self._known = pl.DataFrame()
        self._nature: _Nature | None = None
        self._elsewhere = False
        self._seen = self._gaps = 0

    def split(self, batch: Batch) -> Batch:
        frame = batch.frame
        if frame.height == 0:
            return batch
        moved: dict[str, list[int]] = {}
        self._single_lines(frame, moved)
        self._seen, self._gaps = self._seen + frame.height, self._gaps + len(batch.gaps)
        wide = len(self._headers) >= _WIDE
        if wide and (batch.gaps or self._elsewhere) and self._gaps <= max(3.0, _SPACED * self._seen):
            self._other_tables(frame, batch.gaps, moved)
        if self._known.height < _MOST and not self._elsewhere and not moved.get("other_table"):
            self._known = pl.concat([self._known, frame.head(_MOST)]) if self._known.height else frame.head(_MOST)
            self._nature = None
        if not any(moved.values()):
            return batch
        gone = [number for numbers in moved.values() for number in numbers]
        bad = [_told(frame.filter(pl.col("row").is_in(numbers)), code) for code, numbers in moved.items() if numbers]
        rest = frame.filter(~pl.col("row").is_in(gone))
        return Batch(rest, pl.concat([batch.bad, *bad]).sort("row"), batch.bytes_read, batch.gaps)

    def _single_lines(self, frame: pl.DataFrame, moved: dict[str, list[int]]) -> None:
        """Lines that tell what they are by themselves, wherever they stand."""
        first = pl.col(f"{RAW_PREFIX}0")
        suspects = frame.filter(
            first.str.contains(_COMMENT)
            | first.str.contains(_TOTAL)
            | (first.str.to_lowercase() == self._headers[0].lower())
            | first.is_null()
        )
        if suspects.height == 0:
            return
        cells = [f"{RAW_PREFIX}{index}" for index in range(len(self._headers))]
        headers = [header.strip().casefold() for header in self._headers]
        if headers[0]:
            again = suspects.filter(first.str.to_lowercase() == self._headers[0].lower())
            moved.setdefault("repeated_header", []).extend(
                row[0] for row in again.rows() if [(cell or "").strip().casefold() for cell in row[1:]] == headers
            )
        filled = pl.sum_horizontal(pl.col(name).is_not_null() for name in cells)
        numbers = pl.sum_horizontal(pl.col(name).str.contains(_VALUE).fill_null(False) for name in cells)
        name = pl.coalesce(cells)
        if not self._headers[0].lstrip().startswith("#"):
            notes = suspects.filter(first.str.contains(_COMMENT) & (filled == 1))
            moved.setdefault("comment_line", []).extend(notes["row"].to_list())
        totals = suspects.filter(
            name.str.contains(_TOTAL) & (numbers == filled - 1) & (numbers > 0) & (filled < len(cells))
        )
        moved.setdefault("totals_line", []).extend(totals["row"].to_list())

    def _other_tables(self, frame: pl.DataFrame, gaps: tuple[int, ...], moved: dict[str, list[int]]) -> None:
        rows = frame["row"].to_list()
        starts = sorted({bisect.bisect_left(rows, number) for number in gaps} - {len(rows)})
        other = moved.setdefault("other_table", [])
        edges = [*([0] if self._elsewhere and (not starts or starts[0] > 0) else []), *starts, len(rows)]
        if self._nature is None:
            known = frame.head(min(starts[0] if starts else frame.height, _MOST))
            known = self._known if self._known.height else known
            if known.height < _FEWEST:
                return
            self._nature = _Nature.of(known)
        elsewhere = self._elsewhere
        for at, end in itertools.pairwise(edges):
            section = [row[1:] for row in frame.slice(at, min(end - at, _COMPARED + _TITLES + 1)).rows()]
            titles = 0
            while titles < min(_TITLES, len(section)) and _is_title(section[titles]):
                titles += 1
            if not titles and len(section) > 1 and _is_alone(section[0]):
                titles = int(self._nature.is_other_header(section[1], 0.75))
            body = section[titles:]
            if titles and not body:  # a remark at the end, or between two groups of products
                moved.setdefault("comment_line", []).extend(rows[at:end])
                continue
            share = 0.75 if len(body) > 2 else 0.5  # a single line may be a product of which little is known
            fitting = sum(self._nature.fits(row, share) for row in body[1:] or body)
            fits = 2 * fitting >= max(1, len(body) - 1)
            if self._nature.is_other_header(body[0], share):
                if fits and len(body) > 1:
                    continue  # a product without numbers among others, or a header that its own check has found
                elsewhere = True
            elif elsewhere or titles:
                elsewhere = elsewhere and not fits
            if elsewhere:
                other.extend(rows[at:end])
            elif titles:
                moved.setdefault("comment_line", []).extend(rows[at : at + titles])
        self._elsewhere = elsewhere


def _is_title(row: Sequence[str | None]) -> bool:
    text = next((cell.strip() for cell in row if cell and cell.strip()), "")
    return _is_alone(row) and (" " in text or row[0] is None or text.endswith(":"))


def _is_alone(row: Sequence[str | None]) -> bool:
    cells = [cell for cell in row if cell and cell.strip()]
    return len(cells) == 1 and not is_value(cells[0]) and any(map(str.isalpha, cells[0]))


def _told(frame: pl.DataFrame, code: str) -> pl.DataFrame:
    """The records in the reject layout."""
    error, fix = _WORDS[code]
    before, after = error.split("{row}")
    raw = [name for name in frame.columns if name.startswith(RAW_PREFIX)]
    return frame.select(
        "row",
        column=pl.lit(None, dtype=pl.String),
        value=pl.concat_str(raw, separator=" ", ignore_nulls=True).str.slice(0, SHOWN),
        error_code=pl.lit(code),
        error=pl.concat_str(pl.lit(before), pl.col("row").cast(pl.String), pl.lit(after)),
        suggestion=pl.lit(fix),
        **{name: pl.col(name) for name in raw},
    )
