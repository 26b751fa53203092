"""Running the Dagster job of an import in the calling process, against the same stores (``--inline``)."""

from __future__ import annotations

from uuid import UUID

import dagster as dg
from sqlalchemy.exc import DBAPIError

from assets.partitions import TENANTS
from pim_platform.definitions import build_defs
from pim_platform.errors import EngineUnavailable
from pim_platform.local.dagster_home import dagster_home, prepare_storage, storage_exists
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from sensors.imports import run_config, run_tags


def run_inline(settings: Settings, tenant: str, job_id: UUID, attempt: int) -> bool:
    """Execute ``import_products`` for one job here and now; returns whether the run succeeded.

    Its events go to Dagster's storage like any run's, so the UI shows them.
    """
    if not storage_exists(Endpoints.of(settings)):
        prepare_storage(settings)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    try:
        with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
            instance.add_dynamic_partitions(str(TENANTS.name), [tenant])
            job = build_defs().resolve_job_def("import_products")
            result = job.execute_in_process(
                partition_key=tenant,
                instance=instance,
                tags=run_tags(str(job_id), tenant, attempt),
                run_config={**run_config(str(job_id)), **quiet},
                raise_on_error=False,
            )
            return bool(result.success)
    except DBAPIError as error:
        raise EngineUnavailable(
            f"Dagster's storage failed: {str(error.orig).splitlines()[0]}",
            fix="Import the file again: the same job goes on where it can.",
        ) from error
