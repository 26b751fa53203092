"""Where a file's table begins, how many rows its header has, and where the products end."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import detect_dialect
from pim_platform.intake.readers.delimited import read_batches, read_headers
from pim_platform.intake.readers.headers import HeaderPlace, find_header, join_headers


def records(text: str) -> list[list[str]]:
    return [line.split(";") for line in text.strip("\n").split("\n")]


def read(tmp_path: Path, text: str) -> tuple[list[str], list[tuple[object, ...]], list[tuple[object, ...]]]:
    path = tmp_path / "in.csv"
    path.write_text(text, "utf-8")
    dialect = detect_dialect(path)
    batches = list(read_batches(path, dialect))
    bad = pl.concat([batch.bad for batch in batches])
    return (
        read_headers(path, dialect),
        pl.concat([batch.frame for batch in batches]).rows(),
        bad.select("row", "error_code").rows(),
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("SKU;Name;Price\nA;Lamp;1\nB;Mug;2", HeaderPlace(0)),
        ("A;Lamp;1\nB;Mug;2\nC;Cup;3", HeaderPlace(None)),
        ("Spring prices\nvalid until May\nSKU;Name;Price\nA;Lamp;1\nB;Mug;2", HeaderPlace(2)),
        ("Spring prices;;\n;;\nSKU;Name;Price\nA;Lamp;1\nB;Mug;2", HeaderPlace(2)),
        ("Supplier;ACME;;;\nDate;2024-05-01;;;\nSKU;Name;Colour;Price;Stock\nA;Lamp;red;1;3\nB;Mug;blue;2;4",
         HeaderPlace(2)),
        ("Titles\nSKU;Name;Colour\nA;Lamp;red\nB;Mug;blue", HeaderPlace(1)),
        ("sep=;\nSKU;Name\nA;Lamp\nB;Mug", HeaderPlace(1)),
        # every row of text: nothing says that a later one is the header
        ("SKU;Name\nA;Lamp;red;oak;x\nB;Mug;blue;clay;y", HeaderPlace(0)),
        (";;Price;;Size;\nSKU;Name;EUR;USD;Length;Width\nA;Lamp;1;2;3;4\nB;Mug;1;2;3;4", HeaderPlace(0, 2)),
        ("Catalogue\n;;Price;;Size;\nSKU;Name;EUR;USD;Length;Width\nA;Lamp;1;2;3;4\nB;Mug;1;2;3;4", HeaderPlace(1, 2)),
        ("SKU;Price;Price;Size;Size\n;EUR;USD;Length;Width\nA;1;2;3;4\nB;1;2;3;4", HeaderPlace(0, 2)),
        ("SKU;Name;Weight;Width\n;;kg;mm\nA;Lamp;1;2\nB;Mug;3;4", HeaderPlace(0, 2)),
        ("T=x;V=1;;\nSeller SKU;Item name;Price;Stock\nitem_sku;item_name;price;stock_count\nA;Lamp;1;2\nB;Mug;3;4",
         HeaderPlace(2)),
        ("# exported today; by hand; again\nSKU;Name;Price\nA;Lamp;1\nB;Mug;2", HeaderPlace(1)),
        ("#;Name;Price\n1;Lamp;1\n2;Mug;2", HeaderPlace(0)),
        ("Article;2021;2022;2023\nA;1;2;3\nB;4;5;6", HeaderPlace(0)),
    ],
)  # fmt: skip
def test_headers_are_found_by_the_shape_of_the_records(text: str, place: HeaderPlace) -> None:
    start = 1 if text.startswith("sep=") else 0
    assert find_header(records(text), start=start) == place


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ([["", "Price", ""], ["SKU", "EUR", "USD"]], ["SKU", "Price EUR", "Price USD"]),
        ([["SKU", "Weight", ""], ["", "kg", ""]], ["SKU", "Weight kg", ""]),
        ([["A", "B"], ["a", "C", "d"]], ["A", "B C", "B d"]),
        ([[" SKU "]], ["SKU"]),
    ],
)
def test_header_rows_are_joined_and_merged_cells_go_on_to_the_right(rows: list[list[str]], labels: list[str]) -> None:
    assert join_headers(rows) == labels


def test_a_preamble_is_no_record_and_rows_are_counted_from_the_top(tmp_path: Path) -> None:
    headers, rows, bad = read(tmp_path, "ACME\nPrice list\n\nSKU,Name,Price\nA,Lamp,1.5\nB,Mug,2.5\n")
    assert headers == ["SKU", "Name", "Price"]
    assert rows == [(4, "A", "Lamp", "1.5"), (5, "B", "Mug", "2.5")]
    assert bad == []


def test_excels_first_line_names_the_delimiter(tmp_path: Path) -> None:
    headers, rows, _ = read(tmp_path, 'sep=|\nSKU|Name, long; short\nA|"x, y; z"\nB|q\n')
    assert headers == ["SKU", "Name, long; short"]
    assert [row[1:] for row in rows] == [("A", "x, y; z"), ("B", "q")]


def test_headers_of_two_rows_become_one(tmp_path: Path) -> None:
    text = ";;Price;;\nSKU;Name;EUR;USD;Stock\n" + "".join(f"A{i};Lamp {i};1,5;2,5;3\n" for i in range(5))
    headers, rows, bad = read(tmp_path, text)
    assert headers == ["SKU", "Name", "Price EUR", "Price USD", "Price Stock"]
    assert rows[0] == (3, "A0", "Lamp 0", "1,5", "2,5", "3")
    assert bad == []


PRODUCTS = "SKU,Name,Price,Stock\n" + "".join(f"A{i},Lamp {i},{i}.5,{i}\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("below", "codes"),
    [
        ("Total,,36.0,36\n", ["totals_line"]),
        (",Gesamt:,36.0,\n", ["totals_line"]),
        ("\nSKU,Name,Price,Stock\nA9,Lamp 9,1.5,2\n", ["repeated_header"]),
        ("sku,NAME,price,stock\nA9,Lamp 9,1.5,2\n", ["repeated_header"]),
        ("\nCustomer,Address,City,Phone\nMiller,Road 1,Bonn,none\n", ["other_table"] * 2),
        ("\nShipping\nZone,Carrier\nEU,Fast\nUS,Slow\nUK,None\n", ["other_table"] * 5),
        ("# end of the list\n", ["comment_line"]),
        ("\nAll prices without tax.\n", ["comment_line"]),
    ],
)
def test_what_stands_below_the_products_is_rejected_by_its_kind(below: str, codes: list[str], tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, PRODUCTS + below)
    assert [code for _, code in bad] == codes
    products = [row for row in rows if str(row[1]).startswith("A")]
    assert len(products) == len(rows) == 8 + below.count("A9")


@pytest.mark.parametrize(
    "below",
    [
        "\nA9,Lamp 9,9.5,9\n",  # a blank line separates groups
        "\nA9,Lamp 9,,\n",
        "\nA9,Lamp 9,on request,\nB1,Mug,1.5,2\n",
        "Total,Drinking yoghurt,2.5,1\n",  # a brand, or a name
        "A9,,,\n",
    ],
)
def test_unusual_products_stay_rows(below: str, tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, PRODUCTS + below)
    assert len(rows) == 8 + below.strip().count("\n") + 1
    assert bad == []


def test_products_below_another_table_are_rows_again(tmp_path: Path) -> None:
    text = PRODUCTS + "\nZone,Carrier,Note,Rate\nEU,Fast,no,free\nUS,Slow,no,free\n\nB1,Mug,1.5,2\nB2,Cup,2.5,3\n"
    _, rows, bad = read(tmp_path, text)
    assert [code for _, code in bad] == ["other_table"] * 3
    assert [row[1] for row in rows[-2:]] == ["B1", "B2"]


def test_blank_lines_between_all_rows_separate_nothing(tmp_path: Path) -> None:
    text = PRODUCTS.replace("\n", "\n\n") + "\nnone,at,all,here\n\n"
    _, rows, bad = read(tmp_path, text)
    assert len(rows) == 9
    assert bad == []


@pytest.mark.parametrize("delimiter", ["^", "~", "\x1f"])
def test_rarer_delimiters_are_found(delimiter: str, tmp_path: Path) -> None:
    headers, rows, _ = read(tmp_path, PRODUCTS.replace(",", delimiter))
    assert headers == ["SKU", "Name", "Price", "Stock"]
    assert rows[0] == (2, "A1", "Lamp 1", "1.5", "1")


def test_a_file_of_headers_alone_is_refused_with_the_fix(catalogues: Path) -> None:
    with pytest.raises(UnreadableFile) as caught:
        detect_dialect(catalogues / "commercetools" / "product-export-template.csv")
    assert caught.value.code == "header_only"
    assert "product line" in str(caught.value.fix)


def test_what_a_template_says_of_itself_is_no_part_of_the_header(tmp_path: Path) -> None:
    text = "Info,Version=1.0.0,Template=fx_DE,,,\nAction,CustomLabel,Title,C:Marke,Format,StartPrice\n"
    headers, rows, _ = read(
        tmp_path, text + "Add,E-1,Uhr,Junghans,FixedPrice,129.00\nAdd,E-2,Band,Casio,FixedPrice,9.95\n"
    )
    assert headers == ["Action", "CustomLabel", "Title", "C:Marke", "Format", "StartPrice"]
    assert len(rows) == 2
