"""Promoting a dry run: what was previewed is committed, or, where the catalogue moved meanwhile, nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from pim_platform.catalog.preview import compare_previews
from pim_platform.errors import Conflict
from pim_platform.intake.jobs import get_job
from pim_platform.intake.manifests import Manifest, read_manifest, write_manifest
from pim_platform.intake.models import ImportJob
from pim_platform.intake.nameless import NAMELESS
from pim_platform.intake.previews import preview_files
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.quotas import require_job_slot

#: Reason of a dry run whose promotion found another diff than the one accepted.
CATALOGUE_MOVED = "catalogue_moved"


def promote_job(workspace: Workspace, tenant_id: UUID, job_id: UUID, actor: Actor) -> ImportJob:
    """Accept the preview of a dry run: the job is ``confirmed`` then, and its run commits exactly that result.

    The run compares again under the tenant's lock. Where the diff is another one by then, nothing is written: the
    job is ``staged`` again with the new preview and ``catalogue_moved``, and promoting again accepts that one.
    Raises NotFound, and Conflict where the job is no dry run that waits.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state != "staged" or not job.dry_run or job.preview_digest is None:
            raise Conflict(
                f"The import is in state {job.state}; there is no preview to accept.",
                fix="Import the file as a dry run and wait until it is staged.",
                code="not_staged",
                value=job.state,
            )
        require_job_slot(session)
        job.begin("promote")
        record(session, actor, "import.promoted", "import", str(job.id), digest=job.preview_digest)
        session.flush()
        session.refresh(job)
        return job


def adopt_staged(workspace: Workspace, job: ImportJob) -> Manifest:
    """Make what the dry run staged the present attempt's as well: nothing is read or validated again.

    What only the diff rejected is left out, because the diff is made again.
    """
    before = read_manifest(workspace, job)
    manifest = replace(
        before,
        rejects=[key for key in before.rejects if not key.endswith(NAMELESS_PART)],
        reasons={code: count for code, count in before.reasons.items() if code != NAMELESS},
        sample_rejects=[reject for reject in before.sample_rejects if reject["error_code"] != NAMELESS],
    )
    write_manifest(workspace, job, manifest)
    return manifest


#: Name of the object that holds the rejects that only the diff could tell.
NAMELESS_PART = "rejects-nameless.parquet"


def why_moved(workspace: Workspace, job: ImportJob, now: list[Path]) -> str:
    """What a person is told of the difference between the accepted preview and the diff of now."""
    with preview_files(workspace, job) as accepted:
        moved = compare_previews(accepted, now)
    shown = [
        f"row {one['row']} {one['sku']} {one['field']} {one['old'] or 'nothing'} -> {one['new'] or 'nothing'} "
        + ("was accepted" if one["side"] == "accepted" else "it would be now")
        for one in moved.examples
    ]
    return (
        f"The catalogue changed since the preview: {moved.count:,} changes differ ({'; '.join(shown)}). Nothing was "
        "written. Look at the new preview and promote it again."
    )
