"""The sample files are what their generator writes, and are bad only where they mean to be."""

from __future__ import annotations

import csv
import io
from collections import Counter
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from samples import make_outdoor
from samples.make_outdoor import HEADER, Sample

FIRST = make_outdoor.catalogue()
SECOND = make_outdoor.update(FIRST)


def good(sample: Sample) -> list[dict[str, str]]:
    wrong = {bad.row for bad in sample.bad}
    return [
        dict(zip(sample.header, record, strict=True))
        for row, record in enumerate(sample.records, 2)
        if row not in wrong
    ]


@pytest.mark.parametrize("name", ["outdoor-gear.csv", "outdoor-gear-update.csv", "README.md"])
def test_files_are_what_the_generator_writes(name: str) -> None:
    assert (make_outdoor.HERE / name).read_bytes() == make_outdoor.files()[name]


def test_the_file_reads_back_as_its_records() -> None:
    text = (make_outdoor.HERE / "outdoor-gear.csv").read_text(encoding="utf-8")
    header, *records = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == HEADER
    assert [tuple(record) for record in records] == list(FIRST.records)


def test_the_ledgers() -> None:
    assert FIRST.ledger == {
        "read": 2000, "created": 1977, "updated": 0, "unchanged": 0, "rejected": 15, "superseded": 8, "merged": 0,
    }  # fmt: skip
    for sample in (FIRST, SECOND):
        ledger = sample.ledger
        assert ledger.pop("read") == sum(ledger.values())
    assert len(make_outdoor.shelf(FIRST)) == FIRST.ledger["created"]
    assert min(SECOND.ledger["updated"], SECOND.ledger["unchanged"], SECOND.ledger["rejected"]) > 0


def test_gtins_have_right_check_digits_and_are_given_once() -> None:
    gtins = {row["SKU"].lower(): row["EAN"] for row in good(FIRST) if row["EAN"]}
    for gtin in gtins.values():
        assert len(gtin) == 13
        assert gtin.isdecimal()
        assert sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(gtin)) % 10 == 0
    assert Counter(gtins.values()).most_common(1)[0][1] == 1
    assert len(gtins) > 1900


def test_good_records_are_good() -> None:
    for row in good(FIRST):
        assert row["SKU"]
        assert row["Product name"]
        assert row["Category"].count(" > ") == 1
        amount, currency = row["Price"].split()
        assert Decimal(amount) > 0
        assert currency == "EUR"
        if row["Compare-at price"]:
            assert Decimal(row["Compare-at price"].split()[0]) > Decimal(amount)
        assert Decimal(row["Weight (kg)"]) > 0
        assert (row["In stock"] == "yes") == (int(row["Stock quantity"]) > 0)
        for url in [row["Image URL"], *filter(None, row["More images"].split(", "))]:
            assert urlsplit(url)[:2] == ("https", "img.example.com")
        if row["Parent SKU"]:
            assert row["SKU"].lower().startswith(f"{row['Parent SKU'].lower()}-")


def test_duplicates_differ_in_case_only_and_follow_their_first() -> None:
    seen: dict[str, str] = {}
    doubles = []
    for row in good(FIRST):
        key = row["SKU"].lower()
        if key in seen:
            doubles.append(row["SKU"])
            assert seen[key] != row["SKU"]
        seen.setdefault(key, row["SKU"])
    assert len(doubles) == FIRST.superseded == 8


def test_bad_records_show_their_fault() -> None:
    assert FIRST.bad_by_reason == {
        "no SKU": 3, "no name": 3, "price is no number": 3, "broken URL": 2, "too many fields": 2,
        "weight is no number": 2,
    }  # fmt: skip
    known = {row["SKU"] for row in good(FIRST)}
    for bad in FIRST.bad:
        record = FIRST.records[bad.row - 2]
        assert record[0] == bad.sku
        assert bad.sku not in known
        if bad.column:
            assert record[HEADER.index(bad.column)] == bad.value
        else:
            assert record[len(HEADER) :] == (bad.value,)


def test_the_update_knows_its_catalogue() -> None:
    known = make_outdoor.shelf(FIRST)
    assert "Product name" not in SECOND.header
    assert all(row["SKU"].lower() in known for row in good(SECOND))
    assert len({row["SKU"].lower() for row in good(SECOND)}) == len(good(SECOND))
    assert all(bad.sku.lower() not in known for bad in SECOND.bad)
    assert any(not row["Price"] for row in good(SECOND))
    assert any(row["SKU"].islower() for row in good(SECOND))


def test_the_projects_readme_counts_as_the_sample_does() -> None:
    ledger = FIRST.ledger
    text = (make_outdoor.HERE.parent / "README.md").read_text(encoding="utf-8")
    assert (
        f"{ledger['read']:,} records read = {ledger['created']:,} created + {ledger['rejected']} rejected"
        f" + {ledger['superseded']} superseded" in " ".join(text.split())
    )
