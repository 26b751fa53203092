"""The sensor of feeds: where a source's file is due, a run fetches it."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg
from sqlalchemy import text

from assets.feeds import FEED_JOB, feed_config
from assets.partitions import TENANTS
from pim_platform.settings import get_settings
from pim_platform.storage.postgres import anonymous_session
from resources import WorkspaceResource
from sensors.imports import IN_PROGRESS

#: Names a run's source; the run queue limits how many runs with it there are (``local/dagster_home.py``), because one
#: may wait an hour for a slow server, and imports must not wait for it.
FEED_TAG = "pim/feed"

#: A run that has not begun to fetch this long after its launch never will.
_START_SECONDS = 120


@dataclass(frozen=True)
class DueFeed:
    """A feed that is due and that nobody is fetching, and what Dagster knows of its runs."""

    source_id: str
    source: str
    tenant: str
    due: str
    ended_runs: int = 0
    waiting_runs: int = 0
    stuck_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeedLaunch:
    """A run to request, and the dead runs of the same feed to mark as failed first."""

    run_key: str
    feed: DueFeed
    fail: tuple[str, ...]


def decide_fetches(due: Sequence[DueFeed]) -> list[FeedLaunch]:
    """Which feeds get a run now. A pure decision.

    One whose run still waits in the queue, or has just started, is left alone. Dagster remembers a run key for ever, so
    it holds the time that the feed was due and counts the runs it had.
    """
    return [
        FeedLaunch(f"{feed.source_id}:{feed.due}:{feed.ended_runs + len(feed.stuck_runs)}", feed, feed.stuck_runs)
        for feed in due
        if not feed.waiting_runs
    ]


@dg.sensor(
    name="feeds",
    minimum_interval_seconds=max(10, get_settings().sensor_interval_seconds),
    default_status=dg.DefaultSensorStatus.RUNNING,
    job=FEED_JOB,
)
def feeds_sensor(context: dg.SensorEvaluationContext, stores: WorkspaceResource) -> dg.SensorResult:
    """Launches a run for each feed that is due."""
    workspace = stores.workspace()
    stale = timedelta(seconds=workspace.settings.lease_timeout_seconds)
    with anonymous_session(workspace.app) as session:
        rows = session.execute(text("SELECT * FROM pim.feeds_due(:stale)"), {"stale": stale}).all()
    launches = decide_fetches(
        [
            _with_runs(
                context.instance, DueFeed(str(row.source_id), row.source_slug, row.tenant_slug, row.due_at.isoformat())
            )
            for row in rows
        ]
    )
    for launch in launches:
        for run_id in launch.fail:
            run = context.instance.get_run_by_id(run_id)
            if run is not None:
                context.instance.report_run_failed(run, "Its process is gone; another run fetches the file.")
    missing = {launch.feed.tenant for launch in launches} - set(
        context.instance.get_dynamic_partitions(str(TENANTS.name))
    )
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=launch.run_key,
                partition_key=launch.feed.tenant,
                run_config=feed_config(launch.feed.source),
                tags={FEED_TAG: launch.feed.source_id},
            )
            for launch in launches
        ],
        dynamic_partitions_requests=[TENANTS.build_add_request(sorted(missing))] if missing else [],
        skip_reason=None if launches else "No feed is due.",
    )


def _with_runs(instance: dg.DagsterInstance, feed: DueFeed) -> DueFeed:
    records = instance.get_run_records(dg.RunsFilter(tags={FEED_TAG: feed.source_id}))
    live = [record for record in records if record.dagster_run.status in IN_PROGRESS]
    old = time.time() - _START_SECONDS
    # Nobody holds the feed's lease: a run that has started long ago died before it took it, or while it held it.
    dead = [
        record
        for record in live
        if record.dagster_run.status != dg.DagsterRunStatus.QUEUED and record.create_timestamp.timestamp() < old
    ]
    return DueFeed(
        feed.source_id,
        feed.source,
        feed.tenant,
        feed.due,
        ended_runs=len(records) - len(live),
        waiting_runs=len(live) - len(dead),
        stuck_runs=tuple(record.dagster_run.run_id for record in dead),
    )


FEED_SENSORS = [feeds_sensor]
