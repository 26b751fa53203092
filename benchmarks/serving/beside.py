"""An import into a tenant that is being read: ``python -m benchmarks.serving.beside TENANT_ID FILE``.

In a process of its own, as an import is. Prints one JSON object: its seconds and its ledger.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from uuid import UUID

from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.landing import land
from pim_platform.intake.lease import claim
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.running import attempt, finish_job, merge_job, publish_job, stage_job
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import get_settings
from pim_platform.tenancy.audit import Actor


def main() -> None:
    """Import, print."""
    tenant_id, path = UUID(sys.argv[1]), Path(sys.argv[2])
    workspace = Workspace(get_settings())
    began = time.perf_counter()
    with path.open("rb") as content:
        job_id = land(
            workspace, tenant_id, content, filename=path.name, source="beside", origin="cli", actor=Actor("benchmark")
        ).job_id
    propose_job(workspace, tenant_id, job_id)
    confirm_job(workspace, tenant_id, job_id, actor=Actor("benchmark"))
    claim(workspace, tenant_id, job_id)
    with attempt(workspace, tenant_id, job_id) as (job, lease):
        stage_job(workspace, job, lease)
        job = merge_job(workspace, job, lease)
        publish_job(workspace, job, lease)
        job = finish_job(workspace, job, lease)
    told = {"seconds": round(time.perf_counter() - began, 1), "state": job.state, "rows": job.row_count}
    print(json.dumps(told | {"created": job.rows_created, "updated": job.rows_updated}), flush=True)


if __name__ == "__main__":
    main()
