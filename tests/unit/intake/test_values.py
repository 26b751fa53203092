"""Cells become values exactly, or are told apart from values; nothing is guessed."""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.profile import gtin_is_valid
from pim_platform.intake.values import Rules, form_of, parse, row_currencies


def values(kind: FieldType, cells: list[str | None], **rules: object) -> list[object]:
    """Value per cell; "BAD" where a filled cell is no value."""
    frame = pl.DataFrame({"c": cells}, schema={"c": pl.String})
    known = Rules(**rules)  # type: ignore[arg-type]
    parsed = parse(pl.col("c"), kind, known, form=form_of(frame["c"], kind, known))
    rows = frame.select(value=parsed.value, ok=parsed.ok).rows()
    return [value if ok else "BAD" for value, ok in rows]


@pytest.mark.parametrize(
    ("decimal", "cell", "expected"),
    [
        (",", "1.234,56", "1234.56"),
        (",", "5 000,50", "5000.50"),
        (",", "5\u202f000,50", "5000.50"),
        (",", "1.234", "1234"),
        (",", "1.5", "BAD"),
        (".", "1,234.5", "1234.5"),
        (".", "1,234", "1234"),
        (".", "1'234.50", "1234.50"),
        (".", "1,5", "BAD"),
        (".", "0,650", "BAD"),
        (",", "0.650", "BAD"),
        (".", "007", "7"),
        (".", "+3.", "3"),
        (".", ".5", "0.5"),
        (".", "\u22124", "-4"),
        (".", "1.5E+3", "1.5E+3"),
        (".", ".", "BAD"),
        (".", "12 kg", "BAD"),
        (".", "  ", None),
    ],
)
def test_numbers_keep_their_digits_and_follow_the_sign_of_their_column(
    decimal: str, cell: str, expected: str | None
) -> None:
    assert values("number", [cell, "x"], decimal=decimal)[0] == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=4))
def test_any_decimal_comes_back_exactly(amount: Decimal) -> None:
    german = f"{amount:,.4f}".replace(",", "_").replace(".", ",").replace("_", ".")
    plain, comma = values("number", [f"{amount:f}", "x"])[0], values("number", [german, "x"], decimal=",")[0]
    assert Decimal(str(plain)) == amount == Decimal(str(comma))
    assert json.loads(str(plain), parse_float=Decimal, parse_int=Decimal) == amount


def test_units_of_a_column_are_taken_off() -> None:
    assert values("number", ["1.5 kg", "2kg", "3"], unit="kg") == ["1.5", "2", "3"]


@pytest.mark.parametrize(
    ("cell", "amount", "currency"),
    [
        ("12.50", "12.50", "SEK"),
        ("€ 1,200.00", "1200.00", "EUR"),
        ("12.50 eur", "12.50", "EUR"),
        ("USD12", "12", "USD"),
        ("$5", "5", "USD"),
        ("SR 1,395", "1395", "SAR"),
        ("12 kr", "12", "SEK"),
        ("1.50Kč", "1.50", "CZK"),
        ("19.–", "19", "SEK"),
        ('{"amount": 12.50, "currency": "chf"}', "12.50", "CHF"),
    ],
)
def test_a_price_takes_the_currency_of_its_cell_before_its_columns(cell: str, amount: str, currency: str) -> None:
    expected = f'{{"amount":{amount},"currency":"{currency}"}}'
    assert values("price", [cell, "x"], currency="SEK")[0] == expected


def test_no_currency_is_invented() -> None:
    assert values("price", ["12.50", "5 kr", "12 XYZ", "€ 3"]) == ["BAD", "BAD", "BAD", '{"amount":3,"currency":"EUR"}']


def test_a_currency_column_decides_row_by_row() -> None:
    cells = pl.Series(["EUR", " usd ", None, "", "nonsense", "£"])
    assert row_currencies(cells, "CHF").to_list() == ["EUR", "USD", "CHF", "CHF", None, "GBP"]


def test_a_currency_column_says_which_of_the_currencies_a_shared_sign_is() -> None:
    frame = pl.DataFrame({"c": ["$ 5", "$ 7", "\u20ac 9"], "k": ["ARS", "USD", "ARS"]})
    for cells in (frame, frame.head(2)):  # the second is written in one form
        found = cells.select(
            parse(
                pl.col("c"), "price", Rules(currency="EUR"), form=form_of(cells["c"], "price", Rules(currency="EUR")),
                row_currency=pl.col("k"),
            ).value
        ).to_series()  # fmt: skip
        assert [json.loads(cell)["currency"] for cell in found] == ["ARS", "USD", "EUR"][: cells.height]


def test_digits_of_other_scripts_are_numbers_as_json_writes_them() -> None:
    assert values("number", ["٥", "١٢٫٥", "۱٬۲۰۰", "１，２００．５", "1٥"]) == ["5", "12.5", "1200", "1200.5", "15"]
    assert values("number", ["١٢٫٥"], decimal=",") == ["12.5"]
    assert values("price", ["１２００円"], currency="JPY") == ['{"amount":1200,"currency":"JPY"}']


def test_yes_and_no_in_several_languages() -> None:
    assert values("boolean", ["Yes", "nein", "OUI", "0", "x", "да", "はい", "maybe", None]) == [
        True, False, True, False, True, True, True, "BAD", None,
    ]  # fmt: skip


def test_lists_are_trimmed_and_json_lists_taken_as_they_are() -> None:
    cells = ["a, b ,,c", 'say "hi"', '["x, y", 1, null]', "[new] thing", None]
    assert values("array", cells, separator=",") == [
        '["a","b","c"]', '["say \\"hi\\""]', '["x, y","1"]', '["[new] thing"]', None,
    ]  # fmt: skip


@pytest.mark.parametrize("escape", ["u0000", "ud800"])
def test_escapes_that_no_engine_can_store_stay_plain_text(escape: str) -> None:
    cell = f'["\\{escape}"]'
    found = values("array", [cell])[0]
    assert json.loads(str(found)) == [cell]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|"), max_size=8), max_size=5))
def test_any_delimited_text_becomes_valid_json(entries: list[str]) -> None:
    cell = "|".join(entries)
    if cell.strip().startswith("["):
        return
    found = values("array", [cell], separator="|")[0]
    assert found is None or all(isinstance(entry, str) for entry in json.loads(str(found)))


def test_urls_are_absolute() -> None:
    cells = ["https://a.example/x?y", "HTTP://b", "//c", "d.jpg", "https://e f", None]
    assert values("url", cells) == ["https://a.example/x?y", "HTTP://b", "BAD", "BAD", "BAD", None]


def test_several_prices_come_as_json_or_as_one_price() -> None:
    cells = ["12", '[{"amount": 12.50, "currency": "eur", "locale": "de-DE"}]', "[1]"]
    assert values("multi_price", cells, currency="EUR") == [
        '[{"amount":12,"currency":"EUR"}]', '[{"amount":12.50,"currency":"EUR","locale":"de-DE"}]', "BAD",
    ]  # fmt: skip


def test_texts_keep_their_leading_zeros() -> None:
    assert values("string", [" 00123 ", "", None]) == ["00123", None, None]


@pytest.mark.parametrize(("digits", "valid"), [("4006381333931", True), ("4006381333932", False), ("96385074", True)])
def test_gtin_check_digits(digits: str, valid: bool) -> None:
    assert gtin_is_valid(digits) is valid


@pytest.mark.parametrize(
    ("cell", "amount", "currency"),
    [
        ("3,99 €/kg", "3.99", "EUR"),
        ("12,50 €/100 g", "12.50", "EUR"),
        ("5 EUR per piece", "5", "EUR"),
        ("(12,50) €", "-12.50", "EUR"),
        ("(12,50)", "-12.50", "CHF"),
        ("5,00-", "-5.00", "CHF"),
        ("-€ 5", "-5", "EUR"),
        ("€ -5", "-5", "EUR"),
        ("12,-", "12", "CHF"),
        ("5 000,50 Kč", "5000.50", "CZK"),
        ("$5 USD", "5", "USD"),
        ("CA$ 5", "5", "CAD"),
        ("Rs. 1.299,00", "1299.00", "INR"),
        ("12 ₸", "12", "KZT"),
        ("RM 12,50", "12.50", "MYR"),
        ("1.299,00 грн.", "1299.00", "UAH"),
    ],
)
def test_prices_as_people_of_many_countries_write_them(cell: str, amount: str, currency: str) -> None:
    expected = f'{{"amount":{amount},"currency":"{currency}"}}'
    assert values("price", [cell, "x"], decimal=",", currency="CHF")[0] == expected


@pytest.mark.parametrize("cell", ["5-10", "12 kr 50", "12 kg", "R 5", "from 12", "12,50 €/$", "(5) (6)"])
def test_what_is_no_price_is_none(cell: str) -> None:
    assert values("price", [cell, "x"], decimal=",", currency="CHF")[0] == "BAD"


def test_a_column_written_in_one_form_is_read_as_by_the_general_parser() -> None:
    columns: list[tuple[FieldType, str, list[str | None]]] = [
        ("price", ".", ["€12.50", "€3", None]),
        ("price", ",", ["12,50 EUR", "3 EUR"]),
        ("price", ".", ["$ -5", "$ 6"]),
        ("price", ",", ["1.395 €", "2 €"]),
        ("price", ".", ["12.50 XYZ"]),
        ("number", ",", ["12,5", "-3", "0"]),
        ("number", ",", ["1.395", "2.000"]),
    ]
    for kind, decimal, cells in columns:
        alone = values(kind, cells, decimal=decimal, currency="SEK")
        mixed = values(kind, [*cells, "x y z"], decimal=decimal, currency="SEK")
        assert alone == mixed[:-1]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("EUR 10|USD 12", [("10", "EUR"), ("12", "USD")]),
        ("10.50 EUR, 12 USD", [("10.50", "EUR"), ("12", "USD")]),
        ("EUR:10.00,USD:12.00", [("10.00", "EUR"), ("12.00", "USD")]),
        ("€10;$12", [("10", "EUR"), ("12", "USD")]),
        ("1967 b2b", None),
        ("red|blue", None),
        ("5|6", None),
    ],
)
def test_several_prices_in_a_cell(cell: str, expected: list[tuple[str, str]] | None) -> None:
    found = values("multi_price", [cell], currency="CHF")[0]
    if expected is None:
        assert found == "BAD"
        return
    prices = json.loads(str(found), parse_float=str, parse_int=str)
    assert [(price["amount"], price["currency"]) for price in prices] == expected


def test_prices_of_countries_groups_and_channels() -> None:
    found = values("multi_price", ["EUR 3000;EUR 1967 b2b;DE-EUR 2640#store-berlin"])[0]
    assert json.loads(str(found)) == [
        {"amount": 3000, "currency": "EUR"},
        {"amount": 1967, "currency": "EUR", "group": "b2b"},
        {"amount": 2640, "currency": "EUR", "locale": "und-DE", "channel": "store-berlin"},
    ]


def test_numbers_that_are_owed_and_units_in_any_spelling() -> None:
    cells: list[str | None] = ["(12.50)", "5-", "1.5 KG", "2 kilograms", "3 Kg.", "4,-"]
    assert values("number", cells, unit="kg") == ["-12.50", "-5", "1.5", "2", "3", "4"]
