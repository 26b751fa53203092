"""The alias dictionaries under ``aliases/``, loaded once.

A file has tables ``targets`` and ``weak`` (target -> names), ``active`` (names of the product's
active flag), ``attributes`` (field -> names and type) and ``components`` (names of dimensions).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from pim_platform.catalog.schema import FIELD_TYPES, FieldType
from pim_platform.intake.mapping.models import CANONICAL_TARGETS
from pim_platform.intake.mapping.names import key_of


@dataclass
class Dictionary:
    """Header words (see :func:`key_of`) and what they mean."""

    targets: dict[str, tuple[str, int]] = field(default_factory=dict)
    """name -> (target, position in its list: the earlier the more usual)."""
    weak: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, tuple[str, FieldType]] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)


@cache
def dictionary() -> Dictionary:
    """All dictionaries as one; where files disagree on a name, the file first in order wins.

    Raises ValueError for a target or type that does not exist: a typing error in a data file.
    """
    found = Dictionary()
    folder = resources.files("pim_platform.intake.mapping") / "aliases"
    order = {"english.toml": 0, "shops.toml": 1}
    for file in sorted(folder.iterdir(), key=lambda f: (order.get(f.name, 9), f.name)):
        if not file.name.endswith(".toml"):
            continue
        data = tomllib.loads(file.read_text("utf-8"))
        for table in ("targets", "weak"):
            unknown = set(data.get(table, {})) - set(CANONICAL_TARGETS)
            if unknown:
                raise ValueError(f"{file.name}: unknown target {min(unknown)!r}")
        for target, names in data.get("targets", {}).items():
            for position, name in enumerate(names):
                found.targets.setdefault(key_of(name), (target, position))
        for target, names in data.get("weak", {}).items():
            for name in names:
                found.weak.setdefault(key_of(name), target)
        for attribute, entry in data.get("attributes", {}).items():
            if entry["type"] not in FIELD_TYPES:
                raise ValueError(f"{file.name}: unknown type {entry['type']!r}")
            for name in entry["aliases"]:
                found.attributes.setdefault(key_of(name), (attribute, entry["type"]))
        for component, names in data.get("components", {}).items():
            for name in names:
                found.components.setdefault(key_of(name), component)
        found.active.update(key_of(name) for names in data.get("active", {}).values() for name in names)
    return found
