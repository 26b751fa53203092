"""Proposing what columns mean, and checking what was confirmed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import InvalidMapping, UnreadableFile
from pim_platform.intake.mapping import ColumnMapping, Mapping, header_fingerprint, mapping_from_flat, validate
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.names import read_header, snake_case
from pim_platform.intake.proposal import Proposal, propose

SCHEMA = ProductSchema(
    fields=(SchemaField(name="price", type="price"), SchemaField(name="tags", type="array")),
    default_currency="EUR",
    default_locale="en",
)


def proposal(folder: Path, text: str, **more: object) -> Proposal:
    path = folder / "in.csv"
    path.write_text(text, "utf-8")
    return propose(path, **more)  # type: ignore[arg-type]


def targets(found: Proposal) -> list[tuple[str, str | None, str]]:
    return [(column.target, column.field, column.type) for column in found.columns]


def test_a_german_file_is_understood(tmp_path: Path) -> None:
    text = "Artikelnr;Bezeichnung;Hersteller;VK-Preis;Lagerbestand;Größe;Füllmenge\n" + "".join(
        f"A-{i};Lampe {i};Firma {i % 3};{i},50;{i};{'SML'[i % 3]};{i} ml\n" for i in range(20)
    )
    found = proposal(tmp_path, text)
    assert targets(found) == [
        ("sku", "sku", "string"),
        ("name", "name", "string"),
        ("manufacturer", "manufacturer", "string"),
        ("price", "price", "price"),
        ("stock_quantity", "stock_quantity", "number"),
        ("size", "size", "string"),
        ("attribute", "content_quantity", "string"),
    ]
    assert found.columns[3].decimal == ","
    assert found.default_currency is None
    assert found.all_sure
    assert found.suggested_schema["fields"][1] == {
        "name": "price", "type": "price", "required": False, "description": "from column 'VK-Preis'",
    }  # fmt: skip
    assert found.mapping.flat()["VK-Preis"] == "price"
    validate(found.mapping, SCHEMA, found.headers, found.fields)


def test_headers_carry_locale_currency_and_unit(tmp_path: Path) -> None:
    text = "sku,name.en,name.de,price (USD),price (EUR),Weight (kg)\n" + "".join(
        f"S{i},Lamp {i},Lampe {i},{i}.5,{i}.9,0.{i}\n" for i in range(1, 9)
    )
    found = proposal(tmp_path, text)
    assert targets(found)[1:] == [
        ("name", "name", "string"),
        ("name", "localized_name", "string"),
        ("price", "price", "multi_price"),
        ("price", "price", "multi_price"),
        ("weight", "weight", "number"),
    ]
    assert [c.currency for c in found.columns[3:5]] == ["USD", "EUR"]
    assert (found.columns[2].locale, found.columns[5].unit) == ("de", "kg")
    german = proposal(tmp_path, text, default_locale="de-DE")
    assert [column.field for column in german.columns[1:3]] == ["localized_name", "name"]


def test_short_descriptions_are_names_where_nothing_else_is_one(tmp_path: Path) -> None:
    found = proposal(tmp_path, "Item No.,Description,List Price\nI1,Chair,5.50\nI2,Table,7.25\nI3,Bench,8.10\n")
    column = found.columns[1]
    assert (column.field, column.auto) == ("name", False)
    numbers = proposal(tmp_path, "Item No.,Description,List Price\nI1,4711,5.50\nI2,4712,7.25\nI3,4713,8.10\n")
    assert numbers.columns[1].field != "name"


def test_a_sign_that_several_currencies_share_is_the_tenants_own(tmp_path: Path) -> None:
    text = "SKU,Name,Price\nA,Chair,$5.50\nB,Table,$7.25\n"
    home = ProductSchema(default_currency="CAD", default_locale="en")
    assert proposal(tmp_path, text, schema=home).columns[2].currency == "CAD"
    assert proposal(tmp_path, text).columns[2].currency == "USD"
    told = text.replace("$", "US$")
    assert proposal(tmp_path, told, schema=home).columns[2].currency == "USD"


def test_crowns_of_no_country_are_one_price_and_a_reference_number_is_the_sku(tmp_path: Path) -> None:
    found = proposal(tmp_path, "Product ID;Reference #;Name;Pris\n1;R-1;Stol;1 299,00 kr\n2;R-2;Bord;799,00 kr\n")
    assert [column.field for column in found.columns][1:] == ["sku", "name", "price"]
    assert (found.columns[3].type, found.columns[3].currency) == ("price", None)


def test_an_address_list_parted_by_blanks_is_a_list(tmp_path: Path) -> None:
    links = "https://a.example/1.jpg https://a.example/2.jpg"
    found = proposal(tmp_path, f"SKU;Name;Image URL\nA;Chair;{links}\nB;Table;https://a.example/3.jpg\n")
    assert (found.columns[2].type, found.columns[2].separator) == ("array", " ")


def test_rivals_for_one_field_are_settled_and_the_loser_keeps_a_field_of_its_own(tmp_path: Path) -> None:
    text = "id,SKU,Type,Color,Colour,active,Published\n" + "".join(
        f"{i},S-{i},simple,red,red,yes,true\n" for i in range(10)
    )
    assert targets(proposal(tmp_path, text)) == [
        ("attribute", "product_id", "string"),
        ("sku", "sku", "string"),
        ("attribute", "type", "string"),
        ("color", "color", "string"),
        ("attribute", "colour", "string"),
        ("status", "active", "boolean"),
        ("status", "status", "boolean"),
    ]


def test_what_is_not_known_is_left_to_a_person(tmp_path: Path) -> None:
    found = proposal(tmp_path, "foo,bar,empty\nx,1,\ny,2,\n")
    assert targets(found) == [
        ("attribute", "foo", "string"),
        ("attribute", "bar", "number"),
        ("ignore", None, "string"),
    ]
    assert not found.all_sure


def test_an_id_is_a_sku_only_where_it_tells_products_apart(tmp_path: Path) -> None:
    unique = proposal(tmp_path, "id,title\n" + "".join(f"{i},Red lamp {i}\n" for i in range(9)))
    assert (unique.columns[0].target, unique.columns[0].auto) == ("sku", False)
    repeated = proposal(tmp_path, "id,title\n" + "".join(f"{i % 2},Red lamp {i}\n" for i in range(9)))
    assert repeated.columns[0].target == "attribute"


def test_fields_of_the_tenants_schema_come_first(tmp_path: Path) -> None:
    schema = SCHEMA.with_fields([SchemaField(name="fill_power", type="number")])
    found = proposal(tmp_path, "sku,Fill power,Preis\na,800,3\nb,,4\n", schema=schema)
    assert targets(found)[1:] == [("attribute", "fill_power", "number"), ("price", "price", "price")]
    assert found.default_currency == "EUR"


def test_a_saved_mapping_is_applied_where_the_headers_are_the_same(tmp_path: Path) -> None:
    text = "sku,foo\na,1\nb,2\n"
    first = proposal(tmp_path, text)
    chosen = mapping_from_flat({"sku": "sku", "foo": "price"}, first.headers, SCHEMA, first.mapping)
    again = proposal(tmp_path, text, saved=chosen)
    assert again.saved
    assert again.all_sure
    assert again.columns[1].field == "price"
    other = proposal(tmp_path, "new,sku,foo\nx,a,1\ny,b,2\n", saved=chosen)
    assert not other.saved
    assert [(c.index, c.field) for c in other.columns] == [(0, "is_new"), (1, "sku"), (2, "price")]


def test_blank_and_repeated_headers_stay_addressable(tmp_path: Path) -> None:
    found = proposal(tmp_path, "sku,,x,x\na,1,2,3\nb,1,2,3\n")
    assert list(found.sample_rows[0].items()) == [("sku", "a"), ("#2", "1"), ("x", "2"), ("#4", "3")]
    assert len({column.field for column in found.columns}) == 4
    chosen = mapping_from_flat({"sku": "sku", "#4": "price"}, found.headers, SCHEMA)
    assert [column.index for column in chosen.active_columns] == [0, 3]


@pytest.mark.parametrize(
    ("flat", "code", "told"),
    [
        ({"a": "sku", "b": "nope"}, "unknown_field", "'nope'"),
        ({"a": "sku", "b": "price", "c": "price"}, "duplicate_field", "'b' and 'c'"),
        ({"b": "price"}, "no_sku_column", "'a', 'b', 'c'"),
        ({"z": "sku"}, "unknown_column", "'z'"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_naming_the_fix(
    flat: dict[str, str | None], code: str, told: str
) -> None:
    headers = ["a", "b", "c"]
    with pytest.raises(InvalidMapping) as caught:
        validate(mapping_from_flat(flat, headers, SCHEMA), SCHEMA, headers)
    assert caught.value.code == code
    assert told in caught.value.message
    assert caught.value.fix


def test_lists_take_several_columns() -> None:
    headers = ["a", "b", "c"]
    validate(mapping_from_flat({"a": "sku", "b": "tags", "c": "tags"}, headers, SCHEMA), SCHEMA, headers)


def test_fingerprints_ignore_case_space_and_marks_only() -> None:
    assert header_fingerprint(["\ufeffSKU ", "Name"]) == header_fingerprint(["sku", "name"])
    assert header_fingerprint(["sku", "name"]) != header_fingerprint(["name", "sku"])


def test_the_digest_follows_what_changes_values() -> None:
    column = ColumnMapping(source="a", index=0, target="sku", field="sku")
    renamed = column.model_copy(update={"source": "b", "confidence": 0.5, "reason": "other"})
    cleared = column.model_copy(update={"on_empty": "clear"})
    digests = [Mapping(columns=(c,)).digest() for c in (column, renamed, cleared)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("header", "key"),
    [("Variant SKU", "variant sku"), ("productDisplayName", "product display name"), ("Is featured?", "is featured")],
)
def test_headers_are_read_as_words(header: str, key: str) -> None:
    assert read_header(header).key == key


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Ärmel-Länge?", "aermel_laenge"),
        ("source", "product_source"),
        ("2nd", "field_2nd"),
        ("倉", "cang"),
        ("Гарантия", "garantiya"),
        ("?", "f"),
    ],
)
def test_field_names_are_valid(header: str, name: str) -> None:
    assert SchemaField(name=snake_case(header, "f")).name == name


def test_a_header_without_letters_or_digits_is_called_as_the_fallback_says() -> None:
    assert [snake_case("__", fallback) for fallback in ("column_3", "")] == ["column_3", ""]


def test_the_dictionaries_load() -> None:
    assert len(dictionary().targets) > 600


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile) as caught:
        proposal(tmp_path, "sku,name\n,\n")
    assert caught.value.code == "header_only"


def test_proposing_loads_no_heavy_library() -> None:
    code = "import sys, pim_platform.cli.propose, pim_platform.intake.proposal as p; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandera", "pandas", "dagster", "pyarrow"} & set(run.stdout.split())


@pytest.mark.parametrize(
    "file", ["shopify-partners/bicycles.csv", "udg-artikel/Artikel.csv", "woocommerce/sample_products.csv"]
)
def test_sku_and_name_of_real_catalogues_are_found(file: str, catalogues: Path) -> None:
    found = propose(catalogues / file).mapping
    assert [str(column and column.source) for column in map(found.column_of, ("sku", "name"))] in (
        ["Variant SKU", "Title"], ["Hauptartikelnr", "Artikelname"], ["SKU", "Name"],
    )  # fmt: skip
