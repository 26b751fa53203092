"""Any records, written as JSON, JSON Lines or XML, come back cell for cell."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import read_tree

#: Names that mean nothing, so that no rule for names of products applies.
NAMES = st.from_regex(r"zq[a-zA-Z0-9_-]{0,5}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
#: What XML 1.0 can hold; a carriage return reads as a line feed (section 2.11).
XML_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff\U0010ffff"), max_size=8
)
SCALARS = TEXTS | st.integers() | st.booleans() | st.none() | st.decimals(-(10**9), 10**9, places=3).map(float)


def records(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Records with nested objects, lists of texts and lists of objects."""
    flat = st.dictionaries(NAMES, scalars, max_size=4)
    lists = st.lists(scalars, max_size=4)
    objects = st.lists(st.dictionaries(NAMES, scalars, min_size=1, max_size=3), max_size=4)
    value = scalars | lists | objects | flat | st.dictionaries(NAMES, flat, max_size=2)
    return st.lists(st.dictionaries(NAMES, value, max_size=5), min_size=1, max_size=6)


def as_text(value: Any) -> str:
    """A scalar as JSON writes it, texts as they are."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def cells(record: dict[str, Any], join: str, mark: str, prefix: str = "") -> dict[str, list[str]]:
    """Column -> values, by the rule of the documentation and nothing else."""
    found: dict[str, list[str]] = {}
    for name, value in record.items():
        column = prefix + name
        if isinstance(value, dict):
            found |= cells(value, join, mark, f"{column}{join}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for key in dict.fromkeys(key for entry in value for key in entry):
                found[f"{column}{mark}{join}{key}"] = [as_text(entry.get(key)) for entry in value]
        elif isinstance(value, list):
            found[f"{column}{mark}"] = [as_text(entry) for entry in value]
        else:
            found[column] = [as_text(value)]
    return found


def array(values: list[str]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def expected_of_json(record: dict[str, Any]) -> dict[str, str]:
    return {
        name: array(values) if "[]" in name else values[0]
        for name, values in cells(record, ".", "[]").items()
        if any(values)
    }


def expected_of_xml(record: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name, given_values in cells(record, "/", "").items():
        values = [value.strip() for value in given_values]
        filled = [value for value in values if value]
        if filled:
            found[name] = filled[0] if len(filled) == 1 else array(values)
    return found


def as_xml(value: Any, name: str) -> str:
    if isinstance(value, list):
        return "".join(as_xml(entry, name) for entry in value)
    inner = "".join(as_xml(v, k) for k, v in value.items()) if isinstance(value, dict) else escape(as_text(value))
    return f"<{name}>{inner}</{name}>"


@settings(deadline=None, max_examples=120)
@given(records(SCALARS), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]), st.booleans())
def test_json_comes_back_cell_for_cell(given_records: list[dict[str, Any]], encoding: str, pretty: bool) -> None:
    wanted = [found for record in given_records if (found := expected_of_json(record))]
    text = json.dumps([{"sku": "0"}, *given_records], ensure_ascii=False, indent=1 if pretty else None)
    tree = read_tree(text.encode(encoding), record_path="$[*]")
    assert (tree.records, tree.bad) == ([{"sku": "0"}, *wanted], [])


@settings(deadline=None, max_examples=120)
@given(records(SCALARS), st.booleans())
def test_json_lines_come_back_cell_for_cell(given_records: list[dict[str, Any]], ascii_only: bool) -> None:
    wanted = [found for record in given_records if (found := expected_of_json(record))]
    lines = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in [{"sku": "0"}, *given_records])
    tree = read_tree(lines, "products.jsonl")
    assert (tree.dialect.format, tree.records, tree.bad) == ("jsonl", [{"sku": "0"}, *wanted], [])


@settings(deadline=None, max_examples=120)
@given(records(XML_TEXTS), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_xml_comes_back_cell_for_cell(given_records: list[dict[str, Any]], encoding: str) -> None:
    wanted = [found for record in given_records if (found := expected_of_xml(record))]
    items = "".join(as_xml(record, "item") for record in [{"sku": "0"}, *given_records])
    tree = read_tree(f"<shop>{items}</shop>".encode(encoding), "feed.xml", record_path="shop/item")
    assert (tree.records, tree.bad) == ([{"sku": "0"}, *wanted], [])
