"""The sensor of syndication: where events wait for receivers, a run delivers them."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import time
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from sqlalchemy import text

from assets.syndication import DELIVERY_JOB, RUN_SECONDS
from pim_platform.settings import get_settings
from pim_platform.storage.postgres import anonymous_session
from resources import WorkspaceResource
from sensors.imports import IN_PROGRESS

#: A run older than this has nobody behind it: it delivers for RUN_SECONDS, and calls end within a minute.
_LONGEST_SECONDS = RUN_SECONDS + 180

#: A live run looks every second. Where something is due for so long, it is dead or has its hands full.
_PATIENCE_SECONDS = 60.0

_FIRST = {"dagster/priority": "10"}


@dataclass(frozen=True)
class Running:
    """A delivery run that Dagster believes in: its age in seconds, and whether it still waits in the queue."""

    run_id: str
    seconds: float
    queued: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether to launch a run, and the dead ones to mark as failed."""

    launch: bool
    fail: tuple[str, ...] = ()


def decide_delivery(*, waited: float | None, running: Sequence[Running]) -> Decision:
    """One run serves all receivers side by side; a dead one must not keep the next from starting. Pure.

    ``waited``: for how many seconds something has been due without a pause, None where nothing is. A second run
    beside a live one does no harm, so nobody has to be sure that the first is dead before it is old.
    """
    dead = tuple(run.run_id for run in running if not run.queued and run.seconds > _LONGEST_SECONDS)
    live = [run for run in running if run.run_id not in dead]
    impatient = waited is not None and waited >= _PATIENCE_SECONDS and not any(run.queued for run in live)
    return Decision(waited is not None and (not live or impatient), dead)


@dg.sensor(
    name="webhooks",
    minimum_interval_seconds=get_settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    job=DELIVERY_JOB,
)
def webhooks_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Launches a run where a receiver has something to get."""
    with anonymous_session(stores.workspace().app) as session:
        due = session.execute(text("SELECT 1 FROM pim.webhooks_due(1)")).first() is not None
    now = time.time()
    since = float(context.cursor or now)
    records = context.instance.get_run_records(dg.RunsFilter(job_name=DELIVERY_JOB.name, statuses=IN_PROGRESS))
    running = [
        Running(
            record.dagster_run.run_id,
            now - (record.start_time or record.create_timestamp.timestamp()),
            record.dagster_run.status == dg.DagsterRunStatus.QUEUED,
        )
        for record in records
    ]
    decision = decide_delivery(waited=now - since if due else None, running=running)
    for run_id in decision.fail:
        run = context.instance.get_run_by_id(run_id)
        if run is not None:
            context.instance.report_run_failed(run, "Its process is gone; another run delivers.")
    return dg.SensorResult(
        # By the second: Dagster remembers a run key for ever. Before imports, which take minutes, in the queue.
        run_requests=[dg.RunRequest(run_key=f"webhooks:{int(now)}", tags=_FIRST)] if decision.launch else [],
        skip_reason=None if decision.launch else ("A run delivers already." if due else "No delivery is due."),
        cursor=str(since) if due and not decision.launch else "",
    )


WEBHOOK_SENSORS = [webhooks_sensor]
