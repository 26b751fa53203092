"""The collector: what no product, job, template or undo refers to leaves the object store and the log (design D21).

What is kept is decided from rows, never from ages of objects alone:

* of a job's folder: what holds the raw row of a product, or of a deleted one that an undo may bring back; of an
  unfinished job its results, its preview and the attempt at work; all merges and the preview of a job that ended within
  ``PIM_STAGED_RETENTION_DAYS``; the last full feed of a source, which tells what is absent from the next. A manifest
  that is kept keeps what it names, also in other attempts' folders;
* uploads of unfinished jobs, of those that ended within ``PIM_UPLOAD_RETENTION_DAYS``, and of those that a mapping
  template was confirmed with;
* answers under an Idempotency-Key for ``PIM_IDEMPOTENCY_RETENTION_HOURS``;
* months of the change log that ended within ``PIM_CHANGE_RETENTION_DAYS``: as long can an import be undone.

Objects whose job or upload is unknown are somebody's who is just landing a file, unless they are a day old.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text

from pim_platform.intake.jobs import FINAL
from pim_platform.intake.landing import upload_key
from pim_platform.intake.manifests import kept_by
from pim_platform.intake.models import ImportAttempt, ImportJob, MappingTemplate, Upload
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.object_store import StoredObject
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.idempotency import forget_answers
from pim_platform.tenancy.rates import forget_requests
from pim_platform.tenancy.tenants import list_tenants

#: Age below which an object that nothing refers to may belong to somebody who is about to.
_GRACE = timedelta(days=1)


#: (job, attempt) of every raw row that a product refers to, or one that an undo of its deletion would bring back.
_RAW_ROWS = text(
    "SELECT DISTINCT job_id, attempt FROM pim.products "
    "WHERE tenant_id = :tenant AND job_id IS NOT NULL AND attempt IS NOT NULL "
    "UNION SELECT DISTINCT image_job_id, image_attempt FROM pim.product_changes "
    "WHERE tenant_id = :tenant AND action = 'delete' AND image_job_id IS NOT NULL AND image_attempt IS NOT NULL"
)

#: The newest full feed of each source: its staged keys say what the next one lacks (design D6).
_LAST_FEEDS = text(
    "SELECT DISTINCT ON (source_id) id FROM pim.import_jobs WHERE tenant_id = :tenant AND full_feed AND state = 'done' "
    "ORDER BY source_id, finished_at DESC"
)


@dataclass
class Collected:
    """What was removed, or would be: objects and their bytes, rows of uploads, answers, months of the change log."""

    staged_objects: int = 0
    staged_bytes: int = 0
    upload_objects: int = 0
    upload_bytes: int = 0
    upload_rows: int = 0
    kept_answers: int = 0
    change_partitions: list[str] = field(default_factory=list)


def collect(workspace: Workspace, *, dry_run: bool = False, now: datetime | None = None) -> Collected:
    """Remove what nothing refers to, tenant by tenant; with ``dry_run`` only count it.

    ``now`` is the moment that retention is counted from. Running it twice, or while imports run, does no harm.
    """
    found = Collected()
    moment = now or datetime.now(UTC)
    answers = timedelta(hours=workspace.settings.idempotency_retention_hours)
    for tenant in list_tenants(workspace.app):
        _collect_staged(workspace, tenant.id, found, moment, dry_run=dry_run)
        _collect_uploads(workspace, tenant.id, found, moment, dry_run=dry_run)
        with tenant_session(workspace.app, tenant.id) as session:
            found.kept_answers += forget_answers(session, answers, dry_run=dry_run)
    if not dry_run:
        forget_requests(workspace.app)
    keep = timedelta(days=workspace.settings.change_retention_days)
    with anonymous_session(workspace.app) as session:
        query = text("SELECT relation FROM pim.drop_old_changes(:keep, :only_tell)")
        found.change_partitions = list(session.scalars(query, {"keep": keep, "only_tell": dry_run}))
    return found


def _collect_staged(workspace: Workspace, tenant_id: UUID, found: Collected, now: datetime, *, dry_run: bool) -> None:
    prefix = f"tenants/{tenant_id}/jobs/"
    by_job: dict[str, list[StoredObject]] = defaultdict(list)
    # Listed before anything is read: what is written meanwhile is not even looked at.
    for stored in workspace.objects.list(prefix):
        by_job[stored.key.removeprefix(prefix).split("/")[0]].append(stored)
    if not by_job:
        return
    with tenant_session(workspace.app, tenant_id) as session:
        by_products: dict[UUID, set[int]] = defaultdict(set)
        for job_id, number in session.execute(_RAW_ROWS, {"tenant": tenant_id}):
            by_products[job_id].add(number)
        last_feeds: set[UUID] = set(session.scalars(_LAST_FEEDS, {"tenant": tenant_id}))
    for name, objects in by_job.items():
        for stored in _garbage(workspace, tenant_id, name, objects, by_products, last_feeds, now):
            found.staged_objects += 1
            found.staged_bytes += stored.size
            if not dry_run:
                workspace.objects.delete(stored.key)


def _garbage(
    workspace: Workspace,
    tenant_id: UUID,
    name: str,
    objects: list[StoredObject],
    by_products: dict[UUID, set[int]],
    last_feeds: set[UUID],
    now: datetime,
) -> list[StoredObject]:
    """Which objects of one job's folder go."""
    with tenant_session(workspace.app, tenant_id) as session:
        job = session.get(ImportJob, (tenant_id, UUID(name))) if _is_uuid(name) else None
        if job is None:
            return [stored for stored in objects if stored.modified < now - _GRACE]
        merged = set(
            session.scalars(
                select(ImportAttempt.attempt).where(
                    ImportAttempt.tenant_id == tenant_id, ImportAttempt.job_id == job.id
                )
            )
        )
        limit = now - timedelta(days=workspace.settings.staged_retention_days)
        ended = job.state in FINAL and job.finished_at is not None and job.finished_at < limit
    _, keys = kept_by(workspace, job, by_products.get(job.id, ()))
    folders: list[str] = []
    if not ended or job.id in last_feeds:
        results = {number for number in (job.staged_attempt, job.preview_attempt) if number is not None}
        folders, more = kept_by(workspace, job, merged | results)
        keys |= more
    first_at_work = job.attempt + 1 if job.state in FINAL else job.attempt
    return [
        stored
        for stored in objects
        if stored.key not in keys
        and not stored.key.startswith(tuple(folders))
        # The attempt at work, and any that was claimed since the job was read.
        and not _attempt_of(stored.key) >= first_at_work
    ]


def _attempt_of(key: str) -> int:
    part = key.split("/")[4]
    return int(part) if part.isdigit() else 0


def _is_uuid(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


def _collect_uploads(workspace: Workspace, tenant_id: UUID, found: Collected, now: datetime, *, dry_run: bool) -> None:
    stored = {one.key: one for one in workspace.objects.list(f"tenants/{tenant_id}/uploads/")}
    limit = now - timedelta(days=workspace.settings.upload_retention_days)
    with tenant_session(workspace.app, tenant_id) as session:
        uploads = session.execute(
            select(Upload.id, Upload.sha256, Upload.object_key).where(Upload.tenant_id == tenant_id)
        ).all()
    known = {upload_key(tenant_id, sha256) for _, sha256, _ in uploads}
    for upload_id, _, key in uploads:
        with tenant_session(workspace.app, tenant_id) as session:
            # Whoever lands the same bytes waits here, and stores them again if they are gone then.
            locked = select(Upload).where(Upload.tenant_id == tenant_id, Upload.id == upload_id)
            row = session.scalar(locked.with_for_update(skip_locked=True))
            if row is None or session.scalar(select(_in_use(tenant_id, upload_id, limit))):
                continue
            if key in stored:
                found.upload_objects += 1
                found.upload_bytes += stored[key].size
                if not dry_run:
                    workspace.objects.delete(key)
            if not session.scalar(select(_mentioned(tenant_id, upload_id))):
                found.upload_rows += 1
                if not dry_run:
                    session.delete(row)
    for key, one in stored.items():
        if key not in known and one.modified < now - _GRACE:
            found.upload_objects += 1
            found.upload_bytes += one.size
            if not dry_run:
                workspace.objects.delete(key)


def _in_use(tenant_id: UUID, upload_id: UUID, limit: datetime) -> ColumnElement[bool]:
    """Whether a job that is unfinished, young or behind a mapping template reads this upload."""
    reads = or_(
        ImportJob.upload_id == upload_id,
        ImportJob.rework["upload_id"].astext == str(upload_id),
        select(ImportAttempt)
        .where(
            ImportAttempt.tenant_id == tenant_id,
            ImportAttempt.job_id == ImportJob.id,
            ImportAttempt.upload_id == upload_id,
        )
        .exists(),
    )
    templates = select(MappingTemplate.job_id).where(MappingTemplate.tenant_id == tenant_id)
    wanted = or_(
        ImportJob.state.not_in(FINAL),
        func.coalesce(ImportJob.finished_at, ImportJob.created_at) >= limit,
        ImportJob.id.in_(templates),
    )
    return select(ImportJob).where(ImportJob.tenant_id == tenant_id, reads, wanted).exists()


def _mentioned(tenant_id: UUID, upload_id: UUID) -> ColumnElement[bool]:
    """Whether any job or merge names this upload: its row stays as the record of what came in."""
    jobs = select(ImportJob).where(ImportJob.tenant_id == tenant_id, ImportJob.upload_id == upload_id)
    merges = select(ImportAttempt).where(ImportAttempt.tenant_id == tenant_id, ImportAttempt.upload_id == upload_id)
    return or_(jobs.exists(), merges.exists())
