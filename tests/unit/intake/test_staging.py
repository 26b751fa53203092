"""Staging: every record is valid or rejected with a true reason; the layout is the catalogue's contract."""

from __future__ import annotations

import csv
import io
import tempfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import BadInput, InvalidMapping, InvalidRequest
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping import Mapping, mapping_from_flat
from pim_platform.intake.proposal import propose
from pim_platform.intake.staging import StageProgress, StageResult, stage, stage_records, write_rejects_csv

SCHEMA = ProductSchema(
    fields=(
        SchemaField(name="price", type="price"),
        SchemaField(name="weight", type="number"),
        SchemaField(name="tags", type="array"),
        SchemaField(name="prices", type="multi_price"),
        SchemaField(name="image_url", type="url"),
        SchemaField(name="brand", required=True),
    ),
    default_currency="EUR",
    default_locale="de-DE",
    version=3,
)


def mapped(flat: dict[str, str | None], headers: list[str]) -> Mapping:
    return mapping_from_flat(flat, headers, SCHEMA)


def staged(text: str, flat: dict[str, str | None], folder: Path, **more: object) -> StageResult:
    path = folder / "in.csv"
    path.write_text(text, "utf-8")
    headers = text.split("\n", 1)[0].split(",")
    return stage(path, Dialect(), mapped(flat, headers), SCHEMA, folder / "out", **more)  # type: ignore[arg-type]


def test_rows_are_staged_in_the_layout_of_the_contract(tmp_path: Path) -> None:
    text = 'SKU,Name,Price,kg,On\n A-1 ,Lamp,12.50,1.0,yes\n\nÄ2,,"1,000.00",,\n'
    flat = {"SKU": "sku", "Name": "name", "Price": "price", "kg": "weight", "On": "active"}
    result = staged(text, flat, tmp_path)
    frame = pl.read_parquet(result.staged)
    assert frame.columns == [
        "row", "sku", "sku_key", "name", "active", "f.price", "f.weight", "row_hash", *(f"raw.{i}" for i in range(5)),
    ]  # fmt: skip
    assert [str(frame[name].dtype) for name in ("row", "active", "f.weight", "row_hash")] == [
        "Int64", "Boolean", "String", "Int64",
    ]  # fmt: skip
    assert frame.select(pl.exclude("row_hash", "^raw.*$")).rows() == [
        (2, "A-1", "a-1", "Lamp", True, '{"amount":12.50,"currency":"EUR"}', "1.0"),
        (3, "Ä2", "ä2", None, None, '{"amount":1000.00,"currency":"EUR"}', None),
    ]
    assert frame["raw.0"].to_list() == [" A-1 ", "Ä2"]
    assert (result.read, result.valid, result.rejected, result.merged, result.rejects) == (2, 2, 0, 0, [])


def test_rejects_name_row_column_value_expectation_and_fix(tmp_path: Path) -> None:
    text = "SKU,Brand,Price,kg\nA,b,cheap,heavy\n,b,1,1\nC,,1,1\nD,b,1,1,9\nE,b,1,1\n"
    flat = {"SKU": "sku", "Brand": "brand", "Price": "price", "kg": "weight"}
    result = staged(text, flat, tmp_path)
    assert (result.read, result.valid, result.rejected) == (5, 1, 4)
    assert result.reasons == {
        "not_a_price": 1, "not_a_number": 1, "missing_sku": 1, "missing_value": 1, "too_many_fields": 1,
    }  # fmt: skip
    rejects = pl.read_parquet(result.rejects)
    assert rejects.select("row", "column", "value", "error_code").rows() == [
        (2, "Price; kg", "cheap; heavy", "not_a_price; not_a_number"),
        (3, "SKU", "", "missing_sku"),
        (4, "Brand", "", "missing_value"),
        (5, None, "9", "too_many_fields"),
    ]
    assert "expected an amount with a known currency" in rejects["error"][0]
    assert "12.50 EUR" in rejects["suggestion"][0]
    assert [reject["row"] for reject in result.sample_rejects] == [2, 3, 4, 5]


def test_the_reject_file_has_the_form_of_the_original(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes('Nr;Größe;Preis\n1;"a;b ""c""";x\n2;ü;1,5\n'.encode("cp1252"))
    dialect = Dialect(delimiter=";", encoding="cp1252", decimal=",")
    headers = ["Nr", "Größe", "Preis"]
    result = stage(path, dialect, mapped({"Nr": "sku", "Preis": "price"}, headers), SCHEMA, tmp_path / "out")
    out = tmp_path / "rejects.csv"
    assert write_rejects_csv(result.rejects, headers, dialect, out) == 1
    rows = list(csv.reader(io.StringIO(out.read_bytes().decode("cp1252")), delimiter=";"))
    assert rows[0] == [*headers, "row", "column", "error_code", "error", "suggestion"]
    assert rows[1][:6] == ["1", 'a;b "c"', "x", "2", "Preis", "not_a_price"]


def test_several_columns_feed_one_list_in_their_order(tmp_path: Path) -> None:
    text = "SKU,T1,T2,P1,P2\nA,x,y,1,2 USD\nB,,y,,\nC,,,,3 USD\n"
    flat = {"SKU": "sku", "T1": "tags", "T2": "tags", "P1": "prices", "P2": "prices"}
    frame = pl.read_parquet(staged(text, flat, tmp_path).staged)
    assert frame["f.tags"].to_list() == ['["x","y"]', '["y"]', None]
    assert frame["f.prices"].to_list() == [
        '[{"amount":1,"currency":"EUR"},{"amount":2,"currency":"USD"}]', None, '[{"amount":3,"currency":"USD"}]',
    ]  # fmt: skip


def test_the_hash_changes_with_value_mapping_and_schema_and_with_nothing_else(tmp_path: Path) -> None:
    text = "SKU,Brand,x\nA,b,1\nB,b,2\n"
    flat: dict[str, str | None] = {"SKU": "sku", "Brand": "brand"}

    def hashes(text: str, flat: dict[str, str | None], schema: ProductSchema = SCHEMA) -> list[int]:
        path = tmp_path / "in.csv"
        path.write_text(text)
        result = stage(path, Dialect(), mapped(flat, ["SKU", "Brand", "x"]), schema, tmp_path / "out")
        return pl.read_parquet(result.staged)["row_hash"].to_list()

    first = hashes(text, flat)
    assert first == hashes(text.replace("1", "7"), flat)  # column x is not imported
    assert first[0] != hashes(text.replace("A,b", "A,c"), flat)[0]
    assert first != hashes(text, {**flat, "x": "weight"})
    assert first != hashes(text, flat, SCHEMA.model_copy(update={"version": 4}))


#: Measured once; a change of this number makes the next import of every source compare field by field.
HASH_OF_A = -1202351063562034592


def test_hash_is_stable_across_versions_of_the_libraries() -> None:
    frame, _ = stage_records([{"sku": "A", "brand": "b"}], SCHEMA)
    assert frame["row_hash"].to_list() == [HASH_OF_A]


@pytest.mark.parametrize(
    ("policy", "code"),
    [("stop_first", "row_rejected"), ("stop_above:40%", "too_many_rejects"), ("stop_above:60%", None)],
)
def test_reject_policies_stop_naming_the_row(policy: str, code: str | None, tmp_path: Path) -> None:
    text = "SKU,kg\nA,1\n,1\nC,heavy\nD,1\n"
    flat: dict[str, str | None] = {"SKU": "sku", "kg": "weight"}
    if code is None:
        assert staged(text, flat, tmp_path, reject_policy=policy).rejected == 2
        return
    with pytest.raises(BadInput) as caught:
        staged(text, flat, tmp_path, reject_policy=policy, filename="mine.csv")
    assert caught.value.code == code
    assert caught.value.place["row"] == 3
    assert "mine.csv" in caught.value.message


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="stop_above:N%"):
        staged("SKU\nA\n", {"SKU": "sku"}, tmp_path, reject_policy="stop_above:200%")


def test_progress_is_told_batch_by_batch(tmp_path: Path) -> None:
    seen: list[StageProgress] = []
    text = "SKU,x\n" + "".join(f"{i},1\n" for i in range(1000))
    result = staged(text, {"SKU": "sku"}, tmp_path, batch_rows=300, on_progress=seen.append)
    assert [p.read for p in seen] == [300, 600, 900, 1000]
    assert seen[-1].bytes_read == result.bytes_read == len(text)


TABLE = st.lists(
    st.tuples(
        st.text("ab \t,\"'\n", max_size=4), st.sampled_from(["", "b"]), st.text("0123456789.,-€ x", max_size=6),
        st.booleans(),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=TABLE, batch_rows=st.integers(1, 10))
def test_every_record_is_valid_or_rejected(table: list[tuple[str, str, str, bool]], batch_rows: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["SKU", "Brand", "Price", "last"])
    for sku, brand, price, long in table:
        writer.writerow([sku, brand, price, "end", *(["more"] if long else [])])
    with tempfile.TemporaryDirectory() as folder:
        flat: dict[str, str | None] = {"SKU": "sku", "Brand": "brand", "Price": "price"}
        path = Path(folder) / "in.csv"
        path.write_text(text.getvalue(), "utf-8", newline="")
        mapping = mapped(flat, ["SKU", "Brand", "Price", "last"])
        result = stage(path, Dialect(), mapping, SCHEMA, Path(folder) / "out", batch_rows=batch_rows)
        rows = [row for p in (*result.staged, *result.rejects) for row in pl.read_parquet(p)["row"].to_list()]
    assert result.read == len(table) == result.valid + result.rejected + result.merged
    assert sorted(rows) == list(range(2, 2 + len(table)))


def test_records_in_memory_go_through_the_same_rules() -> None:
    records = [
        {"sku": "A", "brand": "b", "price": {"amount": 12.5, "currency": "USD"}, "tags": ["x", "y"], "active": True},
        {"sku": "B", "brand": "b", "price": Decimal("3.10"), "weight": 2, "tags": "x, z"},
        {"sku": "C", "brand": "b", "weight": "heavy"},
        {"sku": "D", "brand": "b", "colour": "red"},
        {"sku": "E", "brand": {"a": 1}},
        {"brand": "b"},
        {"sku": "G", "brand": None},
    ]
    good, bad = stage_records(records, SCHEMA)
    assert good.select("row", "sku", "active", "f.price", "f.weight", "f.tags").rows() == [
        (1, "A", True, '{"amount":12.5,"currency":"USD"}', None, '["x","y"]'),
        (2, "B", None, '{"amount":3.10,"currency":"EUR"}', "2", '["x, z"]'),
    ]
    assert bad.select("row", "column", "error_code").rows() == [
        (3, "weight", "not_a_number"),
        (4, "colour", "unknown_field"),
        (5, "brand", "not_text"),
        (6, "sku", "missing_sku"),
        (7, "brand", "missing_value"),
    ]


def test_texts_that_no_engine_can_store_reject_their_record_only() -> None:
    wrong = [{"sku": "A\0"}, {"sku": "B", "tags": ["\0"]}, {"sku": "C", "brand": "\ud800"}, {"sku": "D", "brand": "b"}]
    good, bad = stage_records(wrong, SCHEMA)
    assert good["sku"].to_list() == ["D"]
    assert bad["error_code"].to_list() == ["not_text"] * 3


def test_records_without_any_sku_are_refused() -> None:
    with pytest.raises(InvalidMapping) as caught:
        stage_records([{"brand": "b"}], SCHEMA)
    assert caught.value.code == "no_sku_column"


@pytest.mark.parametrize(
    ("file", "read", "valid"),
    [
        ("shopify-partners/bicycles.csv", 1399, 1118),
        ("udg-artikel/Artikel.csv", 3034, 3034),
        ("woocommerce/sample_products.csv", 24, 24),
        ("invent2-ja/shohin_master.sjis.csv", 50, 50),
    ],
)
def test_real_catalogues_are_staged_as_proposed(
    file: str, read: int, valid: int, catalogues: Path, tmp_path: Path
) -> None:
    proposal = propose(catalogues / file)
    schema = ProductSchema(fields=tuple(proposal.wanted_fields), default_currency="EUR", default_locale="en")
    result = stage(catalogues / file, proposal.dialect, proposal.mapping, schema, tmp_path)
    assert (result.read, result.valid) == (read, valid)
    assert set(result.reasons) <= {"missing_sku"}


def test_an_error_of_a_spreadsheet_is_no_text(tmp_path: Path) -> None:
    content = "SKU,Name\nA,#REF!\n#N/A,Beta\nC,#1 choice\n"
    result = staged(content, {"SKU": "sku", "Name": "name"}, tmp_path)
    assert (result.valid, result.rejected) == (1, 2)
    assert [(r["value"], r["error_code"]) for r in result.sample_rejects] == [
        ("#REF!", "cell_error"),
        ("#N/A", "cell_error"),
    ]
