"""What a single column could be, judged by its header and by how its cells look.

A header is looked up as it is, then without what does not change its meaning: a locale, a unit, the tax a price
contains, a number, words such as "product". What is left over and not understood makes a meaning doubtful: it is
proposed only where the cells prove it, and a person looks at it. Paths go another way, see :mod:`.paths`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.dictionary import Dictionary, dictionary
from pim_platform.intake.mapping.models import Tier
from pim_platform.intake.mapping.names import UNITS, HeaderFacts, fold, words_of
from pim_platform.intake.profile import ColumnProfile

#: Confidence of the ways a header can match; docs/architecture.md has the precision measured for them.
EXACT, STRIPPED, SLIP, PARTIAL, WEAK, CELLS = 0.98, 0.94, 0.85, 0.8, 0.78, 0.72
#: Below this a column is an attribute of the tenant's own.
THRESHOLD = 0.7
#: From this a proposal needs no second look.
SURE = 0.9
#: From this on a name is known; below, cells must agree.
_KNOWN = STRIPPED - 0.02

_BOOKKEEPING = re.compile(r"^meta: ?_", re.IGNORECASE)
#: Kinds that shop systems write into a column called "type": they are no category.
_PRODUCT_KINDS = words_of(
    "simple variable variation configurable grouped bundle virtual downloadable external subscription product variant "
    "parent child single standard service consu physical digital storable consumable sku rule p d s goods"
)
#: Targets that exports spread over numbered columns, such as image 1, image 2.
_NUMBERED = frozenset({"image_url", "category", "tags", "option_name", "option_value", "gtin"})
_NUMERIC = frozenset({"weight", "stock_quantity", "dimensions"})
_MONEY = frozenset({"price", "compare_at_price", "cost"})
#: Targets whose cells can prove them, so that a half-understood name is enough.
_PROVABLE = frozenset({"price", "cost", "gtin", "image_url", "url", "stock_quantity", "weight", "name", "description"})
_FLAG_WORDS = re.compile(
    r"^(is|has|can|allow|allows|enable|show|requires|needs|use|ist|hat|zeige|est|es|ha|mostra|mostrar|afficher|czy|je|"
    r"har|vis|visa|on|pode|peut|está|sind|sont|son) |"
    r"( \d+)? (sichtbar|visibile|visível|zichtbaar|widoczny|visible|global|"
    r"allowed|enabled|only|active|required|tracked|aktiv|exempt|flag)$|"
    r"^(vegan|vegetarian|organic|discontinued|exclusive|hazardous|fragile|waterproof|prop 65)$"
)
_CONTENT = re.compile(r"\d\s*(mg|g|gr|kg|ml|cl|dl|l|oz|lbs?|mm|cm|m)\b", re.IGNORECASE)
_IMAGE = re.compile(r"\.(jpe?g|png|gif|webp|avif|svg|tiff?|bmp)(?:$|[?#])", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """One meaning a column could have."""

    target: str
    score: float
    reason: str
    field: str | None = None
    type: FieldType | None = None
    option: int | None = None
    component: str | None = None
    tier: Tier | None = None
    """Where it comes from, if not from this module."""
    order: int = 0
    """Place of its name among the names of the target: the usual one wins where two columns want one target."""


def is_bookkeeping(header: str) -> bool:
    """Whether the header names an export's private data (WordPress meta keys with a leading underscore)."""
    return bool(_BOOKKEEPING.match(header.strip()))


def is_flag(facts: HeaderFacts) -> bool:
    """Whether the header asks a yes/no question, so that 1 and 0 are answers and no numbers."""
    return facts.question or bool(_FLAG_WORDS.search(facts.leaf or facts.key))


def candidates(facts: HeaderFacts, profile: ColumnProfile) -> list[Candidate]:
    """All meanings above zero, the best first."""
    from pim_platform.intake.mapping.paths import by_path

    named = by_path(facts) if facts.leaf and (facts.parents or facts.attribute) else by_name(facts)
    named = [*named, *(second for c in named if (second := _second(c, facts)) is not None)]
    found = [one for c in named if (one := fitted(c, facts, profile)).score > 0]
    if not named:
        found = [c for c in by_cells(facts, profile) if c.score > 0]
    return sorted(found, key=lambda c: -c.score)


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


#: Words that say that an amount counts the hundredth part of a currency (or less).
_MINOR = frozenset({"cent", "cents", "centimes", "minor", "pence", "kopecks"})
#: UUIDs and hashes, which programs make up.
_MADE_UP = re.compile(r"(?i)\b[0-9a-f]{16,}\b|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")

#: Names of a SKU that mean the manufacturer's number where another column is the SKU.
_MAKERS = frozenset({"part number", "part no", "part code", "teilenummer", "modellnummer"})


def _second(candidate: Candidate, facts: HeaderFacts) -> Candidate | None:
    """What a name means where its first meaning is another column's."""
    if candidate.target == "sku" and (facts.leaf or facts.key) in _MAKERS:
        return replace(candidate, target="mpn", score=SLIP, reason=f"'{facts.key}' beside a SKU is the maker's number")
    return None


def _weak(key: str) -> list[Candidate]:
    names = dictionary()
    for form in (key, fold(key)):
        if form in names.doubtful:
            return [Candidate(target, WEAK, f"'{key}' can mean {target}") for target in names.doubtful[form]]
    return []


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
    tried: set[str] = {facts.full_key, facts.key}
    for find in (_without_number, _without_tax, _with_unit, _without_fillers, _of_parts, _of_compound):
        for key, found in find(facts.key, dictionary()):
            if key and key not in tried and found is not None:
                return [found]
    if numbered := _somebodys_number(facts.key):
        return [numbered]
    if weak := _weak(facts.key) or _weak(_said(facts.key)):
        return weak
    if slip := _slip(facts.key):
        return [slip]
    return _partial(facts.key)


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


#: Words for "or" and "and" between names of one thing.
_OR = words_of("or and oder und ou et o y e of en lub i nebo a eller og och tai ja vagy és sau și veya ve или и або та")

Found = Iterator[tuple[str, Candidate | None]]


def _without_number(key: str, names: Dictionary) -> Found:
    """``image 2``, ``bullet point3``, ``product image file 1``, ``valor da variação 1``."""
    match = re.search(r" ?(?<!\d)(\d{1,2})(?= |$)", key)
    if match is None:
        return
    rest = " ".join((key[: match.start()] + " " + key[match.end() :]).split())
    number = int(match[1])
    for found in (known(rest, STRIPPED), *(c for _, c in _without_fillers(rest, names))):
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


def _without_tax(key: str, names: Dictionary) -> Found:
    """``prix public ttc``, ``verkaufspreis inkl mwst``: the tax does not change which price it is."""
    taxes = names.words["taxes gross"] | names.words["taxes net"] | names.words["taxes tax"]
    tokens = key.split()
    rest = [token for token in tokens if token not in taxes and fold(token) not in taxes]
    if not rest or len(rest) == len(tokens):
        return
    for found in (known(" ".join(rest), STRIPPED), *(c for _, c in _without_fillers(" ".join(rest), names))):
        if found is not None and (found.target in _MONEY or found.target == "weight" or found.type == "price"):
            yield " ".join(rest), found
            return


def _with_unit(key: str, names: Dictionary) -> Found:
    """``weight g``, ``width mm``, ``peso lordo kg``: a unit behind a quantity's name."""
    tokens = key.split()
    if len(tokens) < 2 or tokens[-1] not in UNITS:
        return
    rest = " ".join(tokens[:-1])
    for found in (known(rest, STRIPPED), *(c for _, c in _without_fillers(rest, names))):
        if found is not None and (found.target in _NUMERIC or (found.target == "attribute" and found.type == "number")):
            yield rest, found
            return


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


def _without_fillers(key: str, names: Dictionary) -> Found:
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


def _of_alternatives(facts: HeaderFacts) -> Candidate | None:
    """``Product Code/SKU``, ``Google Shopping / MPN``: what its parts agree on."""
    fillers = dictionary().words["fillers"]
    parts = [part for part in facts.alternatives if not all(word in fillers for word in part.split())]
    found = [known(part, STRIPPED) for part in parts]
    first = found[0] if found else None
    if first is None or any(c is None or (c.target, c.field) != (first.target, first.field) for c in found):
        return None
    return first


def _of_parts(key: str, names: Dictionary) -> Found:
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


def _of_compound(key: str, names: Dictionary) -> Found:
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


def _slip(key: str) -> Candidate | None:
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


#: Names that are the column's meaning only where they stand alone: "number of doors", "name of the artist".
_GENERAL = words_of(
    "name title nom nombre nome naam nazwa název názov navn namn nimi név nume titel titre título titolo quantity qty "
    "anzahl menge quantité cantidad quantità quantidade aantal ilość množství množstvo antal antall määrä mennyiség "
    "cantitate adet miktar количество кількість units unidades image text body content"
)


def _partial(key: str) -> list[Candidate]:
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


def by_cells(facts: HeaderFacts, profile: ColumnProfile) -> list[Candidate]:
    """What the cells alone prove, for a column whose name says nothing."""
    if profile.filled < 3 or facts.pair:
        return []
    several = profile.distinct >= 3
    if several and profile.gtin_share >= 0.95 and not profile.listed:
        return [Candidate("gtin", CELLS, "its cells are barcodes with right check digits")]
    if profile.url_share >= 0.9 and all(_IMAGE.search(e) for e in profile.examples):
        return [Candidate("image_url", CELLS, "its cells are links to images")]
    nameless = re.fullmatch(r"((column|field|col|spalte|f|unnamed) ?)?\d*", facts.key)
    if nameless and profile.currency and profile.type == "price":
        return [Candidate("price", CELLS, "its cells are amounts with a currency")]
    return []


def fitted(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile) -> Candidate:
    """The candidate with its score lowered, or turned into an attribute, where the cells disagree."""
    if candidate.target == "attribute" and facts.question and candidate.type != "boolean" and profile.boolean_like:
        return replace(candidate, score=0.0)  # "In print?" asks, "print" is a pattern
    if profile.filled == 0 or candidate.target in ("attribute", "ignore"):
        return candidate
    weak = candidate.score < _KNOWN
    problem = _disagreement(candidate, facts, profile, weak=weak) or (_unproved(candidate, profile) if weak else None)
    if problem is None:
        shown = f", and its cells fit ({profile.examples[0][:30]!r})" if profile.examples else ""
        return replace(candidate, reason=candidate.reason + shown)
    return replace(candidate, score=0.0 if weak else 0.4, reason=f"{candidate.reason}, but {problem}")


def _disagreement(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile, *, weak: bool) -> str | None:
    target = candidate.target
    numeric = max(profile.number_share, 1.0 if profile.unit else 0.0)
    values = {word for example in profile.examples for word in re.split(r"[,|;\s]+", example.lower()) if word}
    if facts.question and target in (_MONEY | _NUMERIC) and (profile.binary or profile.boolean_like):
        return "it is a question, and its cells say yes or no"
    if target in _MONEY and _MINOR & set((facts.leaf or facts.full_key).split()):
        return "its amounts are in cents, and prices are not"
    if target in _MONEY and numeric < 0.7 and not re.search(r"\d", " ".join(profile.examples)):
        return "its cells hold no amounts"
    if target == "weight" and numeric < 0.7 and not any(re.search(r"\d", e) for e in profile.examples):
        return "its cells are no numbers"
    counted = sum(bool(re.search(r"\d", example)) for example in profile.examples)
    contents = sum(bool(_CONTENT.search(example)) for example in profile.examples)
    if target == "stock_quantity" and 2 * contents >= len(profile.examples) > 0:
        return "its cells say how much is in a package"
    if target == "stock_quantity" and numeric < 0.3 and 2 * counted < len(profile.examples):
        return "its cells are no numbers"
    if (
        target == "dimensions"
        and candidate.component
        and numeric < 0.5
        and not re.search(r"\d", "".join(profile.examples))
    ):
        return "its cells are no numbers"
    if target == "sku":
        if profile.url_share > 0.2 or profile.boolean_like:
            return "its cells are no codes"
        # Some shops write readable SKUs with spaces; only a name that says "SKU" is believed then.
        if weak and (profile.max_length > 64 or profile.text_share > 0.5):
            return "its cells are texts"
        # An id is on every record; a code that some lack can still be the only one there is.
        full = profile.distinct_share >= 0.98 and (profile.null_share <= 0.02 or "id" not in facts.key.split())
        if weak and (profile.filled < 2 or not full or profile.listed):
            return "its cells do not tell products apart"
    if target == "name" and (profile.url_share > 0.2 or (profile.number_share > 0.9 and profile.filled > 3)):
        return "its cells are no names"
    if target == "name" and weak and profile.filled > 5 and (profile.distinct_share < 0.5 or profile.text_share < 0.3):
        return "its cells repeat"
    if target == "gtin" and profile.filled > 3 and (profile.boolean_like or profile.text_share > 0.3):
        return "its cells are no barcodes"
    if target == "gtin" and weak and profile.gtin_share < 0.5:
        return "its cells are no barcodes"
    if target == "category" and values and 2 * len(values & _PRODUCT_KINDS) >= len(values):
        return "its cells say how a product is built, not where it belongs"
    if target in ("brand", "manufacturer", "category", "color", "name", "material") and profile.boolean_like:
        return "its cells say yes or no"
    if target in ("brand", "manufacturer", "material") and profile.number_share > 0.9 and profile.filled > 3:
        return "its cells are numbers"
    if (
        target == "category"
        and weak
        and (profile.number_share > 0.9 or (profile.distinct_share > 0.9 and profile.filled > 9))
    ):
        return "its cells are no categories"
    if target == "status" and not profile.boolean_like and not profile.binary and profile.distinct > 12:
        return "its cells are too many different texts"
    if target == "status" and weak and not profile.boolean_like and not profile.binary:
        return "its cells do not say yes or no"
    if target == "url" and profile.url_share < 0.5 and not any("/" in example for example in profile.examples):
        return "its cells are no addresses"
    if target == "image_url" and profile.number_share > 0.9:
        return "its cells are numbers"
    if (
        target == "currency"
        and profile.filled > 3
        and (profile.number_share > 0.9 or (profile.mean_length > 12 and not profile.listed))
    ):
        return "its cells name no currency"
    if target == "currency" and any(_MADE_UP.search(example) for example in profile.examples):
        return "its cells are ids of currencies"
    return None


def _unproved(candidate: Candidate, profile: ColumnProfile) -> str | None:
    """Why the cells do not prove what a doubtful name suggests."""
    target = candidate.target
    if target in _MONEY and profile.number_share < 0.9:
        return "not all of its cells are amounts"
    if target in ("weight", "stock_quantity") and profile.number_share < 0.9 and not profile.unit:
        return "not all of its cells are numbers"
    if target == "image_url" and not all(_IMAGE.search(e) for e in profile.examples):
        return "its cells are no images"
    if target == "url" and (profile.url_share < 0.9 or all(_IMAGE.search(e) for e in profile.examples)):
        return "its cells are no addresses"
    if target == "description" and profile.mean_length < 25:
        return "its cells are short"
    if target == "name" and (profile.mean_length > 120 or profile.text_share < 0.3 or profile.distinct_share < 0.6):
        return "its cells do not look like names"
    return None


__all__ = [
    "CELLS", "EXACT", "PARTIAL", "SLIP", "STRIPPED", "SURE", "THRESHOLD", "WEAK", "Candidate", "by_name",
    "candidates", "fitted", "is_bookkeeping", "is_flag", "known",
]  # fmt: skip
