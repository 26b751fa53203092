"""Whether a delivery run starts is decided without a server."""

from __future__ import annotations

from sensors.webhooks import Decision, Running, decide_delivery


def test_a_run_starts_where_something_is_due_and_none_delivers() -> None:
    assert decide_delivery(waited=0.0, running=[]) == Decision(True)
    assert decide_delivery(waited=None, running=[]) == Decision(False)


def test_one_run_at_a_time_serves_all_receivers() -> None:
    assert decide_delivery(waited=0.0, running=[Running("a", 30.0)]) == Decision(False)


def test_a_dead_run_does_not_keep_the_next_from_starting() -> None:
    assert decide_delivery(waited=0.0, running=[Running("a", 10_000.0)]) == Decision(True, ("a",))


def test_a_run_may_wait_in_the_queue_for_long() -> None:
    assert decide_delivery(waited=0.0, running=[Running("a", 10_000.0, queued=True)]) == Decision(False)


def test_dead_runs_are_failed_beside_a_live_one() -> None:
    found = decide_delivery(waited=0.0, running=[Running("a", 10_000.0), Running("b", 5.0)])
    assert found == Decision(False, ("a",))


def test_a_run_that_leaves_something_waiting_gets_help_once() -> None:
    """A killed run looks alive to Dagster; nobody shall wait until it is old."""
    assert decide_delivery(waited=100.0, running=[Running("a", 100.0)]) == Decision(True)
    helped = [Running("a", 100.0), Running("b", 0.0, queued=True)]
    assert decide_delivery(waited=100.0, running=helped) == Decision(False)
