"""Trees become rows: the columns of one record of a JSON or XML file, with lists kept in step.

A *flat* maps a column's name to a :class:`Cell`. Lists of objects become one column per member, whose
entries stand in the order of the list; where an object lacks the member its place holds an empty text,
so that the n-th rating and the n-th comment belong together. Name/value lists (``PARAM``, ``FEATURE``,
``additionalProperty``) also get a column per name; see :mod:`.pairs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pim_platform.intake.readers.pairs import pair_columns

#: Objects and lists inside each other, at most; deeper ones are no product data (and Python's own limit is near).
MAX_DEPTH = 64
#: Values of one record, at most.
MAX_VALUES = 200_000
#: Column of the key under which an object keyed by id or SKU stands.
KEY_COLUMN = "@key"


class TooDeep(Exception):
    """A record is nested deeper than ``MAX_DEPTH`` or holds more than ``MAX_VALUES`` values."""


class Clash(Exception):
    """Two different values of one record want the same column."""

    def __init__(self, name: str, one: str, other: str) -> None:
        super().__init__(name)
        self.name, self.one, self.other = name, one, other


@dataclass(slots=True)
class Cell:
    """The values of a column in one record; ``level``: the list they are entries of, "" for none."""

    values: list[str]
    level: str = ""
    listed: bool = False
    """Whether the cell is written as a JSON array even where it has one entry."""


@dataclass(slots=True)
class Flat:
    """Columns of a record or of a part of one, and how many entries each list in it has."""

    cells: dict[str, Cell] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    pairs: set[str] = field(default_factory=set)
    """Columns that name/value lists gave."""

    def put(self, name: str, cell: Cell) -> None:
        """Add a column; raises :class:`Clash` where it is there with other values."""
        known = self.cells.setdefault(name, cell)
        if known is not cell and known.values != cell.values:
            raise Clash(name, ", ".join(known.values), ", ".join(cell.values))

    def add(self, prefix: str, part: Flat, *, listed: bool = False) -> None:
        """Add a part's columns, their names behind ``prefix``."""
        for name, cell in part.cells.items():
            level = f"{prefix}{cell.level}" if cell.level else ""
            self.put(prefix + name, Cell(cell.values, level, cell.listed or listed))
        for level, count in part.levels.items():
            self.levels[prefix + level] = count
        self.pairs.update(prefix + name for name in part.pairs)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Column names and cell texts; columns without any value are left out."""
        for name, cell in self.cells.items():
            filled = [value for value in cell.values if value]
            if not filled:
                continue
            plain = len(filled) == 1 and not cell.listed
            yield name, filled[0] if plain else json.dumps(cell.values, ensure_ascii=False, separators=(",", ":"))


def align(parts: list[Flat]) -> Flat:
    """The parts of a list as one: every column has its entries in the order of the list.

    A column that occurs at most once per part gets an empty text for each part without it; one that
    occurs several times gets as many as its own list has entries in that part.
    """
    if len(parts) == 1:
        return parts[0]
    result = Flat(pairs=set().union(*(part.pairs for part in parts)))
    for part in parts:
        for level, count in part.levels.items():
            result.levels[level] = result.levels.get(level, 0) + count
    for name in dict.fromkeys(name for part in parts for name in part.cells):
        found = [part.cells.get(name) for part in parts]
        several = any(cell is not None and len(cell.values) > 1 for cell in found)
        model = next(cell for cell in found if cell is not None)
        values: list[str] = []
        for part, cell in zip(parts, found, strict=True):
            if cell is not None:
                values += cell.values
            else:
                values += [""] * (part.levels.get(model.level, 0) if several else 1)
        result.cells[name] = Cell(values, model.level, model.listed)
    return result


def flatten(record: Mapping[str, Any]) -> Flat:
    """The columns of a JSON object: ``a.b``, ``tags[]``, ``reviews[].rating``.

    Raises :class:`TooDeep`, and :class:`Clash` where two values want one column (a key ``a.b`` beside
    an object ``a`` with a key ``b``).
    """
    return _object(record, 0, [MAX_VALUES])


def _object(record: Mapping[str, Any], depth: int, budget: list[int]) -> Flat:
    if depth > MAX_DEPTH:
        raise TooDeep
    flat = Flat()
    for key, value in record.items():
        name = key.strip() or '""'
        if isinstance(value, dict):
            if is_keyed(value):
                value = [{KEY_COLUMN: inner, **entry} for inner, entry in value.items()]
            else:
                flat.add(f"{name}.", _object(value, depth + 1, budget))
                continue
        if isinstance(value, list):
            _list(flat, name, value, depth + 1, budget)
        else:
            budget[0] -= 1
            flat.put(name, Cell([text_of(value)]))
    if budget[0] < 0:
        raise TooDeep
    return flat


def _list(flat: Flat, name: str, entries: list[Any], depth: int, budget: list[int]) -> None:
    """Add a list's columns: ``name[]`` for plain entries, ``name[].x`` for the members of objects."""
    if depth > MAX_DEPTH:
        raise TooDeep
    if not entries:
        return
    level = f"{name}[]"
    flat.levels[level] = len(entries)
    if any(not isinstance(entry, (dict, list)) for entry in entries):
        budget[0] -= len(entries)
        plain = ["" if isinstance(entry, (dict, list)) else text_of(entry) for entry in entries]
        flat.put(level, Cell(plain, level, listed=True))
    if any(isinstance(entry, dict) for entry in entries):
        parts = [_object(entry, depth, budget) if isinstance(entry, dict) else Flat() for entry in entries]
        merged = align(parts)
        for inner, cell in merged.cells.items():
            inner_level = f"{level}.{cell.level}" if cell.level else level
            flat.put(f"{level}.{inner}", Cell(cell.values, inner_level, listed=True))
        for inner_level, count in merged.levels.items():
            flat.levels[f"{level}.{inner_level}"] = count
        flat.pairs.update(f"{level}.{inner}" for inner in merged.pairs)
        for inner, values in pair_columns(name, (_direct(part) for part in parts)).items():
            flat.put(inner, Cell(values))
            flat.pairs.add(inner)
    if any(isinstance(entry, list) for entry in entries):
        for entry in entries:
            if isinstance(entry, list):
                inner_flat = Flat()
                _list(inner_flat, level, entry, depth + 1, budget)
                for inner, cell in inner_flat.cells.items():
                    known = flat.cells.setdefault(inner, Cell([], cell.level, listed=True))
                    known.values += cell.values


def _direct(part: Flat) -> dict[str, list[str]]:
    """The members of an object in a list by plain name."""
    return {name.removesuffix("[]"): cell.values for name, cell in part.cells.items()}


def is_keyed(value: Mapping[str, Any]) -> bool:
    """Whether an object is a list in disguise: its keys are ids, its values all objects."""
    if not value or not all(isinstance(entry, dict) for entry in value.values()):
        return False
    return all(_is_id(key) for key in value)


def _is_id(key: str) -> bool:
    """Numbers, UUIDs and hashes: what programs make up and people never name a field."""
    packed = key.replace("-", "")
    if not packed.isascii() or not packed:
        return False
    return packed.isdigit() or (len(packed) >= 16 and all(char in "0123456789abcdefABCDEF" for char in packed))


def text_of(value: Any) -> str:
    """A JSON scalar as people read it; numbers come as texts already (see :mod:`.json_text`)."""
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    return str(value)
