"""Running whole imports in the test's process, without Dagster."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.landing import land
from pim_platform.intake.lease import claim
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.running import attempt, finish_job, merge_job, publish_job, stage_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor

ACTOR = Actor("test")


def land_bytes(
    workspace: Workspace, tenant_id: UUID, content: bytes, *, filename: str = "products.csv", **options: Any
) -> UUID:
    """Land a file and return its job's id."""
    given = {"source": "test", "origin": "cli", "actor": ACTOR} | options
    return land(workspace, tenant_id, io.BytesIO(content), filename=filename, **given).job_id


def confirmed_job(
    workspace: Workspace, tenant_id: UUID, content: bytes = b"SKU,Name\nA,Alpha\nB,Beta\n", **options: Any
) -> UUID:
    """Land a file, take its proposal as it is and return the job's id: it is due for a run."""
    job_id = land_bytes(workspace, tenant_id, content, **options)
    propose_job(workspace, tenant_id, job_id)
    confirm_job(workspace, tenant_id, job_id, actor=ACTOR)
    return job_id


def job_of(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> ImportJob:
    """A job as its row says now."""
    with tenant_session(workspace.app, tenant_id) as session:
        return get_job(session, job_id)


def run_job(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> ImportJob:
    """Run a confirmed job to its end."""
    claim(workspace, tenant_id, job_id)
    with attempt(workspace, tenant_id, job_id) as (job, lease):
        if not job.merged:
            if job.kind == "file":
                stage_job(workspace, job, lease)
            job = merge_job(workspace, job, lease)
        if job.dry_run or job.state == "held":
            return job
        publish_job(workspace, job, lease)
        return finish_job(workspace, job, lease)


def import_bytes(
    workspace: Workspace,
    tenant_id: UUID,
    content: bytes,
    *,
    confirm: dict[str, Any] | None = None,
    **options: Any,
) -> ImportJob:
    """Land, propose, confirm (the proposal, unless ``confirm`` says otherwise) and run a file."""
    job_id = land_bytes(workspace, tenant_id, content, **options)
    propose_job(workspace, tenant_id, job_id)
    confirm_job(workspace, tenant_id, job_id, actor=ACTOR, **(confirm or {}))
    return run_job(workspace, tenant_id, job_id)
