"""Meanings of a header without what does not change its meaning.

That is a number, the tax a price contains, a unit, words such as "product", a second name of the same thing. Each
function takes the words of a header and yields what is left of them, with what the dictionaries say of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pim_platform.intake.mapping.candidate import STRIPPED, Candidate
from pim_platform.intake.mapping.dictionary import Dictionary
from pim_platform.intake.mapping.lookup import known
from pim_platform.intake.mapping.models import MONEY_TARGETS, NUMERIC_TARGETS
from pim_platform.intake.mapping.names import UNITS, fold, words_of

#: What is left of a header, and its meaning.
Found = Iterator[tuple[str, Candidate | None]]

#: Targets that exports spread over numbered columns, such as image 1, image 2.
_NUMBERED = frozenset({"image_url", "category", "tags", "option_name", "option_value", "gtin"})
#: Words for "or" and "and" between names of one thing.
_OR = words_of("or and oder und ou et o y e of en lub i nebo a eller og och tai ja vagy és sau și veya ve или и або та")


def without_number(key: str, names: Dictionary) -> Found:
    """``image 2``, ``bullet point3``, ``product image file 1``, ``valor da variação 1``."""
    match = re.search(r" ?(?<!\d)(\d{1,2})(?= |$)", key)
    if match is None:
        return
    rest = " ".join((key[: match.start()] + " " + key[match.end() :]).split())
    number = int(match[1])
    for found in (known(rest, STRIPPED), *(c for _, c in without_fillers(rest, names))):
        if found is None:
            continue
        if found.target in ("option_name", "option_value"):
            what = found.target
            yield rest, replace(found, field=f"option{number}_{what[7:]}", option=number)
        elif found.target in _NUMBERED:
            reason = f"'{rest}' with a number is one more {found.target}"
            yield rest, replace(found, reason=reason, order=found.order + number)
        elif found.target == "attribute":
            yield rest, replace(found, field=f"{found.field}_{number}")
        return


def without_tax(key: str, names: Dictionary) -> Found:
    """``prix public ttc``, ``verkaufspreis inkl mwst``: the tax does not change which price it is."""
    taxes = names.words["taxes gross"] | names.words["taxes net"] | names.words["taxes tax"]
    tokens = key.split()
    rest = [token for token in tokens if token not in taxes and fold(token) not in taxes]
    if not rest or len(rest) == len(tokens):
        return
    for found in (known(" ".join(rest), STRIPPED), *(c for _, c in without_fillers(" ".join(rest), names))):
        if found is not None and (found.target in MONEY_TARGETS or found.target == "weight" or found.type == "price"):
            yield " ".join(rest), found
            return


def with_unit(key: str, names: Dictionary) -> Found:
    """``weight g``, ``width mm``, ``peso lordo kg``: a unit behind a quantity's name."""
    tokens = key.split()
    if len(tokens) < 2 or tokens[-1] not in UNITS:
        return
    rest = " ".join(tokens[:-1])
    for found in (known(rest, STRIPPED), *(c for _, c in without_fillers(rest, names))):
        if found is not None and (
            found.target in NUMERIC_TARGETS or (found.target == "attribute" and found.type == "number")
        ):
            yield rest, found
            return


def without_fillers(key: str, names: Dictionary) -> Found:
    """``main picture link``, ``libellé du produit``: words that say nothing are left out, outer ones first."""
    fillers = names.words["fillers"]
    tokens = key.split()
    said = [token for token in tokens if token not in fillers and fold(token) not in fillers]
    start, end = 0, len(tokens)
    while start < end and (tokens[start] in fillers or fold(tokens[start]) in fillers):
        start += 1
        yield " ".join(tokens[start:end]), known(" ".join(tokens[start:end]), STRIPPED)
    while end > start and (tokens[end - 1] in fillers or fold(tokens[end - 1]) in fillers):
        end -= 1
        yield " ".join(tokens[start:end]), known(" ".join(tokens[start:end]), STRIPPED)
    if said and len(said) < len(tokens):
        yield " ".join(said), known(" ".join(said), STRIPPED)


def of_parts(key: str, names: Dictionary) -> Found:
    """``upc ean isbn``: a header that lists several names of one thing."""
    tokens = [token for token in key.split() if token not in _OR]
    if not 2 <= len(tokens) <= 5:
        return
    fillers = names.words["fillers"]
    found = [known(token, STRIPPED) for token in tokens if token not in fillers]
    if len(found) > 1 and all(c is not None for c in found) and len({c.target for c in found if c}) == 1:
        first = found[0]
        if first is not None and first.target not in ("attribute", "ignore", "dimensions"):
            yield key + " ", first


def of_compound(key: str, names: Dictionary) -> Found:
    """``artikelgewicht``, ``商品画像``: words written together, the meaning at one end, a filler at the other."""
    if " " in key:
        return
    fillers = names.words["fillers"]
    for cut in range(1, len(key)):
        front, back = key[:cut], key[cut:]
        short = key[0] > "\u2e80"
        if (short or len(back) >= 4) and (front in fillers or front.removesuffix("s") in fillers) and len(front) > 1:
            yield back, known(back, STRIPPED)
        if short and back in fillers:
            yield front, known(front, STRIPPED)
