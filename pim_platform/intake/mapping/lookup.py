"""What the dictionaries say of words, as they are."""

from __future__ import annotations

from pim_platform.intake.mapping.candidate import EXACT, WEAK, Candidate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.names import fold


def known(key: str, score: float = EXACT) -> Candidate | None:
    """What the dictionaries say of these words, as they are or without their accents."""
    names = dictionary()
    for form in dict.fromkeys((key, fold(key))):
        if form in names.short_tags:
            return known(names.short_tags[form], score)
        if form in names.active:
            return Candidate("status", score, f"'{key}' switches a product on or off", "active", "boolean")
        if form in names.targets:
            target, order = names.targets[form]
            return Candidate(target, score, f"'{key}' is a known name of {target}", order=order)
        if form in names.attributes:
            field, kind = names.attributes[form]
            return Candidate("attribute", score, f"'{key}' is a common attribute: {field}", field, kind)
        if form in names.ignored:
            return Candidate("ignore", score, f"'{key}' {names.ignored[form]}")
        if form in names.components:
            part = names.components[form]
            return Candidate("dimensions", score, f"'{key}' is a dimension", part, component=part)
    return None


def doubtful(key: str) -> list[Candidate]:
    """What these words can mean among other things: cells have to prove it."""
    names = dictionary()
    for form in (key, fold(key)):
        if form in names.doubtful:
            return [Candidate(target, WEAK, f"'{key}' can mean {target}") for target in names.doubtful[form]]
    return []
