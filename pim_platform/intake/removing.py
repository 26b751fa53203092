"""Removing products by a job: bulk deletes, and what a full feed holds no more (designs D6, D15)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from uuid import UUID

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pim_platform.catalog.absent import Absent, FullFeed
from pim_platform.catalog.deleting import Author, Selection, delete_products
from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import Conflict, NotFound
from pim_platform.intake.jobs import get_job, mapping_of
from pim_platform.intake.landing import Origin
from pim_platform.intake.manifests import Manifest, merged_attempts, read_manifest
from pim_platform.intake.models import ImportJob, Source
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.sources import ensure_source
from pim_platform.intake.undoing import finish_without_file
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.quotas import require_job_slot

#: Why a job is held whose full feed lacks too many products.
TOO_MANY_ABSENT = "too_many_absent"


@dataclass(frozen=True)
class DeletedProducts:
    """A bulk delete that is done: its job, how many products went, and whether ClickHouse knows already."""

    job: ImportJob
    deleted: int
    published: bool


def delete_selection(
    workspace: Workspace,
    tenant_id: UUID,
    selection: Selection,
    *,
    actor: Actor,
    origin: Origin,
    wait_seconds: float | None = None,
) -> DeletedProducts:
    """Delete the selected products of a tenant as a job that can be undone, and publish.

    Raises InvalidRequest (nothing selected), TenantBusy after ``wait_seconds`` (None waits for ever).
    """
    selection.condition()  # what cannot be meant is refused before there is a job
    with tenant_session(workspace.app, tenant_id) as session:
        lock_catalogue(driver_connection(session), tenant_id, wait_seconds=wait_seconds)
        job = ImportJob(
            tenant_id=tenant_id,
            source_id=selection.source_id or ensure_source(session, origin).id,
            kind="delete",
            filename="bulk delete",
            format="",
            origin=origin,
            actor=actor.name,
            state="importing",
            attempt=1,
            started_at=func.clock_timestamp(),
        )
        session.add(job)
        session.flush()
        gone = delete_products(session, selection, Author(origin, actor.name, job.id, actor.trace_id))
        finish_without_file(job, created=0, updated=0, unchanged=0, removed=gone.count, commit_seq=gone.commit_seq)
        record(session, actor, "products.bulk_delete", "import", str(job.id), deleted=gone.count)
        session.flush()
        session.refresh(job)
    return DeletedProducts(job, gone.count, publish_now(workspace, tenant_id))


@contextmanager
def full_feed_of(
    workspace: Workspace, session: Session, job: ImportJob, manifest: Manifest
) -> Iterator[FullFeed | None]:
    """What the merge of ``job`` must know to remove absent rows, while the block runs; None where it removes none.

    The last accepted full feed is the newest of the same source that is ``done``; its keys come from what it
    staged. Raises Conflict with code ``last_feed_gone`` where retention removed that.
    """
    source = session.get_one(Source, (job.tenant_id, job.source_id))
    policy = job.absent_rows or source.absent_rows
    # Corrected rejects are no feed of their own; a promotion commits what a person has seen.
    removes = job.full_feed and policy != "keep" and job.task != "rework"
    last = _last_full_feed(session, job) if removes else None
    if last is None:
        yield None
        return
    with ExitStack() as stack:
        staged = [stack.enter_context(workspace.objects.local_copy(key)) for key in _staged_keys(workspace, last)]
        rejects = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.rejects]
        yield FullFeed(
            policy=cast('Literal["deactivate", "delete"]', policy),
            last=tuple(staged),
            rejected=_rejected_keys(job, rejects),
            limit=None if job.hold_released or job.task == "promote" else workspace.settings.hold_removed_share,
        )


def hold_for_absent(job: ImportJob, absent: Absent, policy: str) -> None:
    """Let the job wait for a person: its feed lacks too many products, and nothing of it was written."""
    job.state, job.reason_code = "held", TOO_MANY_ABSENT
    job.rows_removed = absent.rows
    job.reason = (
        f"The feed lacks {absent.rows:,} of the {absent.of:,} products of the one before ({absent.share:.0%}); "
        f"importing it would {policy} them. Nothing was written. Release the import, or cancel it."
    )
    job.lease_owner = None


def release_job(workspace: Workspace, tenant_id: UUID, job_id: UUID, actor: Actor) -> ImportJob:
    """Let an import run that is held because its full feed lacks many products; it is ``confirmed`` again.

    Raises NotFound, Conflict (not held, or for another reason).
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state != "held" or job.reason_code != TOO_MANY_ABSENT:
            raise Conflict(
                f"The import is in state {job.state}; there is nothing to release.",
                fix="Only an import that is held for its absent rows can be released.",
                code="not_held",
                value=job.state,
            )
        require_job_slot(session)
        job.state, job.hold_released, job.reason_code, job.reason = "confirmed", True, None, None
        job.rows_removed, job.first_attempt = 0, job.attempt + 1
        record(session, actor, "import.released", "import", str(job.id))
        session.flush()
        session.refresh(job)
        return job


def _last_full_feed(session: Session, job: ImportJob) -> ImportJob | None:
    return session.scalar(
        select(ImportJob)
        .where(
            ImportJob.tenant_id == session.info["tenant_id"],
            ImportJob.source_id == job.source_id,
            ImportJob.full_feed,
            ImportJob.state == "done",
            ImportJob.kind == "file",
            ImportJob.id != job.id,
        )
        .order_by(ImportJob.finished_at.desc())
        .limit(1)
    )


def _staged_keys(workspace: Workspace, last: ImportJob) -> list[str]:
    """The staged files of every merge of the last feed: corrected rejects belong to it."""
    try:
        numbers = [merge.attempt for merge in merged_attempts(workspace, last)]
        return [key for number in numbers for key in read_manifest(workspace, last, number).staged]
    except NotFound as error:
        raise Conflict(
            f"What the last full feed of this source held is not known any more: retention removed its files "
            f"(import {last.id}).",
            fix="Import this feed with absent rows kept; the next one is compared with it.",
            code="last_feed_gone",
        ) from error


def _rejected_keys(job: ImportJob, rejects: list[Path]) -> pl.Series:
    """The keys of records that the feed holds but that were rejected: those products are not absent."""
    column = mapping_of(job).column_of("sku")
    if column is None or not rejects:
        return pl.Series("sku_key", [], dtype=pl.String)
    keys = pl.scan_parquet(rejects).select(sku_key_expr(pl.col(f"{RAW_PREFIX}{column.index}")).alias("sku_key"))
    return keys.drop_nulls().unique().collect()["sku_key"]
