"""When a delivery is tried again is decided without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pim_platform.syndication.pacing import ATTEMPTS, SCHEDULE, delay_after, is_taken, wished_delay


def test_delays_follow_the_schedule_a_little_later_each_time_and_stay_at_its_end() -> None:
    for failed, base in enumerate(SCHEDULE, start=1):
        assert base <= delay_after(failed) <= base * 1.2
    assert SCHEDULE[-1] <= delay_after(ATTEMPTS + 5) <= SCHEDULE[-1] * 1.2
    assert len({delay_after(3) for _ in range(10)}) > 1, "jitter"


@pytest.mark.parametrize(
    ("header", "seconds"), [("0", 0), ("30", 30), (" 120 ", 120), ("999999", 3600), ("", None), (None, None)]
)
def test_a_receiver_may_say_how_long_to_wait_up_to_an_hour(header: str | None, seconds: float | None) -> None:
    assert wished_delay(header) == seconds


@pytest.mark.parametrize("header", ["soon", "-5", "1.5", "Fri, 99 Foo"])
def test_a_wish_that_cannot_be_read_is_none(header: str) -> None:
    assert wished_delay(header) is None


def test_a_wish_may_be_a_date() -> None:
    soon = wished_delay(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None
    assert 50 < soon <= 60
    assert wished_delay(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (204, True), (299, True), (199, False), (301, False), (410, False), (500, False)]
)
def test_only_2xx_takes_an_event(status: int, taken: bool) -> None:
    assert is_taken(status) is taken
