"""When a feed is due: intervals, cron in the tenant's time zone, retries that wait longer each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from pim_platform.errors import InvalidRequest
from pim_platform.intake.feeds import FeedSettings, next_due, next_time

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)  # a Friday; Berlin's clocks change on the Sunday


def test_an_interval_counts_from_now() -> None:
    assert next_due(3600, None, "UTC", NOW) == NOW + timedelta(hours=1)


def test_without_a_rhythm_it_is_never_due() -> None:
    assert next_due(None, None, "UTC", NOW) is None
    assert next_due(None, None, "UTC", NOW, retries=3) is None


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("30 5 * * *", "UTC", datetime(2026, 3, 28, 5, 30, tzinfo=UTC)),
        ("30 5 * * *", "Europe/Berlin", datetime(2026, 3, 28, 4, 30, tzinfo=UTC)),
        ("30 5 * * 1", "Europe/Berlin", datetime(2026, 3, 30, 3, 30, tzinfo=UTC)),
        ("*/15 * * * *", "Asia/Kolkata", datetime(2026, 3, 27, 12, 15, tzinfo=UTC)),
        ("0 8 1 * *", "America/New_York", datetime(2026, 4, 1, 12, 0, tzinfo=UTC)),
    ],
)
def test_cron_is_read_in_the_tenants_time_zone(cron: str, zone: str, expected: datetime) -> None:
    assert next_due(None, cron, zone, NOW) == expected


def test_retries_wait_twice_as_long_each_time_and_never_longer_than_the_rhythm() -> None:
    waits = [next_due(86_400, None, "UTC", NOW, retries=n) for n in (1, 2, 3, 10, 100)]
    assert waits == [NOW + timedelta(minutes=minutes) for minutes in (1, 2, 4, 360, 360)]
    assert next_due(90, None, "UTC", NOW, retries=5) == NOW + timedelta(seconds=90)


def test_a_server_that_asks_for_patience_puts_off_what_would_come_earlier_and_nothing_else() -> None:
    assert next_due(3600, None, "UTC", NOW, retries=1, wait=7200.0) == NOW + timedelta(hours=2)
    assert next_due(3600, None, "UTC", NOW, retries=1, wait=10.0) == NOW + timedelta(minutes=1)
    assert next_due(None, "*/15 * * * *", "UTC", NOW, wait=7200.0) == NOW + timedelta(hours=2)
    assert next_due(None, None, "UTC", NOW, wait=7200.0) is None


@pytest.mark.parametrize("cron", ["", "* * * *", "* * * * * *", "61 * * * *", "@daily", "0 0 30 2 *", "often"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        next_time(cron, "UTC", NOW)
    assert refused.value.code == "invalid_cron"


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_seconds": 60, "cron": "0 0 * * *"},
        {"interval_seconds": 59},
        {"auth": {"kind": "digest", "user": "a", "password": "b"}},
        {"auth": {"kind": "basic", "user": "a:b", "password": "c"}},
        {"auth": {"kind": "bearer", "token": "two\r\nlines"}},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeedSettings.model_validate({"url": "https://feeds.example.com/"} | wrong)
