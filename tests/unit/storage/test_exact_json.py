"""Numbers go through JSON both ways with the digits they have."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.storage.exact_json import dumps, loads


@pytest.mark.parametrize("text", ["1.5", "0.1", "-2.50", "1e3", "3", "12345678901234567890", "true", "null", '"1.10"'])
def test_what_python_reads_exactly_stays_pythons_own(text: str) -> None:
    assert not isinstance(loads(text), Decimal)


@pytest.mark.parametrize("text", ["0.12345678901234567890123", "12345678901234567.25", "1e999"])
def test_what_a_float_would_round_is_a_decimal(text: str) -> None:
    assert loads(text) == Decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=30) | st.decimals(min_value=0, max_value=1, places=20))
def test_every_decimal_comes_back_as_it_went(number: Decimal) -> None:
    back = loads(dumps({"n": number}))["n"]
    assert Decimal(str(back)) == number


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps(object())
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps(float("nan"))
