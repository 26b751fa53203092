"""Housekeeping as assets: what has to happen regularly and belongs to no import."""

import dagster as dg
from sqlalchemy import text

from pim_platform.storage.postgres import anonymous_session
from resources import WorkspaceResource


@dg.asset(
    key=["pim", "log_partitions"],
    group_name="maintenance",
    kinds={"postgres"},
    description="The monthly partitions of the change log and the audit trail, two months ahead.",
)
def log_partitions(stores: WorkspaceResource) -> dg.MaterializeResult[None]:
    """Make the partitions of the coming months where they are missing."""
    with anonymous_session(stores.workspace().app) as session:
        made = session.scalar(text("SELECT pim.ensure_month_partitions()"))
    return dg.MaterializeResult(metadata={"made": int(made or 0)})


MAINTENANCE_ASSETS = [log_partitions]

MAINTENANCE_SCHEDULES = [
    dg.ScheduleDefinition(
        name="maintenance_daily",
        job=dg.define_asset_job(
            "maintenance", selection=dg.AssetSelection.assets(log_partitions), executor_def=dg.in_process_executor
        ),
        cron_schedule="41 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
]
