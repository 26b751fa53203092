"""Running a confirmed import: stage, merge, publish. Each step leaves its result in a row or in Parquet.

A run that dies anywhere is taken up by the next attempt: before the merge's commit it starts over in a new
folder; after it (the ledger is in the job's row, written in the same transaction) it only publishes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from pim_platform.catalog.checksum import Agreement, publish_and_compare
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Merged, Origin, merge
from pim_platform.catalog.schemas import schema_version
from pim_platform.catalog.typed_relations import refresh_typed_relations
from pim_platform.errors import EnginesDisagree, EngineUnavailable, JobCancelled, LeaseLost, LedgerUnbalanced, PimError
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.jobs import get_job
from pim_platform.intake.lease import Lease, this_process
from pim_platform.intake.mapping import Mapping
from pim_platform.intake.models import ImportJob, Source, Upload
from pim_platform.intake.nameless import NAMELESS, write_nameless_rejects
from pim_platform.intake.staging import StageProgress, stage, write_rejects_csv
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.tenants import get_tenant

_SAMPLE = 10


@dataclass(frozen=True)
class Manifest:
    """What an attempt staged; written last, so a folder without one is of a dead attempt (design D21)."""

    read: int
    valid: int
    rejected: int
    merged: int
    staged: list[str]
    rejects: list[str]
    reasons: dict[str, int]
    sample_rejects: list[dict[str, Any]]
    bytes_read: int


def job_folder(tenant_id: UUID, job_id: UUID) -> str:
    """Key prefix of everything a job writes (design D21)."""
    return f"tenants/{tenant_id}/jobs/{job_id}/"


def attempt_folder(tenant_id: UUID, job_id: UUID, attempt: int) -> str:
    """Key prefix of what one attempt writes."""
    return f"{job_folder(tenant_id, job_id)}{attempt}/"


@contextmanager
def attempt(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> Iterator[tuple[ImportJob, Lease]]:
    """The attempt that :func:`pim_platform.intake.lease.claim` began, with its lease kept while the block runs.

    A terminal error in the block fails the job with its reason; a transient one gives the lease up, so that the
    next attempt may begin soon; a lost lease changes nothing, because the job is another's by then.
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
    known = isinstance(error, PimError)
    with tenant_session(workspace.app, job.tenant_id) as session:
        row = get_job(session, job.id, lock=True)
        if row.attempt != job.attempt or row.state not in ("staging", "importing"):
            return
        row.reason_code = error.code if isinstance(error, PimError) else "internal"
        row.reason = str(error) if known else f"{type(error).__name__}: {error}"
        if (isinstance(error, PimError) and error.transient) or isinstance(error, KeyboardInterrupt | SystemExit):
            row.lease_owner, row.lease_at = None, datetime.fromtimestamp(0, UTC)  # older than any limit
        else:
            row.state = "cancelled" if isinstance(error, JobCancelled) else "failed"
            row.finished_at = func.clock_timestamp()


def stage_job(workspace: Workspace, job: ImportJob, lease: Lease) -> Manifest:
    """Read, map and validate the job's file into Parquet; returns the manifest it wrote last."""
    assert job.schema_version is not None
    with tenant_session(workspace.app, job.tenant_id) as session:
        schema = schema_version(session, job.schema_version)
        key = session.get_one(Upload, (job.tenant_id, job.upload_id)).object_key
        currency = session.get_one(Source, (job.tenant_id, job.source_id)).default_currency or schema.default_currency
    folder = attempt_folder(job.tenant_id, job.id, job.attempt)

    def told(progress: StageProgress) -> None:
        lease.tell("staging", progress.read, job.row_count)

    with tempfile.TemporaryDirectory(prefix="pim-stage-") as scratch, workspace.objects.local_copy(key) as path:
        lease.tell("staging", 0, job.row_count)
        result = stage(
            path,
            Dialect.model_validate(job.dialect),
            Mapping.model_validate({"columns": job.mapping}),
            schema,
            Path(scratch),
            batch_rows=workspace.settings.stage_batch_rows,
            default_currency=currency,
            on_progress=told,
            reject_policy=job.reject_policy,
            filename=job.filename,
        )
        for part in (*result.staged, *result.rejects):
            workspace.objects.put_file(folder + part.name, part)
    manifest = Manifest(
        read=result.read,
        valid=result.valid,
        rejected=result.rejected,
        merged=result.merged,
        staged=[folder + part.name for part in result.staged],
        rejects=[folder + part.name for part in result.rejects],
        reasons=dict(result.reasons),
        sample_rejects=list(result.sample_rejects)[:_SAMPLE],
        bytes_read=result.bytes_read,
    )
    _write_manifest(workspace, job, manifest)
    return manifest


def _write_manifest(workspace: Workspace, job: ImportJob, manifest: Manifest) -> None:
    key = attempt_folder(job.tenant_id, job.id, job.attempt) + "manifest.json"
    workspace.objects.put_bytes(key, json.dumps(asdict(manifest)).encode())


def read_manifest(workspace: Workspace, job: ImportJob) -> Manifest:
    """The manifest of the attempt that became the job's result, else of the present one. Raises NotFound."""
    number = job.attempt if job.staged_attempt is None else job.staged_attempt
    key = attempt_folder(job.tenant_id, job.id, number) + "manifest.json"
    return Manifest(**json.loads(workspace.objects.read_bytes(key)))


def merge_job(workspace: Workspace, job: ImportJob, lease: Lease) -> ImportJob:
    """Diff and, unless it is a dry run, merge what the attempt staged; the ledger is written in the same transaction.

    Returns the job as committed: ``importing`` (merged, not yet published) or ``staged`` (dry run).
    """
    assert job.schema_version is not None
    manifest = read_manifest(workspace, job)
    origin = Origin(source="csv", actor=job.actor, source_id=job.source_id, job_id=job.id, attempt=job.attempt)
    mapping = Mapping.model_validate({"columns": job.mapping})
    clear = frozenset(str(c.field) for c in mapping.active_columns if c.on_empty == "clear")
    with ExitStack() as stack:
        paths = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.staged]
        with tenant_session(workspace.app, job.tenant_id) as session:
            schema = schema_version(session, job.schema_version)
            incoming = Incoming.of(paths, schema, clear=clear)
            lease.tell("waiting for the catalogue", 0)
            done = merge(
                session,
                incoming,
                origin,
                dry_run=job.dry_run,
                on_progress=lambda stage_name, rows: lease.tell(stage_name, rows, manifest.valid),
            )
            if done.nameless:
                manifest = _reject_nameless(workspace, job, manifest, paths, done.nameless)
            return _write_ledger(session, job, manifest, done)


def _reject_nameless(
    workspace: Workspace, job: ImportJob, manifest: Manifest, paths: list[Path], rows: list[int]
) -> Manifest:
    """Add the rejects that only the diff could tell to the attempt's rejects."""
    mapping = Mapping.model_validate({"columns": job.mapping})
    name = mapping.column_of("name")
    key = attempt_folder(job.tenant_id, job.id, job.attempt) + "rejects-nameless.parquet"
    with tempfile.TemporaryDirectory(prefix="pim-rejects-") as scratch:
        path = Path(scratch) / "rejects.parquet"
        sample = write_nameless_rejects(paths, rows, name.source if name else None, path)
        workspace.objects.put_file(key, path)
    manifest = Manifest(
        **{
            **asdict(manifest),
            "rejects": [*manifest.rejects, key],
            "reasons": {**manifest.reasons, NAMELESS: len(rows)},
            "sample_rejects": [*manifest.sample_rejects, *sample][:_SAMPLE],
        }
    )
    _write_manifest(workspace, job, manifest)
    return manifest


def _write_ledger(session: Session, job: ImportJob, manifest: Manifest, done: Merged) -> ImportJob:
    row = get_job(session, job.id, lock=True)
    _require_attempt(row, job.attempt)
    if row.cancel_requested:
        raise JobCancelled(f"Import {job.id} was cancelled.", fix="Upload the file again to start over.")
    counts = done.counts
    rejected = manifest.rejected + counts.nameless
    total = counts.created + counts.updated + counts.unchanged + rejected + done.superseded + manifest.merged
    if total != manifest.read or done.loaded != manifest.valid:
        raise LedgerUnbalanced(
            f"{manifest.read} records were read, {manifest.valid} of them valid, but {total} are accounted for, "
            f"{done.loaded} of them loaded. Nothing was written.",
            fix="This is a defect: keep the file and report it.",
        )
    row.rows_read, row.rows_rejected, row.rows_merged = manifest.read, rejected, manifest.merged
    row.rows_created, row.rows_updated, row.rows_unchanged = counts.created, counts.updated, counts.unchanged
    row.rows_superseded = done.superseded
    row.row_count = manifest.read
    row.imported_count = 0 if job.dry_run else counts.created + counts.updated + counts.unchanged
    row.reject_reasons = manifest.reasons
    row.commit_seq, row.staged_attempt = done.commit_seq, job.attempt
    row.reason_code, row.reason = None, None
    if job.dry_run:
        row.state, row.finished_at = "staged", func.clock_timestamp()
    else:
        row.state = "importing"
    details = {"ledger": row.ledger(), "dry_run": job.dry_run}
    record(session, Actor(job.actor), "import.merged", "import", str(job.id), **details)
    session.flush()
    session.refresh(row)
    return row


def publish_job(workspace: Workspace, job: ImportJob, lease: Lease) -> Agreement:
    """Publish what the job committed to ClickHouse; raises EnginesDisagree where the rows differ afterwards."""
    lease.tell("publishing", 0)
    found = publish_and_compare(workspace.app, workspace.clickhouse, job.tenant_id)
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
        session.get_one(Source, (job.tenant_id, job.source_id)).last_accepted_job_id = job.id
        session.flush()
        session.refresh(row)
    forget_other_attempts(workspace, row)
    return row


def _require_attempt(row: ImportJob, number: int) -> None:
    if row.attempt != number:
        raise LeaseLost(f"Attempt {number} of import {row.id} was taken over by attempt {row.attempt}.")


def write_rejects(workspace: Workspace, job: ImportJob, path: Path) -> int:
    """Write the job's rejects to ``path`` in the format the file came in; returns their number (0: no file).

    They are made from Parquet each time somebody asks, so there is no second copy to keep true.
    """
    if not job.rows_rejected:
        return 0
    manifest = read_manifest(workspace, job)
    with ExitStack() as stack:
        parts = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.rejects]
        return write_rejects_csv(parts, job.headers or [], Dialect.model_validate(job.dialect), path)


def forget_other_attempts(workspace: Workspace, job: ImportJob) -> None:
    """Remove what attempts staged that did not become the job's result; products refer to the merging attempt."""
    folder = job_folder(job.tenant_id, job.id)
    keep = f"{folder}{job.staged_attempt}/"
    for found in list(workspace.objects.list(folder)):
        if not found.key.startswith(keep):
            workspace.objects.delete(found.key)
