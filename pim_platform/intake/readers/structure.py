"""Where records begin and end in a block of delimited bytes, found with array operations.

The idea: in well-formed text every quote is an opening one (first character of a cell), a closing
one (last of a cell) or half of a doubled pair. Counting quotes then tells inside from outside, so
line ends and delimiters can be told apart without walking through the bytes. The first quote that
is none of these marks where the exact parser must take over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Structure:
    """What a block holds. Offsets are into the block."""

    ends: Positions
    """Offsets of the line ends that end a record; all before ``trouble``."""
    fields: Positions
    """Cells of each of these records."""
    trouble: int | None
    """Offset of the first quote that breaks the rules, if any."""


def find_structure(block: bytes, delimiter: int, quote: int | None, line_end: int, *, final: bool) -> Structure:
    """Analyse ``block``, which starts at a record; ``final``: the file ends with it.

    A last record without line end is not reported; where the file ends so, append one first.
    """
    data = np.frombuffer(block, dtype=np.uint8)
    ends: Positions = np.flatnonzero(data == line_end)
    delimiters: Positions = np.flatnonzero(data == delimiter)
    trouble: int | None = None
    if quote is not None and quote in block:
        quotes = np.flatnonzero(data == quote)
        trouble = _first_misplaced(data, quotes, delimiter, line_end, final)
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
        delimiters = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        if trouble is not None:
            ends = ends[: np.searchsorted(ends, trouble)]
    counts = np.searchsorted(delimiters, ends)
    return Structure(ends, np.diff(counts, prepend=0) + 1, trouble)


def _first_misplaced(
    data: NDArray[np.uint8], quotes: Positions, delimiter: int, line_end: int, final: bool
) -> int | None:
    size = len(data)
    opening, closing = quotes[0::2], quotes[1::2]
    before = data[np.maximum(opening - 1, 0)]
    fits = (opening == 0) | (before == delimiter) | (before == line_end)
    fits[1:] |= opening[1:] - 1 == closing[: len(opening) - 1]
    after = data[np.minimum(closing + 1, size - 1)]
    shut = (closing == size - 1) | (after == delimiter) | (after == line_end)
    if line_end == 10:
        crlf = (after == 13) & ((closing + 2 >= size) | (data[np.minimum(closing + 2, size - 1)] == 10))
        shut |= crlf
    paired = min(len(closing), len(opening) - 1)
    shut[:paired] |= closing[:paired] + 1 == opening[1 : paired + 1]
    wrong = [int(opening[-1])] if final and len(opening) > len(closing) else []
    if not fits.all():
        wrong.append(int(opening[np.argmin(fits)]))
    if not shut.all():
        wrong.append(int(closing[np.argmin(shut)]))
    return min(wrong) if wrong else None
