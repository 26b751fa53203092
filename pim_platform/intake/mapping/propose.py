"""Propose what every column of a file means: tiers, one-to-one assignment, abstaining over guessing.

Tiers: fields the tenant's schema has, dictionaries (exact, then without a prefix), names that are
weak on their own but backed by the cells, names that resemble known ones. What is left becomes an
attribute with a name made from its header, or is ignored where the column is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pim_platform.catalog.schema import FieldType, ProductSchema
from pim_platform.intake import vocabulary as words
from pim_platform.intake.mapping.by_cells import fitted
from pim_platform.intake.mapping.candidate import CELLS, EXACT, PARTIAL, STRIPPED, SURE, THRESHOLD, Candidate
from pim_platform.intake.mapping.candidates import candidates
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import (
    CANONICAL_TARGETS,
    MONEY_TARGETS,
    MULTI_VALUED_TYPES,
    NUMERIC_TARGETS,
    PRODUCT_COLUMN_TYPES,
    ColumnMapping,
    Tier,
)
from pim_platform.intake.mapping.names import HeaderFacts, read_header, snake_case, words_of
from pim_platform.intake.mapping.paths import is_pair
from pim_platform.intake.profile import ColumnProfile

_FLAG_WORDS = re.compile(
    r"^(is|has|can|allow|allows|enable|show|requires|needs|use|ist|hat|zeige|est|es|ha|mostra|mostrar|afficher|czy|je|"
    r"har|vis|visa|on|pode|peut|está|sind|sont|son) |"
    r"( \d+)? (sichtbar|visibile|visível|zichtbaar|widoczny|visible|global|"
    r"allowed|enabled|only|active|required|tracked|aktiv|exempt|flag)$|"
    r"^(vegan|vegetarian|organic|discontinued|exclusive|hazardous|fragile|waterproof|prop 65)$"
)


def is_flag(facts: HeaderFacts) -> bool:
    """Whether the header asks a yes/no question, so that 1 and 0 are answers and no numbers."""
    return facts.question or bool(_FLAG_WORDS.search(facts.leaf or facts.key))


_BOOKKEEPING = re.compile(r"^meta: ?_", re.IGNORECASE)


def is_bookkeeping(header: str) -> bool:
    """Whether the header names an export's private data (WordPress meta keys with a leading underscore)."""
    return bool(_BOOKKEEPING.match(header.strip()))


#: Targets that any number of columns may have; each column gets a field of its own.
MANY = frozenset({"image_url", "category", "tags", "dimensions", "option_name", "option_value", "ignore"})
_CODES = words_of(
    "id ids code codes no nr number nummer ref reference zip postcode phone sku key hash uid guid gln isrc kod kód "
    "código codigo codice cod référence referencia numéro número numero číslo numer nro артикул код номер コード "
    "番号 编码 编号 코드 번호"
)
#: Of these, those that stand first in Romance and Slavic languages and count nothing ("number of pages").
_CODES_FIRST = words_of("code cod kod kód código codigo codice référence referencia ref id код артикул")
_CODED_END = re.compile(r"(nummer|nr|code|numero|číslo|numer)$")
#: Types whose fields hold one value; texts are joined.
_ONE_VALUE = frozenset({"number", "price", "boolean", "url"})
_YES_OR_NO = frozenset(words.TRUE_WORDS + words.FALSE_WORDS)
_DATE = re.compile(r"(^| )(date|datum|dato|fecha|data|datetime|day|päivämäärä|dátum|tarih|tarihi|дата)( |$)|日|날짜")
#: Categories in the plural.
_PLURAL = re.compile(
    r"categories|catégories|kategorien|categorías|categorias|categorieën|kategorier|kategoriat|kategóriák|categorii|"
    r"kategoriler|категории|категорії|collections|rubriken"
)
#: Digits that a date or a time takes at least (YYYYMM).
_DATE_DIGITS = 6
#: Parts of a path that hold the variants of a product.
_VARIANTS = frozenset({"variants", "variant", "variations", "skus", "children", "edges", "offers", "models"})
_LISTS = frozenset({"tags"})
#: Targets of which a product can have several where its record holds a list.
_SEVERAL = frozenset({"color", "size", "material", "image_url"})
#: Targets whose cells hold a list where they hold a separator.
_LISTABLE = frozenset({"category", "image_url", "option_value"})


#: What a column is called beside a field of the schema whose type it does not fit.
_BESIDE = {"string": "text", "array": "list", "url": "link"}

#: Below the certainty of a proposal that needs no person: somebody should see that a field is made beside another.
_MISFIT = 0.8


def propose_mapping(
    headers: Sequence[str],
    profiles: Sequence[ColumnProfile],
    schema: ProductSchema | None = None,
    *,
    default_locale: str | None = None,
    hints: Mapping[int, Candidate] | None = None,
) -> list[ColumnMapping]:
    """One :class:`ColumnMapping` per column, in order.

    ``default_locale`` (else English, else the first) decides which of several translations of a
    field takes the field's plain name. ``hints`` are meanings from elsewhere, by column index; they
    have to fit the cells and to win the field they want like any other.
    """
    facts = [read_header(header) for header in headers]
    found = [_with_schema(candidates(f, p), f, schema) for f, p in zip(facts, profiles, strict=True)]
    pairs = _lists_of_pairs(headers)
    for index, fact in enumerate(facts):
        if pairs and is_pair(fact) and headers[index].rsplit("/", 1)[0].rsplit(".", 1)[0].removesuffix("[]") in pairs:
            found[index] = [_VALUES_APART]
    _tell_measures(facts, profiles, found)
    _tell_odoo(facts, found)
    for index, profile in enumerate(profiles):
        if _holds_several(profile):  # a list of the variants' SKUs identifies no record
            found[index] = [candidate for candidate in found[index] if candidate.target != "sku"]
    for index, hint in (hints or {}).items():
        found[index] = sorted([fitted(hint, facts[index], profiles[index]), *found[index]], key=lambda c: -c.score)
    chosen = _assign(found, facts, profiles)
    _name_from_description(chosen, facts, profiles)
    main = _main_locale([f.locale for f in facts], default_locale)
    money = {
        target: {facts[i].currency for i, c in enumerate(chosen) if c and c.target == target}
        for target in MONEY_TARGETS
    }
    used: set[str] = set()
    columns: list[ColumnMapping | None] = [None] * len(headers)
    # Columns that have a claim to a field's plain name come before those that must take another.
    order = sorted(range(len(headers)), key=lambda i: _claim(chosen[i], facts[i], main, i))
    for index in order:
        choice = chosen[index]
        several = bool(choice) and len(money.get(choice.target if choice else "", ())) > 1
        if choice is None and found[index] and found[index][0].score >= THRESHOLD:
            choice = _loser(found[index][0])
        columns[index] = _column(headers[index], facts[index], profiles[index], choice, schema, used, main, several)
    return _with_identity([column for column in columns if column is not None], profiles)


#: Raw names and values of a list whose names have columns of their own.
_VALUES_APART = Candidate("ignore", EXACT, "names and values of a list: each name has a column of its own")


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


#: Longest average of texts that name a product rather than describe it.
_NAME_LENGTH = 50


def _name_from_description(
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


def _tell_odoo(facts: Sequence[HeaderFacts], found: list[list[Candidate]]) -> None:
    """Odoo's ``standard_price`` is what a product costs; elsewhere (Amazon) it is what it sells for."""
    keys = {fact.key for fact in facts}
    if "default code" in keys or any(key.startswith(("categ id", "uom id", "product tmpl")) for key in keys):
        for index, fact in enumerate(facts):
            if fact.key == "standard price":
                found[index] = [Candidate("cost", EXACT, "Odoo's standard price is the cost")]


def _with_identity(columns: list[ColumnMapping], profiles: Sequence[ColumnProfile]) -> list[ColumnMapping]:
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


#: Meanings that may stand in for a SKU, the best first.
_STAND_INS = ("mpn", "gtin", "variant_group")


def _loser(rival: Candidate) -> Candidate:
    """What becomes of a column whose meaning another column has already: a field of its own, of that kind."""
    kind: FieldType | None = "price" if rival.target in MONEY_TARGETS else None
    reason = f"another column is {rival.target} already: a field of its own"
    return Candidate("attribute", 0.9, reason, type=kind, tier="none")


def _tier(choice: Candidate | None) -> Tier:
    """Where a meaning comes from: a known name scores at least as a name without its prefix does."""
    if choice is None:
        return "none"
    return choice.tier or ("alias" if choice.score > STRIPPED - 0.02 else "match")


def _with_schema(found: list[Candidate], facts: HeaderFacts, schema: ProductSchema | None) -> list[Candidate]:
    """Put first the field of the tenant's schema that the header names."""
    name = snake_case(facts.full_key) if schema else ""
    field = schema.field(name) if schema else None
    if field is None or (found and found[0].score >= THRESHOLD and found[0].target != "attribute"):
        return found
    return [Candidate("attribute", 0.97, f"the schema has a field {name}", name, field.type), *found]


def _assign(
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
        if candidate.target not in MANY and candidate.target != "attribute":
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


def _main_locale(locales: list[str | None], default_locale: str | None) -> str | None:
    known = [locale for locale in locales if locale]
    wanted = (default_locale or "en").replace("_", "-")
    # The locale itself, then any region of its language, then English, then the first there is.
    known.sort(key=lambda x: (x.lower() != wanted.lower(), x[:2] != wanted[:2].lower(), x[:2] != "en"))
    return known[0] if known else None


def _claim(choice: Candidate | None, facts: HeaderFacts, main: str | None, index: int) -> tuple[int, float, int]:
    group = 2 if choice is None else 1 if choice.target == "attribute" else 0
    foreign = 1 if facts.locale not in (None, main) else 0
    return group + 3 * foreign, -(choice.score if choice else 0.0), index


def _column(
    header: str, facts: HeaderFacts, profile: ColumnProfile, choice: Candidate | None, schema: ProductSchema | None,
    used: set[str], main: str | None, several: bool,
) -> ColumnMapping:  # fmt: skip
    index = profile.index
    if choice is None and (is_bookkeeping(header) or profile.filled == 0):
        why = "private data of the exporting system" if is_bookkeeping(header) else "the column is empty"
        return ColumnMapping(
            source=header, index=index, target="ignore", confidence=SURE, auto=True, reason=why,
            type="boolean" if profile.filled and profile.binary else "string",
        )  # fmt: skip
    if choice is not None and choice.target == "ignore":
        values = choice is _VALUES_APART and facts.xml and profile.type == "array" and "val" in facts.leaf
        counted = profile.number_share == 1 and not profile.leading_zeros and facts.key.endswith("number")
        return ColumnMapping(
            source=header, index=index, target="ignore", type="number" if counted else "array" if values else "string",
            confidence=choice.score, auto=choice.score >= SURE, reason=choice.reason, tier=_tier(choice),
        )  # fmt: skip
    target = choice.target if choice else "attribute"
    kind = _several_prices(several) or _type(target, choice, facts, profile)
    wanted = (choice.field if choice else None) or (target if target != "attribute" else "")
    if kind == "array" and (target in NUMERIC_TARGETS or target == "status"):
        wanted = snake_case(_own_words(facts))  # the field of that meaning holds one number
    if target == "variant_group" or (target in MANY and wanted in used):
        wanted = snake_case(facts.key, "group")
    field = _free_name(wanted, header, facts, index, used, kind, schema, main)
    taken = schema.field(field) if schema else None
    misfit = taken is not None and not holds(taken.type, kind, profile)
    if misfit:
        # Sent into that field nearly every row would be rejected; beside it nothing is lost.
        field = f"{field}_{_BESIDE.get(kind, kind)}"
    known = schema.field(field) if schema else None
    used.add(field)
    kind = PRODUCT_COLUMN_TYPES.get(field) or (known.type if known else kind)
    separator = profile.separator if kind == "array" else None
    if kind == "array" and separator is None and not any(e.startswith("[") for e in profile.examples):
        separator = ","
    score = round(choice.score, 3) if choice else 0.9
    reason = choice.reason if choice else "no known field has this name: a field of its own"
    if misfit and taken is not None:
        score = min(score, _MISFIT)
        reason = f"{reason}; but the schema's {taken.name} is of type {taken.type} and the cells do not fit it"
    if kind == "string" and target in CANONICAL_TARGETS and profile.listed and profile.type == "array":
        # Names in several languages, say: whether they may be joined is for a person to see.
        score = min(score, _MISFIT)
        reason = f"{reason}; but some cells hold several values, which would be joined"
    return ColumnMapping(
        source=header,
        index=index,
        target=target,
        field=field,
        type=kind,
        confidence=min(score, 1.0),
        auto=score >= SURE,
        reason=reason,
        tier=_tier(choice),
        locale=facts.locale,
        currency=(facts.currency or _told(profile, schema)) if kind in ("price", "multi_price") else None,
        unit=facts.unit or ("g" if "grams" in facts.key.split() else None) or profile.unit,
        separator=separator,
        decimal=profile.decimal if kind in ("number", "price", "multi_price") else None,
        component=choice.component if choice else None,
        option=choice.option if choice else None,
    )


def _told(profile: ColumnProfile, schema: ProductSchema | None) -> str | None:
    """The currency that the cells name; of a sign that several share (``$``) the tenant's own, where it is one."""
    home = schema.default_currency if schema else None
    written = {re.sub(r"[\d\s.,'’+-]", "", example).upper() for example in profile.examples} - {""}
    shared = [words.SHARED_SIGNS.get(sign, (None, frozenset[str]())) for sign in written]
    if shared and all(usual == profile.currency and home in few for usual, few in shared):
        return home
    return profile.currency


def holds(known: FieldType, kind: FieldType, profile: ColumnProfile) -> bool:
    """Whether most cells of a column fit the type that the tenant's schema gave its field before."""
    if known in (kind, "string") or profile.filled == 0:
        return True
    if known in ("number", "price", "multi_price"):
        return profile.number_share >= 0.7 or (known != "number" and kind in ("price", "multi_price"))
    if known == "boolean":
        return profile.boolean_like or profile.binary
    if known == "array":
        return kind in ("string", "url")
    return profile.url_share >= 0.9 and profile.separator is None


def _several_prices(several: bool) -> FieldType | None:
    return "multi_price" if several else None


def _own_words(facts: HeaderFacts) -> str:
    """The words a field is named by: of a path, without the parts that only hold the product."""
    if not facts.parents:
        return facts.key
    holders = dictionary().words["containers"] | dictionary().words["fillers"]
    kept = [
        "variant" if part in _VARIANTS else part for part in facts.parents if part in _VARIANTS or part not in holders
    ]
    return " ".join([*kept, facts.leaf])


def _free_name(
    wanted: str, header: str, facts: HeaderFacts, index: int, used: set[str], kind: FieldType,
    schema: ProductSchema | None, main: str | None,
) -> str:  # fmt: skip
    own = snake_case(_own_words(facts), f"column_{index + 1}")
    name = wanted or own
    if facts.locale and facts.locale != main:
        name = f"{name}_{facts.locale.replace('-', '_').lower()}"
    known = schema.field(name) if schema else None
    if name not in used or ((known.type if known else kind) in MULTI_VALUED_TYPES and kind == "multi_price"):
        return name
    for other in (snake_case(header, own), own):
        if other not in used:
            return other
    number = next(n for n in range(2, 10_000) if f"{name}_{n}" not in used)
    return f"{name}_{number}"


def _holds_several(profile: ColumnProfile) -> bool:
    """Whether cells of the column are lists of different values, as those of variants without rows of their own."""
    return profile.listed and profile.type == "array"


def _type(target: str, choice: Candidate | None, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    """The type a column's values have; one that holds a single value would reject every list of several."""
    kind = _type_of_one(target, choice, facts, profile)
    if _holds_several(profile) and kind in _ONE_VALUE:
        return "multi_price" if target in MONEY_TARGETS else "array"
    return kind


def _type_of_one(target: str, choice: Candidate | None, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    """The type by the column's meaning first, corrected by its cells."""
    empty = profile.filled == 0
    if target in MONEY_TARGETS:
        return _price_type(facts, profile)
    if target in NUMERIC_TARGETS:
        numeric = empty or profile.number_share >= 0.7 or profile.unit
        return "number" if numeric else "string"
    if target in _LISTS:
        return "array"
    if target == "status":
        return (
            "boolean" if profile.boolean_like or profile.binary or (choice and choice.field == "active") else "string"
        )
    if profile.type == "array" and profile.listed and target in _LISTABLE | _SEVERAL:
        return "string" if target not in _LISTS and _per_variant(facts) else "array"
    if target in _LISTABLE:
        if target == "image_url" and profile.separator and not _links_apart(profile):
            return "url" if profile.url_share >= 0.9 else "string"
        if profile.separator in (",", ";", "\n", " ") or (
            profile.separator == "|" and not _is_one_category(target, facts)
        ):
            return "array"
        if target == "image_url":
            return "url" if empty or profile.url_share >= 0.9 else "string"
        return "string"
    if target == "url":
        return "url" if empty or profile.url_share >= 0.9 else "string"
    if target != "attribute":
        return "string"
    return _attribute_type(choice.type if choice else None, facts, profile)


def _links_apart(profile: ColumnProfile) -> bool:
    """Whether the separator stands between links (or file names), and not within them."""
    if profile.url_share < 0.5 or profile.max_length > max(map(len, profile.examples), default=0):
        return True  # no links, or examples that are cut off
    parts = [[part.strip() for part in example.split(profile.separator)] for example in profile.examples]
    return any(sum(part.lower().startswith("http") for part in several) > 1 for several in parts)


def _per_variant(facts: HeaderFacts) -> bool:
    """Whether the innermost list of a path is that of the variants: then an entry is a variant's value."""
    lists = [key for key, listed in zip((*facts.parents, facts.leaf), facts.lists, strict=False) if listed]
    return bool(lists) and lists[-1] in _VARIANTS


def _is_one_category(target: str, facts: HeaderFacts) -> bool:
    """Whether a name in the singular announces one category, whose levels a bar separates (Heureka)."""
    return target == "category" and not _PLURAL.search(facts.leaf or facts.key)


def _price_type(facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    """Several prices in one cell, each with its currency or tier, make a list; one price per variant does not."""
    if profile.filled == 0:
        return "price"
    if profile.listed:
        return "price" if profile.type != "array" or _per_variant(facts) else "multi_price"
    # "299 kr" is one price of a currency that somebody has to say: several countries have crowns.
    return "multi_price" if profile.number_share < 0.5 and not profile.unit else "price"


def _attribute_type(hint: FieldType | None, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    if profile.filled == 0:
        return hint or profile.type
    if profile.type == "array" and profile.listed:
        # One value per variant is a value of the variant.
        if not any(listed and key in _VARIANTS for key, listed in zip(facts.parents, facts.lists, strict=False)):
            return "string" if hint == "string" and _DATE.search(facts.key) else "array"
        if profile.boolean_like:
            return "boolean"
        if _is_coded(facts):
            return "string"
        return "number" if profile.number_share >= 0.98 and not profile.leading_zeros else "string"
    kind = profile.type
    dated = bool(_DATE.search(facts.key)) and profile.mean_length >= _DATE_DIGITS
    if kind == "number" and (_is_coded(facts) or dated):
        # Numbers of things are no quantities: nobody adds them up, and leading zeros matter.
        kind = "string"
    if hint is None:
        # Nothing but yes and no, or both 0 and 1: counts have other numbers too.
        return "boolean" if profile.binary and (is_flag(facts) or profile.distinct == 2) else kind
    if hint in ("string", "array"):
        return hint
    if hint == "boolean":
        said = {example.lower() for example in profile.examples}
        return "boolean" if profile.boolean_like or profile.binary or said <= _YES_OR_NO else kind
    if hint in ("number", "price"):
        return hint if profile.number_share >= 0.9 else kind
    return hint if profile.url_share >= 0.9 else "string"


def _is_coded(facts: HeaderFacts) -> bool:
    tokens = (facts.leaf or facts.key).split()
    return bool(tokens) and (tokens[-1] in _CODES or bool(_CODED_END.search(tokens[-1])) or tokens[0] in _CODES_FIRST)
