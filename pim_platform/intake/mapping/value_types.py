"""The type of a column's values: by its meaning first, corrected by its cells."""

from __future__ import annotations

import re

from pim_platform.catalog.schema import FieldType
from pim_platform.intake import vocabulary as words
from pim_platform.intake.mapping.candidate import Candidate
from pim_platform.intake.mapping.models import MONEY_TARGETS, NUMERIC_TARGETS
from pim_platform.intake.mapping.names import VARIANTS, HeaderFacts, words_of
from pim_platform.intake.profile import ColumnProfile

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
_LISTS = frozenset({"tags"})
#: Targets of which a product can have several where its record holds a list.
_SEVERAL = frozenset({"color", "size", "material", "image_url"})
#: Targets whose cells hold a list where they hold a separator.
_LISTABLE = frozenset({"category", "image_url", "option_value"})
_FLAG_WORDS = re.compile(
    r"^(is|has|can|allow|allows|enable|show|requires|needs|use|ist|hat|zeige|est|es|ha|mostra|mostrar|afficher|czy|je|"
    r"har|vis|visa|on|pode|peut|está|sind|sont|son) |"
    r"( \d+)? (sichtbar|visibile|visível|zichtbaar|widoczny|visible|global|"
    r"allowed|enabled|only|active|required|tracked|aktiv|exempt|flag)$|"
    r"^(vegan|vegetarian|organic|discontinued|exclusive|hazardous|fragile|waterproof|prop 65)$"
)


def value_type(target: str, choice: Candidate | None, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    """The type a column's values have; one that holds a single value would reject every list of several."""
    kind = _type_of_one(target, choice, facts, profile)
    if holds_several(profile) and kind in _ONE_VALUE:
        return "multi_price" if target in MONEY_TARGETS else "array"
    return kind


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


def holds_several(profile: ColumnProfile) -> bool:
    """Whether cells of the column are lists of different values, as those of variants without rows of their own."""
    return profile.listed and profile.type == "array"


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
        return _listable_type(target, facts, profile)
    if target == "url":
        return "url" if empty or profile.url_share >= 0.9 else "string"
    if target != "attribute":
        return "string"
    return _attribute_type(choice.type if choice else None, facts, profile)


def _listable_type(target: str, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    one: FieldType = "url" if target == "image_url" and profile.url_share >= 0.9 else "string"
    if target == "image_url" and profile.separator and not _links_apart(profile):
        return one
    if profile.separator in (",", ";", "\n", " ") or (profile.separator == "|" and not _is_one_category(target, facts)):
        return "array"
    return "url" if target == "image_url" and profile.filled == 0 else one


def _links_apart(profile: ColumnProfile) -> bool:
    """Whether the separator stands between links (or file names), and not within them."""
    if profile.url_share < 0.5 or profile.max_length > max(map(len, profile.examples), default=0):
        return True  # no links, or examples that are cut off
    parts = [[part.strip() for part in example.split(profile.separator)] for example in profile.examples]
    return any(sum(part.lower().startswith("http") for part in several) > 1 for several in parts)


def _per_variant(facts: HeaderFacts) -> bool:
    """Whether the innermost list of a path is that of the variants: then an entry is a variant's value."""
    lists = [key for key, listed in zip((*facts.parents, facts.leaf), facts.lists, strict=False) if listed]
    return bool(lists) and lists[-1] in VARIANTS


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
    if holds_several(profile):
        return _listed_type(hint, facts, profile)
    kind = profile.type
    dated = bool(_DATE.search(facts.key)) and profile.mean_length >= _DATE_DIGITS
    if kind == "number" and (_is_coded(facts) or dated):
        # Numbers of things are no quantities: nobody adds them up, and leading zeros matter.
        kind = "string"
    if hint is None:
        # Nothing but yes and no, or both 0 and 1: counts have other numbers too.
        return "boolean" if profile.binary and (_is_flag(facts) or profile.distinct == 2) else kind
    if hint in ("string", "array"):
        return hint
    if hint == "boolean":
        said = {example.lower() for example in profile.examples}
        return "boolean" if profile.boolean_like or profile.binary or said <= _YES_OR_NO else kind
    if hint in ("number", "price"):
        return hint if profile.number_share >= 0.9 else kind
    return hint if profile.url_share >= 0.9 else "string"


def _listed_type(hint: FieldType | None, facts: HeaderFacts, profile: ColumnProfile) -> FieldType:
    # One value per variant is a value of the variant.
    if not any(listed and key in VARIANTS for key, listed in zip(facts.parents, facts.lists, strict=False)):
        return "string" if hint == "string" and _DATE.search(facts.key) else "array"
    if profile.boolean_like:
        return "boolean"
    if _is_coded(facts):
        return "string"
    return "number" if profile.number_share >= 0.98 and not profile.leading_zeros else "string"


def _is_coded(facts: HeaderFacts) -> bool:
    tokens = (facts.leaf or facts.key).split()
    return bool(tokens) and (tokens[-1] in _CODES or bool(_CODED_END.search(tokens[-1])) or tokens[0] in _CODES_FIRST)


def _is_flag(facts: HeaderFacts) -> bool:
    """Whether the header asks a yes/no question, so that 1 and 0 are answers and no numbers."""
    return facts.question or bool(_FLAG_WORDS.search(facts.leaf or facts.key))
