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


def decide_delivery(*, due: bool, running: Sequence[Running]) -> Decision:
    """One run at a time serves all receivers side by side; a dead one must not keep the next from starting. Pure."""
    dead = tuple(run.run_id for run in running if not run.queued and run.seconds > _LONGEST_SECONDS)
    return Decision(due and len(dead) == len(running), dead)


@dg.sensor(
    name="webhooks",
    minimum_interval_seconds=get_settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    job=DELIVERY_JOB,
)
def webhooks_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Launches a run where a receiver has something to get."""
    with anonymous_session(stores.workspace().app) as session:
        due = session.execute(text("SELECT FROM pim.webhooks_due(1)")).first() is not None
    now = time.time()
    records = context.instance.get_run_records(dg.RunsFilter(job_name=DELIVERY_JOB.name, statuses=IN_PROGRESS))
    running = [
        Running(
            record.dagster_run.run_id,
            now - (record.start_time or record.create_timestamp.timestamp()),
            record.dagster_run.status == dg.DagsterRunStatus.QUEUED,
        )
        for record in records
    ]
    decision = decide_delivery(due=due, running=running)
    for run_id in decision.fail:
        run = context.instance.get_run_by_id(run_id)
        if run is not None:
            context.instance.report_run_failed(run, "Its process is gone; another run delivers.")
    return dg.SensorResult(
        # By the second: Dagster remembers a run key for ever. Before imports, which take minutes, in the queue.
        run_requests=[dg.RunRequest(run_key=f"webhooks:{int(now)}", tags=_FIRST)] if decision.launch else [],
        skip_reason=None if decision.launch else ("A run delivers already." if due else "No delivery is due."),
    )


WEBHOOK_SENSORS = [webhooks_sensor]
