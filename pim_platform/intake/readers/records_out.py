"""Writing the records of a tree: one row each, and one more for every variant that has an SKU of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pim_platform.intake.readers.flattening import MAX_DEPTH, MAX_VALUES, Clash, Flat, TooDeep

if TYPE_CHECKING:
    from pim_platform.intake.readers.cells import CellsWriter

#: Columns of name/value lists in one file, at most; names beyond it stay in the raw columns only.
MAX_PAIR_COLUMNS = 1_000


class RecordsOut:
    """Hands records to a :class:`CellsWriter`.

    ``flatten`` turns a record into its columns. ``split`` takes the variants out of a record: it returns the record
    without them and, per variant, the columns of it.
    """

    def __init__(
        self,
        out: CellsWriter,
        flatten: Callable[[Any], Flat],
        split: Callable[[Any], tuple[Any, list[Flat]]] | None = None,
    ) -> None:
        self._out, self._flatten, self._split = out, flatten, split
        self._pairs: set[str] = set()
        self.next = 1
        """Number of the next row."""

    def write(self, record: Any, where: str) -> None:
        """Write a record that was read ``where`` ("line 12")."""
        try:
            variants: list[Flat] = []
            if self._split is not None:
                record, variants = self._split(record)
            cells = self._texts(self._flatten(record))
            rows = [cells, *({**cells, **self._texts(variant)} for variant in variants)]
        except TooDeep:
            self.bad(
                "too_deep",
                f"record {self.next} ({where}) is nested deeper than {MAX_DEPTH} levels or holds more than "
                f"{MAX_VALUES:,} values",
                "check the record path, or leave out what does not belong to the product", "",
            )  # fmt: skip
            return
        except Clash as clash:
            self.bad(
                "duplicate_key",
                f"record {self.next} ({where}) has {clash.name!r} twice, with {clash.one[:80]!r} and "
                f"{clash.other[:80]!r}",
                "keep one of them, or write a list", clash.name,
            )  # fmt: skip
            return
        for position, row in enumerate(rows if any(rows) else ()):
            self._out.record(row, part=position > 0)
            self.next += 1

    def bad(self, code: str, error: str, suggestion: str, value: str) -> None:
        """A record that is no row."""
        self._out.bad(self.next, code, error, suggestion, value)
        self.next += 1

    def _texts(self, flat: Flat) -> dict[str, str]:
        cells = dict(flat.texts())
        for name in flat.pairs & cells.keys():
            if name in self._pairs:
                continue
            if len(self._pairs) < MAX_PAIR_COLUMNS:
                self._pairs.add(name)
                continue
            del cells[name]
            self._out.note(
                f"The name/value lists hold more than {MAX_PAIR_COLUMNS:,} names; later ones have no column of "
                "their own and stand in the columns of names and values only."
            )
        return cells
