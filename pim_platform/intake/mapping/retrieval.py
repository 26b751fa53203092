"""Which fields a column could mean at all: the few that are worth asking about, by name and by cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

from pim_platform.catalog.schema import FieldType, ProductSchema
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import CANONICAL_TARGETS, MONEY_TARGETS, NUMERIC_TARGETS
from pim_platform.intake.mapping.names import key_of
from pim_platform.intake.profile import ColumnProfile

#: Fields asked about per column.
TOP = 8

_LINKS = frozenset({"image_url", "url"})
_TEXTS = frozenset({"name", "description", "seo_title", "seo_description"})
_CODES = frozenset({"sku", "mpn", "variant_group"})
_WORDS = frozenset({"brand", "manufacturer", "category", "color", "size", "material", "tags", "option_value"})


def likely_fields(header: str, profile: ColumnProfile, schema: ProductSchema | None, top: int = TOP) -> list[str]:
    """The ``top`` canonical targets and fields of the tenant's schema that fit best, the best first."""
    own = {field.name: field.type for field in schema.fields} if schema else {}
    scores = {target: _by_cells(target, profile) for target in CANONICAL_TARGETS}
    scores |= {name: _by_type(kind, profile) for name, kind in own.items() if name not in scores}
    pieces = _pieces(key_of(header))
    near = _index().nearest(pieces)
    for field in scores:
        alike = near.get(field, 0.0)
        if field in own:
            alike = max(alike, _alike(pieces, _pieces(key_of(field))))
        scores[field] += 2 * alike
    return sorted(scores, key=lambda field: (-scores[field], field))[:top]


@dataclass(frozen=True)
class _Index:
    """Names of targets by their pieces: thousands of names in a dozen languages, asked in milliseconds."""

    targets: list[str]
    sizes: list[int]
    holders: dict[str, list[int]]

    def nearest(self, pieces: frozenset[str]) -> dict[str, float]:
        """Target -> how near the nearest of its names is, from 0 to 1 (Dice's coefficient of the pieces)."""
        shared = Counter(number for piece in pieces for number in self.holders.get(piece, ()))
        best: dict[str, float] = {}
        for number, count in shared.items():
            alike = 2 * count / (len(pieces) + self.sizes[number])
            if alike > best.get(self.targets[number], 0.0):
                best[self.targets[number]] = alike
        return best


@cache
def _index() -> _Index:
    found = _Index([], [], {})
    for number, (name, (target, _)) in enumerate(dictionary().targets.items()):
        pieces = _pieces(name)
        found.targets.append(target)
        found.sizes.append(len(pieces))
        for piece in pieces:
            found.holders.setdefault(piece, []).append(number)
    return found


def _pieces(key: str) -> frozenset[str]:
    """Runs of three letters of each word, its ends marked: words that share a stem share most of them."""
    return frozenset(f" {word} "[start : start + 3] for word in key.split() for start in range(max(len(word), 1)))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / max(len(one) + len(other), 1)


def _by_cells(target: str, profile: ColumnProfile) -> float:
    """How well the cells suit a canonical target, from 0 to 1; empty columns suit all alike."""
    if profile.filled == 0:
        return 0.3
    numeric = profile.number_share
    texts = 1 - max(numeric, profile.url_share)
    if target in _LINKS:
        return profile.url_share
    if target == "gtin":
        return profile.gtin_share
    if target in MONEY_TARGETS:
        return numeric * (1.0 if profile.currency or profile.decimal else 0.7)
    if target in NUMERIC_TARGETS:
        return max(numeric * 0.8, 0.9 if profile.unit else 0.0)
    if target in _TEXTS:
        long = min(profile.mean_length / (120 if "description" in target else 30), 1.0)
        return texts * profile.distinct_share * (0.3 + 0.7 * long)
    if target in _CODES:
        return profile.distinct_share * (1 - profile.text_share) * (1 - profile.url_share) * 0.8
    if target in _WORDS:
        return texts * (1 - 0.7 * profile.distinct_share) * (1.0 if profile.mean_length <= 30 else 0.4)
    if target == "status":
        return 0.8 if profile.boolean_like or profile.distinct <= 5 else 0.1
    if target in ("currency", "weight_unit"):
        return 0.8 if profile.distinct <= 5 and profile.max_length <= 10 and texts > 0.5 else 0.0
    return 0.2


def _by_type(kind: FieldType, profile: ColumnProfile) -> float:
    """How well the cells suit a field of the tenant's own."""
    if profile.filled == 0 or kind == "string":
        return 0.3
    if kind in ("number", "price", "multi_price"):
        return profile.number_share
    if kind == "boolean":
        return 1.0 if profile.boolean_like or profile.binary else 0.0
    return profile.url_share if kind == "url" else 0.3
