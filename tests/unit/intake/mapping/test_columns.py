"""What single headers and paths mean, with and without the help of their cells."""

from __future__ import annotations

import polars as pl
import pytest

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.mapping.candidate import SURE
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.mapping.propose import propose_mapping
from pim_platform.intake.profile import profile_columns


def proposed(columns: dict[str, list[str | None]]) -> dict[str, ColumnMapping]:
    """The proposal for a file with these columns."""
    height = max(map(len, columns.values()))
    cells = [column + [None] * (height - len(column)) for column in columns.values()]
    frame = pl.DataFrame({f"{RAW_PREFIX}{i}": pl.Series(c, dtype=pl.String) for i, c in enumerate(cells)})
    found = propose_mapping(list(columns), profile_columns(frame, list(columns)))
    return {column.source: column for column in found}


def target_of(header: str, *cells: str) -> str:
    """What one column means in a file that has a SKU as well."""
    filled: list[str | None] = list(cells) or ["x"]
    return proposed({"sku": [f"S-{i}" for i in range(len(filled))], header: filled})[header].target


@pytest.mark.parametrize(
    ("header", "cells", "target"),
    [
        ("Verkaufspreis inkl. MwSt.", ["12,50", "9,90"], "price"),
        ("Prix public TTC", ["12,50", "9,90"], "price"),
        ("Cena sprzedaży brutto", ["12,50", "9,90"], "price"),
        ("Main Picture Link", ["https://x.example/a.jpg"], "image_url"),
        ("Bild-URL 3", ["https://x.example/a.jpg"], "image_url"),
        ("Manufacturer/Hersteller", ["Acme", "Bolt"], "manufacturer"),
        ("GTIN, UPC oder EAN", ["4006381333931"], "gtin"),
        ("Libellé du produit", ["Chaise", "Table"], "name"),
        ("WeightG", ["120", "90"], "weight"),
        ("Вес, кг", ["1,2", "3"], "weight"),
        ("商品画像URL", ["https://x.example/a.jpg"], "image_url"),
        ("Discription", ["A long text about the lamp and its shade"], "description"),
        ("nom de l'attribut 1", ["Couleur"], "option_name"),
        ("Attribut 1 Wert(e)", ["Rot"], "option_value"),
    ],
)
def test_what_does_not_change_the_meaning_is_left_out(header: str, cells: list[str], target: str) -> None:
    assert target_of(header, *cells) == target


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("price_unit", ["kg", "l"]),
        ("category_id", ["12", "14"]),
        ("image alt", ["a lamp", "a desk"]),
        ("delivery_date", ["2", "3"]),
        ("Anzahl Türen", ["2", "4"]),
        ("Weight capacity", ["120", "90"]),
        ("Name of artist", ["Ann Holm", "Bo Lind"]),
        ("supplier sku", ["1", "2"]),
        ("Frame material", ["steel", "wood"]),
        ("In stock?", ["1", "0"]),
        ("stock status", ["instock", "outofstock"]),
        ("b", ["2", "5"]),
    ],
)
def test_what_only_looks_like_a_target_is_an_attribute(header: str, cells: list[str]) -> None:
    assert target_of(header, *cells) == "attribute"


@pytest.mark.parametrize(
    ("path", "cells", "target"),
    [
        ("brand.name", ["Acme", "Bolt"], "brand"),
        ("offers.price", ["1.5", "2.5"], "price"),
        ("offers.seller.name", ["Shop", "Shop"], "attribute"),
        ("variants[].barcode", ['["4006381333931"]'], "gtin"),
        ("dimensions.width", ["1", "2"], "dimensions"),
        ("weight.value", ["1", "2"], "weight"),
        ("meta.barcode", ["4006381333931"], "gtin"),
        ("reviews[].rating", ['["5","4"]'], "attribute"),
        ("categories[].name", ['["a","b"]'], "category"),
        ("categories[].id", ['["1","2"]'], "attribute"),
        ("images[].alt", ['["a","b"]'], "attribute"),
        ("Measure/MeasureTypeCode", ["08"], "ignore"),
        ("brand.@type", ["Brand"], "ignore"),
        ("Category/Name/@Value", ["Lamps"], "category"),
        ("Produkt/Zdjecia/Zdjecie", ["https://x.example/a.jpg"], "image_url"),
        ("Товар/Штрихкод", ["4006381333931"], "gtin"),
        ("productidentifier/b244", ["9780306406157"], "gtin"),
        ("titledetail/titleelement/b203", ["Rivers"], "name"),
        ("masterVariant.prices[].value.currencyCode", ['["EUR","USD"]'], "currency"),
        ("unknown.thing.name", ["a", "b"], "attribute"),
        ("PARAM[Barva]", ["modrá", "bílá"], "color"),
        ("PARAM[Délka kabelu]", ["2 m"], "attribute"),
    ],
)
def test_a_path_means_what_its_parents_make_of_it(path: str, cells: list[str], target: str) -> None:
    assert target_of(path, *cells) == target


def test_raw_names_and_values_are_ignored_where_each_name_has_a_column() -> None:
    found = proposed(
        {
            "ITEM_ID": ["1", "2"],
            "PARAM/PARAM_NAME": ["Barva", "Barva"],
            "PARAM/VAL": ["modrá", "bílá"],
            "PARAM[Barva]": ["modrá", "bílá"],
        }
    )
    assert [c.target for c in found.values()] == ["sku", "ignore", "ignore", "color"]
    assert "column of its own" in found["PARAM/VAL"].reason


def test_measures_of_onix_are_told_apart_by_their_type() -> None:
    weight = proposed({"a001": ["1"], "measure/c093": ["08"], "measure/c094": ["720"]})
    size = proposed({"a001": ["1"], "measure/c093": ['["01","02"]'], "measure/c094": ['["10","7"]']})
    assert (weight["measure/c094"].target, size["measure/c094"].target) == ("weight", "dimensions")


def test_the_price_with_tax_is_the_price_where_there_are_two() -> None:
    found = proposed({"ITEM_ID": ["1", "2"], "PRICE": ["100", "200"], "PRICE_VAT": ["121", "242"]})
    assert (found["PRICE_VAT"].target, found["PRICE_VAT"].field) == ("price", "price")
    assert (found["PRICE"].target, found["PRICE"].type) == ("attribute", "price")


def test_a_part_number_beside_a_sku_is_the_makers() -> None:
    both = proposed({"item_sku": ["A", "B"], "part_number": ["P1", "P2"]})
    alone = proposed({"part_number": ["P1", "P2"], "name": ["Red lamp", "Blue lamp"]})
    assert both["part_number"].target == "mpn"
    assert alone["part_number"].target == "sku"


def test_what_stands_in_for_a_missing_sku_is_never_taken_without_asking() -> None:
    found = proposed({"EAN": ["4006381333931", "4006381333948"], "Name": ["Red lamp", "Blue lamp"]})
    assert (found["EAN"].target, found["EAN"].field, found["EAN"].auto) == ("gtin", "sku", False)
    assert "stands in" in found["EAN"].reason
    repeated = proposed({"EAN": ["4006381333931", "4006381333931"], "Name": ["Red lamp", "Blue lamp"]})
    assert repeated["EAN"].field == "gtin"


def test_doubtful_meanings_are_not_taken_without_asking() -> None:
    found = proposed({"id": ["1", "2", "3"], "Shelf price": ["1.50", "2.50", "3.75"], "title": ["A b", "C d", "E f"]})
    assert (found["Shelf price"].target, found["id"].target) == ("price", "sku")
    assert not found["Shelf price"].auto
    assert not found["id"].auto
    assert all(column.auto == (column.confidence >= SURE) for column in found.values())


@pytest.mark.parametrize(
    ("header", "cells", "kind"),
    [
        ("PublicationDate", ["20080701", "20070501"], "string"),
        ("delivery_days", ["2", "14"], "number"),
        ("customs code", ["39269097", "73239100"], "string"),
        ("internal code", ["0012", "0450"], "string"),
        ("number of pages", ["320", "96"], "number"),
        ("reviews[].rating", ['["5","4"]'], "array"),
        ("variants[].inventory_quantity", ['["5","4"]'], "array"),
        ("variants[].inventory_quantity", ['["5","5"]'], "number"),
        ("variants[].price", ['["5.50","4.50"]'], "multi_price"),
        ("variants[].in_stock", ['["true","false"]'], "array"),
        ("measures[weight]", ['["5","4"]'], "array"),
        ("variants[].manage_inventory", ['["true","true"]'], "boolean"),
        ("prices[].amount", ['["19.50","22.00"]'], "multi_price"),
        ("price", ["EUR 5.00", "EUR 7.50"], "price"),
        ("CATEGORYTEXT", ["Home | Lamps", "Home | Desks"], "string"),
        ("Categories", ["Home, Lamps", "Home, Desks"], "array"),
        ("has battery", ["1", "0"], "boolean"),
    ],
)
def test_types_follow_meaning_and_cells(header: str, cells: list[str], kind: str) -> None:
    assert proposed({"sku": ["a", "b"], header: [*cells]})[header].type == kind


def test_lists_of_the_variants_leave_fields_of_one_value_alone() -> None:
    cells = {
        "variants[].sku": ['["a-1","a-2"]', '["b-1","b-2"]'],
        "product_code": ["a", "b"],
        "variants[].stock": ['["1","2"]'],
    }
    columns = proposed({**cells})
    assert columns["variants[].sku"].target != "sku"
    assert columns["product_code"].field == "sku"
    assert columns["variants[].stock"].field == "variant_stock"
    assert columns["variants[].stock"].type == "array"


def test_fields_of_several_columns_have_names_of_their_own() -> None:
    columns: dict[str, list[str | None]] = {
        "sku": ["a"], "image": ["https://x.example/1.jpg"], "image 2": ["https://x.example/2.jpg"], "Farbton": ["red"],
        "Farbe": ["blue"], "Гарантия": ["12 мес"], "reviews[].comment": ['["good","bad"]'], "Foo!": ["1"], "foo": ["2"],
    }  # fmt: skip
    fields = [column.field for column in proposed(columns).values()]
    assert len(set(fields)) == len(fields)


def test_a_price_list_without_names_is_named_by_its_short_descriptions() -> None:
    found = proposed({"CODIGO": ["01", "02"], "DESCRIPCION": ["Tornillo M4", "Tuerca M5"], "PVP": ["0,10", "0,05"]})
    assert (found["DESCRIPCION"].target, found["DESCRIPCION"].auto) == ("name", False)
    both = proposed({"sku": ["01", "02"], "name": ["A b", "C d"], "description": ["Short one", "Short two"]})
    assert both["description"].target == "description"


@pytest.mark.parametrize(
    ("header", "target", "field"),
    [
        ("Art.Nr. Hersteller", "mpn", "mpn"),
        ("Lief.-Art.-Nr.", "attribute", "supplier_sku"),
        ("Länge/Breite/Höhe", "dimensions", "dimensions"),
        ("Eigenschaften: Farbe", "color", "color"),
    ],
)
def test_names_made_of_known_words_are_understood(header: str, target: str, field: str) -> None:
    found = proposed({"sku": ["a", "b"], header: ["10x2x3", "12x3x4"]})[header]
    assert (found.target, found.field) == (target, field)


def test_languages_before_and_behind_a_name_are_told() -> None:
    found = proposed(
        {"sku": ["a"], "NL_Titel": ["Lamp"], "DE_Titel": ["Lampe"], "sl_no": ["1"], "Titel-fr_FR": ["Lampe"]}
    )
    assert [column.locale for column in found.values()] == [None, "nl", "de", None, "fr-FR"]
    assert [column.target for column in found.values()] == ["sku", "name", "name", "attribute", "name"]


@pytest.mark.parametrize(
    ("header", "target"),
    [("retailer_id", "sku"), ("offerId", "sku"), ("MATNR", "sku"), ("EAN11", "gtin"), ("MAKTX", "name")],
)
def test_names_of_marketplaces_and_sap_are_known(header: str, target: str) -> None:
    cells = ["4006381333931", "4006381333948"] if target == "gtin" else ["Pump one", "Pump two"]
    assert proposed({header: [*cells]})[header].target == target


def test_ids_of_currencies_name_no_currency() -> None:
    cells = ['["b7d2554b0ce847cd82f3ac9bd1c0dfca"]', '["b7d2554b-0ce8-47cd-82f3-ac9bd1c0dfca"]']
    columns = proposed({"sku": ["a", "b"], "price[].currencyId": [*cells], "price[].gross": ['["5.00"]', '["6.00"]']})
    assert columns["price[].currencyId"].target != "currency"


@pytest.mark.parametrize("header", ["price_cents", "price.centAmount", "price in cents", "prices[].value.centAmount"])
def test_cents_are_no_price(header: str) -> None:
    assert proposed({"sku": ["a", "b"], header: ["1999", "2999"]})[header].target == "attribute"


@pytest.mark.parametrize("header", ["descr", "desc", "translated.name", "attributes.translated.name"])
def test_a_file_whose_name_is_elsewhere_has_one(header: str) -> None:
    columns = proposed({"itemNumber": ["a", "b"], header: ["Valve small", "Valve big"], "price": ["1.50", "2.50"]})
    assert columns[header].field == "name"


@pytest.mark.parametrize("header", ["variants[].options[Color]", "variants.edges[].node.selectedOptions[Color]"])
def test_names_of_the_variants_lists_are_looked_up(header: str) -> None:
    assert proposed({"variants[].sku": ["a", "b"], header: ["red", "blue"]})[header].target == "color"


def test_the_id_of_a_node_is_no_category() -> None:
    columns = proposed({"variants.edges[].node.sku": ["a", "b"], "variants.edges[].node.id": ["g/1", "g/2"]})
    assert columns["variants.edges[].node.id"].field != "category_id"


def test_a_currency_within_a_path_is_that_of_its_amounts() -> None:
    found = proposed({"sku": ["A"], "prices.EUR.gross": ["10.5"], "prices.USD.gross": ["12"], "sizes.ALL.value": ["3"]})
    assert {name: column.currency for name, column in found.items()} == {
        "sku": None,
        "prices.EUR.gross": "EUR",
        "prices.USD.gross": "USD",
        "sizes.ALL.value": None,
    }
    assert {found[name].field for name in ("prices.EUR.gross", "prices.USD.gross")} == {"price"}


def test_several_values_for_one_text_are_for_a_person_to_see() -> None:
    names: list[str | None] = ['["Leuchte 0","Lamp 0"]', '["Leuchte 1","Lamp 1"]']
    found = proposed({"sku": ["A", "B"], "values.name[].data": names})["values.name[].data"]
    assert (found.target, found.auto) == ("name", False)
    assert "several values" in found.reason
