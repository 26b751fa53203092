"""What only the columns of a file together tell of what each of them means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pim_platform.intake.mapping.candidate import CELLS, EXACT, PARTIAL, Candidate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.mapping.names import HeaderFacts
from pim_platform.intake.mapping.paths import is_pair
from pim_platform.intake.profile import ColumnProfile

#: Raw names and values of a list whose names have columns of their own.
VALUES_APART = Candidate("ignore", EXACT, "names and values of a list: each name has a column of its own")
#: Longest average of texts that name a product rather than describe it.
_NAME_LENGTH = 50
#: Meanings that may stand in for a SKU, the best first.
_STAND_INS = ("mpn", "gtin", "variant_group")


def tell_together(
    headers: Sequence[str],
    facts: Sequence[HeaderFacts],
    profiles: Sequence[ColumnProfile],
    found: list[list[Candidate]],
) -> None:
    """Replace in ``found``, the candidates per column, what other columns tell better."""
    _tell_pairs(headers, facts, found)
    _tell_measures(facts, profiles, found)
    _tell_odoo(facts, found)


def _tell_pairs(headers: Sequence[str], facts: Sequence[HeaderFacts], found: list[list[Candidate]]) -> None:
    pairs = _lists_of_pairs(headers)
    for index, fact in enumerate(facts):
        if pairs and is_pair(fact) and headers[index].rsplit("/", 1)[0].rsplit(".", 1)[0].removesuffix("[]") in pairs:
            found[index] = [VALUES_APART]


def _lists_of_pairs(headers: Sequence[str]) -> set[str]:
    """The paths of lists of names and values whose names became columns (``PARAM[Barva]`` gives ``PARAM``)."""
    found = (re.match(r"^([^\s\[\]]+(?:\[\][^\s\[\]]*)*)\[[^\[\]]+\]$", header) for header in headers)
    return {match[1].removesuffix("[]") for match in found if match}


def _tell_measures(
    facts: Sequence[HeaderFacts], profiles: Sequence[ColumnProfile], found: list[list[Candidate]]
) -> None:
    """In ONIX one element holds every measure; its type says which (code list 48: 08 is the weight)."""
    keys = [dictionary().short_tags.get(f.leaf, f.leaf) for f in facts]
    for index, key in enumerate(keys):
        if key != "measurement" or not facts[index].parents:
            continue
        types = {
            code
            for other, kind in enumerate(keys)
            if kind in ("measure type code", "measure type") and facts[other].parents == facts[index].parents
            for example in profiles[other].examples
            for code in re.findall(r"\w+", example)
        }
        target = "weight" if types == {"08"} else "dimensions"
        found[index] = [Candidate(target, EXACT, f"measures of type {', '.join(sorted(types)) or 'unknown'}")]


def _tell_odoo(facts: Sequence[HeaderFacts], found: list[list[Candidate]]) -> None:
    """Odoo's ``standard_price`` is what a product costs; elsewhere (Amazon) it is what it sells for."""
    keys = {fact.key for fact in facts}
    if "default code" in keys or any(key.startswith(("categ id", "uom id", "product tmpl")) for key in keys):
        for index, fact in enumerate(facts):
            if fact.key == "standard price":
                found[index] = [Candidate("cost", EXACT, "Odoo's standard price is the cost")]


def name_from_description(
    chosen: list[Candidate | None], facts: Sequence[HeaderFacts], profiles: Sequence[ColumnProfile]
) -> None:
    """Price lists call the name "description": where nothing is the name, a short text that differs per row is it."""
    doubtful = dictionary().doubtful
    if any(c is not None and c.target == "name" and profiles[i].filled for i, c in enumerate(chosen)):
        return
    for index, choice in enumerate(chosen):
        profile = profiles[index]
        if choice is None and "description" in doubtful.get(facts[index].leaf or facts[index].key, ()):
            choice = Candidate("description", PARTIAL, f"'{facts[index].key}' can mean description")
        if choice is None or choice.target != "description" or profile.filled < 2 or profile.null_share > 0.05:
            continue
        named = profile.text_share >= 0.3 or (profile.number_share < 0.05 and profile.mean_length >= 4)
        if profile.mean_length <= _NAME_LENGTH and profile.distinct_share >= 0.8 and named:
            reason = f"{choice.reason}; nothing else is the name, and its texts are short and differ"
            chosen[index] = replace(choice, target="name", score=PARTIAL, reason=reason)
            return


def with_identity(columns: list[ColumnMapping], profiles: Sequence[ColumnProfile]) -> list[ColumnMapping]:
    """Where no column is the SKU, the column that tells products apart best stands in for it: a person decides.

    Its meaning stays what it is (a barcode, a handle), only its cells become the SKU.
    """
    if any(c.field == "sku" and profiles[c.index].filled for c in columns):
        return columns
    fits = [
        column
        for column in columns
        if column.target in _STAND_INS
        and not profiles[column.index].listed
        and profiles[column.index].distinct_share >= 0.98
        and profiles[column.index].null_share <= 0.02
    ]
    if not fits:
        return columns
    best = min(fits, key=lambda column: (_STAND_INS.index(column.target), column.index))
    reason = f"{best.reason}; no column is the SKU, and this one tells all products apart: it stands in"
    change = {
        "field": "sku",
        "type": "string",
        "auto": False,
        "confidence": min(best.confidence, CELLS),
        "reason": reason,
    }
    empty = {"target": "ignore", "field": None, "reason": "the column is empty"}
    return [
        c.model_copy(update=change) if c.index == best.index else c.model_copy(update=empty) if c.field == "sku" else c
        for c in columns
    ]
