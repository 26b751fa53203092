"""What a single column could be, judged by its header and by how its cells look."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import Tier
from pim_platform.intake.mapping.names import HeaderFacts
from pim_platform.intake.profile import ColumnProfile

#: Confidence of the ways a header can match; measured precision is to replace these estimates.
EXACT, STRIPPED, FUZZY, WEAK = 0.98, 0.94, 0.8, 0.78
#: Below this a column is an attribute of the tenant's own.
THRESHOLD = 0.7
#: From this a proposal needs no second look.
SURE = 0.9

_PREFIXES = re.compile(
    r"^(google shopping|google|amazon|shopify|variant|product|item|article|base|main|primary|default|g|attribute|"
    r"produkt|artikel|produit|producto) (?=.)"
)
_OPTION = re.compile(r"^(?:option|attribute|variation|property|variant option) ?(\d+) (name|title|value|values)$")
_BOOKKEEPING = re.compile(r"^meta: ?_", re.IGNORECASE)
#: Kinds that shop systems write into a column called "type": they are no category.
_PRODUCT_KINDS = frozenset(
    [
        "simple",
        "variable",
        "variation",
        "configurable",
        "grouped",
        "bundle",
        "virtual",
        "downloadable",
        "external",
        "subscription",
        "product",
        "variant",
        "parent",
        "child",
        "single",
        "standard",
        "service",
        "consu",
    ]
)
#: Targets that exports spread over numbered columns, such as image 1, image 2.
_NUMBERED = frozenset({"image_url", "category", "tags"})
_NUMERIC = frozenset({"weight", "stock_quantity", "dimensions"})
_MONEY = frozenset({"price", "compare_at_price", "cost"})
_FLAG_WORDS = re.compile(r"^(is|has|can|allow|allows|enable|show|requires|ist|hat) | (visible|global|allowed|enabled)$")


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


def is_bookkeeping(header: str) -> bool:
    """Whether the header names an export's private data (WordPress meta keys with a leading underscore)."""
    return bool(_BOOKKEEPING.match(header.strip()))


def is_flag(facts: HeaderFacts) -> bool:
    """Whether the header asks a yes/no question, so that 1 and 0 are answers and no numbers."""
    return facts.question or bool(_FLAG_WORDS.search(facts.key))


def candidates(facts: HeaderFacts, profile: ColumnProfile) -> list[Candidate]:
    """All meanings above zero, the best first."""
    found = [one for c in _by_name(facts) if (one := fitted(c, facts, profile)).score > 0]
    return sorted(found, key=lambda c: -c.score)


def _by_name(facts: HeaderFacts) -> list[Candidate]:
    names = dictionary()
    option = _OPTION.match(facts.key)
    if option:
        number = int(option[1])
        what = "option_value" if option[2].startswith("value") else "option_name"
        return [Candidate(what, EXACT, f"option {number} of a variant", f"option{number}_{what[7:]}", option=number)]
    found: list[Candidate] = []
    tried: list[tuple[str, float]] = [(facts.full_key, EXACT), (facts.key, EXACT)]
    stripped = facts.key
    while (shorter := _PREFIXES.sub("", stripped)) != stripped:
        stripped = shorter
        tried.append((stripped, STRIPPED))
    for key, score in tried:
        if key in names.active and score == EXACT:
            found.append(Candidate("status", EXACT, f"'{key}' switches a product on or off", "active", "boolean"))
        elif key in names.targets:
            target, position = names.targets[key]
            found.append(Candidate(target, score - position / 10_000, f"'{key}' is a known name of {target}"))
        elif key in names.attributes:
            field, kind = names.attributes[key]
            found.append(Candidate("attribute", score, f"'{key}' is a common product attribute", field, kind))
        elif key in names.components:
            part = names.components[key]
            found.append(Candidate("dimensions", score, f"'{key}' is a dimension", part, component=part))
        if found:
            break
    numbered = re.sub(r" ?\d+$", "", facts.key)
    if not found and numbered != facts.key and names.targets.get(numbered, ("", 0))[0] in _NUMBERED:
        target = names.targets[numbered][0]
        found.append(Candidate(target, STRIPPED, f"'{numbered}' with a number is one more {target}"))
    if facts.key in names.weak and not found:
        found.append(Candidate(names.weak[facts.key], WEAK, f"'{facts.key}' can mean {names.weak[facts.key]}"))
    return found or _similar(facts.key)


def _similar(key: str) -> list[Candidate]:
    """Names that share their last word or most of their letters with a known one."""
    if len(key) < 4:
        return []
    best: dict[str, tuple[float, str]] = {}
    tokens = key.split()
    for name, (target, _) in dictionary().targets.items():
        known = name.split()
        score = 0.0
        if len(tokens) > len(known) and tokens[-len(known) :] == known and (len(known) > 1 or len(name) > 4):
            score = FUZZY * len(known) / len(tokens) + 0.12
        elif len(tokens) == 1 and len(known) == 1 and len(name) >= 6 and key.endswith(name):
            score = FUZZY  # German compounds put the meaning last
        elif abs(len(name) - len(key)) <= 2 and min(len(name), len(key)) >= 6:
            ratio = difflib.SequenceMatcher(None, name, key).ratio()
            score = ratio * 0.9 if ratio >= 0.9 else 0.0
        if score > best.get(target, (0.0, ""))[0]:
            best[target] = score, name
    return [Candidate(t, s, f"'{key}' resembles '{name}', a name of {t}") for t, (s, name) in best.items() if s > 0.5]


def fitted(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile) -> Candidate:
    """The candidate with its score lowered, or turned into an attribute, where the cells disagree."""
    if profile.filled == 0 or candidate.target == "attribute":
        return candidate
    weak = candidate.score <= FUZZY
    problem = _disagreement(candidate, facts, profile, weak=weak)
    if problem is None:
        shown = f", and its cells fit ({profile.examples[0][:30]!r})" if profile.examples else ""
        return replace(candidate, reason=candidate.reason + shown)
    return replace(candidate, score=0.0 if weak else 0.4, reason=f"{candidate.reason}, but {problem}")


def _disagreement(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile, *, weak: bool) -> str | None:
    target = candidate.target
    numeric = max(profile.number_share, 1.0 if profile.unit else 0.0)
    values = {word for example in profile.examples for word in re.split(r"[,|;\s]+", example.lower()) if word}
    if target in _MONEY and numeric < 0.7 and not re.search(r"\d", " ".join(profile.examples)):
        return "its cells hold no amounts"
    if target in _NUMERIC and not candidate.component and target != "dimensions" and numeric < 0.7:
        return "its cells are no numbers"
    if target == "sku":
        if profile.url_share > 0.2 or profile.boolean_like:
            return "its cells are no codes"
        # Some shops write readable SKUs with spaces; only a name that says "SKU" is believed then.
        if weak and (profile.max_length > 64 or profile.text_share > 0.5):
            return "its cells are texts"
        if weak and (profile.filled < 5 or profile.distinct_share < 0.98 or profile.null_share > 0.02):
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
    if target == "category" and weak and profile.number_share > 0.9:
        return "its cells are numbers"
    if target == "status" and not profile.boolean_like and not profile.binary and profile.distinct > 12:
        return "its cells are too many different texts"
    if target == "url" and profile.url_share < 0.5 and not any("/" in example for example in profile.examples):
        return "its cells are no addresses"
    return None
