"""What people of a tenant decided for a header before, put over what the rules propose. Pure: no database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pim_platform.catalog.schema import ProductSchema
from pim_platform.intake.mapping.candidate import SURE
from pim_platform.intake.mapping.models import MULTI_VALUED_TYPES, ColumnMapping, header_key
from pim_platform.intake.mapping.value_types import holds
from pim_platform.intake.profile import ColumnProfile

#: Certainty of what was confirmed for this header: from this source; from others, twice or once; where sources differ.
SAME_SOURCE, AGREED, ONCE, DISPUTED = 0.97, 0.95, 0.92, 0.75

#: What belongs to the file that was confirmed and not to what the header means.
_OF_THE_FILE = ("source", "index", "confidence", "auto", "reason", "tier", "decimal", "separator", "currency", "unit")


@dataclass(frozen=True)
class Decision:
    """One person's word on one column."""

    header_key: str
    source_id: UUID
    confirmed: ColumnMapping


@dataclass(frozen=True)
class Learned:
    """What a header means here, by the latest decision: a correction outweighs all that was confirmed before it."""

    column: ColumnMapping
    times: int
    same_source: bool
    disputed: bool

    @property
    def confidence(self) -> float:
        """How sure it is."""
        if self.same_source:
            return SAME_SOURCE
        if self.disputed:
            return DISPUTED
        return AGREED if self.times > 1 else ONCE

    @property
    def reason(self) -> str:
        """The words for people."""
        what = "ignored it" if self.column.ignored else f"mapped it to {self.column.field}"
        times = "once" if self.times == 1 else f"{self.times} times"
        where = "in files of this source" if self.same_source else "in files of another source"
        doubt = ", but sources differ" if self.disputed else ""
        return f"people {what} {times} {where}{doubt}"


def learn(decisions: Iterable[Decision], source_id: UUID) -> dict[str, Learned]:
    """Header key -> what it means for a file of ``source_id``; ``decisions`` come oldest first."""
    by_key: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_key.setdefault(decision.header_key, []).append(decision)
    found = {}
    for key, several in by_key.items():
        own = [decision for decision in several if decision.source_id == source_id]
        counted = own or several
        latest = counted[-1].confirmed
        times = 0
        for decision in reversed(counted):
            if _field(decision.confirmed) != _field(latest):
                break
            times += 1
        now = {decision.source_id: _field(decision.confirmed) for decision in several}
        found[key] = Learned(latest, times, bool(own), disputed=not own and len(set(now.values())) > 1)
    return found


def apply_learned(
    columns: Sequence[ColumnMapping],
    profiles: Sequence[ColumnProfile],
    learned: Mapping[str, Learned],
    schema: ProductSchema | None,
) -> list[ColumnMapping]:
    """The proposal with learned columns in it; where their cells do not fit, or two want one field, the rules stand.

    A column that loses its field to a learned one becomes an attribute of its own and waits for a look.
    """
    keys = [header_key(column.source) for column in columns]
    repeated = Counter(keys)
    result = list(columns)
    kept: dict[int, Learned] = {}
    owned: dict[tuple[str | None, str | None], int] = {}
    order = sorted(range(len(columns)), key=lambda i: (-_worth(learned.get(keys[i])), i))
    for index in order:
        found = learned.get(keys[index])
        # A repeated header names several columns; nobody can tell which of them was meant.
        if found is None or not keys[index] or repeated[keys[index]] > 1:
            continue
        column = _column(columns[index], profiles[index], found, schema)
        if column is None or (_place(column) in owned and column.type not in MULTI_VALUED_TYPES):
            continue
        result[index] = column
        kept[index] = found
        if not column.ignored:
            owned[_place(column)] = index
    for index, column in enumerate(result):
        clash = owned.get(_place(column), index) != index
        if index not in kept and not column.ignored and clash and column.type not in MULTI_VALUED_TYPES:
            taken = {str(other.field) for other in result if not other.ignored}
            name = next(n for n in (f"{column.field}_{i}" for i in range(2, 10_000)) if n not in taken)
            why = f"{column.reason}; but people gave {column.field} to another column"
            result[index] = column.model_copy(
                update={"field": name, "target": "attribute", "auto": False, "tier": "none", "reason": why}
            )
    return result


def _column(
    proposed: ColumnMapping, profile: ColumnProfile, learned: Learned, schema: ProductSchema | None
) -> ColumnMapping | None:
    """The learned column for this file; None where its field is gone or the cells do not fit it."""
    confirmed = learned.column
    told = {
        "confidence": learned.confidence,
        "auto": learned.confidence >= SURE,
        "reason": learned.reason,
        "tier": "learned",
    }
    if confirmed.ignored:
        return proposed.model_copy(update={**told, "target": "ignore", "field": None})
    known = schema.field(confirmed.field) if schema and confirmed.field else None
    kind = known.type if known else confirmed.type
    if not holds(kind, proposed.type, profile):
        return None
    if learned.same_source:
        return confirmed.model_copy(update={**told, "index": proposed.index, "source": proposed.source, "type": kind})
    if proposed.field == confirmed.field and not proposed.ignored:
        return proposed.model_copy(update={**told, "target": confirmed.target})
    of_file = {
        "source": proposed.source,
        "index": proposed.index,
        "decimal": profile.decimal if kind in ("number", "price", "multi_price") else None,
        "separator": (profile.separator or confirmed.separator) if kind == "array" else None,
        "currency": (proposed.currency or profile.currency) if kind in ("price", "multi_price") else None,
        "unit": proposed.unit or profile.unit,
    }
    meant = confirmed.model_dump(exclude=set(_OF_THE_FILE))
    return ColumnMapping.model_validate({**meant, **of_file, **told, "type": kind})


def _place(column: ColumnMapping) -> tuple[str | None, str | None]:
    """What only one column may write: a field, or its value of one locale."""
    return column.field, column.locale


def _field(column: ColumnMapping) -> str | None:
    return None if column.ignored else column.field


def _worth(learned: Learned | None) -> float:
    return 0.0 if learned is None else learned.confidence + min(learned.times, 100) / 100_000
