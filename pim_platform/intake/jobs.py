"""Import jobs: finding them, and how they are shown to people and programs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pim_platform.errors import NotFound
from pim_platform.intake.mapping import Mapping
from pim_platform.intake.models import ImportJob, Source

#: States in which nothing more happens by itself.
FINAL = ("done", "failed", "cancelled", "undone")
#: States that wait for a person.
WAITING = ("mapping", "staged", "held")


def get_job(session: Session, job_id: UUID, *, lock: bool = False) -> ImportJob:
    """The job of that id, of the session's tenant only; with ``lock`` its row is held until the transaction ends.

    Raises NotFound, for another tenant's job as well.
    """
    query = select(ImportJob).where(ImportJob.tenant_id == session.info["tenant_id"], ImportJob.id == job_id)
    job = session.scalar(query.with_for_update() if lock else query)
    if job is None:
        raise NotFound(
            f"There is no import job {job_id}.",
            fix="Check the id; uploading a file answers with it.",
            code="unknown_job",
            value=str(job_id),
        )
    return job


def mapping_of(job: ImportJob) -> Mapping:
    """The mapping that was confirmed for a job: what its columns mean and which of its rows belong together."""
    return Mapping.model_validate({"columns": job.mapping, "groupings": job.groupings})


def parse_job_id(text: str) -> UUID:
    """A job id from a path or argument. Raises NotFound for what is no UUID: there is no such job."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(
            f"There is no import job {text!r}.", fix="A job id is a UUID, as the upload answers it.", code="unknown_job"
        ) from error


def list_jobs(session: Session, *, limit: int = 50) -> list[ImportJob]:
    """The newest jobs of the session's tenant, newest first."""
    query = select(ImportJob).where(ImportJob.tenant_id == session.info["tenant_id"])
    return list(session.scalars(query.order_by(ImportJob.created_at.desc(), ImportJob.id.desc()).limit(limit)))


def job_json(session: Session, job: ImportJob) -> dict[str, Any]:
    """A job as API and CLI show it; the names of seed 000 (``status, row_count, imported_count``) stand beside ours."""
    source = session.get_one(Source, (job.tenant_id, job.source_id))
    return {
        "job_id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "status": job.state,
        "reason_code": job.reason_code,
        "reason": job.reason,
        "filename": job.filename,
        "format": job.format,
        "source": source.slug,
        "origin": job.origin,
        "dry_run": job.dry_run,
        "attempt": job.attempt,
        "row_count": job.row_count,
        "row_count_exact": job.row_count_exact,
        "imported_count": job.imported_count,
        "full_feed": job.full_feed,
        "absent_rows": job.absent_rows or source.absent_rows,
        "rows_removed": job.rows_removed,
        "undoes_job_id": str(job.undoes_job_id) if job.undoes_job_id else None,
        "undone_by_job_id": str(job.undone_by_job_id) if job.undone_by_job_id else None,
        "ledger": job.ledger(),
        "reject_reasons": job.reject_reasons,
        "repairs": job.repairs,
        "progress": job.progress,
        "schema_version": job.schema_version,
        "created_at": _iso(job.created_at),
        "confirmed_at": _iso(job.confirmed_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
    }


def _iso(value: Any) -> str | None:
    return value.isoformat() if value is not None else None
