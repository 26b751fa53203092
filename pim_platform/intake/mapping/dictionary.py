"""The alias dictionaries under ``aliases/``, loaded once.

Data files in INI (it loads five times as fast as TOML): ``core`` (targets, one section each), ``attributes`` (fields
that are no target, with the type their name promises), ``components`` (of dimensions), ``ignored`` (what describes the
exchange), ``onix`` (short tags) and ``words`` (words that stand beside names and parts of paths). Names are written as
:func:`pim_platform.intake.mapping.names.key_of` gives them and are found without their accents too.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import cast

from pim_platform.catalog.schema import FIELD_TYPES, FieldType
from pim_platform.intake.mapping.models import CANONICAL_TARGETS
from pim_platform.intake.mapping.names import fold, key_of

#: Type of an attribute whose cells decide it.
_ANY = "any"


@dataclass
class Dictionary:
    """Header words (see :func:`key_of`) and what they mean; every name also without its accents."""

    targets: dict[str, tuple[str, int]] = field(default_factory=dict)
    """name -> (target, position in its list: the earlier the more usual)."""
    weak: dict[str, str] = field(default_factory=dict)
    """Names that are not enough on their own, and the target they mean most often."""
    doubtful: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The same names, and all targets they can mean."""
    attributes: dict[str, tuple[str, FieldType | None]] = field(default_factory=dict)
    """name -> (field, type; None: the cells decide)."""
    components: dict[str, str] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    ignored: dict[str, str] = field(default_factory=dict)
    """name -> why it is no data of the product."""
    short_tags: dict[str, str] = field(default_factory=dict)
    """Short tag of ONIX -> key of the reference name."""
    entities: dict[str, str] = field(default_factory=dict)
    """Part of a path -> target that its name, title or value is."""
    words: dict[str, frozenset[str]] = field(default_factory=dict)
    """Groups of words by the section that lists them."""
    by_length: dict[int, list[str]] = field(default_factory=dict)
    """Names of targets by length, for typing errors."""


@cache
def dictionary() -> Dictionary:
    """All dictionaries as one; a name that stands in several places has the meaning of the first.

    Raises ValueError for a target or type that does not exist: a typing error in a data file.
    """
    found = Dictionary()
    _add_core(found)
    _add_attributes(found)
    for component, entry in _read("components").items():
        for variant in _variants(_split(entry["names"])):
            found.components.setdefault(variant, component)
    for entry in _read("ignored").values():
        for variant in _variants(_split(entry["names"])):
            found.ignored.setdefault(variant, entry["why"])
    for names in _read("onix")["short tags"].values():
        found.short_tags.update((tag, key_of(name)) for tag, name in map(str.split, _split(names)))
    _add_words(found)
    for name in found.targets:
        if len(name) >= 6:
            found.by_length.setdefault(len(name), []).append(name)
    return found


def _add_core(found: Dictionary) -> None:
    core = _read("core")
    for target, languages in core.items():
        if target == "active":
            found.active.update(variant for names in languages.values() for variant in _variants(_split(names)))
            continue
        if target not in CANONICAL_TARGETS:
            raise ValueError(f"core.ini: unknown target {target!r}")
        for names in (names for language, names in languages.items() if language != "weak"):
            for position, name in enumerate(_split(names)):
                for variant in _variants([name]):
                    found.targets.setdefault(variant, (target, position))
    for target, languages in core.items():
        for variant in _variants(_split(languages.get("weak", ""))):
            found.weak.setdefault(variant, target)
            found.doubtful[variant] = (*found.doubtful.get(variant, ()), target)


def _add_attributes(found: Dictionary) -> None:
    for attribute, entry in _read("attributes").items():
        kind = entry["type"]
        if kind not in FIELD_TYPES and kind != _ANY:
            raise ValueError(f"attributes.ini: unknown type {kind!r} of {attribute}")
        for variant in _variants(_split(entry["names"])):
            found.attributes.setdefault(variant, (attribute, None if kind == _ANY else cast("FieldType", kind)))


def _add_words(found: Dictionary) -> None:
    for section, entry in _read("words").items():
        groups = {group: _variants(_split(names)) for group, names in entry.items() if group != "why"}
        if section == "entities":
            for target, names in groups.items():
                for name in names:
                    found.entities.setdefault(name, target)
            continue
        for group, names in groups.items():
            found.words[section if group == "words" else f"{section} {group}"] = frozenset(names)


def _read(name: str) -> dict[str, dict[str, str]]:
    text = (resources.files("pim_platform.intake.mapping") / "aliases" / f"{name}.ini").read_text("utf-8")
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), empty_lines_in_values=False)
    parser.read_string(text)
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.replace("\n", ",").split(",") if name.strip()]


def _variants(names: Iterable[str]) -> list[str]:
    """The names as written, without accents, and with German umlauts written out."""
    found = []
    for name in names:
        found.append(name)
        if not name.isascii():
            plain = fold(name)
            if plain != name:
                found.append(plain)
            if "ä" in name or "ö" in name or "ü" in name:
                found.append(fold(name.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")))
    return found
