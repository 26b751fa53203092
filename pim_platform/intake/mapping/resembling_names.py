"""Meanings of a header that is nearly a known name, or holds one: doubtful, so cells have to prove them."""

from __future__ import annotations

from dataclasses import replace

from pim_platform.intake.mapping.candidate import PARTIAL, SLIP, Candidate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.lookup import known
from pim_platform.intake.mapping.names import fold, words_of

#: Targets whose cells can prove them, so that a half-understood name is enough.
_PROVABLE = frozenset({"price", "cost", "gtin", "image_url", "url", "stock_quantity", "weight", "name", "description"})
#: Names that are the column's meaning only where they stand alone: "number of doors", "name of the artist".
_GENERAL = words_of(
    "name title nom nombre nome naam nazwa název názov navn namn nimi név nume titel titre título titolo quantity qty "
    "anzahl menge quantité cantidad quantità quantidade aantal ilość množství množstvo antal antall määrä mennyiség "
    "cantitate adet miktar количество кількість units unidades image text body content"
)


def slip(key: str) -> Candidate | None:
    """A known name with one letter wrong, missing, too many or exchanged."""
    names = dictionary()
    if len(key) < 7:
        return None
    key = fold(key)
    for length in (len(key), len(key) - 1, len(key) + 1):
        for name in names.by_length.get(length, ()):
            if (name[0] == key[0] or name[-1] == key[-1]) and _one_slip(key, name):
                target, order = names.targets[name]
                return Candidate(target, SLIP, f"'{key}' is nearly '{name}', a name of {target}", order=order)
    return None


def _one_slip(one: str, other: str) -> bool:
    if len(one) > len(other):
        one, other = other, one
    start = 0
    while start < len(one) and one[start] == other[start]:
        start += 1
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    rest = one[start + 1 :]
    if rest == other[start + 1 :]:
        return one[start].isalpha() and other[start].isalpha()
    return one[start + 2 :] == other[start + 2 :] and one[start : start + 2] == other[start : start + 2][::-1]


def partial(key: str) -> list[Candidate]:
    """A known name with words beside it that are not understood, where none of them turns it into something else."""
    names = dictionary()
    tokens = key.split()
    breakers = names.words["breakers"]
    for size in range(len(tokens) - 1, 0, -1):
        for start in {0, len(tokens) - size}:
            part = " ".join(tokens[start : start + size])
            rest = tokens[:start] + tokens[start + size :]
            found = known(part, PARTIAL)
            if found is None or found.target not in _PROVABLE or len(part) < 3 or part in _GENERAL:
                continue
            if any(token in breakers or fold(token) in breakers or token.isdigit() for token in rest):
                return []
            return [replace(found, reason=f"'{key}' contains '{part}', a name of {found.target}")]
    if len(tokens) == 1 and len(key) >= 8:
        for cut in range(3, len(key) - 3):
            found = known(key[cut:], PARTIAL)
            if found is not None and found.target in ("price", "weight", "stock_quantity"):
                return [replace(found, reason=f"'{key}' ends in '{key[cut:]}', a name of {found.target}")]
    return []
