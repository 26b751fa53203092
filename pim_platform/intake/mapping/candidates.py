"""What a single column could be, judged by its header and by how its cells look.

A header is understood by its words (:mod:`.by_name`) or as a path (:mod:`.paths`). What is left over and not
understood makes a meaning doubtful: it is proposed only where the cells prove it (:mod:`.by_cells`), and a person
looks at it.
"""

from __future__ import annotations

from dataclasses import replace

from pim_platform.intake.mapping.by_cells import by_cells, fitted
from pim_platform.intake.mapping.by_name import by_name
from pim_platform.intake.mapping.candidate import SLIP, Candidate
from pim_platform.intake.mapping.names import HeaderFacts
from pim_platform.intake.mapping.paths import by_path
from pim_platform.intake.profile import ColumnProfile

#: Names of a SKU that mean the manufacturer's number where another column is the SKU.
_MAKERS = frozenset({"part number", "part no", "part code", "teilenummer", "modellnummer"})


def candidates(facts: HeaderFacts, profile: ColumnProfile) -> list[Candidate]:
    """All meanings above zero, the best first."""
    named = by_path(facts) if facts.leaf and (facts.parents or facts.attribute) else by_name(facts)
    named = [*named, *(second for c in named if (second := _second(c, facts)) is not None)]
    found = [one for c in named if (one := fitted(c, facts, profile)).score > 0]
    if not named:
        found = [c for c in by_cells(facts, profile) if c.score > 0]
    return sorted(found, key=lambda c: -c.score)


def _second(candidate: Candidate, facts: HeaderFacts) -> Candidate | None:
    """What a name means where its first meaning is another column's."""
    if candidate.target == "sku" and (facts.leaf or facts.key) in _MAKERS:
        return replace(candidate, target="mpn", score=SLIP, reason=f"'{facts.key}' beside a SKU is the maker's number")
    return None
