"""Workbooks: which sheet is read, where its header is, and what its cells read as."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers.number_formats import shown_by
from pim_platform.intake.readers.opening import OpenFile
from pim_platform.intake.readers.plain_text import duration_text, plain_text
from tests.support.workbooks import saved, workbook

HEADER = ["SKU", "Name", "Price"]
PRODUCTS = [HEADER, ["A", "Alpha", 9.99], ["B", "Beta", 5]]


def read(path: Path, changes: dict[str, Any] | None = None) -> tuple[Dialect, list[str], pl.DataFrame, pl.DataFrame]:
    with OpenFile(path) as file:
        dialect = file.detect(changes)
        batches = list(file.batches(dialect))
        frame = pl.concat([batch.frame for batch in batches])
        return dialect, file.headers(dialect), frame, pl.concat([batch.bad for batch in batches])


def made(folder: Path, fill: Callable[[xlsxwriter.Workbook], None]) -> Path:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        fill(book)
    return saved(folder, out.getvalue())


def rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.rows()


def test_native_values_read_as_a_person_reads_them(tmp_path: Path) -> None:
    values = [
        9.99,
        19.5,
        5,
        0.1 + 0.2,
        1e-7,
        123456789012,
        True,
        False,
        dt.date(2024, 2, 3),
        dt.datetime.fromisoformat("2024-02-03T04:05"),
    ]
    path = saved(tmp_path, workbook({"S": [[f"c{i}" for i in range(len(values))], values, ["x"] * len(values)]}))
    _, _, frame, _ = read(path)
    assert list(rows(frame)[0][1:]) == [
        "9.99", "19.5", "5", "0.3", "0.0000001", "123456789012", "true", "false", "2024-02-03", "2024-02-03T04:05:00",
    ]  # fmt: skip


def test_titles_above_and_blank_rows_below_the_header_are_no_records(tmp_path: Path) -> None:
    sheet = [["Price list 2024"], [], HEADER, [], ["A", "Alpha", 9.99], [], ["B", "Beta", 5]]
    dialect, headers, frame, bad = read(saved(tmp_path, workbook({"S": sheet})))
    assert (dialect.header_row, headers) == (2, HEADER)
    assert frame["row"].to_list() == [5, 7], "rows have the numbers that the sheet shows"
    assert bad.height == 0


def test_the_sheet_that_looks_like_products_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    notes = [[f"line {i}"] for i in range(60)]
    colours = [["Colour"], *([f"c{i}"] for i in range(200))]
    path = saved(tmp_path, workbook({"Read me": notes, "Lists": colours, "Artikel": PRODUCTS}))
    with OpenFile(path) as file:
        dialect = file.detect()
        assert (dialect.sheet, file.headers(dialect)) == ("Artikel", HEADER)
        assert file.notes(dialect) == [
            "Sheet 'Artikel' is read, these are not: 'Read me' (59 rows), 'Lists' (200 rows)."
        ]


def test_another_sheet_with_the_same_columns_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, workbook({"Shoes": PRODUCTS, "Hats": [*PRODUCTS, ["C", "Gamma", 1]]}))
    with OpenFile(path) as file:
        dialect = file.detect()
        assert (dialect.sheet, "same columns" in file.notes(dialect)[0]) == ("Hats", True)


def test_a_hidden_sheet_is_read_only_where_no_other_has_rows(tmp_path: Path) -> None:
    more = [HEADER, *([f"S{i}", "x", i] for i in range(50))]
    path = saved(tmp_path, workbook({"Old": more, "New": PRODUCTS}, hidden=["Old"]))
    assert read(path)[0].sheet == "New"
    only = saved(tmp_path, workbook({"Front": [], "Data": PRODUCTS}, hidden=["Data"]), "only.xlsx")
    assert read(only)[0].sheet == "Data"


def test_the_sheet_can_be_said_and_an_unknown_one_names_those_there_are(tmp_path: Path) -> None:
    path = saved(tmp_path, workbook({"A": PRODUCTS, "B": [["x", "y"], ["1", "2"]]}))
    assert read(path, {"sheet": "b"})[1] == ["x", "y"]
    with pytest.raises(UnreadableFile, match="no sheet 'C'; it has 'A', 'B'") as caught:
        read(path, {"sheet": "C"})
    assert caught.value.code == "unknown_sheet"


def test_a_header_over_two_rows_takes_merged_labels_as_far_as_they_go(tmp_path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("S")
        sheet.merge_range("B1:C1", "Price")
        sheet.write_row(1, 0, ["SKU", "EUR", "USD", "Colour"])
        sheet.write_row(2, 0, ["A", 1, 2, "red"])
        sheet.write_row(3, 0, ["B", 3, 4, "blue"])

    dialect, headers, frame, _ = read(made(tmp_path, fill))
    assert headers == ["SKU", "Price EUR", "Price USD", "Colour"]
    assert (dialect.header_row, dialect.header_rows, frame["row"].to_list()) == (0, 2, [3, 4])


def test_a_cell_merged_over_rows_counts_for_each_of_them_and_headings_are_rejects(tmp_path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, [*HEADER, "Brand"])
        sheet.merge_range("A2:D2", "Shoes")
        sheet.write_row(2, 0, ["A", "Alpha", 1])
        sheet.write_row(3, 0, ["B", "Beta", 2])
        sheet.merge_range("D3:D4", "ACME")

    _, _, frame, bad = read(made(tmp_path, fill))
    assert [row[4] for row in rows(frame)] == ["ACME", "ACME"]
    assert bad.select("row", "error_code", "value").rows() == [(2, "section_line", "Shoes")]


def test_totals_and_a_second_table_below_are_rejects_that_say_so(tmp_path: Path) -> None:
    items = [[f"S-{i}", f"Name {i}", i + 0.5, i] for i in range(1, 9)]
    other = [["Branch", "Town"], ["Main", "Bonn"], ["Side", "Kiel"]]
    sheet = [["SKU", "Name", "Price", "Stock"], *items, ["Total", None, 40, 36], [], [], *other]
    _, _, frame, bad = read(saved(tmp_path, workbook({"S": sheet})))
    assert frame.height == 8
    assert bad.select("row", "error_code").rows() == [
        (10, "totals_line"), (13, "other_table"), (14, "other_table"), (15, "other_table"),
    ]  # fmt: skip


def test_zeros_currencies_and_percents_that_a_format_shows_are_kept(tmp_path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, ["SKU", "GTIN", "Price", "Tax"])
        for row in (1, 2):
            sheet.write_number(row, 0, 40 + row, book.add_format({"num_format": "00000"}))
            sheet.write_number(row, 1, 401234500000 + row, book.add_format({"num_format": "0000000000000"}))
            sheet.write_number(row, 2, 9.5, book.add_format({"num_format": '#,##0.00 "€"'}))
            sheet.write_number(row, 3, 0.19, book.add_format({"num_format": "0%"}))

    _, _, frame, _ = read(made(tmp_path, fill))
    assert rows(frame)[0] == (2, "00041", "0401234500001", "9.5 €", "19%")


def test_errors_are_no_empty_cells_and_formulas_without_a_result_are_rejects(tmp_path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("S")
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ["A", "Alpha"])
        sheet.write_formula(1, 2, "=1/0", None, "#DIV/0!")
        sheet.write_row(2, 0, ["B", "Beta"])
        sheet.write_formula(2, 2, "=1+1", None, "")
        sheet.write_row(3, 0, ["C", "Gamma"])
        sheet.write_formula(3, 2, "=1+1", None, 2)

    _, _, frame, bad = read(made(tmp_path, fill))
    assert rows(frame) == [(2, "A", "Alpha", "#DIV/0!"), (4, "C", "Gamma", "2")]
    assert bad.select("row", "error_code").rows() == [(3, "formula_without_value")]
    assert "C3" in bad["error"][0]


def test_large_sheets_keep_their_special_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pim_platform.intake.readers import ooxml

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("S")
        padded = book.add_format({"num_format": "00000"})
        for row in range(3000):
            sheet.write_number(row, 0, row, padded)
            sheet.write_formula(row, 1, "=NA()", None, "#N/A")

    path = made(tmp_path, fill)
    monkeypatch.setattr(ooxml, "_BLOCK", 7001)
    monkeypatch.setattr(ooxml, "_LONGEST", 500)
    found = ooxml.special_cells(path, "S")
    assert len(found.errors) == len(found.formats) == 3000
    assert not found.uncomputed


@pytest.mark.parametrize(
    ("code", "number", "expected"),
    [
        ("00000", "123", "00123"),
        ("000-000", "12345", "012-345"),
        ('0.0 "kg"', "1.5", "1.5 kg"),
        ("0.00%", "0.075", "7.5%"),
        ("#,##0.00 [$€-407]", "1234.5", "1234.5 €"),
        ('_-* #,##0.00 "€"_-;-* #,##0.00 "€"_-', "-3", "-3 €"),
        ("[$CHF] #,##0.00", "12", "CHF 12"),
    ],
)
def test_a_number_format_adds_what_it_shows(code: str, number: str, expected: str) -> None:
    shown = shown_by(code)
    assert shown is not None
    assert shown(number) == expected


@pytest.mark.parametrize("code", ["General", "0.00", "#,##0", "yyyy-mm-dd", "[h]:mm", "@", "0.00E+00", "# ?/?", ""])
def test_plain_formats_and_dates_add_nothing(code: str) -> None:
    assert shown_by(code) is None


def test_times_and_bytes_have_a_plain_text() -> None:
    assert duration_text(dt.timedelta(hours=30, seconds=5)) == "30:00:05"
    assert plain_text(b"\xc3\xa4") == "ä"
    assert plain_text(b"\xff\xfe") == "//4="
    assert plain_text(float("nan")) == plain_text(None) == ""


def test_what_is_no_workbook_is_refused_by_a_clear_error(tmp_path: Path) -> None:
    text = saved(tmp_path, b"just a text that wears the name of a workbook", "list.xlsx")
    with pytest.raises(UnreadableFile, match=r"list\.xlsx is not an Excel workbook") as caught:
        read(text)
    assert caught.value.code == "not_a_workbook"
    with zipfile.ZipFile(tmp_path / "word.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(UnreadableFile) as caught:
        read(tmp_path / "word.docx")
    assert caught.value.code == "not_a_workbook"
    cut = saved(tmp_path, workbook({"S": PRODUCTS})[:-300], "cut.xlsx")
    with pytest.raises(UnreadableFile) as caught:
        read(cut)
    assert caught.value.code in ("damaged_archive", "not_a_workbook")


def test_tab_separated_text_called_xls_is_read_as_what_it_is(tmp_path: Path) -> None:
    dialect, headers, frame, _ = read(saved(tmp_path, b"SKU\tName\nA\tAlpha\nB\tBeta\n", "export.xls"))
    assert (dialect.format, headers, frame.height) == ("csv", ["SKU", "Name"], 2)


@pytest.mark.parametrize(("sheets", "code"), [({"S": []}, "empty_file"), ({"S": [HEADER]}, "header_only")])
def test_a_workbook_without_records_says_so(sheets: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read(saved(tmp_path, workbook(sheets)))
    assert caught.value.code == code


def test_real_workbooks_are_read_with_their_rows(catalogues: Path) -> None:
    _, headers, frame, _ = read(catalogues / "spreadsheet-cli" / "products.xlsx")
    assert headers == ["sku", "name", "price", "qty", "in_stock"]
    assert rows(frame)[0][1:] == ("SKU001", "Widget", "9.99", "100", "true")
    dialect, headers, frame, _ = read(catalogues / "spreadsheet-cli" / "header_gap.xlsx")
    assert (dialect.header_row, headers, frame.height) == (2, ["sku", "qty"], 2)
    assert read(catalogues / "off-dz" / "products.xlsx")[2].height == 1303
    with pytest.raises(UnreadableFile, match="not an Excel workbook"):
        read(catalogues / "spreadsheet-cli" / "corrupt.xlsx")
