"""Merged cells of a sheet: one value for several rows, or a heading across several columns."""

from __future__ import annotations

from collections.abc import Sequence

Range = tuple[tuple[int, int], tuple[int, int]]
"""First and last cell, each as 0-based row and column."""


class MergedCells:
    """Asked row by row, downwards; ``start``: the sheet's column that the first cell of a row is in.

    Ranges that begin above row ``first``, in the header, are left alone.
    """

    def __init__(self, ranges: Sequence[Range], start: int, first: int) -> None:
        self._tall: dict[int, list[tuple[int, int]]] = {}
        self._wide: dict[int, tuple[int, int]] = {}
        for (top, left), (bottom, right) in ranges:
            if top < first:
                continue
            if bottom > top:
                self._tall.setdefault(top, []).append((left - start, bottom))
            if right > left:
                self._wide[top] = left - start, right - start
        self._values: dict[int, tuple[int, str]] = {}

    def fill(self, row: int, cells: list[str]) -> None:
        """Write the value of a cell merged over several rows into those below the first."""
        for column, (bottom, text) in list(self._values.items()):
            if row > bottom:
                del self._values[column]
            elif column < len(cells) and not cells[column]:
                cells[column] = text
        for column, bottom in self._tall.get(row, ()):
            if column < len(cells) and cells[column]:
                self._values[column] = bottom, cells[column]

    def heading(self, row: int, cells: Sequence[str], width: int) -> bool:
        """Whether a row is nothing but a cell merged over at least half of the table's ``width`` columns."""
        if row not in self._wide:
            return False
        left, right = self._wide[row]
        filled = [index for index, cell in enumerate(cells) if cell.strip()]
        return filled == [left] and 2 * (min(right, width - 1) - left + 1) >= width > 2
