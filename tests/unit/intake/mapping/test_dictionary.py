"""The data files of names: they load, and every name stands in the form that headers are looked up in."""

from __future__ import annotations

import pytest

from pim_platform.intake.mapping.dictionary import _read, _split, dictionary
from pim_platform.intake.mapping.models import CANONICAL_TARGETS
from pim_platform.intake.mapping.names import fold, key_of

FILES = ("core", "attributes", "components", "ignored")


@pytest.mark.parametrize("file", FILES)
def test_names_stand_as_headers_are_looked_up(file: str) -> None:
    names = [
        name
        for entry in _read(file).values()
        for key, value in entry.items()
        if key not in ("type", "why")
        for name in _split(value)
    ]
    assert [name for name in names if fold(key_of(name)) != fold(name)] == []


def test_no_name_has_two_meanings() -> None:
    meanings: dict[str, set[str]] = {}
    for file in ("core", "attributes"):
        for meaning, entry in _read(file).items():
            for key, value in entry.items():
                if key not in ("type", "weak"):
                    for name in _split(value):
                        meanings.setdefault(name, set()).add(meaning)
    assert {name: sorted(of) for name, of in meanings.items() if len(of) > 1} == {}


def test_every_target_has_names() -> None:
    named = {target for target, _ in dictionary().targets.values()}
    assert named == set(CANONICAL_TARGETS)


def test_names_are_found_without_their_accents() -> None:
    names = dictionary()
    assert names.targets["grosse"][0] == names.targets["groesse"][0] == "size"
    assert names.targets["designation"][0] == names.targets["désignation"][0] == "name"
