"""The generated files have the shape they promise, at any size."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import files
from samples.make_outdoor import gtin13


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_three_columns_repeat_each_hundredth_sku_in_another_case(tmp_path: Path) -> None:
    written = files.write_three_columns(tmp_path / "three.csv", 1_250)
    rows = read(written.path)
    assert list(rows[0]) == ["name", "sku", "description"]
    assert len(rows) == written.rows == 1_250
    first: dict[str, str] = {}
    doubles = []
    for row in rows:
        if first.setdefault(row["sku"].lower(), row["sku"]) != row["sku"]:
            doubles.append(row["sku"])
    assert len(doubles) == 12
    assert all(sku.islower() for sku in doubles)
    assert len(first) == written.products == 1_238


def test_twelve_columns(tmp_path: Path) -> None:
    written = files.write_twelve_columns(tmp_path / "twelve.csv", 2_000)
    rows = read(written.path)
    assert list(rows[0]) == [
        "sku", "name", "description", "price", "brand", "category", "tags", "weight", "in_stock", "image_url", "ean",
        "colour",
    ]  # fmt: skip
    assert len({row["sku"].lower() for row in rows}) == written.products == 2_000
    assert all(value for row in rows for value in row.values())
    assert all(row["price"].startswith("€") and float(row["price"][1:]) >= 1 for row in rows)
    assert all(row["tags"].count(",") == 2 for row in rows)
    assert {row["in_stock"] for row in rows} == {"yes", "no"}
    assert [row["ean"] for row in rows] == [gtin13(number) for number in range(1, 2_001)]
    assert 240 < written.bytes / written.rows < 270


@pytest.mark.parametrize("factor", [1.05, 0.9, 1.0001])
def test_a_price_factor_changes_every_price_and_nothing_else(tmp_path: Path, factor: float) -> None:
    before = read(files.write_twelve_columns(tmp_path / "a.csv", 500).path)
    after = read(files.write_twelve_columns(tmp_path / "b.csv", 500, price_factor=factor).path)
    for old, new in zip(before, after, strict=True):
        assert old.pop("price") != new.pop("price")
        assert old == new


@pytest.mark.parametrize("write", [files.write_three_columns, files.write_twelve_columns])
def test_batches_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: type) -> None:
    whole = write(tmp_path / "whole.csv", 777).path.read_bytes()
    monkeypatch.setattr(files, "BATCH", 100)
    assert write(tmp_path / "batched.csv", 777).path.read_bytes() == whole
    assert whole.startswith(write(tmp_path / "shorter.csv", 250).path.read_bytes())
    assert write(tmp_path / "other.csv", 777, seed=99).path.read_bytes() != whole


def test_no_rows_are_a_header(tmp_path: Path) -> None:
    assert files.write_three_columns(tmp_path / "empty.csv", 0).path.read_text() == "name,sku,description\n"


def test_gtins_take_ten_digits() -> None:
    assert files.gtin13(np.array([9_876_543_210], dtype=np.uint64)).item() == gtin13(9_876_543_210)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.main(["twelve", str(tmp_path / "x.csv"), "--rows", "10", "--price-factor", "2"])
    assert "10 records, 10 products" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        files.main(["three", str(tmp_path / "x.csv"), "--price-factor", "2"])
