"""The composition root: everything Dagster knows of, assembled in one place.

Tests, the CLI's ``--inline`` and the deployment share :func:`build_defs`; each may replace resources.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.feeds import FEED_ASSETS, FEED_JOB
from assets.imports import ASSETS, IMPORT_JOB, SEGMENTATION
from assets.maintenance import MAINTENANCE_ASSETS, MAINTENANCE_SCHEDULES
from assets.models import build_model_assets, build_model_schedules
from assets.syndication import DELIVERY_JOB, SYNDICATION_ASSETS
from dbt_like_sql.loader import load_models
from pim_platform.storage.endpoints import APP_ROLE
from resources import ClickHouseResource, ImportRunResource, PostgresResource, WorkspaceResource
from sensors.feeds import FEED_SENSORS
from sensors.imports import SENSORS
from sensors.webhooks import WEBHOOK_SENSORS


def build_defs(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, jobs, sensors, schedules and resources; ``overrides`` replace resources by key."""
    models = load_models()
    resources: dict[str, Any] = {
        "stores": WorkspaceResource(),
        "postgres": PostgresResource(),
        "clickhouse": ClickHouseResource(),
        "import_run": ImportRunResource.configure_at_launch(),
    }
    return dg.Definitions(
        assets=[
            *ASSETS,
            *MAINTENANCE_ASSETS,
            *SYNDICATION_ASSETS,
            *FEED_ASSETS,
            *build_model_assets(models, upstream={"segmentation.products": SEGMENTATION}, readers=[APP_ROLE]),
        ],
        jobs=[IMPORT_JOB, DELIVERY_JOB, FEED_JOB],
        sensors=[*SENSORS, *WEBHOOK_SENSORS, *FEED_SENSORS],
        schedules=[*MAINTENANCE_SCHEDULES, *build_model_schedules(models)],
        resources=resources | dict(overrides or {}),
        executor=dg.in_process_executor,
    )


defs = build_defs()
