"""What the cells of a column prove, and whether they bear a meaning out that its header suggests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from pim_platform.intake.mapping.candidate import CELLS, KNOWN, Candidate
from pim_platform.intake.mapping.models import MONEY_TARGETS, NUMERIC_TARGETS
from pim_platform.intake.mapping.names import HeaderFacts, words_of
from pim_platform.intake.profile import ColumnProfile

#: Kinds that shop systems write into a column called "type": they are no category.
_PRODUCT_KINDS = words_of(
    "simple variable variation configurable grouped bundle virtual downloadable external subscription product variant "
    "parent child single standard service consu physical digital storable consumable sku rule p d s goods"
)
_CONTENT = re.compile(r"\d\s*(mg|g|gr|kg|ml|cl|dl|l|oz|lbs?|mm|cm|m)\b", re.IGNORECASE)
_IMAGE = re.compile(r"\.(jpe?g|png|gif|webp|avif|svg|tiff?|bmp)(?:$|[?#])", re.IGNORECASE)
#: Words that say that an amount counts the hundredth part of a currency (or less).
_MINOR = frozenset({"cent", "cents", "centimes", "minor", "pence", "kopecks"})
#: UUIDs and hashes, which programs make up.
_MADE_UP = re.compile(r"(?i)\b[0-9a-f]{16,}\b|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")


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
    weak = candidate.score < KNOWN
    problem = _disagreement(candidate, facts, profile, weak=weak) or (_unproved(candidate, profile) if weak else None)
    if problem is None:
        shown = f", and its cells fit ({profile.examples[0][:30]!r})" if profile.examples else ""
        return replace(candidate, reason=candidate.reason + shown)
    return replace(candidate, score=0.0 if weak else 0.4, reason=f"{candidate.reason}, but {problem}")


def _disagreement(candidate: Candidate, facts: HeaderFacts, profile: ColumnProfile, *, weak: bool) -> str | None:
    """Why the cells contradict a meaning; ``weak``: its name is not known, so they have to say more for it."""
    target = candidate.target
    answers = profile.binary or profile.boolean_like
    if facts.question and answers and target in (MONEY_TARGETS | NUMERIC_TARGETS):
        return "it is a question, and its cells say yes or no"
    check = _CHECKS.get(target)
    return check(_Column(candidate, facts, profile, weak)) if check else None


@dataclass(frozen=True)
class _Column:
    """A meaning and the column whose cells are held against it."""

    candidate: Candidate
    facts: HeaderFacts
    profile: ColumnProfile
    weak: bool

    @property
    def numeric(self) -> float:
        """Share of cells that are numbers, with or without a unit."""
        return max(self.profile.number_share, 1.0 if self.profile.unit else 0.0)

    @property
    def digits(self) -> int:
        """Examples that hold a digit."""
        return sum(bool(re.search(r"\d", example)) for example in self.profile.examples)


def _money(column: _Column) -> str | None:
    if _MINOR & set((column.facts.leaf or column.facts.full_key).split()):
        return "its amounts are in cents, and prices are not"
    return "its cells hold no amounts" if column.numeric < 0.7 and not column.digits else None


def _weight(column: _Column) -> str | None:
    return "its cells are no numbers" if column.numeric < 0.7 and not column.digits else None


def _stock(column: _Column) -> str | None:
    examples = column.profile.examples
    contents = sum(bool(_CONTENT.search(example)) for example in examples)
    if 2 * contents >= len(examples) > 0:
        return "its cells say how much is in a package"
    return "its cells are no numbers" if column.numeric < 0.3 and 2 * column.digits < len(examples) else None


def _dimensions(column: _Column) -> str | None:
    wordy = column.numeric < 0.5 and not column.digits
    return "its cells are no numbers" if column.candidate.component and wordy else None


def _sku(column: _Column) -> str | None:
    profile = column.profile
    if profile.url_share > 0.2 or profile.boolean_like:
        return "its cells are no codes"
    # Some shops write readable SKUs with spaces; only a name that says "SKU" is believed then.
    if column.weak and (profile.max_length > 64 or profile.text_share > 0.5):
        return "its cells are texts"
    # An id is on every record; a code that some lack can still be the only one there is.
    lacking = profile.null_share > 0.02 and "id" in column.facts.key.split()
    full = profile.distinct_share >= 0.98 and not lacking
    if column.weak and (profile.filled < 2 or not full or profile.listed):
        return "its cells do not tell products apart"
    return None


def _name(column: _Column) -> str | None:
    profile = column.profile
    if profile.url_share > 0.2 or (profile.number_share > 0.9 and profile.filled > 3):
        return "its cells are no names"
    if column.weak and profile.filled > 5 and (profile.distinct_share < 0.5 or profile.text_share < 0.3):
        return "its cells repeat"
    return _color(column)


def _gtin(column: _Column) -> str | None:
    profile = column.profile
    strange = profile.filled > 3 and (profile.boolean_like or profile.text_share > 0.3)
    return "its cells are no barcodes" if strange or (column.weak and profile.gtin_share < 0.5) else None


def _category(column: _Column) -> str | None:
    profile = column.profile
    values = {word for example in profile.examples for word in re.split(r"[,|;\s]+", example.lower()) if word}
    if values and 2 * len(values & _PRODUCT_KINDS) >= len(values):
        return "its cells say how a product is built, not where it belongs"
    if profile.boolean_like:
        return "its cells say yes or no"
    unique = profile.distinct_share > 0.9 and profile.filled > 9
    return "its cells are no categories" if column.weak and (profile.number_share > 0.9 or unique) else None


def _color(column: _Column) -> str | None:
    return "its cells say yes or no" if column.profile.boolean_like else None


def _maker(column: _Column) -> str | None:
    if column.profile.boolean_like:
        return "its cells say yes or no"
    return "its cells are numbers" if column.profile.number_share > 0.9 and column.profile.filled > 3 else None


def _status(column: _Column) -> str | None:
    profile = column.profile
    if profile.boolean_like or profile.binary:
        return None
    if profile.distinct > 12:
        return "its cells are too many different texts"
    return "its cells do not say yes or no" if column.weak else None


def _url(column: _Column) -> str | None:
    without_path = not any("/" in example for example in column.profile.examples)
    return "its cells are no addresses" if column.profile.url_share < 0.5 and without_path else None


def _image(column: _Column) -> str | None:
    return "its cells are numbers" if column.profile.number_share > 0.9 else None


def _currency(column: _Column) -> str | None:
    profile = column.profile
    if profile.filled > 3 and (profile.number_share > 0.9 or (profile.mean_length > 12 and not profile.listed)):
        return "its cells name no currency"
    made_up = any(_MADE_UP.search(example) for example in profile.examples)
    return "its cells are ids of currencies" if made_up else None


#: What contradicts a meaning, by target.
_CHECKS: dict[str, Callable[[_Column], str | None]] = {
    **dict.fromkeys(MONEY_TARGETS, _money),
    "weight": _weight,
    "stock_quantity": _stock,
    "dimensions": _dimensions,
    "sku": _sku,
    "name": _name,
    "gtin": _gtin,
    "category": _category,
    "color": _color,
    "brand": _maker,
    "manufacturer": _maker,
    "material": _maker,
    "status": _status,
    "url": _url,
    "image_url": _image,
    "currency": _currency,
}


def _unproved(candidate: Candidate, profile: ColumnProfile) -> str | None:
    """Why the cells do not prove what a doubtful name suggests."""
    target = candidate.target
    if target in MONEY_TARGETS and profile.number_share < 0.9:
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
