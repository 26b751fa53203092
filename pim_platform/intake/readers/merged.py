"""Merged cells of a sheet: one value for several rows, or a heading across several columns."""

from __future__ import annotations

from collections.abc import Sequence

from pim_platform.intake.readers.headers import join_headers

Range = tuple[tuple[int, int], tuple[int, int]]
"""First and last cell, each as 0-based row and column."""


def is_group_row(row: int, cells: Sequence[str], ranges: Sequence[Range], start: int, width: int) -> bool:
    """Whether a row above a header of ``width`` columns holds groups of its columns: merged cells, but no title."""
    groups = [(left - start, right - start) for (top, left), (_, right) in ranges if top == row and right > left]
    groups = [(left, right) for left, right in groups if 0 <= left < len(cells) and cells[left].strip()]
    labels = [index for index, cell in enumerate(cells) if cell.strip()]
    if not groups or any(right - left + 1 >= width for left, right in groups):
        return False
    return len(labels) > 1 or labels[0] > 0


def joined_headers(rows: Sequence[Sequence[str]], first: int, ranges: Sequence[Range], start: int) -> list[str]:
    """One label per column from the rows of a header, the first of which is sheet row ``first``.

    Where the sheet says which cells are merged, a group's label goes exactly so far; else as far as
    :func:`pim_platform.intake.readers.headers.join_headers` takes it to go.
    """
    groups = [(top - first, left - start, right - start) for (top, left), (_, right) in ranges if right > left]
    groups = [(row, left, right) for row, left, right in groups if 0 <= row < len(rows) - 1 and left >= 0]
    if not groups:
        return join_headers(rows)
    width = max(map(len, rows))
    grid = [[cell.strip() for cell in row] + [""] * (width - len(row)) for row in rows]
    for row, left, right in groups:
        for column in range(left, min(right + 1, width)):
            grid[row][column] = grid[row][left]
    return [" ".join(dict.fromkeys(filter(None, column))) for column in zip(*grid, strict=True)]


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
