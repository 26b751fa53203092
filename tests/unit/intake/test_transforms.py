"""Steps on a column's cells, repairs of what spreadsheets do, and fields that hold a value per locale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import InvalidMapping
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping import ColumnMapping, Mapping, validate
from pim_platform.intake.mapping.transforms import Transform
from pim_platform.intake.proposal import propose
from pim_platform.intake.staging import StageResult, stage

SCHEMA = ProductSchema(
    fields=(
        SchemaField(name="brand"),
        SchemaField(name="gtin"),
        SchemaField(name="weight", type="number"),
        SchemaField(name="tags", type="array"),
        SchemaField(name="title", localizable=True),
        SchemaField(name="uvp", type="price", localizable=True),
    ),
    default_currency="EUR",
    default_locale="de-DE",
)
STEPS: TypeAdapter[tuple[Transform, ...]] = TypeAdapter(tuple[Transform, ...])


def column(index: int, field: str, *steps: dict[str, Any], **more: Any) -> ColumnMapping:
    known = SCHEMA.field(field)
    kind = known.type if known else "string"
    transform = STEPS.validate_python(steps)
    return ColumnMapping(source=f"c{index}", index=index, field=field, type=kind, transform=transform, **more)


def staged(tmp_path: Path, rows: list[list[str]], *columns: ColumnMapping) -> StageResult:
    path = tmp_path / "in.csv"
    path.write_text(
        "\n".join(";".join(row) for row in [["sku", *(f"c{i + 1}" for i in range(len(rows[0]) - 1))], *rows])
    )
    mapping = Mapping(columns=(ColumnMapping(source="sku", index=0, target="sku", field="sku"), *columns))
    return stage(path, Dialect(delimiter=";"), mapping, SCHEMA, tmp_path / "out")


def values(result: StageResult, name: str) -> list[Any]:
    return pl.read_parquet(result.staged)[name].to_list()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"op": "constant", "value": "x"}], ["x", "x", "x"]),
        ([{"op": "default", "value": "none"}], ["Big  Red,old", "none", "blue-1"]),
        ([{"op": "trim"}], ["Big Red,old", None, "blue-1"]),
        ([{"op": "trim", "characters": "Bd1"}], ["ig  Red,ol", None, "blue-"]),
        ([{"op": "replace", "find": "e", "replacement": "E"}], ["Big  REd,old", None, "bluE-1"]),
        (
            [{"op": "replace", "find": r"(\w)\W+(\w)", "replacement": "$2$1", "regex": True}],
            ["BiRgeodld", None, "blu1e"],
        ),
        ([{"op": "replace", "find": ".", "replacement": ""}], ["Big  Red,old", None, "blue-1"]),
        ([{"op": "split", "separator": ","}], ["Big  Red", None, "blue-1"]),
        ([{"op": "split", "separator": ",", "part": 2}], ["old", None, None]),
        ([{"op": "split", "separator": "-", "part": -1}], ["Big  Red,old", None, "1"]),
        ([{"op": "join", "columns": [0], "separator": "/"}], ["Big  Red,old/A", "B", "blue-1/C"]),
        ([{"op": "map", "values": {"BLUE-1": "b"}}], ["Big  Red,old", None, "b"]),
        ([{"op": "map", "values": {"BLUE-1": "b"}, "otherwise": "empty"}], [None, None, "b"]),
        ([{"op": "prefix", "text": "<"}, {"op": "suffix", "text": ">"}], ["<Big  Red,old>", None, "<blue-1>"]),
        ([{"op": "case", "to": "upper"}], ["BIG  RED,OLD", None, "BLUE-1"]),
        ([{"op": "case", "to": "title"}], ["Big  Red,Old", None, "Blue-1"]),
    ],
)
def test_steps_change_cells_before_they_are_parsed(
    steps: list[dict[str, Any]], expected: list[Any], tmp_path: Path
) -> None:
    result = staged(tmp_path, [["A", "Big  Red,old"], ["B", ""], ["C", "blue-1"]], column(1, "brand", *steps))
    assert values(result, "f.brand") == expected
    assert values(result, "raw.1") == ["Big  Red,old", None, "blue-1"]


def test_types_are_parsed_after_the_steps(tmp_path: Path) -> None:
    result = staged(
        tmp_path,
        [["A", "ca. 5 kg", "x/y"], ["B", "heavy", "z"]],
        column(1, "weight", {"op": "replace", "find": "ca.", "replacement": ""}, unit="kg"),
        column(2, "tags", {"op": "replace", "find": "/", "replacement": "|"}, separator="|"),
    )
    assert values(result, "f.weight") == ["5"]
    assert values(result, "f.tags") == ['["x","y"]']
    assert result.sample_rejects[0]["value"] == "heavy"


def test_dates_become_iso_and_others_are_rejected(tmp_path: Path) -> None:
    cells = ["31.12.2024", "1/2/99", "2024-05-06", "2024-05-06T10:00:00Z", "31.02.2024", "soon", ""]
    rows = [[str(i), cell] for i, cell in enumerate(cells)]
    result = staged(tmp_path, rows, column(1, "brand", {"op": "date", "order": "DMY"}))
    assert values(result, "f.brand") == ["2024-12-31", "1999-02-01", "2024-05-06", "2024-05-06", None]
    assert result.reasons == {"transform_failed": 2}
    assert "expected a date in the order DMY" in result.sample_rejects[0]["error"]


def test_a_map_may_reject_what_it_does_not_name(tmp_path: Path) -> None:
    step = {"op": "map", "values": {"r": "red"}, "otherwise": "reject"}
    result = staged(tmp_path, [["A", "R"], ["B", "q"], ["C", ""]], column(1, "brand", step))
    assert values(result, "f.brand") == ["red", None]
    assert [(r["row"], r["error_code"]) for r in result.sample_rejects] == [(3, "transform_failed")]


def test_the_hash_changes_with_the_transform_only(tmp_path: Path) -> None:
    plain = staged(tmp_path, [["A", "x"]], column(1, "brand"))
    first = values(plain, "row_hash")
    other = staged(tmp_path, [["A", "x"]], column(1, "brand", {"op": "case", "to": "lower"}))
    assert values(other, "f.brand") == ["x"]
    assert values(other, "row_hash") != first
    without = Mapping(columns=(column(1, "brand"),)).columns[0].model_dump(exclude={"transform"})
    assert Mapping(columns=(ColumnMapping(**without),)).digest() == Mapping(columns=(column(1, "brand"),)).digest()


def test_a_mapping_with_transforms_survives_json() -> None:
    mapping = Mapping(columns=(column(0, "sku", {"op": "replace", "find": "a", "replacement": "b"}),))
    assert Mapping.model_validate_json(mapping.model_dump_json()) == mapping
    assert Mapping.model_validate(mapping.model_dump()) == mapping


@pytest.mark.parametrize(
    "step",
    [
        {"op": "shout"},
        {"op": "split", "separator": ",", "part": 0},
        {"op": "map", "values": {}},
        {"op": "case", "to": "camel"},
        {"op": "prefix", "text": "a", "more": 1},
    ],
)
def test_unknown_steps_are_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        STEPS.validate_python([step])


@pytest.mark.parametrize(
    "step", [{"op": "join", "columns": [7]}, {"op": "replace", "find": "(", "regex": True}]
)  # fmt: skip
def test_steps_that_do_not_fit_the_file_name_column_and_step(step: dict[str, Any]) -> None:
    mapping = Mapping(columns=(column(0, "sku"), column(1, "brand", {"op": "trim"}, step)))
    with pytest.raises(InvalidMapping) as caught:
        validate(mapping, SCHEMA, ["c0", "c1"])
    assert caught.value.code == "invalid_transform"
    assert "'c1': step 2" in caught.value.message


def test_marks_of_spreadsheets_are_taken_off_and_counted(tmp_path: Path) -> None:
    rows = [["'030955", "'12", "'90s lamp"], ['"=""0012"""', "3", "Cafe\u0301"], ["\u200bA\u200b", "4", "'t Hof"]]
    result = staged(tmp_path, rows, column(1, "weight"), column(2, "brand"))
    assert values(result, "sku") == ["030955", "0012", "A"]
    assert values(result, "f.weight") == ["12", "3", "4"]
    assert values(result, "f.brand") == ["'90s lamp", "Café", "'t Hof"]
    assert result.repairs == {"text_marker_removed": 3, "composed_characters": 1, "invisible_characters_removed": 1}


def test_identifiers_that_a_spreadsheet_rounded_are_rejected_with_the_fix(tmp_path: Path) -> None:
    rows = [["1,76701E+15", "4006381333931"], ["A", "4.00638E+12"], ["1E5", "0012"], ["B-1E+15", ""]]
    result = staged(tmp_path, rows, column(1, "gtin", target="gtin"))
    assert values(result, "sku") == ["1E5", "B-1E+15"]
    assert values(result, "f.gtin") == ["0012", None]
    assert result.reasons == {"rounded_identifier": 2}
    assert "as text" in result.sample_rejects[0]["suggestion"]


def test_scientific_notation_stays_what_it_is_where_it_is_no_identifier(tmp_path: Path) -> None:
    result = staged(tmp_path, [["A", "1.5E+10", "1.5E+10"]], column(1, "weight"), column(2, "brand"))
    assert values(result, "f.weight") == ["1.5E+10"]
    assert values(result, "f.brand") == ["1.5E+10"]


def test_columns_of_several_locales_make_one_object(tmp_path: Path) -> None:
    rows = [["A", 'say ""hi""', "Lampe", "5"], ["B", "", "Becher", ""], ["C", "", "", "6 USD"]]
    rows[0][1] = '"say ""hi"""'
    result = staged(
        tmp_path, rows, column(1, "title", locale="en_us"), column(2, "title"), column(3, "uvp", locale="de-AT")
    )
    found = [json.loads(value) if value else None for value in values(result, "f.title")]
    assert found == [{"en-US": 'say "hi"', "de-DE": "Lampe"}, {"de-DE": "Becher"}, None]
    assert json.loads(values(result, "f.uvp")[0]) == {"de-AT": {"amount": 5, "currency": "EUR"}}


def test_a_locale_feeds_a_field_once() -> None:
    columns = (column(0, "sku"), column(1, "title", locale="de-de"), column(2, "title"))
    with pytest.raises(InvalidMapping) as caught:
        validate(Mapping(columns=columns), SCHEMA, ["c0", "c1", "c2"])
    assert caught.value.code == "duplicate_field"
    assert "one value per locale" in caught.value.message


def test_translations_are_proposed_as_values_of_one_field(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    header = "sku,name.en,name.de,description.en,description.de,price (EUR),price (USD)"
    rows = [f"A{i},Lamp {i},Lampe {i},A nice lamp {i},Eine Lampe {i},{i}.50,{i}.99" for i in range(5)]
    path.write_text("\n".join([header, *rows]))
    found = propose(path, default_currency="EUR", default_locale="en-US")
    assert [column.field for column in found.columns] == [
        "sku", "name", "localized_name", "description", "description", "price", "price",
    ]  # fmt: skip
    assert {field.name: (field.type, field.localizable) for field in found.fields} == {
        "localized_name": ("string", True),
        "description": ("string", True),
        "price": ("multi_price", False),
    }
    schema = ProductSchema(fields=tuple(found.fields), default_currency="EUR", default_locale="en-US")
    result = stage(path, found.dialect, found.mapping, schema, tmp_path / "out")
    assert json.loads(values(result, "f.description")[0]) == {"en": "A nice lamp 0", "de": "Eine Lampe 0"}
    assert json.loads(values(result, "f.localized_name")[0]) == {"de": "Lampe 0"}
    settled = ProductSchema(fields=(SchemaField(name="description"),), default_currency="EUR", default_locale="en-US")
    again = propose(path, schema=settled)
    assert [column.field for column in again.columns][3:5] == ["description", "description_de"]
