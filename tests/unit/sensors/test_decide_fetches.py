"""Which due feeds get a run: pure decisions."""

from __future__ import annotations

from sensors.feeds import DueFeed, decide_fetches

DUE = "2026-11-21T05:30:00+00:00"


def feed(**known: object) -> DueFeed:
    return DueFeed("s1", "acme", "main", DUE, **known)  # type: ignore[arg-type]


def test_a_due_feed_gets_a_run_whose_key_is_its_time() -> None:
    (launch,) = decide_fetches([feed()])
    assert (launch.run_key, launch.fail) == (f"s1:{DUE}:0", ())


def test_a_run_that_waits_is_enough() -> None:
    assert decide_fetches([feed(waiting_runs=1)]) == []


def test_a_dead_run_is_failed_and_followed_by_one_with_another_key() -> None:
    (launch,) = decide_fetches([feed(ended_runs=2, stuck_runs=("r9",))])
    assert (launch.run_key, launch.fail) == (f"s1:{DUE}:3", ("r9",))


def test_each_feed_is_decided_by_itself() -> None:
    other = DueFeed("s2", "other", "main", DUE)
    assert [launch.feed.source for launch in decide_fetches([feed(waiting_runs=1), other])] == ["other"]
