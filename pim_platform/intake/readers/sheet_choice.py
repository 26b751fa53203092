"""Which sheet of a workbook is the table of products: by its rows and by what its columns are called."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

#: Sheets named in a note.
_NAMED = 8


@dataclass(frozen=True)
class Look:
    """A sheet at first sight."""

    name: str
    visible: bool
    rows: list[tuple[int, list[str]]]
    """The first rows with any value: 0-based number and cells."""
    header: tuple[int, int] | None
    """First and last row of the header; None: the sheet has none."""
    records: int
    """Rows below the header, about."""

    @property
    def labels(self) -> list[str]:
        """What the header's last row calls the columns."""
        last = self.header[1] if self.header else -1
        cells = next((cells for row, cells in self.rows if row == last), [])
        return [cell.strip() for cell in cells if cell.strip()]

    @property
    def filled(self) -> float:
        """Cells with a value per row below the header, on average."""
        last = self.header[1] if self.header else -1
        body = [cells for row, cells in self.rows if row > last]
        return sum(bool(cell.strip()) for cells in body for cell in cells) / max(1, len(body))


def choose(looks: list[Look]) -> tuple[Look, list[str]]:
    """The sheet to read and what a person should know of the others. A hidden sheet is read only where no other is.

    >>> choose([Look("Notes", True, [(0, ["Hello"])], (0, 0), 0), Look("List", True, [(0, ["a"])], (0, 0), 9)])[0].name
    'List'
    """
    shown = [look for look in looks if look.visible and look.records] or [look for look in looks if look.records]
    candidates = shown or [look for look in looks if look.visible] or looks
    best = candidates[0] if len(candidates) == 1 else max(candidates, key=_score)  # the first of equals
    others = [look for look in looks if look is not best and look.records]
    alike = [look for look in others if look.labels and set(look.labels) == set(best.labels)]
    notes = []
    if alike:
        notes.append(
            f"Sheet {best.name!r} is read. Sheets with the same columns are not: {_named(alike)}; "
            "import each by its name."
        )
    rest = [look for look in others if look not in alike]
    if rest:
        notes.append(f"Sheet {best.name!r} is read, these are not: {_named(rest)}.")
    return best, notes


def _named(looks: list[Look]) -> str:
    named = [f"{look.name!r} ({look.records:,} rows{'' if look.visible else ', hidden'})" for look in looks[:_NAMED]]
    return ", ".join(named) + (f" and {len(looks) - _NAMED} more" if len(looks) > _NAMED else "")


def _score(look: Look) -> float:
    # Only a workbook with several sheets needs the dictionaries, which take their time to load.
    from pim_platform.intake.readers.likeness import likeness

    words = likeness(dict.fromkeys(look.labels, 1.0), look.name, 1, 0)
    return words + log2(1 + look.records) + min(look.filled, 20.0) / 4
