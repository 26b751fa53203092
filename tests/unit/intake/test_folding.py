"""Records that belong together: what is folded, what stays, and that the rows always add up."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import BadInput, InvalidMapping
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.folding import survey
from pim_platform.intake.mapping import Mapping, mapping_from_flat, validate
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.proposal import propose
from pim_platform.intake.staging import StageResult, stage

SCHEMA = ProductSchema(
    fields=(
        SchemaField(name="vendor"),
        SchemaField(name="option"),
        SchemaField(name="price", type="number"),
        SchemaField(name="image_url", type="url"),
        SchemaField(name="images", type="array"),
        SchemaField(name="text", localizable=True),
        SchemaField(name="keywords", type="array", localizable=True),
        SchemaField(name="localized_name", localizable=True),
    ),
    default_currency="EUR",
    default_locale="en-US",
    version=1,
)
HANDLE = Grouping(style="handle", by=0, inherited=(1, 2, 6), images=6, images_field="images")
SHOP = ("Handle", "Title", "Vendor", "Size", "SKU", "Price", "Image")
SHOP_FLAT = {
    "Title": "name", "Vendor": "vendor", "Size": "option", "SKU": "sku", "Price": "price", "Image": "image_url",
}  # fmt: skip


def run(
    folder: Path,
    headers: tuple[str, ...],
    rows: list[tuple[str, ...]],
    flat: dict[str, str | None],
    *groupings: Grouping,
    **more: Any,
) -> StageResult:
    """Stage a small file; ``Size`` holds the value of an option."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([headers, *rows])
    path = folder / "in.csv"
    path.write_text(text.getvalue(), "utf-8")
    mapping = mapping_from_flat(flat, headers, SCHEMA)
    columns = [c.model_copy(update={"target": "option_value"}) if c.field == "option" else c for c in mapping.columns]
    mapping = Mapping(columns=tuple(columns), groupings=groupings)
    return stage(path, Dialect(), mapping, SCHEMA, folder / "out", **more)


def rows_of(paths: list[Path], *columns: str) -> list[tuple[Any, ...]]:
    return pl.read_parquet(paths).sort("row").select(columns).rows() if paths else []


def test_a_variant_takes_what_its_product_says_once_and_image_rows_join_its_images(tmp_path: Path) -> None:
    rows = [
        ("tee", "T-shirt", "Acme", "S", "T-S", "10", "https://x.example/1.png"),
        ("tee", "", "", "M", "T-M", "11", ""),
        ("tee", "", "", "", "", "", "https://x.example/2.png"),
        ("mug", "Mug", "Acme", "", "MUG", "5", ""),
    ]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert (result.read, result.valid, result.rejected, result.merged) == (4, 3, 0, 1)
    both = json.dumps(["https://x.example/1.png", "https://x.example/2.png"], separators=(",", ":"))
    columns = ("sku", "name", "kind", "variant_group", "f.vendor", "f.image_url", "f.images")
    assert rows_of(result.staged, *columns) == [
        ("T-S", "T-shirt", "variant", "tee", "Acme", "https://x.example/1.png", both),
        ("T-M", "T-shirt", "variant", "tee", "Acme", "https://x.example/1.png", both),
        ("MUG", "Mug", "simple", "mug", "Acme", None, None),
    ]


def test_a_staged_row_keeps_the_cells_of_the_file_and_a_merged_one_is_kept_with_its_record(tmp_path: Path) -> None:
    rows = [
        ("tee", "T-shirt", "Acme", "S", "T-S", "10", "https://x.example/1.png"),
        ("tee", "", "", "M", "T-M", "11", ""),
        ("tee", "", "", "", "", "", "https://x.example/2.png"),
    ]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    staged = pl.read_parquet(result.staged)
    assert [name for name in staged.columns if name.startswith("raw.")] == [f"raw.{i}" for i in range(7)]
    assert staged.filter(pl.col("sku") == "T-M").select("raw.1", "raw.2").row(0) == (None, None)
    assert rows_of(result.merged_rows, "row", "into", "variant_group", "raw.6") == [
        (4, 2, "tee", "https://x.example/2.png")
    ]


def test_a_variant_without_sku_is_rejected_and_shows_what_it_inherits(tmp_path: Path) -> None:
    rows = [
        ("tee", "T-shirt", "Acme", "S", "T-S", "10", ""),
        ("tee", "", "", "M", "", "11", ""),
    ]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert (result.valid, result.rejected, result.merged) == (1, 1, 0)
    assert rows_of(result.rejects, "row", "column", "error_code", "raw.1") == [(3, "SKU", "missing_sku", "T-shirt")]
    assert rows_of(result.staged, "sku", "kind") == [("T-S", "variant")]


def test_image_rows_of_a_product_without_any_sku_are_rejected_with_it(tmp_path: Path) -> None:
    rows = [
        ("kit", "Kit", "Acme", "", "", "36", "https://x.example/1.png"),
        ("kit", "", "", "", "", "", "https://x.example/2.png"),
    ]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert (result.read, result.valid, result.rejected, result.merged) == (2, 0, 2, 0)
    assert result.reasons == {"missing_sku": 2}
    told = rows_of(result.rejects, "error", "suggestion")[1]
    assert "'kit'" in told[0]
    assert "first row of this product" in told[1]


def test_where_the_handle_is_the_sku_the_first_row_is_the_product(tmp_path: Path) -> None:
    flat = {**SHOP_FLAT, "Handle": "sku", "SKU": None}
    rows = [
        ("ring", "Ring", "Acme", "S", "", "10", "https://x.example/1.png"),
        ("ring", "", "", "M", "", "11", ""),
        ("ring", "", "", "", "", "", "https://x.example/2.png"),
    ]
    result = run(tmp_path, SHOP, rows, flat, HANDLE)
    assert (result.valid, result.rejected, result.merged) == (1, 0, 2)
    assert rows_of(result.staged, "sku", "kind", "f.option", "f.images") == [
        ("ring", "simple", "S", '["https://x.example/1.png","https://x.example/2.png"]')
    ]


def test_a_row_of_the_product_itself_is_folded_into_its_variants(tmp_path: Path) -> None:
    rows = [
        ("tee", "T-shirt", "Acme", "", "", "", ""),
        ("tee", "", "", "S", "T-S", "10", ""),
        ("tee", "", "", "M", "T-M", "11", ""),
    ]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert rows_of(result.merged_rows, "row", "into") == [(2, 3)]
    assert rows_of(result.staged, "sku", "name") == [("T-S", "T-shirt"), ("T-M", "T-shirt")]


def test_images_stand_in_the_order_that_the_file_gives_them(tmp_path: Path) -> None:
    headers = (*SHOP, "Image Position")
    rows = [
        ("tee", "T-shirt", "", "S", "T-S", "10", "https://x.example/c.png", "10"),
        ("tee", "", "", "", "", "", "https://x.example/a.png", "2"),
        ("tee", "", "", "", "", "", 'https://x.example/"b"\\.png', "9"),
    ]
    result = run(tmp_path, headers, rows, SHOP_FLAT, HANDLE.model_copy(update={"position": 7}))
    assert json.loads(rows_of(result.staged, "f.images")[0][0]) == [
        "https://x.example/a.png", 'https://x.example/"b"\\.png', "https://x.example/c.png",
    ]  # fmt: skip


def test_rows_without_a_handle_stand_for_themselves(tmp_path: Path) -> None:
    rows = [("", "Lamp", "", "", "L", "1", ""), ("", "Desk", "", "", "D", "2", "")]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert rows_of(result.staged, "sku", "kind", "variant_group", "f.vendor") == [
        ("L", "simple", None, None),
        ("D", "simple", None, None),
    ]


def test_a_row_changes_its_hash_when_its_product_gets_a_second_variant(tmp_path: Path) -> None:
    row = ("tee", "T-shirt", "", "S", "T-S", "10", "")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = run(tmp_path / "one", SHOP, [row], SHOP_FLAT, HANDLE)
    two = run(tmp_path / "two", SHOP, [row, ("tee", "", "", "M", "T-M", "10", "")], SHOP_FLAT, HANDLE)
    assert rows_of(one.staged, "row_hash")[0] != rows_of(two.staged, "row_hash")[0]


def test_a_corrected_variant_knows_its_siblings(tmp_path: Path) -> None:
    rows = [("tee", "T-shirt", "", "M", "T-M", "10", "")]
    result = run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE, siblings=["tee"])
    assert rows_of(result.staged, "kind") == [("variant",)]


def test_a_column_that_names_no_products_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "GROUP_ROWS", 2)
    rows = [("all", "Lamp", "", "", f"L{n}", "1", "") for n in range(3)]
    with pytest.raises(BadInput) as told:
        run(tmp_path, SHOP, rows, SHOP_FLAT, HANDLE)
    assert told.value.code == "group_too_large"


WOO = ("ID", "Type", "SKU", "Name", "Parent")
WOO_FLAT = {"SKU": "sku", "Name": "name"}
PARENT = Grouping(style="parent", by=4, ids=0, kinds=1)


def test_variations_name_their_parent_by_sku_or_by_id(tmp_path: Path) -> None:
    rows = [
        ("7", "variable", "TEE", "T-shirt", ""),
        ("8", "variation", "TEE-S", "T-shirt S", "tee"),
        ("9", "variation", "TEE-M", "", "id:7"),
        ("10", "simple, downloadable", "ALBUM", "Album", ""),
        ("11", "grouped", "SET", "Set", ""),
        ("12", "variation", "CAP-S", "Cap", "id:99"),
        ("13", "variation", "HAT-S", "Hat", "HAT"),
    ]
    result = run(tmp_path, WOO, rows, WOO_FLAT, PARENT)
    assert (result.read, result.valid, result.merged) == (7, 7, 0)
    assert rows_of(result.staged, "sku", "kind", "variant_group", "parent_sku", "name") == [
        ("TEE", "parent", "TEE", None, "T-shirt"),
        ("TEE-S", "variant", "tee", "tee", "T-shirt S"),
        ("TEE-M", "variant", "TEE", "tee", "T-shirt"),
        ("ALBUM", "simple", None, None, "Album"),
        ("SET", "bundle", None, None, "Set"),
        ("CAP-S", "variant", "id:99", None, "Cap"),
        ("HAT-S", "variant", "HAT", "hat", "Hat"),
    ]


def test_zero_names_no_parent(tmp_path: Path) -> None:
    rows = [
        ("1", "variable", "TEE", "T-shirt", "0"),
        ("2", "variation", "TEE-S", "", "TEE"),
        ("3", "simple", "MUG", "Mug", "0"),
    ]
    result = run(tmp_path, WOO, rows, WOO_FLAT, PARENT)
    assert rows_of(result.staged, "sku", "kind", "variant_group", "parent_sku") == [
        ("TEE", "parent", "TEE", None),
        ("TEE-S", "variant", "TEE", "tee"),
        ("MUG", "simple", None, None),
    ]


def test_a_row_that_others_name_is_a_parent_and_none_is_its_own(tmp_path: Path) -> None:
    rows = [
        ("", "", "TEE-S", "T-shirt S", "TEE"),
        ("", "", "TEE", "T-shirt", "TEE"),
    ]
    result = run(tmp_path, WOO, rows, WOO_FLAT, Grouping(style="parent", by=4))
    assert rows_of(result.staged, "sku", "kind", "parent_sku") == [
        ("TEE-S", "variant", "tee"),
        ("TEE", "parent", None),
    ]


def test_products_of_one_group_are_variants_and_one_alone_is_not(tmp_path: Path) -> None:
    headers = ("id", "title", "item_group_id")
    rows = [("a", "A", "g"), ("b", "B", "h"), ("c", "C", "g"), ("d", "D", ""), ("b", "B", "h")]
    result = run(tmp_path, headers, rows, {"id": "sku", "title": "name"}, Grouping(style="group", by=2), batch_rows=2)
    assert rows_of(result.staged, "sku", "kind", "variant_group") == [
        ("a", "variant", "g"),
        ("b", "simple", "h"),
        ("c", "variant", "g"),
        ("d", "simple", None),
        ("b", "simple", "h"),
    ]


def test_groupings_that_contradict_are_refused() -> None:
    flat = {"SKU": "sku", "Name": "name"}
    columns = mapping_from_flat(flat, WOO, SCHEMA).columns
    for groupings in (
        (Grouping(style="parent", by=4), Grouping(style="group", by=4)),
        (Grouping(style="parent", by=9),),
        (Grouping(style="handle", by=0, images=1, images_field="vendor"),),
        (Grouping(style="locale", by=2),),
    ):
        with pytest.raises(InvalidMapping):
            validate(Mapping(columns=columns, groupings=groupings), SCHEMA, WOO)


LOCALES = ("sku", "locale", "name", "text", "keywords", "price")
LOCALES_FLAT: dict[str, str | None] = {
    "sku": "sku", "name": "name", "text": "text", "keywords": "keywords", "price": "price",
}  # fmt: skip
BY_LOCALE = Grouping(style="locale", by=0, locale=1, localized=(2, 3, 4), names_field="localized_name")


def test_rows_of_one_sku_become_one_record_with_values_per_locale(tmp_path: Path) -> None:
    rows = [
        ("A", "de_DE", "Lampe", "Hell", "a|b", ""),
        ("A", "en_US", "Lamp", "", "c", "5"),
        ("a", "fr", "Lampe", 'dite "claire"', "", "6"),
        ("B", "de_DE", "Tisch", "Fest", "", "7"),
    ]
    result = run(tmp_path, LOCALES, rows, LOCALES_FLAT, BY_LOCALE)
    assert (result.read, result.valid, result.rejected, result.merged) == (4, 2, 0, 2)
    (lamp, table) = rows_of(result.staged, "row", "sku", "name", "f.localized_name", "f.text", "f.keywords", "f.price")
    assert lamp[:3] == (3, "A", "Lamp")
    assert json.loads(lamp[3]) == {"de-DE": "Lampe", "en-US": "Lamp", "fr": "Lampe"}
    assert json.loads(lamp[4]) == {"de-DE": "Hell", "fr": 'dite "claire"'}
    assert set(json.loads(lamp[5])) == {"de-DE", "en-US"}
    assert lamp[6] == "5"
    assert table[2] == "Tisch"
    assert json.loads(table[4]) == {"de-DE": "Fest"}
    assert rows_of(result.merged_rows, "row", "into") == [(2, 3), (4, 3)]


def test_a_row_of_no_locale_is_rejected_and_an_empty_one_is_of_the_default(tmp_path: Path) -> None:
    rows = [("A", "", "Lamp", "Bright", "", ""), ("A", "everywhere", "Lamp", "x", "", "")]
    result = run(tmp_path, LOCALES, rows, LOCALES_FLAT, BY_LOCALE)
    assert json.loads(rows_of(result.staged, "f.text")[0][0]) == {"en-US": "Bright"}
    assert rows_of(result.rejects, "row", "column", "value", "error_code") == [
        (3, "locale", "everywhere", "not_a_locale")
    ]


def test_a_field_that_has_one_value_cannot_be_split_by_locale(tmp_path: Path) -> None:
    with pytest.raises(InvalidMapping) as told:
        run(
            tmp_path, LOCALES, [("A", "de", "n", "t", "", "1")], LOCALES_FLAT,
            BY_LOCALE.model_copy(update={"localized": (5,)}),
        )  # fmt: skip
    assert told.value.code == "not_localizable"


NESTED_HEADERS = ("id", "sku", "title", "price", "variants[].sku", "variants[].size", "variants[].price")
NESTED_FLAT: dict[str, str | None] = {
    "variants[].sku": "sku", "title": "name", "price": "price", "variants[].size": "option",
}  # fmt: skip
NESTED = Grouping(style="nested", by=0, variants=(4, 5, 6), levels=((1, 4), (3, 6)))


def test_variants_of_a_tree_are_linked_to_the_product_around_them_or_take_its_place(tmp_path: Path) -> None:
    rows = [
        ("1", "TEE", "Tee", "9", "", "", ""),
        ("1", "TEE", "Tee", "9", "TEE-S", "S", "10"),
        ("1", "TEE", "Tee", "9", "", "M", "11"),
        ("2", "", "Cap", "", "", "", ""),
        ("2", "", "Cap", "", "CAP-1", "one", "7"),
        ("2", "", "Cap", "", "CAP-2", "two", "8"),
        ("3", "MUG", "Mug", "5", "", "", ""),
        ("4", "BAG", "Bag", "3", "", "", ""),
        ("4", "BAG", "Bag", "3", "BAG", "one", "4"),
    ]
    result = run(tmp_path, NESTED_HEADERS, rows, NESTED_FLAT, NESTED)
    assert (result.read, result.valid, result.rejected, result.merged) == (9, 6, 1, 2)
    assert rows_of(result.staged, "sku", "kind", "variant_group", "parent_sku", "f.price") == [
        ("TEE", "parent", "TEE", None, "9"),
        ("TEE-S", "variant", "TEE", "tee", "10"),
        ("CAP-1", "variant", "2", None, "7"),
        ("CAP-2", "variant", "2", None, "8"),
        ("MUG", "simple", "MUG", None, "5"),
        ("BAG", "simple", "4", None, "4"),
    ]
    assert rows_of(result.rejects, "row", "error_code") == [(4, "missing_sku")]
    assert rows_of(result.merged_rows, "row", "into") == [(5, 6), (9, 10)]


def staged_as_proposed(folder: Path, lines: list[str]) -> tuple[Grouping, dict[str, dict[str, Any]]]:
    """The one grouping that is proposed for a file, and its rows by SKU when it is imported as proposed."""
    path = folder / "in.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = propose(path)
    (grouping,) = found.groupings
    schema = SCHEMA.with_fields([field for field in found.fields if SCHEMA.field(field.name) is None])
    result = stage(path, found.dialect, found.mapping, schema, folder / "out")
    return grouping, {row["sku"]: row for row in pl.read_parquet(result.staged).to_dicts()}


def test_a_parent_may_be_named_by_the_bare_id_of_its_row(tmp_path: Path) -> None:
    lines = ["id;parent_id;sku;name;stock", "a1;;P1;Shirt;1", "a2;a1;P1-S;;2", "a3;a1;P1-M;;3", "a4;;P2;Hat;4"]
    grouping, rows = staged_as_proposed(tmp_path, lines)
    assert (grouping.style, grouping.by, grouping.ids) == ("parent", 1, 0)
    assert rows["P1-S"]["name"] == "Shirt"
    assert {sku: row["parent_sku"] for sku, row in rows.items()} == {"P1": None, "P1-S": "p1", "P1-M": "p1", "P2": None}


def test_a_group_whose_first_row_has_no_sku_gives_its_variants_the_name(tmp_path: Path) -> None:
    lines = ["T;;Tee;;19.9", "T;T-S;;S;19.9", "T;T-M;;M;21.9", "H;;Hoodie;;49.9", "H;H-L;;L;49.9"]
    _, rows = staged_as_proposed(tmp_path, ["parent_sku;sku;title;size;price", *lines])
    assert {sku: (row["name"], row["variant_group"]) for sku, row in rows.items()} == {
        "T-S": ("Tee", "T"), "T-M": ("Tee", "T"), "H-L": ("Hoodie", "H"),
    }  # fmt: skip
