"""Which fields a column could mean at all: the few that are worth asking about, by name and by cells."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache

from pim_platform.catalog.schema import FieldType, ProductSchema
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import CANONICAL_TARGETS
from pim_platform.intake.mapping.names import key_of
from pim_platform.intake.profile import ColumnProfile

#: Fields asked about per column.
TOP = 8

_MONEY = frozenset({"price", "compare_at_price", "cost"})
_NUMBERS = frozenset({"weight", "dimensions", "stock_quantity"})
_LINKS = frozenset({"image_url", "url"})
_TEXTS = frozenset({"name", "description", "seo_title", "seo_description"})
_CODES = frozenset({"sku", "mpn", "variant_group"})
_WORDS = frozenset({"brand", "manufacturer", "category", "color", "size", "material", "tags", "option_value"})


def likely_fields(header: str, profile: ColumnProfile, schema: ProductSchema | None, top: int = TOP) -> list[str]:
    """The ``top`` canonical targets and fields of the tenant's schema that fit best, the best first."""
    key = key_of(header)
    own = {field.name: field.type for field in schema.fields} if schema else {}
    scores = {target: _by_cells(target, profile) for target in CANONICAL_TARGETS}
    scores |= {name: _by_type(kind, profile) for name, kind in own.items() if name not in scores}
    names = _names()
    for field in scores:
        known = names.get(field, ()) or (key_of(field.replace("_", " ")),)
        scores[field] += 2 * _closest(key, known)
    return sorted(scores, key=lambda field: (-scores[field], field))[:top]


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, (target, _) in dictionary().targets.items():
        found.setdefault(target, []).append(name)
    return {target: tuple(names) for target, names in found.items()}


def _closest(key: str, names: Iterable[str]) -> float:
    """How near the nearest of the names is: shared words, or else shared letters, from 0 to 1."""
    words = set(key.split())
    best = 0.0
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(key)
    for name in names:
        known = set(name.split())
        shared = len(words & known) / max(len(words | known), 1)
        matcher.set_seq1(name)
        letters = matcher.ratio() if max(shared, matcher.real_quick_ratio()) > best else 0.0
        best = max(best, shared, letters if letters > 0.6 else 0.0)
    return best


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
    if target in _MONEY:
        return numeric * (1.0 if profile.currency or profile.decimal else 0.7)
    if target in _NUMBERS:
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
