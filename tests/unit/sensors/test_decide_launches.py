"""Which due imports get a run is decided without a server."""

from __future__ import annotations

from sensors.imports import Due, decide_launches


def due(**changes: object) -> Due:
    known: dict[str, object] = {
        "job_id": "j", "tenant": "t", "state": "confirmed", "attempt": 0,
        "ended_runs": 0, "waiting_runs": 0, "stuck_runs": (),
    }  # fmt: skip
    return Due(**{**known, **changes})  # type: ignore[arg-type]


def test_a_confirmed_import_gets_a_run_under_its_next_attempt() -> None:
    assert [launch.run_key for launch in decide_launches([due()])] == ["j:1:0"]


def test_an_import_whose_run_is_on_its_way_is_left_alone() -> None:
    assert decide_launches([due(waiting_runs=1)]) == []


def test_a_dead_run_is_failed_and_another_takes_over_under_a_new_key() -> None:
    launch = decide_launches([due(state="importing", attempt=1, stuck_runs=("r1",))])[0]
    assert (launch.run_key, launch.fail) == ("j:2:1", ("r1",))


def test_a_run_that_ended_before_its_claim_does_not_block_the_next_one() -> None:
    """Dagster remembers a run key for ever."""
    assert decide_launches([due(ended_runs=1)])[0].run_key != decide_launches([due()])[0].run_key


def test_the_run_that_is_to_take_over_is_waited_for() -> None:
    """It was failed at every tick before it could claim the job, so the import never went on."""
    assert decide_launches([due(state="staging", attempt=1, waiting_runs=1, stuck_runs=("r1",))]) == []
