"""Name/value lists: ``<PARAM><PARAM_NAME>Colour</PARAM_NAME><VAL>red</VAL></PARAM>`` says that Colour is red.

Shops put the attributes they have no field for into such lists: Heureka's ``PARAM``, BMEcat's
``FEATURE``, schema.org's ``additionalProperty``, Magento's ``custom_attributes``, Yandex's
``<param name="...">``, Google's ``product_detail``. The raw columns stay; every name becomes a column
``<list>[<name>]`` of its own as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

#: Members that name the attribute, the surest first, by their letters alone.
_NAMES = (
    "name", "paramname", "fname", "attributename", "featurename", "propertyname", "parametername", "specname",
    "fieldname", "attributecode", "label", "key", "attribute", "code", "type",
)  # fmt: skip
#: Attributes that name the text of their element; others, such as a type or a code, say something else about it.
_NAMES_OF_TEXT = frozenset(["name", "paramname", "attributename", "featurename", "propertyname", "key"])
_VALUES = frozenset([
    "", "value", "values", "val", "vals", "fvalue", "paramvalue", "attributevalue", "featurevalue", "propertyvalue",
    "parametervalue", "specvalue", "fieldvalue", "valuetext", "options",
])  # fmt: skip
_UNITS = frozenset(["unit", "units", "funit", "unittext", "unitcode", "unitname", "uom", "unitofmeasure"])
#: Members that say nothing about the value and may stand beside it.
_BESIDE = frozenset([
    "type", "id", "position", "order", "forder", "sort", "sortorder", "visible", "variation", "slug", "lang", "group",
    "section", "sectionname", "groupname", "propertyid", "description", "fdescr", "valueid", "attributeid", "code",
    "isvisible", "namespace", "key", "valueids", "valuesids",
])  # fmt: skip
#: Attributes of members that only say in which language these are.
_LANGUAGES = ("/@lang", "/@language")
#: Lists whose names and values are the choices of a product with variants, not facts about it.
_CHOICES = frozenset(["options", "option", "variantoptions", "productoptions"])
_LETTERS = re.compile(r"[^a-z0-9]+")
#: Characters of an attribute's name that a column is called by.
_LONGEST = 120


def pair_columns(container: str, elements: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Column ``container[name]`` -> values, for the elements of one list that are name and value.

    ``elements``: per entry its members by name (attributes with ``@``, the entry's own text as "").
    A list is one of pairs where an element holds nothing but a name, values, a unit and notes about them; then its
    other elements are read alike, whatever else they hold.
    """
    word = _letters(container.rsplit("/", 1)[-1].rsplit(".", 1)[-1])
    columns: dict[str, list[str]] = {}
    if word in _CHOICES:
        return columns
    entries = list(elements)
    found = [_pair(members) for members in entries]
    if any(found) and not all(found):
        # What is not taken here would be lost: the raw columns of such a list are left out of the catalogue.
        found = [_pair(members, strict=False) for members in entries]
    for pair in filter(None, found):
        name, values = pair
        known = columns.setdefault(f"{container}[{name}]", [])
        known += [value for value in values if value not in known]
    return columns


def _pair(members: Mapping[str, list[str]], *, strict: bool = True) -> tuple[str, list[str]] | None:
    roles = _roles(tuple(members), strict)
    if roles is None:
        return None
    named, valued, united = roles
    # Of a name in several languages (BMEcat 2005) the first is that of the catalogue's default language.
    one = len(members[named]) == 1 or any(key.startswith(f"{named}/@") for key in members)
    name = " ".join(members[named][0].split())[:_LONGEST] if one else ""
    values = [value.strip() for key in valued for value in members[key] if value.strip()]
    if not name or not values:
        return None
    unit = next((members[key][0].strip() for key in united if len(members[key]) == 1), "")
    if unit:
        values = [value if value.endswith(unit) else f"{value} {unit}" for value in values]
    return name, values


@lru_cache(4096)
def _roles(members: tuple[str, ...], strict: bool = True) -> tuple[str, list[str], list[str]] | None:
    """The members that are name, values and unit; None where the element is no pair."""
    members = tuple(key for key in members if not key.endswith(_LANGUAGES))
    letters = {key: _letters(key) for key in members}
    valued = [key for key, word in letters.items() if word in _VALUES and (word or not key)]
    if len(valued) > 1:
        valued = [key for key in valued if key]
    named = next((key for wanted in _NAMES for key, word in letters.items() if word == wanted), None)
    if valued == [""] and named is not None and letters[named] not in _NAMES_OF_TEXT:
        return None
    if named is None or len(valued) != 1:
        return None
    united = [key for key, word in letters.items() if word in _UNITS]
    rest = set(members) - {named, *valued, *united, ""}
    if strict and any(letters[key] not in _BESIDE for key in rest):
        return None
    return named, valued, united


def _letters(name: str) -> str:
    return _LETTERS.sub("", name.lower())
