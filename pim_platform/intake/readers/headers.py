"""Where a table's header is, judged by the shape of its first records, and how several rows make one.

Spreadsheets begin with titles, addresses and notes; their headers span rows with merged cells. The
table starts where a record labels as many columns as the records below fill. Pure functions over
text cells, for delimited text and workbooks alike.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pim_platform.intake import vocabulary as words

#: Records looked at from the start of a file for its header.
LOOKED_AT = 40
#: A header has labels for at least this share of the cells that the fullest records below it have.
_COVERED = 0.6
#: Share of a column's filled cells that are numbers, dates or addresses, from which text above them is a label.
_MOSTLY = 0.8
#: Rows that one header spans, at most.
_MOST_ROWS = 4

_VALUE = re.compile(
    r"\s*(?:[-+]?\d[\d.,'\s\u00a0\u202f]*%?|https?://\S+|[€$£¥]\s?\d[\d.,]*|\d[\d.,]*\s?[€$£¥]"
    r"|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:[T ][\d:.Z+-]+)?)\s*"
)
_TECHNICAL = re.compile(r"[a-z][a-z0-9]*(?:[_.-][a-z0-9]+)*")
#: What a template says of itself, such as ``Version=1.0.0``: marketplaces write it above the header.
_SETTING = re.compile(r"\w+=\S")
_COMMENT = ("#", "//", "--")
Records = Sequence[Sequence[str]]


@dataclass(frozen=True)
class HeaderPlace:
    """``row``: 0-based record, counted among those with any value, None where there is no header."""

    row: int | None
    rows: int = 1


def is_value(cell: str) -> bool:
    """Whether a cell is a number, an amount, a date or an address: nothing a column is called."""
    return _VALUE.fullmatch(cell) is not None


def find_header(records: Records, *, start: int = 0) -> HeaderPlace:
    """The header of the table in ``records`` (those with any value, in order), from record ``start`` on.

    Doubt speaks for the first record: a lost header is worse than a strange name.
    """
    if len(records) - start < 2:
        return HeaderPlace(start)
    first = _table_start(records, start)
    if first == start and _is_data(records[start], records[start + 1 : start + 50]):
        return HeaderPlace(None)
    return _spanned(records, first, start)


def join_headers(rows: Records) -> list[str]:
    """One label per column from the rows of a header; a merged cell above goes on to the right.

    >>> join_headers([["", "Price", "", "Size", ""], ["SKU", "EUR", "USD", "Length", "Width"]])
    ['SKU', 'Price EUR', 'Price USD', 'Size Length', 'Size Width']
    """
    width = max(map(len, rows), default=0)
    padded = [[cell.strip() for cell in row] + [""] * (width - len(row)) for row in rows]
    for upper in padded[:-1]:
        for index in range(1, width):
            # What nothing below names is no part of the group to its left.
            if not upper[index] and upper[index - 1] and any(row[index] for row in padded):
                upper[index] = upper[index - 1]
    labels = []
    for column in zip(*padded, strict=True):
        parts: list[str] = []
        for part in column:
            if part and part.casefold() not in (known.casefold() for known in parts):
                parts.append(part)
        labels.append(" ".join(parts))
    return labels


def _table_start(records: Records, start: int) -> int:
    for index in range(start, min(len(records) - 1, start + LOOKED_AT)):
        below = records[index + 1 : index + 51]
        fullest = sorted((_filled(record) for record in below), reverse=True)
        wanted = _COVERED * fullest[min(1, len(fullest) - 1)]
        widest = sorted(map(len, below), reverse=True)
        narrow = len(records[index]) < _COVERED * widest[min(1, len(widest) - 1)]
        if narrow or _filled(records[index]) < max(1.0, wanted):
            continue
        if index == start and not records[index][0].lstrip().startswith(_COMMENT):
            return index
        if _labels(records[index]) and (index == start or _evidence(records, index, start)):
            if index == start and any(
                _labels(r) and _filled(r) >= wanted and _evidence(records, n, start)
                for n, r in enumerate(records[start + 1 : start + 4], start + 1)
            ):
                continue  # a comment that happens to hold delimiters
            return index
    return start


def _evidence(records: Records, index: int, start: int) -> bool:
    """Whether a record that is not the first can be the header: labels over values, or nothing but titles above."""
    if _value_columns(records[index + 1 : index + 51]) & _text_columns(records[index]):
        return True
    return all(_filled(record) == 1 for record in records[start:index])


def _spanned(records: Records, first: int, start: int) -> HeaderPlace:
    last = first
    while first > start and last - first + 1 < _MOST_ROWS and _is_group_row(records[first - 1], records[first]):
        first -= 1
    if last == first and last + 2 < len(records):
        below = records[last + 1]
        values = _value_columns(records[last + 2 : last + 52])
        if _labels(below) and values & _text_columns(below):
            if _is_technical(below, records[last]):
                return HeaderPlace(last + 1)  # labels for people above, the names systems know below
            if _is_units(below) or _names_what_is_open(records[last], below):
                last += 1
    return HeaderPlace(first, last - first + 1)


def _is_group_row(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether a record holds the merged cells above a header: fewer labels, one of them over several columns."""
    at = [index for index, cell in enumerate(upper) if cell.strip()]
    if not at or not _labels(upper) or any(_is_remark(upper[index]) for index in at):
        return False
    spans = [sum(bool(cell.strip()) for cell in lower[index:following]) for index, following in _pairs(at, len(lower))]
    if max(spans) < 2 or len(at) >= _filled(lower):
        return False
    names = [cell.strip().casefold() for cell in lower if cell.strip()]
    labels = join_headers([upper, lower])
    joined = [labels[index].casefold() for index, cell in enumerate(lower) if cell.strip()]
    # Two cells at the left are a line such as "Supplier; ACME" unless they tell equal labels apart.
    told_apart = len(set(joined)) > len(set(names))
    return told_apart or (max(at) >= 2 and len(upper) >= len(lower) - 1 and 0 not in spans)


def _is_remark(cell: str) -> bool:
    return cell.strip().endswith(":") or _SETTING.match(cell.strip()) is not None


def _pairs(at: list[int], width: int) -> list[tuple[int, int]]:
    return list(itertools.pairwise([*at, max(width, at[-1] + 1)]))


def _names_what_is_open(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether the lower record names columns that the upper leaves blank or calls alike."""
    labels = [cell.strip().casefold() for cell in upper]
    open_columns = {i for i, label in enumerate(labels) if not label or labels.count(label) > 1}
    named = {i for i in open_columns if i < len(lower) and lower[i].strip()}
    joined = join_headers([upper, lower])
    return len(named) >= 2 and len(set(filter(None, joined))) > len(set(filter(None, labels)))


def _is_units(record: Sequence[str]) -> bool:
    cells = [cell.strip().strip("()[]").casefold() for cell in record if cell.strip()]
    known = (
        {unit.casefold() for unit in words.UNITS} | {code.casefold() for code in words.CURRENCY_CODES} | set("€$£%-")
    )
    return bool(cells) and all(cell in known for cell in cells)


def _is_technical(lower: Sequence[str], upper: Sequence[str]) -> bool:
    names = [cell.strip() for cell in lower if cell.strip()]
    labels = [cell.strip() for cell in upper if cell.strip()]
    return (
        len(names) >= 2
        and len(set(names)) == len(names)
        and all(_TECHNICAL.fullmatch(name) for name in names)
        and sum("_" in name for name in names) >= 0.5 * len(names)
        and any(" " in label or not label.islower() for label in labels)
    )


def _is_data(first: Sequence[str], rest: Records) -> bool:
    """Whether a first record is data: a column holds values from the first record on."""
    values = _value_columns(rest)
    same = any(index in values and is_value(cell) for index, cell in enumerate(first) if cell.strip())
    # Years as headers of a pivot are numbers above numbers, but they are neighbours without gaps.
    return same and not _consecutive(first)


def _consecutive(cells: Sequence[str]) -> bool:
    numbers = [int(c) for c in cells if c.strip().isdigit() and len(c.strip()) == 4]
    return len(numbers) > 1 and all(b - a == 1 for a, b in itertools.pairwise(numbers))


def _filled(record: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in record)


def _labels(record: Sequence[str]) -> bool:
    cells = [cell for cell in record if cell.strip()]
    return not any(is_value(cell) or len(cell) > 120 for cell in cells)


def _text_columns(record: Sequence[str]) -> set[int]:
    return {index for index, cell in enumerate(record) if cell.strip() and not is_value(cell)}


def _value_columns(records: Records) -> set[int]:
    found: set[int] = set()
    for index in range(max(map(len, records), default=0)):
        cells = [record[index] for record in records if index < len(record) and record[index].strip()]
        if cells and sum(map(is_value, cells)) >= _MOSTLY * len(cells):
            found.add(index)
    return found
