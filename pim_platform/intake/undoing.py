"""Undoing an import: the job level of :mod:`pim_platform.catalog.undo` (design D15).

An undo is a job of kind ``undo`` that is done in the transaction that makes it, so nothing of it can be left
half done; afterwards it is published like every write. Undoing an undo brings back what the import did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pim_platform.catalog.deleting import Author
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.catalog.undo import (
    ConflictPage,
    Outcome,
    UndoCounts,
    UndoPreview,
    kept_conflicts,
    preview_undo,
    undo_commits,
)
from pim_platform.errors import Conflict
from pim_platform.intake.jobs import get_job
from pim_platform.intake.landing import Origin
from pim_platform.intake.models import ImportAttempt, ImportJob, Source
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor, record


@dataclass(frozen=True)
class UndoneJob:
    """An undo that is done: its own job, what it did, and whether ClickHouse has it already."""

    job: ImportJob
    counts: UndoCounts
    published: bool


def undo_job(
    workspace: Workspace,
    tenant_id: UUID,
    job_id: UUID,
    *,
    actor: Actor,
    origin: Origin,
    wait_seconds: float | None = None,
) -> UndoneJob:
    """Undo an import, a bulk delete or an undo, and publish. What came later stays, field by field.

    Raises NotFound, Conflict (not done, undone already, past the retention of the change log), TenantBusy after
    ``wait_seconds`` (None waits for ever).
    """
    with tenant_session(workspace.app, tenant_id) as session:
        lock_catalogue(driver_connection(session), tenant_id, wait_seconds=wait_seconds)
        target = get_job(session, job_id, lock=True)
        _require_undoable(session, target, workspace.settings.change_retention_days)
        job = ImportJob(
            tenant_id=tenant_id,
            source_id=target.source_id,
            kind="undo",
            undoes_job_id=target.id,
            filename=target.filename,
            format=target.format,
            origin=origin,
            actor=actor.name,
            state="importing",
            attempt=1,
            started_at=func.clock_timestamp(),
        )
        session.add(job)
        session.flush()
        author = Author(origin, actor.name, job.id, actor.trace_id)
        if target.kind == "schema" and target.bulk is not None and target.bulk["removed"]:
            removed = parse_fields(target.bulk["removed"])
            save_schema(session, current_schema(session).with_fields(removed), actor)
        done = undo_commits(session, commits_of(session, target), author)
        counts = done.counts
        finish_without_file(
            job,
            created=counts.recreated,
            updated=counts.restored,
            unchanged=counts.kept,
            removed=counts.removed,
            commit_seq=done.commit_seq,
        )
        _mark(session, target, job)
        details = {"undo": str(job.id), "counts": counts.as_json()}
        record(session, actor, "import.undone", "import", str(target.id), **details)
        session.flush()
        session.refresh(job)
    return UndoneJob(job, counts, publish_now(workspace, tenant_id))


def preview_undo_job(
    workspace: Workspace,
    tenant_id: UUID,
    job_id: UUID,
    *,
    only: Outcome | Literal["conflict"] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> UndoPreview:
    """What :func:`undo_job` would do now: counts, and a page of products; writes nothing.

    Raises NotFound and Conflict as the undo would, InvalidRequest for a bad cursor or limit.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        target = get_job(session, job_id)
        _require_undoable(session, target, workspace.settings.change_retention_days)
        return preview_undo(session, commits_of(session, target), only=only, cursor=cursor, limit=limit)


def conflicts_of_undo(
    workspace: Workspace, tenant_id: UUID, job_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> ConflictPage:
    """What an undo that is done left as it was, because somebody had changed it later.

    ``job_id`` is the undo's own job. Raises NotFound, Conflict where the job is no undo, InvalidRequest for a bad
    cursor or limit.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id)
        if job.kind != "undo":
            raise Conflict(
                f"Import {job.id} is no undo.",
                fix=f"Ask for the undo: {job.undone_by_job_id}." if job.undone_by_job_id else "Undo the import first.",
                code="not_an_undo",
                value=str(job.undone_by_job_id) if job.undone_by_job_id else None,
            )
        return kept_conflicts(session, job.id, cursor=cursor, limit=limit)


def commits_of(session: Session, job: ImportJob) -> list[int]:
    """The commit numbers of a job of the session's tenant: one, or one more for each set of corrected rejects."""
    query = select(ImportAttempt.commit_seq).where(
        ImportAttempt.tenant_id == session.info["tenant_id"],
        ImportAttempt.job_id == job.id,
        ImportAttempt.commit_seq.is_not(None),
    )
    return sorted({seq for seq in (*session.scalars(query), job.commit_seq) if seq is not None})


def finish_without_file(
    job: ImportJob, *, created: int, updated: int, unchanged: int, removed: int, commit_seq: int | None
) -> None:
    """End a job that read no file: its ledger counts products, removed ones beside it (design D4)."""
    job.rows_read = job.row_count = created + updated + unchanged
    job.rows_created, job.rows_updated, job.rows_unchanged = created, updated, unchanged
    job.rows_rejected = job.rows_superseded = job.rows_merged = 0
    job.rows_removed, job.imported_count = removed, created + updated
    job.commit_seq, job.committed = commit_seq, True
    job.state, job.finished_at = "done", func.clock_timestamp()


def _require_undoable(session: Session, job: ImportJob, retention_days: int) -> None:
    if job.state == "undone":
        raise Conflict(
            f"Import {job.id} is undone already, by {job.undone_by_job_id}.",
            fix=f"To bring it back, undo {job.undone_by_job_id}.",
            code="already_undone",
            value=str(job.undone_by_job_id),
        )
    if job.state not in ("done", "failed") or not job.merged:
        raise Conflict(
            f"The import is in state {job.state} and has changed nothing that could be undone.",
            fix="Cancel it where it has not been merged; else wait until it is done.",
            code="not_done",
            value=job.state,
        )
    if job.kind == "schema" and job.bulk is not None and job.bulk["retyped"]:
        raise Conflict(
            f"The change gave values of {', '.join(job.bulk['retyped'])} another type; the schema would not fit them.",
            fix="Change the type back; the history of a product has its old values.",
            code="not_undoable",
        )
    if job.undone_by_job_id is not None:
        last = job
        while last.undone_by_job_id is not None:
            last = get_job(session, last.undone_by_job_id)
        raise Conflict(
            f"Import {job.id} was undone, and {last.id} brought it back.",
            fix=f"Undo {last.id} instead.",
            code="brought_back",
            value=str(last.id),
        )
    ended = job.finished_at or job.started_at or job.created_at
    until = ended + timedelta(days=retention_days)
    if until < datetime.now(UTC):
        raise Conflict(
            f"The change log is kept for {retention_days} days; this import of {ended:%Y-%m-%d} could be undone "
            f"until {until:%Y-%m-%d}.",
            fix="Import a file with the values that you want back.",
            code="past_retention",
            value=f"{until:%Y-%m-%d}",
        )


def _mark(session: Session, target: ImportJob, undo: ImportJob) -> None:
    """Note on the jobs of a chain of undos which of them are in force now."""
    target.state, target.undone_by_job_id = "undone", undo.id
    above, in_force = target, True
    while above.undoes_job_id is not None:
        above = get_job(session, above.undoes_job_id, lock=True)
        above.state = "done" if in_force else "undone"
        in_force = not in_force
    if above.kind == "file":
        _accept_last(session, above.source_id)


def _accept_last(session: Session, source_id: UUID) -> None:
    """The source's last accepted import is the newest that is in force; a refresh with its content is skipped."""
    tenant_id: UUID = session.info["tenant_id"]
    session.flush()
    newest = (
        select(ImportJob.id)
        .where(
            ImportJob.tenant_id == tenant_id,
            ImportJob.source_id == source_id,
            ImportJob.kind == "file",
            ImportJob.state == "done",
        )
        .order_by(ImportJob.finished_at.desc(), ImportJob.id.desc())
        .limit(1)
    )
    session.get_one(Source, (tenant_id, source_id)).last_accepted_job_id = session.scalar(newest)
