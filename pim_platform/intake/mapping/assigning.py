"""Which column of several gets a meaning that they all could have."""

from __future__ import annotations

from collections.abc import Sequence

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.candidate import THRESHOLD, Candidate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import MONEY_TARGETS, REPEATABLE_TARGETS
from pim_platform.intake.mapping.names import HeaderFacts
from pim_platform.intake.profile import ColumnProfile


def assign(
    found: list[list[Candidate]], facts: list[HeaderFacts], profiles: Sequence[ColumnProfile]
) -> list[Candidate | None]:
    """The best meaning per column, where a target that holds one value goes to the best column only."""
    chosen: list[Candidate | None] = [None] * len(found)
    taken: set[tuple[str, str | None, str | None]] = set()
    options = [(c, index) for index, several in enumerate(found) for c in several if c.score >= THRESHOLD]
    for candidate, index in sorted(options, key=lambda o: (-_rank(o[0], facts[o[1]], profiles[o[1]]), o[1])):
        if chosen[index] is not None:
            continue
        currency = facts[index].currency if candidate.target in MONEY_TARGETS else None
        locale = None if candidate.target == "sku" else facts[index].locale
        key = (candidate.field if candidate.field == "active" else candidate.target, locale, currency)
        if candidate.target not in REPEATABLE_TARGETS and candidate.target != "attribute":
            if key in taken:
                continue
            taken.add(key)
        chosen[index] = candidate
    return chosen


def _rank(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile) -> float:
    """Score, with what tells rivals for one target apart.

    Values at all, the more usual name, filled cells, unique ones for a SKU, and for a price the tax within.
    """
    rank = candidate.score + (0.1 if profile.filled else 0.0) + 0.01 * (1 - profile.null_share)
    rank -= 0.0004 * min(candidate.order, 50) + 0.002 * len(facts.parents)
    if candidate.target == "sku":
        rank += 0.02 * profile.distinct_share
    if candidate.target == "gtin":
        rank += 0.02 * profile.gtin_share
    if candidate.target in MONEY_TARGETS:
        told = set((facts.leaf or facts.full_key).split())
        taxes = dictionary().words
        if told & taxes["taxes net"]:
            rank -= 0.015
        elif told & (taxes["taxes gross"] | taxes["taxes tax"]):
            rank += 0.015
    return rank


def loser(rival: Candidate) -> Candidate:
    """What becomes of a column whose meaning another column has already: a field of its own, of that kind."""
    kind: FieldType | None = "price" if rival.target in MONEY_TARGETS else None
    reason = f"another column is {rival.target} already: a field of its own"
    return Candidate("attribute", 0.9, reason, type=kind, tier="none")
