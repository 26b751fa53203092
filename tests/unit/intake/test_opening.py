"""Opening files: their format, archives around them, Parquet, and the process that a conversion runs in."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pim_platform.errors import InvalidRequest, UnreadableFile
from pim_platform.intake.dialect import Dialect, parse_changes
from pim_platform.intake.readers import convert as converting
from pim_platform.intake.readers.cells import CellsWriter
from pim_platform.intake.readers.formats import recognise
from pim_platform.intake.readers.limits import Limits
from pim_platform.intake.readers.opening import OpenFile
from pim_platform.intake.rejects import RejectFormat, reject_format, reject_name
from tests.support.workbooks import saved, workbook

CSV = b"sku;name\nA;Alpha\nB;Beta\n"
BOOK = workbook({"S": [["sku", "name"], ["A", "Alpha"], ["B", "Beta"]]})
JSON = b'[{"sku": "A", "name": "Alpha"}, {"sku": "B", "name": "Beta"}]'


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def read(path: Path, changes: dict[str, Any] | None = None, limits: Limits | None = None) -> tuple[Dialect, list[Any]]:
    with OpenFile(path, limits=limits) as file:
        dialect = file.detect(changes)
        frames = [batch.frame for batch in file.batches(dialect)]
        assert all(batch.bad.height == 0 for batch in file.batches(dialect))
        return dialect, [file.headers(dialect), *(row[1:] for frame in frames for row in frame.rows())]


def refused(path: Path, changes: dict[str, Any] | None = None, limits: Limits | None = None) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        read(path, changes, limits)
    assert path.name in caught.value.message
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", CSV, "csv"),
        ("a.json", JSON, "json"),
        ("a.txt", b'{"sku": "A"}\n{"sku": "B"}\n', "jsonl"),
        ("a.xml", b"<?xml version='1.0'?><a><b/></a>", "xml"),
        ("rss", b"\n<rss version='2.0'><channel/></rss>", "xml"),
        ("a.dat", BOOK, "xlsx"),
        ("a.json", b"sku,name\nA,Alpha\n", "csv"),
        ("a.csv", b"[SKU];[Name]\nA;B\n", "csv"),
        ("a.csv", b"PAR1....", "parquet"),
    ],
)
def test_the_content_tells_the_format_whatever_the_name(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, content, name)
    assert recognise(path, name, Limits()).format == expected
    packed = saved(tmp_path, gzip.compress(content), f"{name}.gz")
    assert recognise(packed, packed.name, Limits()).format == expected
    inside = saved(tmp_path, zipped({f"data/{name}": content}), "one.zip")
    if name != "rss":
        kind = recognise(inside, "one.zip", Limits())
        assert (kind.format, kind.compression, kind.member) == (expected, "zip", f"data/{name}")


@pytest.mark.parametrize("content", [CSV, BOOK, JSON], ids=["csv", "xlsx", "json"])
def test_any_format_is_read_plain_gzip_and_zip(content: bytes, tmp_path: Path) -> None:
    expected = [["sku", "name"], ("A", "Alpha"), ("B", "Beta")]
    assert read(saved(tmp_path, content, "p"))[1] == expected
    assert read(saved(tmp_path, gzip.compress(content), "p.gz"))[1] == expected
    dialect, cells = read(saved(tmp_path, zipped({"p.csv": content, "readme.txt": b"hello"}), "p.zip"))
    assert (dialect.compression, dialect.member, cells) == ("zip", "p.csv", expected)


def test_of_several_files_the_clearly_largest_is_read_else_one_has_to_be_named(tmp_path: Path) -> None:
    large = CSV + b"C;Gamma\n" * 100
    clear = saved(tmp_path, zipped({"small.csv": CSV, "large.csv": large, "__MACOSX/._large.csv": b"x"}), "clear.zip")
    assert read(clear)[0].member == "large.csv"
    both = saved(tmp_path, zipped({"a.csv": CSV, "b.csv": CSV.replace(b"A;", b"Z;")}), "both.zip")
    error = refused(both)
    assert (error.code, "'a.csv'" in error.message, "'b.csv'" in error.message) == ("several_members", True, True)
    assert read(both, {"member": "b.csv"})[1][1] == ("Z", "Alpha")
    assert refused(both, {"member": "c.csv"}).code == "unknown_member"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (zipped({"inner.zip": zipped({"a.csv": CSV})}), "nested_archive"),
        (zipped({"a.csv": gzip.compress(CSV)}), "nested_archive"),
        (gzip.compress(gzip.compress(CSV)), "nested_archive"),
        (gzip.compress(zipped({"a.csv": CSV})), "nested_archive"),
        (zipped({"photo.jpg": b"x", "other.png": b"y"}), "no_data_file"),
        (zipped({}), "no_data_file"),
        (zipped({"a.csv": CSV * 50})[:-40], "damaged_archive"),
        (gzip.compress(JSON * 50)[:-30], "damaged_archive"),
        (b"PAR1 and nothing else", "not_parquet"),
    ],
    ids=count(),  # archives hold the time, and every process has to name the cases alike
)
def test_what_cannot_be_unpacked_says_why(content: bytes, code: str, tmp_path: Path) -> None:
    assert refused(saved(tmp_path, content, "upload.bin")).code == code


def test_a_member_without_a_name_is_no_candidate(tmp_path: Path) -> None:
    content = zipped({"qqqq": b"x", "p.csv": CSV}).replace(b"qqqq", b"\0" * 4)
    assert read(saved(tmp_path, content, "nameless.zip"))[0].member == "p.csv"


def test_a_member_behind_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.csv": CSV}))
    content[6] |= 1  # flag of the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and of the directory
    assert refused(saved(tmp_path, bytes(content), "locked.zip")).code == "encrypted"


@pytest.mark.parametrize("kind", ["zip", "csv.gz", "json.gz", "xlsx"])
def test_bombs_are_refused_by_ratio(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pim_platform.intake.readers.archive.HARMLESS_BYTES", 100_000)
    monkeypatch.setattr("pim_platform.intake.readers.convert.convert", _in_process)
    monkeypatch.setattr("pim_platform.intake.readers.opening.convert", _in_process)
    if kind == "xlsx":
        with zipfile.ZipFile(io.BytesIO(BOOK)) as archive:
            parts = {info.filename: archive.read(info) for info in archive.infolist()}
        content = zipped(parts | {"xl/worksheets/sheet1.xml": b"<worksheet>" + b" " * 2_000_000})
    elif kind == "zip":
        content = zipped({"a.csv": b"sku,name\n" + b"A,B\n" * 500_000})
    elif kind == "csv.gz":
        content = gzip.compress(b"sku,name\n" + b"A,B\n" * 500_000)
    else:
        content = gzip.compress(b"[" + b'{"sku": "A"},' * 200_000 + b'{"sku": "A"}]')
    assert refused(saved(tmp_path, content, f"bomb.{kind}")).code == "archive_bomb"


def _in_process(path: Path, name: str, kind: Any, folder: Path, limits: Limits, **more: Any) -> Any:
    found = converting.read_into(path, name, kind, folder, limits, **more)
    summary = json.loads((folder / "cells.json").read_text("utf-8"))
    return converting.Converted(folder, found, converting.Summary(**summary))


def test_parquet_columns_read_as_text_and_nested_ones_by_the_rule_of_json(tmp_path: Path) -> None:
    table = pa.table(
        {
            "sku": ["A", "B"],
            "price": pa.array([Decimal("9.90"), None], pa.decimal128(10, 2)),
            "ratio": pa.array([0.1, 2.0], pa.float32()),
            "on": [True, None],
            "day": [dt.date(2024, 1, 2), None],
            "brand": pa.array(["x", "y"]).dictionary_encode(),
            "size": [{"w": 1, "unit": "mm"}, None],
            "tags": [["a", "b"], []],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    _, cells = read(tmp_path / "p.parquet")
    records = [{k: v for k, v in zip(cells[0], row, strict=True) if v is not None} for row in cells[1:]]
    assert records == [
        {"sku": "A", "price": "9.90", "ratio": "0.1", "on": "true", "day": "2024-01-02", "brand": "x", "size.w": "1",
         "size.unit": "mm", "tags[]": '["a","b"]'},
        {"sku": "B", "ratio": "2", "brand": "y"},
    ]  # fmt: skip


def test_a_reader_that_takes_too_long_or_too_much_is_ended(tmp_path: Path) -> None:
    path = saved(tmp_path, JSON, "p.json")
    assert refused(path, limits=Limits(seconds=0.01)).code == "reader_timeout"
    assert refused(path, limits=Limits(memory_bytes=1_000_000)).code == "reader_memory"
    assert refused(path, limits=Limits(records=1)).code == "too_many_records"
    assert refused(path, limits=Limits(columns=1)).code == "too_many_columns"


def test_a_reader_that_dies_is_told_and_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(converting.READERS, "json", "no.such.reader")
    fake = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(converting, "_command", lambda folder: [converting.sys.executable, "-c", fake])
    error = refused(saved(tmp_path, JSON, "p.json"))
    assert (error.code, "SIGSEGV" in error.message) == ("reader_crashed", True)


def test_cells_that_no_database_stores_are_rejects(tmp_path: Path) -> None:
    out = CellsWriter(tmp_path, "p.json")
    out.record({"sku": "A", "name": "fine"})
    out.record({"sku": "B", "name": "a\0b"})
    out.record({"sku": "\ud800", "late": "x"})
    summary = out.close()
    assert (summary.headers, summary.rows, summary.bad) == (["sku", "name", "late"], 1, 2)
    bad = pl.read_ipc(tmp_path / "bad-00000.arrow")
    assert bad.select("row", "error_code").rows() == [(2, "nul_byte"), (3, "undecodable")]


def test_what_is_said_of_a_dialect_is_checked(tmp_path: Path) -> None:
    assert parse_changes({"header_row": 2, "sheet": "A"}) == {"header_row": 2, "sheet": "A"}
    for wrong in ({"format": "csv"}, {"colour": 1}, {"delimiter": ";;"}, {"header_row": -1}, {"header_row": "x"}):
        with pytest.raises(InvalidRequest) as caught:
            parse_changes(wrong)
        assert caught.value.code == "invalid_dialect"
    with pytest.raises(InvalidRequest, match="'nope' is unknown"):
        parse_changes({"encoding": "nope"})
    with pytest.raises(InvalidRequest, match="'sheet' has no meaning"):
        read(saved(tmp_path, CSV, "p.csv"), {"sheet": "A"})


def test_delimiter_encoding_and_header_can_be_said(tmp_path: Path) -> None:
    path = saved(tmp_path, "note\nsku|näme;x\nA|Älpha;y\n".encode("cp1252"), "p.csv")
    dialect, cells = read(path, {"delimiter": "|", "encoding": "cp1252", "header_row": 1})
    assert cells == [["sku", "näme;x"], ("A", "Älpha;y")]
    assert (dialect.delimiter, dialect.encoding, dialect.header_row) == ("|", "cp1252", 1)
    assert read(saved(tmp_path, CSV, "q.csv"), {"header_row": None})[1][:2] == [
        ["column_1", "column_2"],
        ("sku", "name"),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("csv", "a.csv", "rejects-a.csv"),
        ("csv", "a.tsv.gz", "rejects-a.tsv"),
        ("xlsx", "a.xls", "rejects-a.xlsx"),
        ("jsonl", "a.json.gz", "rejects-a.jsonl"),
        ("xml", "feed.xml", "rejects-feed.csv"),
        ("parquet", "a.parquet", "rejects-a.csv"),
    ],
)
def test_a_reject_file_has_a_format_and_name_that_fit_its_file(kind: Any, name: str, expected: str) -> None:
    form = reject_format(Dialect(format=kind), 10)
    assert isinstance(form, RejectFormat)
    assert reject_name(name, form) == expected


def test_more_rejects_than_a_sheet_has_rows_come_as_csv() -> None:
    assert reject_format(Dialect(format="xlsx"), 2_000_000).suffix == "csv"
