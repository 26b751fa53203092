"""Sensors of the intake: dropped files become jobs, due jobs become runs, late engines catch up."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import dagster as dg
from sqlalchemy import text

from assets.imports import IMPORT_JOB
from assets.partitions import TENANTS
from pim_platform.intake.inbox import PREFIX, Taken, decide, take
from pim_platform.settings import get_settings
from pim_platform.storage.postgres import anonymous_session
from resources import WorkspaceResource

JOB_TAG, TENANT_TAG, ATTEMPT_TAG = "pim/job", "pim/tenant", "pim/attempt"

_INTERVAL = get_settings().sensor_interval_seconds
#: A tick that lands large files must not run into Dagster's limit; what is left waits for the next one.
_TICK_SECONDS = 30

#: A run that has not claimed its import this long after its launch never will.
_START_SECONDS = 60

#: Runs that have not ended.
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    name="inbox", minimum_interval_seconds=_INTERVAL, default_status=dg.DefaultSensorStatus.RUNNING, job=IMPORT_JOB
)
def inbox_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Turns complete files under ``inbox/<tenant>/<source>/`` into import jobs."""
    workspace = stores.workspace()
    ready, remember = decide(workspace.objects.list(PREFIX), json.loads(context.cursor or "{}"))
    notes: list[str] = []
    confirmed: list[dg.RunRequest] = []
    until = time.monotonic() + _TICK_SECONDS
    for dropped in ready:
        if time.monotonic() > until:
            break
        taken = take(workspace, dropped)
        if taken.job_id is not None:
            remember.pop(dropped.key, None)
        if taken.confirmed:
            # At once, so that nobody waits for the other sensor's tick; that one sees the run and leaves it alone.
            confirmed.append(_request(Launch(f"{taken.job_id}:1:0", _fresh(taken), ())))
        state = taken.problem or ("confirmed" if taken.confirmed else "waits in state mapping for a person")
        notes.append(f"{dropped.key}: {state}" if taken.problem is None else state)
        context.log.info(notes[-1])
    reason = "; ".join(notes) or "The inbox holds nothing that is complete."
    return dg.SensorResult(
        run_requests=confirmed,
        dynamic_partitions_requests=_missing(context.instance, {request.partition_key for request in confirmed}),
        skip_reason=None if confirmed else reason,
        cursor=json.dumps(remember),
    )


@dataclass(frozen=True)
class Due:
    """A job that wants a run, and what Dagster knows of runs it had."""

    job_id: str
    tenant: str
    state: str
    attempt: int
    ended_runs: int
    waiting_runs: int
    stuck_runs: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """A run to request, and the dead runs of the same job to mark as failed first."""

    run_key: str
    due: Due
    fail: tuple[str, ...]


def decide_launches(due: Sequence[Due]) -> list[Launch]:
    """Which jobs get a run now. A pure decision.

    A confirmed job with a live run is left alone. A run without a lease is dead: it is failed, because a queue
    of one per tenant would wait for it for ever. Dagster remembers a run key for ever, so it counts the runs
    that ended before they claimed the job.
    """
    return [
        Launch(f"{job.job_id}:{job.attempt + 1}:{job.ended_runs + len(job.stuck_runs)}", job, job.stuck_runs)
        for job in due
        if not job.waiting_runs
    ]


@dg.sensor(
    name="due_imports",
    minimum_interval_seconds=_INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    job=IMPORT_JOB,
)
def due_imports_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Launches confirmed imports, and takes up those whose run has died."""
    workspace = stores.workspace()
    stale = timedelta(seconds=workspace.settings.lease_timeout_seconds)
    with anonymous_session(workspace.app) as session:
        rows = session.execute(text("SELECT * FROM pim.jobs_due(:stale)"), {"stale": stale}).all()
    launches = decide_launches([_with_runs(context.instance, DueRow(*row), stale) for row in rows])
    for launch in launches:
        for run_id in launch.fail:
            run = context.instance.get_run_by_id(run_id)
            if run is not None:
                context.instance.report_run_failed(run, f"Its process is gone; {launch.run_key} takes the import up.")
    return dg.SensorResult(
        run_requests=[_request(launch) for launch in launches],
        dynamic_partitions_requests=_missing(context.instance, {launch.due.tenant for launch in launches}),
        skip_reason=None if launches else "No import is due.",
    )


class DueRow(NamedTuple):
    """A row of ``pim.jobs_due``, in its order."""

    tenant_id: UUID
    tenant_slug: str
    job_id: UUID
    state: str
    attempt: int
    lease_at: datetime | None


def _with_runs(instance: dg.DagsterInstance, row: DueRow, stale: timedelta) -> Due:
    job_id = str(row.job_id)
    records = instance.get_run_records(dg.RunsFilter(tags={JOB_TAG: job_id}))
    live = [record for record in records if record.dagster_run.status in IN_PROGRESS]
    old = time.time() - max(stale.total_seconds(), _START_SECONDS)
    dead = [record for record in live if _is_dead(record, row.attempt, old)]
    return Due(
        job_id=job_id,
        tenant=row.tenant_slug,
        state=row.state,
        attempt=row.attempt,
        ended_runs=len(records) - len(live),
        waiting_runs=len(live) - len(dead),
        stuck_runs=tuple(record.dagster_run.run_id for record in dead),
    )


def _is_dead(record: dg.RunRecord, attempt: int, old: float) -> bool:
    """Whether a live run of a due job has nobody behind it.

    The run of the attempt whose lease has grown old is. One that is to take over has not claimed the job yet,
    which takes a process some seconds to come to; only its age can tell. It once was failed at every tick, before
    it could begin.
    """
    if int(record.dagster_run.tags.get(ATTEMPT_TAG, "0")) <= attempt:
        return True
    waiting = record.dagster_run.status == dg.DagsterRunStatus.QUEUED
    return not waiting and record.create_timestamp.timestamp() < old


def _fresh(taken: Taken) -> Due:
    assert taken.job_id is not None
    return Due(str(taken.job_id), taken.dropped.tenant, "confirmed", 0, 0, 0, ())


def _missing(instance: dg.DagsterInstance, slugs: Iterable[str | None]) -> list[dg.AddDynamicPartitionsRequest]:
    """Requests for the partitions of tenants that Dagster does not know yet."""
    known = set(instance.get_dynamic_partitions(str(TENANTS.name)))
    missing = sorted({slug for slug in slugs if slug is not None} - known)
    return [TENANTS.build_add_request(missing)] if missing else []


def run_config(job_id: str) -> dict[str, object]:
    """The run configuration that names an import."""
    return {"resources": {"import_run": {"config": {"job_id": job_id}}}}


def run_tags(job_id: str, tenant: str, attempt: int) -> dict[str, str]:
    """The tags by which a run of an import is found and queued (one per tenant at a time)."""
    return {JOB_TAG: job_id, TENANT_TAG: tenant, ATTEMPT_TAG: str(attempt)}


def _request(launch: Launch) -> dg.RunRequest:
    due = launch.due
    return dg.RunRequest(
        run_key=launch.run_key,
        partition_key=due.tenant,
        run_config=run_config(due.job_id),
        tags=run_tags(due.job_id, due.tenant, due.attempt + 1),
    )


@dg.sensor(name="publisher", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING, job=IMPORT_JOB)
def publisher_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Republishes tenants whose copies are behind, such as after an outage of ClickHouse."""
    workspace = stores.workspace()
    with anonymous_session(workspace.app) as session:
        behind = session.execute(text("SELECT slug, commit_seq FROM pim.tenants_unpublished()")).all()
        slugs = session.scalars(text("SELECT slug FROM pim.tenant_directory()")).all()
    requests = [
        # By the minute: the same key twice would be ignored, and an outage may take longer than one try.
        dg.RunRequest(
            run_key=f"{row.slug}:{row.commit_seq}:{int(time.time()) // 60}",
            partition_key=row.slug,
            tags={TENANT_TAG: row.slug},
        )
        for row in behind
        if not context.instance.get_runs(dg.RunsFilter(tags={TENANT_TAG: row.slug}, statuses=IN_PROGRESS), limit=1)
    ]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=_missing(context.instance, slugs),
        skip_reason=None if requests else "ClickHouse is up to date.",
    )


SENSORS = [inbox_sensor, due_imports_sensor, publisher_sensor]
