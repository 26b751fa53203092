"""``Retry-After`` in each of its forms, and in none."""

from __future__ import annotations

import pytest

from pim_platform.storage.patience import asked_to_wait

DATE = "Fri, 31 Dec 1999 23:59:59 GMT"


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, 1_000),
        ("Sat, 01 Jan 2000 00:01:59 GMT", 120),
        ("Saturday, 01-Jan-00 00:01:59 GMT", 120),
        ("Sat Jan  1 00:01:59 2000", 120),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0),
        ("Fri, 31 Dec 2099 23:59:59 GMT", 1_000),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        (None, None),
    ],
)
def test_a_number_or_a_date_counted_from_the_answers_own(field: str | None, seconds: float | None) -> None:
    assert asked_to_wait(field, longest=1_000, date=DATE) == seconds


def test_an_answer_without_a_date_is_counted_from_now() -> None:
    assert asked_to_wait("Fri, 31 Dec 1999 23:59:59 GMT", longest=1_000) == 0
    assert asked_to_wait("Fri, 31 Dec 2999 23:59:59 GMT", longest=1_000, date="yesterday") == 1_000
