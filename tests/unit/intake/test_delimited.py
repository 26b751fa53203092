"""Reading delimited text: whatever was written comes back, whatever cannot be read is reported."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect, detect_dialect
from pim_platform.intake.readers import delimited
from pim_platform.intake.readers.delimited import read_batches, read_headers


def read(path: Path, dialect: Dialect, batch_rows: int = 65_536) -> tuple[pl.DataFrame, pl.DataFrame]:
    batches = list(read_batches(path, dialect, batch_rows=batch_rows))
    return pl.concat([b.frame for b in batches]), pl.concat([b.bad for b in batches])


def cells(frame: pl.DataFrame) -> list[list[str]]:
    return [[cell or "" for cell in row[1:]] for row in frame.rows()]


def write(tmp_path: Path, data: bytes | str, name: str = "f.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


TEXT = st.text(
    st.one_of(st.sampled_from(list(",;\t|\"'\\\r\n ab1é€日")), st.characters(exclude_categories=["Cs", "Cc"])),
    max_size=12,
)
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=20)
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    escape=st.sampled_from([None, "\\"]),
    quote=st.sampled_from(["'", '"']),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"]),
    packed=st.booleans(),
)
@example([["a"], ["\r"]], ",", csv.QUOTE_MINIMAL, None, '"', "\n", "utf-8", False)
@example([["a", "b"], ["x", '"']], ",", csv.QUOTE_MINIMAL, None, '"', "\r\n", "utf-8", False)
def test_any_table_written_in_a_supported_dialect_comes_back_cell_for_cell(
    table: list[list[str]], delimiter: str, quoting: int, escape: str | None, quote: str, end: str, encoding: str,
    packed: bool,
) -> None:  # fmt: skip
    header = [f"h{i}" for i in range(len(table[0]))]
    if any("\r" in cell for row in table for cell in row):
        quoting = csv.QUOTE_ALL  # the writer leaves a lone CR bare, which nobody can tell from CRLF
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=delimiter, quoting=quoting, escapechar=escape, doublequote=escape is None, quotechar=quote,
        lineterminator=end,
    )  # fmt: skip
    writer.writerows([header, *table])
    data = text.getvalue().encode(encoding)
    dialect = Dialect(
        delimiter=delimiter, quote=quote, escape=escape, encoding=encoding, compression="gzip" if packed else "none"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), gzip.compress(data, 1) if packed else data)
        frame, bad = read(path, dialect)
    expected = [row for row in table if any(c.strip() for c in row)]
    # Some random tables hold what looks like notes and totals: these are told apart, cell for cell.
    told = bad.filter(pl.col("error_code").is_in(["comment_line", "totals_line", "other_table", "repeated_header"]))
    assert told.height == bad.height
    every = pl.concat([frame, told.select(frame.columns)]).sort("row")
    found = [row for row in cells(every) if any(c.strip() for c in row)]
    assert found == expected
    assert every["row"].to_list() == list(range(2, 2 + every.height))


@settings(max_examples=300, deadline=None)
@given(data=st.lists(st.sampled_from([b'"', b",", b"\n", b"a", b"bc", b"\xff", b"\0", b"\r\n", b" "]), max_size=60))
def test_of_any_bytes_every_record_comes_out_once_in_order(data: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), b"x,y,z\n1,2,3\n" + b"".join(data))
        frame, bad = read(path, Dialect())
    numbers = sorted([*frame["row"], *bad["row"]])
    assert numbers == list(range(2, 2 + len(numbers)))
    letters = sum(chunk.count(b"a") for chunk in data)
    seen = sum(c.count("a") for row in cells(frame) for c in row)
    seen += sum(
        "".join(c or "" for c in row[6:]).count("a")
        for row in bad.filter(pl.col("error_code") != "too_many_fields").rows()
    )
    many = bad.filter(pl.col("error_code") == "too_many_fields")
    seen += sum("".join(c or "" for c in (row[2], *row[6:])).count("a") for row in many.rows())
    assert seen == letters


@pytest.mark.parametrize("small", [16, 64])
def test_trouble_in_many_records_costs_only_those_records(
    small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "SMALL_BLOCK", small)
    lines = [f'{i},"a ""q"" {i}",x' if i % 3 else f'{i},"lost {i},x' for i in range(1, 500)]
    path = write(tmp_path, "a,b,c\n" + "\n".join(lines))
    frame, bad = read(path, Dialect(), batch_rows=50)
    assert bad["row"].to_list() == [i + 1 for i in range(1, 500) if i % 3 == 0]
    assert set(bad["error_code"]) == {"broken_quotes"}
    assert frame["row"].to_list() == [i + 1 for i in range(1, 500) if i % 3]
    assert frame["raw.1"][0] == 'a "q" 1'


def test_short_rows_are_filled_and_long_rows_rejected_with_their_number(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c\n1\n\n1,2,3,4\n,,\n1,2,3,,\nx,y,z")
    frame, bad = read(path, Dialect())
    assert frame.rows() == [(2, "1", None, None), (4, "1", "2", "3"), (5, "x", "y", "z")]
    assert bad.select("row", "error_code", "value", "raw.2").rows() == [(3, "too_many_fields", "4", "3")]
    assert "4 cells, expected at most 3" in bad["error"][0]


def test_undecodable_bytes_and_nuls_cost_their_records_only(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n1,ok\n2,\xff\xfe\n3,x\0y\n4,\xc3\xa9\n")
    frame, bad = read(path, Dialect())
    assert frame.rows() == [(2, "1", "ok"), (5, "4", "é")]
    assert bad.select("row", "error_code").rows() == [(3, "undecodable"), (4, "nul_byte")]


def test_bytes_foreign_to_a_legacy_encoding_are_reported_not_replaced(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n1,\xe9\n2,\x81\n3,x\n")
    frame, bad = read(path, Dialect(encoding="cp1252"))
    assert frame.rows() == [(2, "1", "é"), (4, "3", "x")]
    assert bad.select("row", "error_code").rows() == [(3, "undecodable")]


def test_a_quote_lost_forever_costs_one_record(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"lost\n' + "".join(f"{i},x\n" for i in range(2, 5000)))
    frame, bad = read(path, Dialect())
    assert bad.select("row", "error_code").rows() == [(2, "broken_quotes")]
    assert frame.height == 4998


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_behind_the_last_column_are_no_cells(end: str, tmp_path: Path) -> None:
    path = write(tmp_path, end.join(["a;b", "1;2;", '3;"x;";;;', "4;5", ";;;", "6;7;8", '9;"q"";";']))
    frame, bad = read(path, Dialect(delimiter=";"))
    assert frame.rows() == [(2, "1", "2"), (3, "3", "x;"), (4, "4", "5"), (6, "9", 'q";')]
    assert bad.select("row", "error_code").rows() == [(5, "too_many_fields")]


def test_inches_in_bare_cells_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,24" monitor\n2, "spaced, quoted" \n3,x\n')
    frame, bad = read(path, Dialect())
    assert cells(frame) == [["1", '24" monitor'], ["2", "spaced, quoted"], ["3", "x"]]
    assert bad.height == 0


def test_headers_keep_blanks_and_repeats(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf sku ,,sku\n1,2,3\n")
    assert read_headers(path, Dialect()) == ["sku", "", "sku"]


def test_a_file_without_header_starts_at_record_one(tmp_path: Path) -> None:
    path = write(tmp_path, "1,a,2.5\n2,b,3.5\n")
    dialect = detect_dialect(path)
    assert dialect.header_row is None
    assert read(path, dialect)[0]["row"].to_list() == [1, 2]
    assert read_headers(path, dialect) == ["column_1", "column_2", "column_3"]


def test_records_beyond_one_block_keep_numbers_and_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pim_platform.intake.readers.source.READ_BYTES", 1000)
    rows = [[str(i), f'multi\nline "{i}"', "x" * (i % 50)] for i in range(1000)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    frame, _ = read(write(tmp_path, text.getvalue()), Dialect(), batch_rows=7)
    assert cells(frame) == rows
    assert frame["row"].to_list() == list(range(2, 1002))


def test_every_file_of_csv_spectrum_reads_as_expected(catalogues: Path) -> None:
    files = sorted((catalogues / "csv-spectrum").glob("*.csv"))
    assert len(files) == 11
    for path in files:
        wanted = (path.parent / "expected" / f"{path.stem}.json").read_text("utf-8")
        if b"\r" not in path.read_bytes():  # stored with LF although its expectation was written for CRLF
            wanted = wanted.replace("\\r\\n", "\\n")
        expected = json.loads(wanted)
        dialect = detect_dialect(path)
        headers = read_headers(path, dialect)
        frame, bad = read(path, dialect)
        assert [dict(zip(headers, row, strict=True)) for row in cells(frame)] == expected, path.name
        assert bad.height == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\xef\xbb\xbf\r\n\r\n", "empty_file"),
        (b"sku,name\n", "header_only"),
        (b"sku,name", "header_only"),
        (b"PK\x03\x04" + bytes(100), "damaged_archive"),
        (bytes(range(256)) * 20, "not_text"),
        (b"\x1f\x8b\x08\x00broken", "damaged_archive"),
        (b"<!DOCTYPE html><table><tr><td>sku", "unsupported_format"),
    ],
)
def test_what_is_no_product_file_is_refused_naming_file_and_fix(data: bytes, code: str, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises(UnreadableFile) as caught:
        detect_dialect(path, filename="mine.csv")
    assert caught.value.code == code
    assert "mine.csv" in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "cp1252", "cp932"]
)
@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_dialects_are_found(encoding: str, delimiter: str, tmp_path: Path) -> None:
    japanese = encoding == "cp932"
    rows = [["商品コード", "商品名", "価格"]] if japanese else [["Artikelnummer", "Größe", "Preis"]]
    for i in range(30):
        rows.append([f"A-{i}", "カテゴリー、みそ" if japanese else f'Käse "{i}", groß', f"{i},5"])
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    dialect = detect_dialect(write(tmp_path, text.getvalue().encode(encoding)))
    assert dialect.delimiter == delimiter
    assert dialect.decimal == ","
    assert dialect.encoding == ("utf-8" if encoding == "utf-8-sig" else encoding)
    frame, _ = read(write(tmp_path, text.getvalue().encode(encoding)), dialect)
    assert cells(frame) == rows[1:]


def test_backslash_escapes_are_found_and_read(tmp_path: Path) -> None:
    path = write(tmp_path, 'sku,name\n1,"a \\"big\\", thing"\n2,"b \\"c\\" d"\n3,plain\n')
    dialect = detect_dialect(path)
    assert dialect.escape == "\\"
    assert cells(read(path, dialect)[0]) == [["1", 'a "big", thing'], ["2", 'b "c" d'], ["3", "plain"]]


def test_a_dialect_survives_json() -> None:
    dialect = Dialect(delimiter=";", encoding="cp1252", escape="\\", header_row=None)
    assert Dialect.model_validate_json(dialect.model_dump_json()) == dialect


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Sygnatura;Tytuł oferty;Zdjęcia\nA1;Żarówka ciepła;a.jpg\n"),
        ("cp1254", "Stok Kodu;Ürün Adı;Açıklama\nA1;Gömlek Şık;Isıtır\n"),
        ("cp1253", "Κωδικός;Περιγραφή;Τιμή\nA1;Καρέκλα;5,5\n"),
        ("cp1255", "קוד מוצר;שם מוצר;מחיר\nA1;כיסא;5,5\n"),
        ("cp1256", "رمز المنتج;اسم المنتج;السعر\nA1;قميص;5,5\n"),
        ("cp1252", "Código;Descripción;Tamaño\nA1;Niña;38\n"),
        ("cp1252", "AB-100;Hammer;12,50\nAB-102;Säge;22,00\n"),
        ("cp932", "品番,商品名,価格\nA1,麻,12\n"),
    ],
)
def test_encodings_that_share_their_bytes_are_told_apart_by_words(encoding: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(text.encode(encoding))
    assert detect_dialect(path).encoding == encoding
