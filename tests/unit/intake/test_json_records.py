"""JSON in all the ways shops write it: the products found, every value kept, every loss told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pim_platform.errors import BadInput, UnreadableFile
from pim_platform.intake.readers.json_paths import parse_path, write_path
from tests.support.trees import read_tree

SHIRT = {"sku": "A-1", "name": "Shirt", "price": 10}
SOCKS = {"sku": "B-2", "name": "Socks", "price": 5}
USERS = [{"id": n, "name": f"U{n}", "email": f"u{n}@example.com"} for n in range(9)]


def read(value: Any, **changes: Any) -> Any:
    return read_tree(json.dumps(value), **changes)


# --- where the records are ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "path", "skus"),
    [
        ([SHIRT, SOCKS], "$[*]", ["A-1", "B-2"]),
        (SHIRT, "$", ["A-1"]),
        ({"products": [SHIRT, SOCKS], "total": 2}, "$.products[*]", ["A-1", "B-2"]),
        ({"users": USERS, "regions": USERS, "products": [SHIRT]}, "$.products[*]", ["A-1"]),
        ({"data": {"items": [SHIRT, SOCKS]}, "meta": {"page": 1}}, "$.data.items[*]", ["A-1", "B-2"]),
        ({"data": {"products": {"edges": [{"cursor": "x", "node": SHIRT}, {"cursor": "y", "node": SOCKS}]}}},
         "$.data.products.edges[*].node", ["A-1", "B-2"]),
        ({"A-1": SHIRT, "B-2": SOCKS}, "$.*", ["A-1", "B-2"]),
        ({"products": {"17": SHIRT, "18": SOCKS}}, "$.products.*", ["A-1", "B-2"]),
        ({"product": SHIRT | {"variants": [{"id": 1, "price": 3}]}}, "$.product", ["A-1"]),
        ({"name": "My shop", "url": "https://x.example", "description": "d", "products": [SHIRT]},
         "$.products[*]", ["A-1"]),
        ({"export.v1": {"the items": [SHIRT]}}, "$['export.v1'].the items[*]", ["A-1"]),
        ({"categories": [{"name": "Tops", "products": [SHIRT]}, {"name": "Feet", "products": [SOCKS]}]},
         "$.categories[*].products[*]", ["A-1", "B-2"]),
        ({"@context": "https://schema.org", "@graph": [
            {"@type": "WebPage", "name": "p"}, {"@type": "Product"} | SHIRT, {"@type": ["Product", "Thing"]} | SOCKS]},
         "$.@graph[?@type=Product]", ["A-1", "B-2"]),
        ({"@type": "ItemList", "itemListElement": [
            {"@type": "ListItem", "position": 1, "item": {"@type": "Product"} | SHIRT}]},
         "$.itemListElement[*].item", ["A-1"]),
    ],
)  # fmt: skip
def test_products_are_found_wherever_they_are(document: Any, path: str, skus: list[str]) -> None:
    tree = read(document)
    assert tree.dialect.record_path == path
    assert [record["sku"] for record in tree.records] == skus
    assert tree.bad == []


def test_a_list_of_anything_is_read_even_where_nothing_looks_like_a_product() -> None:
    tree = read({"total": 2, "stuff": [{"alpha": 1}, {"alpha": 2}]})
    assert tree.dialect.record_path == "$.stuff[*]"
    assert tree.records == [{"alpha": "1"}, {"alpha": "2"}]


def test_the_path_a_person_gives_goes_before_detection() -> None:
    tree = read({"users": USERS, "products": [SHIRT]}, record_path="$.users[*]")
    assert len(tree.records) == len(USERS)
    with pytest.raises(UnreadableFile, match="no records at"):
        read({"products": [SHIRT]}, record_path="$.articles[*]")
    with pytest.raises(BadInput, match="no path into JSON"):
        read({"products": [SHIRT]}, record_path="products[")


@pytest.mark.parametrize("text", ["$", "$[*]", "$.a.b[*].c", "$.products.*", "$['a.b'][*]", "$.@graph[?@type=Product]"])
def test_paths_are_written_as_they_are_read(text: str) -> None:
    assert write_path(parse_path(text)) == text


def test_a_key_that_holds_the_id_is_a_column() -> None:
    assert [record["@key"] for record in read({"A-1": SHIRT, "B-2": SOCKS}).records] == ["A-1", "B-2"]


# --- cells ----------------------------------------------------------------------------------------------------------


def test_numbers_keep_the_text_they_were_written_as() -> None:
    numbers = ["10.00", "0.1", "12345678901234567890", "1E5", "-0", "1e-7", "9" * 5000]
    tree = read_tree("[" + ",".join(f'{{"sku": "S", "n": {number}}}' for number in numbers) + "]")
    assert [record["n"] for record in tree.records] == numbers


def test_scalars_read_as_a_person_would_write_them() -> None:
    assert read([{"t": True, "f": False, "n": None, "e": "", "s": " x "}]).records == [
        {"t": "true", "f": "false", "s": " x "}
    ]


def test_nan_is_no_value() -> None:
    assert read_tree('[{"sku": "A", "price": NaN, "stock": Infinity}]').records == [{"sku": "A"}]


def test_nested_objects_and_lists_become_columns() -> None:
    (record,) = read([{
        "sku": "A", "size": {"w": 1, "h": {"cm": 2}}, "tags": ["a", "b"], "one": ["x"], "none": [],
        "reviews": [{"rating": 5, "text": "good"}, {"rating": 1}, {"text": "bad"}],
        "matrix": [[1, 2], [3]],
    }]).records  # fmt: skip
    assert record == {
        "sku": "A", "size.w": "1", "size.h.cm": "2", "tags[]": '["a","b"]', "one[]": '["x"]',
        "reviews[].rating": '["5","1",""]', "reviews[].text": '["good","","bad"]', "matrix[][]": '["1","2","3"]',
    }  # fmt: skip


def test_lists_inside_lists_stay_in_step_with_their_neighbours() -> None:
    (record,) = read([{"sku": "A", "shops": [
        {"prices": [{"amount": 1, "currency": "EUR"}, {"amount": 2}]},
        {"prices": [{"currency": "USD"}, {"currency": "CHF"}]},
    ]}]).records  # fmt: skip
    assert json.loads(record["shops[].prices[].amount"]) == ["1", "2", "", ""]
    assert json.loads(record["shops[].prices[].currency"]) == ["EUR", "", "USD", "CHF"]


def test_objects_keyed_by_ids_inside_a_record_are_lists() -> None:
    (record,) = read([{"sku": "A", "stores": {"101": {"stock": 3}, "102": {"stock": 4}}}]).records
    assert record == {"sku": "A", "stores[].@key": '["101","102"]', "stores[].stock": '["3","4"]'}


def test_names_and_values_become_columns_of_their_own() -> None:
    (record,) = read([{"sku": "A", "additionalProperty": [
        {"@type": "PropertyValue", "name": "Colour", "value": "red"},
        {"@type": "PropertyValue", "name": "Length", "value": 12, "unitText": "cm"},
        {"@type": "PropertyValue", "name": "Colour", "value": "blue"},
    ]}]).records  # fmt: skip
    assert record["additionalProperty[Colour]"] == '["red","blue"]'
    assert record["additionalProperty[Length]"] == "12 cm"
    assert record["additionalProperty[].name"] == '["Colour","Length","Colour"]', "the raw columns stay"


def test_no_entry_of_a_list_of_names_and_values_is_left_out() -> None:
    (record,) = read([{"sku": "A", "parameters": [
        {"name": "State", "values": ["new"], "dictionary": "D1"},
        {"name": "Frame", "values": ["17", "19"]},
    ]}]).records  # fmt: skip
    assert record["parameters[State]"] == "new"
    assert record["parameters[Frame]"] == '["17","19"]'


def test_what_only_looks_like_a_name_and_a_value_is_left_alone() -> None:
    (record,) = read([{
        "sku": "A",
        "options": [{"name": "Size", "values": ["S", "M"]}],
        "brands": [{"name": "X", "country": "DE"}],
    }]).records  # fmt: skip
    assert not any(name.endswith("]") and not name.endswith("[]") for name in record)


# --- variants -------------------------------------------------------------------------------------------------------


def test_variants_with_an_sku_of_their_own_are_rows_behind_their_product() -> None:
    tree = read([
        {"handle": "shirt", "title": "Shirt", "variants": [
            {"sku": "S-1", "price": 1, "tags": ["a", "b"]}, {"sku": "S-2", "price": 2}]},
        {"handle": "hat", "title": "Hat", "variants": []},
    ])  # fmt: skip
    assert tree.dialect.expand == "variants[]"
    assert tree.records == [
        {"handle": "shirt", "title": "Shirt"},
        {"handle": "shirt", "title": "Shirt", "variants[].sku": "S-1", "variants[].price": "1",
         "variants[].tags[]": '["a","b"]'},
        {"handle": "shirt", "title": "Shirt", "variants[].sku": "S-2", "variants[].price": "2"},
        {"handle": "hat", "title": "Hat"},
    ]  # fmt: skip
    assert (tree.summary.rows, tree.summary.parts) == (4, 2), "two records, two variants"
    assert tree.numbers == [1, 2, 3, 4]


def test_variants_of_graphql_are_rows_too() -> None:
    product = {"title": "Shirt", "handle": "s", "variants": {"edges": [{"node": {"sku": "S-1"}, "cursor": "c"}]}}
    tree = read({"data": {"products": {"edges": [{"node": product}]}}})
    assert tree.dialect.expand == "variants.edges[].node"
    assert [record.get("variants.edges[].node.sku") for record in tree.records] == [None, "S-1"]


@pytest.mark.parametrize("name", ["reviews", "related"])
def test_other_lists_are_no_variants(name: str) -> None:
    assert read([SHIRT | {name: [{"sku": "X", "rating": 3}, {"sku": "Y", "rating": 4}]}]).dialect.expand is None


def test_variants_without_an_sku_stay_lists() -> None:
    tree = read([{"sku": "A", "variants": [{"title": "S"}, {"title": "M"}]}])
    assert tree.records == [{"sku": "A", "variants[].title": '["S","M"]'}]


# --- JSON Lines and documents one after another --------------------------------------------------------------------


def test_json_lines_lose_only_the_broken_line() -> None:
    tree = read_tree('{"sku":"A"}\n\n{"sku": broken}\n[1]\n{"sku":"C"}\n', "products.jsonl")
    assert tree.dialect.format == "jsonl"
    assert list(zip(tree.numbers, tree.records, strict=True)) == [(1, {"sku": "A"}), (4, {"sku": "C"})]
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(2, "broken_json"), (3, "not_a_record")]
    assert "line 3 is no JSON" in tree.bad[0]["error"]
    assert "line 4 is a list" in tree.bad[1]["error"]


@pytest.mark.parametrize("between", ["\n", "", " \x1e", ",\n"])
def test_documents_one_after_another_are_records(between: str) -> None:
    pretty = [json.dumps(record, indent=1) for record in (SHIRT, SOCKS)]
    assert [record["sku"] for record in read_tree(between.join(pretty)).records] == ["A-1", "B-2"]


# --- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("lines", [False, True])
def test_every_unicode_encoding_is_read(encoding: str, lines: bool) -> None:
    records = [{"sku": f"Ä-{n}", "name": "日本 \U0001f600"} for n in range(3)]
    text = "\n".join(json.dumps(r, ensure_ascii=False) for r in records) if lines else json.dumps(records)
    assert read_tree(text.encode(encoding)).records == records


def test_undecodable_bytes_and_halves_of_characters_reject_their_record_only() -> None:
    start = '[{"sku":"' + "äöüß" * 9 + '"},'
    tree = read_tree(start.encode() + b'{"sku":"B","x":"\xff"},{"sku":"C","x":"\\ud800"},{"sku":"D","x":"\\u0000"}]')
    assert tree.records == [{"sku": "äöüß" * 9}]
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [
        (2, "undecodable"), (3, "undecodable"), (4, "nul_byte"),
    ]  # fmt: skip


def test_a_record_longer_than_what_is_read_at_a_time_is_whole() -> None:
    long = "x" * 5_000_000
    tree = read([{"sku": "A", "text": long}, SHIRT])
    assert tree.records[0]["text"] == long
    assert tree.records[1]["sku"] == "A-1"


# --- broken files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "fix", "records"),
    [
        ('[{"sku":"A"},\n{"sku":"B"},\n]', 3, "1", "Remove the comma", 2),
        ('[{"sku":"A"},\n {"sku":"B",}]', 2, "13", "Remove the comma", 1),
        ('[{"sku":"A"},\n{"sku":"B"', 2, "11", "cut off", 1),
        ('[{"sku":"A"},\n{"sku":"B', 2, "8", "export the file again", 1),
        ("[{'sku':'A'}]", 1, "3", "double quotes", 0),
        ('[{"sku":"A"},\n// more\n{"sku":"B"}]', 2, "1", "comment", 1),
        ('[{"sku":"A"}\n{"sku":"B"}]', 2, "1", "Correct the place", 1),
        ('{"products":[{"sku":"A"}', 1, "25", "cut off", 1),
    ],
)
def test_a_broken_document_names_the_place_and_what_was_read(
    text: str, line: int, column: str, fix: str, records: int
) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read_tree(text)
    error = caught.value
    assert error.code == "broken_json"
    assert (error.place["row"], error.place["column"], error.place["records"]) == (line, column, records)
    assert f"line {line}, column {column}" in error.message
    assert fix in error.fix


def test_records_that_are_no_objects_are_told() -> None:
    tree = read([SHIRT, 5, None, [1], SOCKS])
    assert len(tree.records) == 2
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(n, "not_a_record") for n in (2, 3, 4)]


def test_a_list_that_is_something_else_in_one_place_is_told() -> None:
    tree = read({"categories": [{"products": [SHIRT, SOCKS]}, {"products": "none"}, {"products": None}]})
    assert len(tree.records) == 2
    assert [bad["error_code"] for bad in tree.bad] == ["not_a_record"]
    assert "expected a list" in tree.bad[0]["error"]


def test_a_key_that_stands_twice_with_two_values_is_told() -> None:
    tree = read_tree('[{"sku":"A","p":1,"p":2},{"sku":"B","p":1,"p":1},{"sku":"C","a.b":1,"a":{"b":2}}]')
    assert tree.records == [{"sku": "B", "p": "1"}]
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(1, "duplicate_key"), (3, "duplicate_key")]
    assert "'p'" in tree.bad[0]["error"]
    assert "1" in tree.bad[0]["error"]
    assert "2" in tree.bad[0]["error"]


def test_nesting_without_end_is_refused_and_a_deep_record_is_told() -> None:
    with pytest.raises(UnreadableFile, match="nested too deep"):
        read_tree("[" * 100_000)
    deep: Any = {"x": 1}
    for _ in range(80):
        deep = {"d": deep}
    tree = read([SHIRT, {"sku": "D", "deep": deep}])
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(2, "too_deep")]


@pytest.mark.parametrize(("text", "code"), [
    ("", "empty_file"), ("  \n", "empty_file"), ("[]", "no_records"), ("[1,2]", "no_records"), ('"x"', "no_records"),
    ("{}", "no_records"), ('{"products": []}', "no_records"), ('{"products": [], "total": 0}', "no_records"),
    ('{"status": "ok", "data": {"items": [], "total_count": 0}}', "no_records"),
])  # fmt: skip
def test_files_without_records_say_so(text: str, code: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read_tree(text)
    assert caught.value.code == code


def test_one_product_may_have_a_list_without_entries() -> None:
    (record,) = read({"sku": "A", "name": "Shirt", "price": 5, "items": []}).records
    assert record["sku"] == "A"


@pytest.mark.parametrize(("master", "skus"), [("A-1", ["A-1", "A-2"]), ("A-2", ["A-2"])])
def test_a_master_variant_beside_the_others_is_a_variant(master: str, skus: list[str]) -> None:
    tree = read([{"id": "1", "name": "Shirt", "masterVariant": {"sku": master}, "variants": [{"sku": "A-2"}]}])
    assert [record["variants[].sku"] for record in tree.records if "variants[].sku" in record] == skus


def test_empty_objects_are_no_records() -> None:
    tree = read([SHIRT, {}, {"sku": None}, SOCKS])
    assert (len(tree.records), tree.bad, tree.numbers) == (2, [], [1, 2])
