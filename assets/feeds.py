"""Fetching sources' files, as an asset per tenant: what was fetched, and why something was not."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import dagster as dg

from assets.partitions import TENANTS
from pim_platform.errors import Conflict, NotFound
from pim_platform.intake.fetching import fetch_feed
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import find_tenant
from resources import WorkspaceResource

FEEDS = dg.AssetKey(["intake", "feeds"])


class FeedRun(dg.Config):
    """Which source of the partition's tenant is fetched."""

    source: str


@dg.asset(
    key=FEEDS,
    partitions_def=TENANTS,
    group_name="import",
    kinds={"file"},
    description="Files of sources, fetched from where their feeds say; each new one becomes an import.",
)
def feeds(context: dg.AssetExecutionContext, config: FeedRun, stores: WorkspaceResource) -> dg.MaterializeResult[None]:
    """Fetch one source's file. A feed that fails fails the run; what became of it is in the source's row either way."""
    workspace = stores.workspace()
    tenant = find_tenant(workspace.app, context.partition_key)
    try:
        found = fetch_feed(workspace, tenant.id, config.source, actor=Actor("sensor:feeds"))
    except (Conflict, NotFound) as error:  # somebody else fetches it, or it is gone since the sensor looked
        return dg.MaterializeResult(metadata={"source": config.source, "note": str(error)})
    metadata: dict[str, str | int] = {"source": config.source, "outcome": found.outcome}
    if found.http_status is not None:
        metadata["http_status"] = found.http_status
    if found.job_id is not None:
        metadata["job_id"] = str(found.job_id)
    if found.outcome == "failed":
        raise dg.Failure(f"{found.error_code}: {found.error}", metadata=metadata, allow_retries=False)
    return dg.MaterializeResult(metadata=metadata)


FEED_ASSETS = [feeds]

FEED_JOB = dg.define_asset_job(
    "fetch_feed",
    selection=dg.AssetSelection.assets(FEEDS),
    executor_def=dg.in_process_executor,
    description="Fetches one source's file and makes an import of it, where it is a new one.",
)


def feed_config(source: str) -> dict[str, object]:
    """The run configuration that names a source."""
    return {"ops": {FEEDS.to_python_identifier(): {"config": {"source": source}}}}
