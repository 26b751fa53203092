"""Running a confirmed import: stage, merge, publish. Each step leaves its result in a row or in Parquet.

A run that dies anywhere is taken up by the next attempt: before the merge's commit it starts over in a new
folder; after it (the ledger is in the job's row, written in the same transaction) it only publishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import func
from sqlalchemy.orm import Session

from pim_platform.catalog.checksum import Agreement, publish_and_compare
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Merged, Origin, merge
from pim_platform.catalog.parents import Unknown
from pim_platform.catalog.preview import Preview, summarise, write_preview
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schemas import schema_version
from pim_platform.catalog.typed_relations import refresh_typed_relations
from pim_platform.errors import (
    EnginesDisagree,
    EngineUnavailable,
    JobCancelled,
    LeaseLost,
    LedgerUnbalanced,
    PimError,
    TransientError,
)
from pim_platform.intake.bulk_jobs import run_bulk
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.jobs import get_job, mapping_of
from pim_platform.intake.lease import Lease, own_row, this_process
from pim_platform.intake.manifests import (
    Manifest,
    attempt_folder,
    forget_other_attempts,
    read_manifest,
    write_manifest,
)
from pim_platform.intake.models import ImportAttempt, ImportJob, Source, Upload
from pim_platform.intake.nameless import NAMELESS, write_nameless_rejects
from pim_platform.intake.previews import store_preview
from pim_platform.intake.promoting import CATALOGUE_MOVED, NAMELESS_PART, adopt_staged, why_moved
from pim_platform.intake.rejects import write_rejects_file
from pim_platform.intake.removing import full_feed_of, hold_for_absent
from pim_platform.intake.reworking import known_groups, still_rejected
from pim_platform.intake.schema_changing import run_schema_change
from pim_platform.intake.staging import StageProgress, stage
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, read_snapshot, tenant_session
from pim_platform.storage.scratch import scratch_folder
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.tenants import get_tenant

_SAMPLE = 10


@contextmanager
def attempt(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> Iterator[tuple[ImportJob, Lease]]:
    """The attempt that :func:`pim_platform.intake.lease.claim` began, with its lease kept while the block runs.

    A terminal error in the block fails the job with its reason; a transient one gives the lease up, so that the
    next attempt may begin soon, and so does an interruption (Ctrl-C, a stack that stops), unless the job was to be
    cancelled; a lost lease changes nothing, because the job is another's by then.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id)
    if job.lease_owner != this_process():
        raise LeaseLost(f"Attempt {job.attempt} of import {job_id} belongs to another process.")
    with Lease(workspace, tenant_id, job_id, job.attempt) as lease:
        try:
            yield job, lease
        except LeaseLost:
            raise
        except BaseException as error:
            # Where PostgreSQL is gone nothing can be noted: the lease grows old, and the next attempt takes over.
            with suppress(EngineUnavailable):
                _settle(workspace, job, error)
            raise


def _settle(workspace: Workspace, job: ImportJob, error: BaseException) -> None:
    # Nothing is wrong with the import where what ends its run is no error: Ctrl-C, the end of the process, Dagster's
    # word to its runs that they are to stop.
    interrupted = not isinstance(error, Exception)
    with tenant_session(workspace.app, job.tenant_id) as session:
        row = get_job(session, job.id, lock=True)
        if row.attempt != job.attempt or row.state not in ("staging", "importing"):
            return
        if interrupted and row.cancel_requested:
            error, interrupted = JobCancelled(f"Import {job.id} was cancelled."), False
        if isinstance(error, PimError):
            row.reason_code, row.reason = error.code, str(error)
        else:
            row.reason_code = "interrupted" if interrupted else "internal"
            row.reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        if interrupted or (isinstance(error, PimError) and error.transient):
            row.lease_owner, row.lease_at = None, datetime.fromtimestamp(0, UTC)  # older than any limit
        else:
            row.rest("cancelled" if isinstance(error, JobCancelled) else "failed")
            row.finished_at = func.clock_timestamp()


@dataclass(frozen=True)
class _Input:
    """The file that an attempt reads: the job's own, or its corrected rejects."""

    key: str
    filename: str
    dialect: Dialect
    reject_policy: str
    row_column: int | None = None


def _input_of(session: Session, job: ImportJob) -> _Input:
    if job.task != "rework":
        key = session.get_one(Upload, (job.tenant_id, job.upload_id)).object_key
        return _Input(key, job.filename, Dialect.model_validate(job.dialect), job.reject_policy)
    given = job.rework or {}
    key = session.get_one(Upload, (job.tenant_id, UUID(given["upload_id"]))).object_key
    # Of records that were rejected once some may be again: that stops nobody.
    return _Input(key, given["filename"], Dialect.model_validate(given["dialect"]), "skip", given["row_column"])


def stage_job(workspace: Workspace, job: ImportJob, lease: Lease) -> Manifest:
    """Read, map and validate the job's file into Parquet; returns the manifest it wrote last.

    A promotion takes over what its dry run staged instead.
    """
    if job.task == "promote":
        return adopt_staged(workspace, job)
    assert job.schema_version is not None
    with tenant_session(workspace.app, job.tenant_id) as session:
        schema = schema_version(session, job.schema_version)
        given = _input_of(session, job)
        currency = session.get_one(Source, (job.tenant_id, job.source_id)).default_currency or schema.default_currency
    folder = attempt_folder(job.tenant_id, job.id, job.attempt)
    total = job.row_count if job.task == "import" else None

    def told(progress: StageProgress) -> None:
        lease.tell("staging", progress.read, total)

    with scratch_folder("stage") as scratch, workspace.objects.local_copy(given.key) as path:
        lease.tell("staging", 0, total)
        result = stage(
            path,
            given.dialect,
            mapping_of(job),
            schema,
            scratch,
            batch_rows=workspace.settings.stage_batch_rows,
            default_currency=currency,
            on_progress=told,
            reject_policy=given.reject_policy,
            filename=given.filename,
            siblings=known_groups(workspace, job) if job.task == "rework" else (),
        )
        rejects, reasons, sample, replaced = result.rejects, dict(result.reasons), list(result.sample_rejects), 0
        if job.task == "rework":
            taken = [*result.staged, *result.merged_rows]
            still = still_rejected(workspace, job, taken, result.rejects, given.row_column, scratch)
            rejects, reasons, sample, replaced = still.paths, still.reasons, still.sample, still.replaced
        for part in (*result.staged, *rejects, *result.merged_rows):
            workspace.objects.put_file(folder + part.name, part, given_up=True)
    manifest = Manifest(
        read=result.read,
        valid=result.valid,
        rejected=result.rejected,
        merged=result.merged,
        staged=[folder + part.name for part in result.staged],
        rejects=[folder + part.name for part in rejects],
        reasons=reasons,
        sample_rejects=sample[:_SAMPLE],
        bytes_read=result.bytes_read,
        replaced=replaced,
        row_column=given.row_column,
        folded=[folder + part.name for part in result.merged_rows],
        repairs=result.repairs,
    )
    write_manifest(workspace, job, manifest)
    return manifest


def merge_job(workspace: Workspace, job: ImportJob, lease: Lease) -> ImportJob:
    """Diff and, unless it is a dry run, merge what the attempt staged; the ledger is written in the same transaction.

    A job without a file is carried out instead (see :mod:`pim_platform.intake.bulk_jobs`).
    Returns the job as committed: ``importing`` (merged, not yet published), ``staged`` (a dry run, or a promotion
    that found another diff than the one accepted) or ``held`` (a full feed that lacks too many products).
    """
    if job.kind != "file":
        return _run_without_file(workspace, job, lease, None)
    assert job.schema_version is not None
    manifest = read_manifest(workspace, job, job.attempt)
    actor = (job.rework or {}).get("actor", job.actor)
    origin = Origin(source="csv", actor=actor, source_id=job.source_id, job_id=job.id, attempt=job.attempt)
    mapping = mapping_of(job)
    clear = frozenset(str(c.field) for c in mapping.active_columns if c.on_empty == "clear")
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder("diff"))
        paths = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.staged]
        with tenant_session(workspace.app, job.tenant_id) as session:
            if job.only_compares:
                # Plan and preview see one state of the catalogue without keeping writers out.
                read_snapshot(session)
            schema = schema_version(session, job.schema_version)
            incoming = Incoming.of(paths, schema, clear=clear)
            full_feed = stack.enter_context(full_feed_of(workspace, session, job, manifest))
            preview: Preview | None = None

            def previewed(connection: psycopg.Connection[Any]) -> bool:
                nonlocal preview
                stage_name = "describing the changes"
                lease.tell(stage_name, 0)
                preview = write_preview(
                    connection,
                    job.tenant_id,
                    incoming,
                    scratch,
                    lambda lines: lease.tell(stage_name, lines),
                    absent=full_feed.policy if full_feed else None,
                )
                return preview.digest == job.preview_digest

            lease.tell("waiting for the catalogue", 0)
            with lease.interrupting(driver_connection(session)):
                done = merge(
                    session,
                    incoming,
                    origin,
                    dry_run=job.only_compares,
                    full_feed=full_feed,
                    on_progress=lambda stage_name, rows: lease.tell(stage_name, rows, manifest.valid),
                    on_plan=previewed if job.dry_run else None,
                )
            if full_feed is not None and done.absent.held and not job.only_compares:
                return _hold(session, job, done, full_feed.policy)
            if done.nameless:
                manifest = _reject_nameless(workspace, job, manifest, paths, done.nameless)
            if preview is None or done.written:
                return _write_ledger(session, job, manifest, done)
        reason = why_moved(workspace, job, preview.files) if job.task == "promote" else None
        store_preview(workspace, job, preview, _summary(preview, schema, manifest, done))
        with tenant_session(workspace.app, job.tenant_id) as session:
            return _write_ledger(session, job, manifest, done, digest=preview.digest, moved=reason)


def _hold(session: Session, job: ImportJob, done: Merged, policy: str) -> ImportJob:
    row = own_row(session, job)
    hold_for_absent(row, done.absent, policy)
    record(session, Actor(job.actor), "import.held", "import", str(job.id), reason=row.reason)
    session.flush()
    session.refresh(row)
    return row


def _summary(preview: Preview, schema: ProductSchema, manifest: Manifest, done: Merged) -> dict[str, Any]:
    counts = done.counts
    products = {"create": counts.created, "update": counts.updated, "unchanged": counts.unchanged}
    if done.absent.rows:
        products["remove"] = done.absent.rows
    rows = {
        "read": manifest.read,
        "rejected": manifest.rejected + counts.nameless,
        "superseded": done.superseded,
        "merged": manifest.merged,
    }
    return {"products": products, "rows": rows, **summarise(preview, schema)}


def _reject_nameless(
    workspace: Workspace, job: ImportJob, manifest: Manifest, paths: list[Path], rows: list[int]
) -> Manifest:
    """Add the rejects that only the diff could tell to the attempt's rejects."""
    mapping = mapping_of(job)
    name = mapping.column_of("name")
    key = attempt_folder(job.tenant_id, job.id, job.attempt) + NAMELESS_PART
    with scratch_folder("rejects") as scratch:
        path = scratch / "rejects.parquet"
        sample = write_nameless_rejects(
            paths, rows, name.source if name else None, path, row_column=manifest.row_column
        )
        workspace.objects.put_file(key, path)
    manifest = replace(
        manifest,
        rejects=[*manifest.rejects, key],
        reasons={**manifest.reasons, NAMELESS: manifest.reasons.get(NAMELESS, 0) + len(rows)},
        sample_rejects=[*manifest.sample_rejects, *sample][:_SAMPLE],
    )
    write_manifest(workspace, job, manifest)
    return manifest


def _summed(before: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {kind: before.get(kind, 0) + more.get(kind, 0) for kind in {**before, **more}}


def _write_ledger(
    session: Session,
    job: ImportJob,
    manifest: Manifest,
    done: Merged,
    *,
    digest: str | None = None,
    moved: str | None = None,
) -> ImportJob:
    """Write what the attempt did into the job's row; ``digest`` is of the preview where nothing was written."""
    row = own_row(session, job)
    counts = done.counts
    own = {
        "read": manifest.read,
        "created": counts.created,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "rejected": manifest.rejected + counts.nameless,
        "superseded": done.superseded,
        "merged": manifest.merged,
    }
    total = sum(own.values()) - manifest.read
    if total != manifest.read or done.loaded != manifest.valid:
        raise LedgerUnbalanced(
            f"{manifest.read} records were read, {manifest.valid} of them valid, but {total} are accounted for, "
            f"{done.loaded} of them loaded. Nothing was written.",
            fix="This is a defect: keep the file and report it.",
        )
    # Corrected records take the place of the rejects that they were; everything else stands as it was.
    before = (row.ledger() or {}) if job.task == "rework" else {}
    for name, count in own.items():
        gone = manifest.replaced if name in ("read", "rejected") else 0
        setattr(row, f"rows_{name}", before.get(name, 0) - gone + count)
    row.row_count, row.row_count_exact, row.reject_reasons = row.rows_read, True, manifest.reasons
    row.repairs = _summed(row.repairs, manifest.repairs) if job.task == "rework" else manifest.repairs
    row.staged_attempt = job.attempt
    row.reason_code, row.reason = None, None
    if done.unknown_parents.variants and (told := _told_of(done.unknown_parents)) not in row.notices:
        row.notices = [*row.notices, told]
    if job.task != "rework":
        row.rows_removed = done.absent.rows
    if done.written:
        row.imported_count = (row.rows_created or 0) + (row.rows_updated or 0) + (row.rows_unchanged or 0)
        row.state, row.committed, row.dry_run = "importing", True, False
        row.commit_seq = done.commit_seq if done.commit_seq is not None else row.commit_seq
        session.add(_attempt_row(row, own, manifest, done))
    else:
        row.state, row.finished_at, row.task = "staged", func.clock_timestamp(), "import"
        row.preview_attempt, row.preview_digest = job.attempt, digest
        if moved is not None:
            row.reason_code, row.reason = CATALOGUE_MOVED, moved
    details = {"ledger": own, "dry_run": not done.written}
    record(session, Actor(job.actor), "import.merged", "import", str(job.id), **details)
    session.flush()
    session.refresh(row)
    return row


def _told_of(unknown: Unknown) -> str:
    count = unknown.variants
    which = "1 variant names a parent that is" if count == 1 else f"{count:,} variants name parents that are"
    return f"{which} not in the catalogue yet, such as {unknown.example!r}. They are linked once it is imported."


def _attempt_row(row: ImportJob, own: dict[str, int], manifest: Manifest, done: Merged) -> ImportAttempt:
    given = row.rework or {}
    return ImportAttempt(
        tenant_id=row.tenant_id,
        job_id=row.id,
        attempt=row.attempt,
        kind=row.task,
        upload_id=UUID(given["upload_id"]) if given else row.upload_id,
        filename=given.get("filename", row.filename),
        actor=given.get("actor", row.actor),
        rows_replaced=manifest.replaced,
        reject_reasons=manifest.reasons,
        repairs=manifest.repairs,
        commit_seq=done.commit_seq,
        **{f"rows_{name}": count for name, count in own.items()},
    )


def run_at_once(workspace: Workspace, job: ImportJob) -> ImportJob:
    """Carry out a job without a file that this process has claimed, and return it as it is then.

    Where an engine does not answer or another writer is at work for long, the job is left to its next attempt.
    """
    seconds = workspace.settings.lock_timeout_seconds
    with suppress(TransientError), attempt(workspace, job.tenant_id, job.id) as (own, lease):
        own = _run_without_file(workspace, own, lease, seconds)
        publish_job(workspace, own, lease)
        return finish_job(workspace, own, lease)
    with tenant_session(workspace.app, job.tenant_id) as session:
        return get_job(session, job.id)


def _run_without_file(workspace: Workspace, job: ImportJob, lease: Lease, wait_seconds: float | None) -> ImportJob:
    run = run_schema_change if job.kind == "schema" else run_bulk
    return run(workspace, job, lease, wait_seconds=wait_seconds)


def publish_job(workspace: Workspace, job: ImportJob, lease: Lease) -> Agreement:
    """Publish what the job committed to ClickHouse; raises EnginesDisagree where the rows differ afterwards."""
    lease.tell("publishing", 0)
    found = publish_and_compare(workspace.app, workspace.clickhouse, job.tenant_id, only_new=True)
    if not found.equal:
        raise EnginesDisagree(
            f"PostgreSQL holds {found.postgres_rows:,} rows, ClickHouse {found.clickhouse_rows:,}; "
            "their checksums differ. The catalogue in PostgreSQL is right.",
            fix="Publish the tenant again; `pim doctor` shows both engines.",
        )
    return found


def finish_job(workspace: Workspace, job: ImportJob, lease: Lease) -> ImportJob:
    """Refresh the tenant's typed relations and end the job as ``done``; what other attempts staged is removed."""
    lease.tell("refreshing typed relations", 0)
    tenant = get_tenant(workspace.app, job.tenant_id)
    refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    with tenant_session(workspace.app, job.tenant_id) as session:
        row = get_job(session, job.id, lock=True)
        _require_attempt(row, job.attempt)
        row.state, row.finished_at, row.lease_owner = "done", func.clock_timestamp(), None
        row.reason_code, row.reason = None, None
        if row.kind == "file" and row.task != "rework":
            session.get_one(Source, (job.tenant_id, job.source_id)).last_accepted_job_id = job.id
        row.task, row.rework = "import", None
        session.flush()
        session.refresh(row)
    forget_other_attempts(workspace, row)
    return row


def _require_attempt(row: ImportJob, number: int) -> None:
    if row.attempt != number:
        raise LeaseLost(f"Attempt {number} of import {row.id} was taken over by attempt {row.attempt}.")


def write_rejects(workspace: Workspace, job: ImportJob, path: Path) -> int:
    """Write the job's rejects to ``path`` in the format that its file allows (see
    :func:`pim_platform.intake.rejects.reject_format`); returns their number (0: no file).

    They are made from Parquet each time somebody asks, so there is no second copy to keep true.
    """
    if not job.rows_rejected:
        return 0
    manifest = read_manifest(workspace, job)
    with ExitStack() as stack:
        parts = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.rejects]
        return write_rejects_file(parts, job.headers or [], Dialect.model_validate(job.dialect), path)
