"""Housekeeping as assets: what has to happen regularly and belongs to no import."""

import dagster as dg
from sqlalchemy import text

from pim_platform.intake.collecting import collect
from pim_platform.storage.postgres import anonymous_session
from pim_platform.syndication.deliveries import forget_deliveries
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


@dg.asset(
    key=["pim", "garbage"],
    group_name="maintenance",
    kinds={"postgres"},
    description="Stored files, months of the change log and webhook deliveries that are past their time, removed.",
)
def garbage(stores: WorkspaceResource) -> dg.MaterializeResult[None]:
    """Remove what is past retention and what dead attempts left behind."""
    workspace = stores.workspace()
    found = collect(workspace)
    told = forget_deliveries(workspace)
    return dg.MaterializeResult(
        metadata={
            "staged_objects": found.staged_objects,
            "upload_objects": found.upload_objects,
            "bytes": found.staged_bytes + found.upload_bytes,
            "upload_rows": found.upload_rows,
            "change_partitions": found.change_partitions,
            "webhook_deliveries": told.deliveries,
            "webhook_deliveries_waiting": told.waiting,
        }
    )


MAINTENANCE_ASSETS = [log_partitions, garbage]

MAINTENANCE_SCHEDULES = [
    dg.ScheduleDefinition(
        name="maintenance_daily",
        job=dg.define_asset_job(
            "maintenance",
            selection=dg.AssetSelection.assets(log_partitions, garbage),
            executor_def=dg.in_process_executor,
        ),
        cron_schedule="41 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
]
