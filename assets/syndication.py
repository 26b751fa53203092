"""Delivering webhooks, as an asset, so that Dagster shows when it ran and what came of it."""

import dagster as dg

from pim_platform.syndication.delivering import deliver
from resources import WorkspaceResource

#: How long a run delivers, and how long it waits for more before it ends: starting one takes seconds.
RUN_SECONDS = 240.0
LINGER_SECONDS = 15.0


@dg.asset(
    key=["pim", "webhook_deliveries"],
    group_name="syndication",
    kinds={"postgres"},
    description="Events that wait for their receivers, of every tenant, delivered.",
)
def webhook_deliveries(stores: WorkspaceResource) -> dg.MaterializeResult[None]:
    """Deliver what is due; failures of receivers are in the log of each webhook."""
    done = deliver(stores.workspace(), seconds=RUN_SECONDS, linger=LINGER_SECONDS)
    return dg.MaterializeResult(
        metadata={"delivered": done.delivered, "failed_calls": done.failed, "receivers": done.receivers}
    )


SYNDICATION_ASSETS = [webhook_deliveries]

DELIVERY_JOB = dg.define_asset_job(
    "deliver_webhooks",
    selection=dg.AssetSelection.assets(webhook_deliveries),
    executor_def=dg.in_process_executor,
)
