"""List cells of trees: one value is taken out, several are told, amounts find their currencies."""

from __future__ import annotations

import json
from typing import Literal

import polars as pl
import pytest

from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.listed import holds_lists, one_gtin, one_value, priced
from pim_platform.intake.mapping.models import ColumnMapping, Mapping
from pim_platform.intake.plan import compile_plan
from pim_platform.intake.profile import profile_columns
from pim_platform.intake.validation import Judged, Validator


def judged(kind: FieldType, cells: list[str | None], *, currencies: list[str | None] | None = None) -> Judged:
    """A batch with a column ``x`` of a type, from a JSON file, after judgement."""
    columns = [
        ColumnMapping(source="sku", index=0, target="sku", field="sku", type="string"),
        ColumnMapping(source="x", index=1, target="attribute", field="x", type=kind),
    ]
    frame = {"row": range(1, len(cells) + 1), "raw.0": [f"S{i}" for i in range(len(cells))], "raw.1": cells}
    if currencies is not None:
        columns.append(ColumnMapping(source="cur", index=2, target="currency", field="cur", type="array"))
        frame["raw.2"] = currencies
    schema = ProductSchema(fields=[SchemaField(name="x", type=kind)], default_currency="EUR", default_locale="en")
    plan = compile_plan(Mapping(columns=tuple(columns)), schema, Dialect(format="json"), "EUR")
    batch = plan.apply(pl.DataFrame(frame, schema_overrides={"row": pl.Int64, "raw.1": pl.String}))
    return Validator(plan).judge(batch)


def test_a_list_of_one_value_is_that_value_however_often_it_is_repeated() -> None:
    found = judged("number", ['["0.19","0.19"]', '["7"]', "8", '["",""]', None])
    assert found.valid["f.x"].to_list() == ["0.19", "7", "8", None, None]
    assert found.rejects.height == 0


def test_several_values_for_a_field_of_one_are_a_reject_that_says_so() -> None:
    found = judged("number", ['["1","2"]', "3"])
    assert found.valid["f.x"].to_list() == ["3"]
    reject = found.rejects.row(0, named=True)
    assert (reject["row"], reject["column"], reject["error_code"]) == (1, "x", "several_values")
    assert "expected one value" in reject["error"]
    assert reject["raw.1"] == '["1","2"]', "the reject keeps the whole cell"


def test_a_text_field_takes_the_different_entries_as_one_text() -> None:
    found = judged("string", ['["a","b","a",""]', f'["{"long " * 20}","b"]', "plain"])
    assert found.valid["f.x"].to_list() == ["a, b", f"{('long ' * 20).strip()}\nb", "plain"]


@pytest.mark.parametrize(
    ("cell", "value", "several"),
    [
        ('["1844546721","9781844546725"]', "9781844546725", False),
        ('["4006381333931","04006381333931"]', "04006381333931", False),
        ('["4006381333931","9781844546725"]', '["4006381333931","9781844546725"]', True),
        ('["abc","def"]', '["abc","def"]', True),
        ('["123"]', "123", False),
        ("4006381333931", "4006381333931", False),
    ],
)
def test_the_only_valid_gtin_is_taken_from_among_other_numbers(cell: str, value: str, several: bool) -> None:
    cells, found = one_gtin(pl.Series("x", [cell]))
    assert (cells.to_list(), found.to_list()) == ([value], [several])


def test_identifiers_are_never_joined() -> None:
    columns = (ColumnMapping(source="sku", index=0, target="sku", field="sku", type="string"),)
    schema = ProductSchema(fields=[], default_currency="EUR", default_locale="en")
    plan = compile_plan(Mapping(columns=columns), schema, Dialect(format="xml"))
    batch = plan.apply(pl.DataFrame({"row": [1, 2], "raw.0": ['["A","B"]', '["C","C"]']}))
    found = Validator(plan).judge(batch)
    assert found.valid["sku"].to_list() == ["C"]
    assert "several_values" in found.rejects["error_code"][0]


def test_a_list_field_takes_the_whole_list() -> None:
    found = judged("array", ['["a","b"]', '["c",""]'])
    assert [json.loads(cell) for cell in found.valid["f.x"]] == [["a", "b"], ["c"]]


def test_amounts_in_a_list_pair_with_the_currencies_at_their_places() -> None:
    found = judged("multi_price", ['["1.50","2"]', '["3","4"]'], currencies=['["EUR","usd"]', '["CHF","CHF"]'])
    assert [json.loads(cell) for cell in found.valid["f.x"]] == [
        [{"amount": 1.5, "currency": "EUR"}, {"amount": 2, "currency": "USD"}],
        [{"amount": 3, "currency": "CHF"}, {"amount": 4, "currency": "CHF"}],
    ]


@pytest.mark.parametrize(("decimal", "cell", "expected"), [
    (",", '["1,50"]', '[{"amount":1.50,"currency":"EUR"}]'),
    (".", '["1,50"]', '["1,50"]'),
    (".", '["abc"]', '["abc"]'),
    (".", "12.50", "12.50"),
])  # fmt: skip
def test_only_plain_amounts_become_prices(decimal: Literal[".", ","], cell: str, expected: str) -> None:
    assert priced(pl.Series(["x", cell]), None, "EUR", decimal).to_list()[1] == expected


def test_text_in_brackets_that_is_no_list_stays() -> None:
    cells, several = one_value(pl.Series(["[sale]", '["broken"', '["a",1]', '[""]']))
    assert cells.to_list() == ["[sale]", '["broken"', '["a",1]', None]
    assert not several.any()
    assert not holds_lists(Dialect(format="csv")), "a CSV cell in brackets is a text"


def test_a_profile_looks_inside_lists() -> None:
    headers = ["tax", "images[]", "tags", "plain"]
    frame = pl.DataFrame({
        "raw.0": ['["0.19","0.19"]', "0.07"],
        "raw.1": ['["https://a.example/1.jpg"]', '["https://a.example/2.jpg"]'],
        "raw.2": ['["a","b"]', "c"],
        "raw.3": ["x", "y"],
    })  # fmt: skip
    tax, images, tags, plain = profile_columns(frame, headers)
    assert (tax.type, tax.listed) == ("number", True)
    assert (images.type, images.url_share) == ("array", 1.0)
    assert (tags.type, plain.listed) == ("array", False)
