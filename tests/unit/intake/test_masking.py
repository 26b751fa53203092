"""What of a sample leaves the machine: no address, number or name of a person, no secret; shapes stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.intake.mapping.masking import DIGITS, LENGTH, mask, withheld


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask jane.doe@example.co.uk", "ask <e-mail>"),
        ("+49 (0)30 123456-7", "<phone>"),
        ("0049 171 1234567", "<phone>"),
        ("(555) 010-9999", "<phone>"),
        ("0171-1234567", "<phone>"),
        ("030/1234567", "<phone>"),
        ("555.010.9999", "<phone>"),
        ("4111 1111 1111 1111", "<phone>"),
        ("4006381333931", "<13 digits>"),
        ("AB1234567", "AB<7 digits>"),
        ("https://ada:pw@cdn.example.com/a.jpg?token=s3cret#x", "https://cdn.example.com/a.jpg?<query>"),
        ("https://cdn.example.com/AKIA1234567890abcdEF/k.png", "https://cdn.example.com/<token>/k.png"),
        ("Ansprechpartner: Frau Erika Muster", "Ansprechpartner: <name>"),
        ("Designed by Jane Doe", "Designed by <name>"),
    ],
)
def test_people_and_secrets_are_taken_out(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    ["1.234.567,89", "12,5 kg", "L-12-345", "120/160/180", "10 x 20 x 30 cm", "2024-01-31", "31.01.2024", "XL | M"],
)
def test_what_tells_a_columns_meaning_stays(text: str) -> None:
    assert mask(text) == text


def test_free_text_is_cut_so_that_what_stands_further_in_stays_here() -> None:
    shown = mask("A light tent for two that our colleague Erika Muster likes")
    assert shown == "A light tent for two that…"
    assert len(mask("x" * 500)) == LENGTH + 1


@given(st.text(alphabet="0123456789 -/.+()", max_size=40))
def test_no_run_of_many_digits_ever_leaves(text: str) -> None:
    assert not re.search(rf"\d{{{DIGITS},}}", mask(text))


@given(st.text(max_size=300))
def test_any_text_can_be_masked(text: str) -> None:
    assert len(mask(text)) <= LENGTH + 1


@pytest.mark.parametrize("header", ["Supplier e-mail", "contact_person", "Telefon", "API key", "Vorname", "created_by"])
def test_columns_about_people_and_secrets_send_no_sample_at_all(header: str) -> None:
    assert withheld(header)


@pytest.mark.parametrize("header", ["Brand", "Product name", "User manual url", "Farbe", "EAN"])
def test_columns_about_products_do(header: str) -> None:
    assert not withheld(header)
