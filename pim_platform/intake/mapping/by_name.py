"""What a header means that is no path, judged by its words alone. Paths go another way, see :mod:`.paths`.

A header is looked up as it is, then without what does not change its meaning (:mod:`.reduced_names`), then by what it
resembles (:mod:`.resembling_names`).
"""

from __future__ import annotations

import re

from pim_platform.intake.mapping.candidate import EXACT, SLIP, STRIPPED, Candidate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.lookup import doubtful, known
from pim_platform.intake.mapping.names import HeaderFacts, fold
from pim_platform.intake.mapping.reduced_names import (
    of_compound,
    of_parts,
    with_unit,
    without_fillers,
    without_number,
    without_tax,
)
from pim_platform.intake.mapping.resembling_names import partial, slip


def by_name(facts: HeaderFacts) -> list[Candidate]:
    """The meaning of a header that is no path; empty where its name says nothing."""
    if option := _option(facts.key):
        return [option]
    for key in dict.fromkeys((facts.full_key, facts.key)):
        # One letter names a dimension only where a unit stands beside it.
        if (len(key) > 1 or key > "\u2e80" or facts.unit) and (found := known(key)):
            return [found]
    if not facts.key:
        return []
    if found := _of_alternatives(facts):
        return [found]
    if found := _reduced(facts):
        return [found]
    if numbered := _somebodys_number(facts.key):
        return [numbered]
    if weak := doubtful(facts.key) or doubtful(_said(facts.key)):
        return weak
    if nearly := slip(facts.key):
        return [nearly]
    return partial(facts.key)


def _reduced(facts: HeaderFacts) -> Candidate | None:
    tried = {facts.full_key, facts.key}
    for find in (without_number, without_tax, with_unit, without_fillers, of_parts, of_compound):
        for key, found in find(facts.key, dictionary()):
            if key and key not in tried and found is not None:
                return found
    return None


def _option(key: str) -> Candidate | None:
    """``Option1 Name``, ``Attribut 1 Wert(e)``, ``Nom de l'attribut 1``: a number, what is numbered, name or value."""
    groups = dictionary().words
    tokens = re.sub(r"(?<=[^\W\d])(\d)", r" \1", key).split()
    numbers = [token for token in tokens if token.isdigit()]
    if len(numbers) != 1 or len(numbers[0]) > 2 or not groups["numbered attributes"] & set(tokens):
        return None
    number = int(numbers[0])
    rest = {token for token in tokens if token not in groups["numbered attributes"]} - {numbers[0]}
    for what in ("name", "value"):
        said = rest & groups[f"numbered attributes {what}s"]
        if said and rest - said <= groups["fillers"]:
            reason = f"{what} of option {number} of a variant"
            return Candidate(f"option_{what}", EXACT, reason, f"option{number}_{what}", option=number)
    return None


def _of_alternatives(facts: HeaderFacts) -> Candidate | None:
    """``Product Code/SKU``, ``Google Shopping / MPN``: what its parts agree on."""
    fillers = dictionary().words["fillers"]
    parts = [part for part in facts.alternatives if not all(word in fillers for word in part.split())]
    found = [known(part, STRIPPED) for part in parts]
    first = found[0] if found else None
    if first is None or any(c is None or (c.target, c.field) != (first.target, first.field) for c in found):
        return None
    return first


def _somebodys_number(key: str) -> Candidate | None:
    """``Art.Nr. Hersteller``, ``Lief.-Art.-Nr.``: whose number it is."""
    groups = dictionary().words
    tokens = set(key.split())
    for whose, said in (("makers", tokens & groups["makers"]), ("suppliers", tokens & groups["suppliers"])):
        rest = tokens - said
        if said and rest & groups["numbers"] and rest <= groups["numbers"] | groups["fillers"]:
            if whose == "makers":
                return Candidate("mpn", SLIP, f"'{key}' is the maker's number")
            return Candidate("attribute", STRIPPED, f"'{key}' is the supplier's number", "supplier_sku", "string")
    return None


def _said(key: str) -> str:
    """The words of a name that are no fillers; nothing where it is one of several (``variation 1 type``)."""
    fillers = dictionary().words["fillers"]
    tokens = [token for token in key.split() if token not in fillers and fold(token) not in fillers]
    return "" if any(token.isdigit() for token in tokens) else " ".join(tokens)
