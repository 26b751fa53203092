"""What a profile says of a column's cells."""

from __future__ import annotations

import polars as pl
import pytest

from pim_platform.intake.patterns import date_order, is_price_list, isbn10_is_valid, mask
from pim_platform.intake.profile import ColumnProfile, profile_columns


def profile(cells: list[str | None], header: str = "x", **more: object) -> ColumnProfile:
    frame = pl.DataFrame({"row": range(len(cells)), "raw.0": cells}, schema={"row": pl.Int64, "raw.0": pl.String})
    return profile_columns(frame, [header], **more)[0]  # type: ignore[arg-type]


def test_counts_lengths_and_ranges() -> None:
    found = profile(["12,5", "3", None, "1.000,25", "3", ""])
    assert (found.filled, found.distinct, found.null_share) == (4, 3, round(2 / 6, 6))
    assert (found.min_length, found.max_length) == (1, 8)
    assert (found.minimum, found.maximum, found.decimal) == ("3", "1000.25", ",")
    assert found.type == "number"


def test_shapes_of_codes_are_told_and_prose_has_none() -> None:
    assert profile([f"AB-{i}" for i in range(100, 150)]).patterns == ["AA-999"]
    assert profile(["Ünï 1", "Abc 2"]).patterns == ["Aaa 9"]
    assert profile([f"A text of some words and number {i} in it" for i in range(9)]).patterns == []
    assert mask("日本 x1") == "aa a9"


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["31.12.2024", "01.02.2024"], "DMY"),
        (["01.02.2024", "02.03.2024"], "DMY"),  # points are German
        (["12/31/2024", "01/02/2024"], "MDY"),
        (["01/02/2024", "03/04/2024"], None),
        (["2024-05-06", "2024-05-07T10:00:00Z"], "YMD"),
        (["20240506", "20241231"], "YMD"),
        (["31/12/24", "01/02/24"], "DMY"),
    ],
)
def test_the_order_of_dates_is_found_where_it_is_certain(cells: list[str], order: str | None) -> None:
    assert date_order(cells) == (1.0, order)
    assert profile(list(cells)).date_order == order


def test_what_looks_like_a_date_and_is_none() -> None:
    assert date_order(["99.99.2024", "1.2.3.4", "12-34"]) == (0.0, None)


@pytest.mark.parametrize(
    ("cells", "currency", "currencies"),
    [
        (["12.50 €", "3 €"], "EUR", ["EUR"]),
        (["$5", "6 USD"], "USD", ["USD"]),
        (["12.50 €", "3 USD"], None, ["EUR", "USD"]),
        (["3,99 €/kg", "12,- €"], "EUR", ["EUR"]),
        (["(5.00) €", "6.00 €"], "EUR", ["EUR"]),
        (["12 ft", "14 ft"], None, []),
        (["1000 Ft", "1500 Ft"], "HUF", ["HUF"]),
    ],
)
def test_currencies_of_cells(cells: list[str], currency: str | None, currencies: list[str]) -> None:
    found = profile(list(cells))
    assert (found.currency, found.currencies) == (currency, currencies)


def test_groups_of_three_digits_in_amounts_are_thousands() -> None:
    assert profile(["SR 1,395", "SR 12,500", "SR 90"]).decimal == "."
    assert profile(["1.395 €", "2.500 €"], decimal=".").decimal == ","
    assert profile(["1.395", "2.500"]).decimal is None


def test_packed_prices_are_a_list_of_prices() -> None:
    assert profile(["EUR 10|USD 12", "EUR 8|USD 9"]).type == "multi_price"
    assert is_price_list("EUR 3000;EUR 1967 b2b;DE-EUR 2640#store-berlin")
    assert not is_price_list("red|blue")
    assert profile(["12.50 EUR", "3 EUR"]).type == "price"


def test_check_digits_of_books() -> None:
    assert isbn10_is_valid("0-306-40615-2")
    assert isbn10_is_valid("080442957X")
    assert not isbn10_is_valid("0306406153")
    assert profile(["0306406152", "080442957X"]).isbn_share == 1.0


def test_words_of_many_meanings_are_answers_only_in_pairs() -> None:
    assert not profile(["Sand", "Sand"]).boolean_like
    assert profile(["sand", "falsk"]).boolean_like
    assert profile(["是", "否", "是"]).type == "boolean"


def test_no_group_of_thousands_begins_with_a_zero() -> None:
    assert profile(["0,650", "0,200"]).decimal == ","
    assert profile(["0.125", "12.500"]).decimal == "."
    assert profile(["1250,500", "7"]).decimal == ","
    assert profile(["1,250", "2,500"]).decimal is None


def test_blanks_part_addresses_but_not_words() -> None:
    links = ["https://a.example/1.jpg https://a.example/2.jpg", "https://a.example/3.jpg"]
    assert (profile(links).type, profile(links).separator) == ("array", " ")
    assert profile(["red chair", "blue table"]).separator is None
