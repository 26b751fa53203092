"""Cancelling an import: at once before it runs, at its next step while it runs, never after its merge."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func

from pim_platform.errors import Conflict
from pim_platform.intake.jobs import FINAL, get_job
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record

_RUNNING = ("staging", "importing")


def cancel_job(workspace: Workspace, tenant_id: UUID, job_id: UUID, actor: Actor) -> ImportJob:
    """Cancel a job, or ask its run to stop where one is at work: then ``cancel_requested`` is set on it.

    The merge checks that flag under the row's lock in its own transaction, so a job is either cancelled or
    merged, never both. Raises NotFound, Conflict (finished, or merged already).
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state in FINAL:
            raise Conflict(
                f"The import is {job.state}; there is nothing to cancel.",
                fix="See its ledger for what it did.",
                code="already_finished",
                value=job.state,
            )
        if job.merged:
            raise Conflict(
                "The import is merged already and is being published.",
                fix="Wait until it is done.",
                code="already_merged",
                value=job.state,
            )
        job.cancel_requested = True
        if job.state not in _RUNNING:
            job.rest("cancelled")
            job.reason_code, job.reason = "cancelled", f"Cancelled by {actor.name}."
            job.finished_at = func.clock_timestamp()
        record(session, actor, "import.cancelled", "import", str(job.id), state=job.state)
        session.flush()
        session.refresh(job)
        return job
