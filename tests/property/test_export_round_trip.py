"""Whatever a catalogue holds, a file written of it and read again gives the values that were there, in every format.

No engine takes part: the writers get the texts that PostgreSQL would give, and what the import makes of the file is
compared with them as the merge would compare it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pim_platform.catalog.exporting.layout import ExportColumn, chosen_fields, columns_of
from pim_platform.catalog.exporting.parquet_out import parquet_pieces
from pim_platform.catalog.exporting.texts import csv_pieces, json_pieces
from pim_platform.catalog.exporting.workbook import write_workbook
from pim_platform.catalog.notation import guard, guard_foreign, guarded, guarded_foreign, unguard, unguard_foreign
from pim_platform.catalog.schema import SchemaField
from pim_platform.intake.plan import compile_plan
from pim_platform.intake.proposal import propose
from pim_platform.intake.readers.limits import Limits
from pim_platform.intake.readers.opening import OpenFile
from pim_platform.intake.validation import Validator
from pim_platform.storage import exact_json
from tests.support.odd_catalogue import ODD_TEXTS, SCHEMA

OTHERS = ("jsonl", "xlsx", "parquet")
SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
LOCALES = ("en-US", "de-DE", "zh-Hant-TW")
# PostgreSQL stores no NUL, UTF-8 no surrogates; XML has no name for U+FFFE and U+FFFF.
texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\ufffe\uffff"), max_size=12),
)
numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20),
    st.sampled_from([Decimal(n) for n in ("0", "-0.00001", "1234567890123456789.5", "1e-20", "0.1", "1.50", "1e25")]),
).map(lambda number: Decimal(format(number, "f")))
prices = st.fixed_dictionaries({"amount": numbers, "currency": st.sampled_from(["EUR", "USD", "JPY", "KWD"])})
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": texts,
    "number": numbers,
    "boolean": st.booleans(),
    "array": st.lists(texts, max_size=3),
    "url": st.sampled_from(["https://a.example/x?y=1,2|3", "http://ä.example/=1"]),
    "price": prices,
    "multi_price": st.lists(
        st.fixed_dictionaries(
            {"amount": numbers, "currency": st.sampled_from(["EUR", "USD"])},
            optional={"locale": st.sampled_from(["de-DE", "und-CH"]), "channel": st.sampled_from(["web"])},
        ),
        max_size=2,
    ),
}


def _of(field: SchemaField) -> st.SearchStrategy[Any]:
    value = VALUES[field.type]
    if field.localizable:
        value = st.dictionaries(st.sampled_from(LOCALES), value, min_size=1, max_size=2)
    return st.dictionaries(st.sampled_from(["web", "print"]), value, min_size=1) if field.scopable else value


data = st.fixed_dictionaries({}, optional={field.name: _of(field) for field in SCHEMA.fields})
products = st.lists(
    st.fixed_dictionaries(
        {
            "name": texts,
            "active": st.booleans(),
            "kind": st.sampled_from(["simple", "parent", "variant", "bundle"]),
            "parent_sku": st.none() | st.sampled_from(["P-1", "=P"]),
            "variant_group": st.none() | texts.filter(lambda text: text.strip()),
            "data": data,
        }
    ),
    min_size=1,
    max_size=4,
)


def _dumps(value: Any) -> str:
    return exact_json.dumps(value)


def _cell(column: ExportColumn, product: dict[str, Any], form: str) -> str | None:
    """What PostgreSQL would answer for one column of one product (see ``exporting.reading``)."""
    value = product.get(column.name) if column.own else product["data"].get(column.name)
    if column.locale is not None:
        value = None if value is None else value.get(column.locale)
    if value is None:
        return None
    if form == "json":
        return _dumps(value)
    if column.kind == "boolean":
        return "true" if value else "false"
    if column.kind == "number":
        return format(value, "f")
    if column.kind == "price":
        return f"{value['currency']} {value['amount']:f}"
    return value if isinstance(value, str) else _dumps(value)


def _written(rows: list[dict[str, Any]], form: str, folder: Path, *, formulas: bool) -> Path:
    locales = None if form == "jsonl" else {field.name: list(LOCALES) for field in SCHEMA.fields if field.localizable}
    columns = columns_of(SCHEMA, chosen_fields(SCHEMA, None), locales)
    kind = "json" if form == "jsonl" else "cells"
    frame = pl.DataFrame(
        {column.header: [_cell(column, row, kind) for row in rows] for column in columns},
        schema={column.header: pl.String for column in columns},
    )

    def frames() -> Iterator[pl.DataFrame]:
        yield frame.head(1)
        if frame.height > 1:
            yield frame.slice(1)

    path = folder / f"export.{form}"
    if form == "csv":
        path.write_bytes(b"".join(csv_pieces(columns, frames(), formulas=formulas)))
    elif form == "jsonl":
        path.write_bytes(b"".join(json_pieces(columns, frames())))
    elif form == "parquet":
        digits = {c.header: _digits(frame[c.header], c.kind) for c in columns if c.kind in ("number", "price")}
        path.write_bytes(b"".join(parquet_pieces(columns, frames(), lambda _: digits)))
    else:
        write_workbook(columns, frames(), path, formulas=formulas)
    return path


def _digits(cells: pl.Series, kind: str) -> tuple[int, int]:
    found = [Decimal(cell.split(" ")[-1]) for cell in cells.drop_nulls().to_list()]
    shown = [format(abs(number), "f").partition(".") for number in found] or [("0", "", "")]
    return max(len(whole) for whole, _, _ in shown), max(len(behind) for _, _, behind in shown)


def _imported(path: Path) -> list[dict[str, Any]]:
    proposal = propose(path, schema=SCHEMA, default_currency="EUR", default_locale="en-US")
    assert proposal.dialect.notation == "own"
    assert proposal.all_sure
    assert not proposal.groupings
    plan = compile_plan(proposal.mapping, SCHEMA, proposal.dialect)
    found: list[dict[str, Any]] = []
    with OpenFile(path, path.name, limits=Limits()) as file:
        for batch in file.batches(proposal.dialect):
            assert batch.bad.height == 0, batch.bad.to_dicts()
            judged = Validator(plan).judge(plan.apply(batch.frame))
            assert judged.rejects.height == 0, judged.rejects.to_dicts()
            found += judged.valid.to_dicts()
    return found


def _assert_same(row: dict[str, Any], staged: dict[str, Any]) -> None:
    """What a merge would find: a given value that differs is a change; one that is not given changes nothing."""
    for name in ("sku", "name", "active", "kind", "parent_sku", "variant_group"):
        assert staged.get(name) == row[name], name
    for field in SCHEMA.fields:
        given = staged.get(f"f.{field.name}")
        value = row["data"].get(field.name)
        if value is None:
            assert given is None, field.name
        elif field.type in ("string", "url", "boolean") and not (field.localizable or field.scopable):
            assert given == value, field.name
        elif isinstance(value, Decimal):
            assert Decimal(given) == value, field.name
        else:
            assert _numbers(json.loads(given, parse_float=Decimal, parse_int=Decimal)) == _numbers(value), field.name


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return value


@pytest.mark.full
@pytest.mark.parametrize("formulas", [True, False])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=products)
def test_csv_reads_back_as_it_was(rows: list[dict[str, Any]], formulas: bool) -> None:
    _round_trip(rows, "csv", formulas=formulas)


@pytest.mark.full
@pytest.mark.parametrize("form", OTHERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=products)
def test_other_formats_read_back_as_they_were(rows: list[dict[str, Any]], form: str) -> None:
    _round_trip(rows, form)


@settings(max_examples=200, deadline=None)
@given(found=st.lists(texts, min_size=1, max_size=20), formulas=st.booleans())
def test_a_guarded_text_is_no_formula_and_comes_back(found: list[str], formulas: bool) -> None:
    cells = pl.DataFrame({"text": found}).select(
        pl.col("text"),
        cell=guard(pl.col("text"), formulas=formulas),
    )
    assert cells.select(unguard(pl.col("cell")))["cell"].to_list() == found
    assert [guarded(text) for text in found] == cells.select(guard(pl.col("text")))["text"].to_list()
    if formulas:
        assert not any(cell.startswith(SIGNS) for cell in cells["cell"])


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(texts | st.sampled_from(["-5", "-5,00 €", "+49 30", "-", "''-x", "'=a"]), min_size=1, max_size=20)
)
@example(cells=["\n", "'\n", "\n'", "\t \r=1"])
def test_the_guard_of_other_peoples_cells_is_taken_off_by_any_import(cells: list[str]) -> None:
    written = pl.DataFrame({"cell": cells}).select(cell=guard_foreign(pl.col("cell")))["cell"]
    numbers = [cell for cell in written if cell.startswith(SIGNS) and cell.strip()]
    assert all(set(cell) <= set("+-0123456789., '") for cell in numbers)
    trimmed = pl.Series("cell", cells).str.strip_chars()
    changed = written != pl.Series("cell", cells)
    back = unguard_foreign(written.str.strip_chars())
    assert back.filter(changed).to_list() == trimmed.filter(changed).to_list()
    assert written.to_list() == [guarded_foreign(cell) for cell in cells]


@pytest.mark.parametrize("form", ["csv", *(pytest.param(f, marks=pytest.mark.full) for f in OTHERS)])
def test_every_odd_text_reads_back_in(form: str) -> None:
    rows = [
        {
            "name": text,
            "active": index % 2 == 0,
            "kind": "simple",
            "parent_sku": None,
            "variant_group": text if text.strip() else None,
            "data": {
                "a_string": text,
                "a_array": [text, text],
                "l_string": {"de-DE": text, "en-US": "x"},
                "l_array": {"zh-Hant-TW": [text]},
                "s_string": {"web": {"de-DE": text}},
                "a_number": Decimal("1234567890123456789.5"),
                "a_price": {"amount": Decimal("-0.00001"), "currency": "KWD"},
            },
        }
        for index, text in enumerate(ODD_TEXTS)
    ]
    _round_trip(rows, form)


def _round_trip(rows: list[dict[str, Any]], form: str, *, formulas: bool = True) -> None:
    rows = [
        {**row, "sku": f"S-{index}", "id": f"0199b6c2-0000-7000-8000-{index:012}"} for index, row in enumerate(rows)
    ]
    with TemporaryDirectory() as folder:
        found = _imported(_written(rows, form, Path(folder), formulas=formulas))
    assert len(found) == len(rows)
    for row, staged in zip(rows, found, strict=True):
        _assert_same(row, staged)
