"""Bulk edits and deletes: shown, confirmed by a token, carried out by a job that can be undone (design D15).

A preview computes what the operation would do and keeps, beside the request, the digest of the products that it
means. Who confirms it gets exactly that: where one of these products was written meanwhile, or others are meant,
nothing is done and the catalogue is said to have moved. The same is asked again under the tenant's lock when the job
runs. A job is a row of ``import_jobs`` like any other: claimed with a lease, taken up again when its process dies,
done in one transaction, listed, undoable.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pim_platform.catalog.choosing import CHOSEN, Choice, sample_of
from pim_platform.catalog.deleting import Author, delete_rows
from pim_platform.catalog.diff import PLAN
from pim_platform.catalog.editing import Conflicts, conflicts_of, edited
from pim_platform.catalog.joins import joining
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.models import CatalogState
from pim_platform.catalog.preview import read_lines, write_preview
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import Conflict
from pim_platform.intake.confirmations import ask_confirmation, find_confirmation, use_confirmation
from pim_platform.intake.landing import Origin as Door
from pim_platform.intake.lease import Lease, own_row, this_process
from pim_platform.intake.models import Confirmation, ImportJob
from pim_platform.intake.operations import edits_of, fields_of
from pim_platform.intake.promoting import CATALOGUE_MOVED
from pim_platform.intake.sources import ensure_source
from pim_platform.intake.undoing import finish_without_file
from pim_platform.intake.wanted import choose_wanted, kept, wanted_of
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, read_snapshot, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.quotas import require_job_slot

Kind = Literal["edit", "delete"]

#: Products, and changed lines, that a preview shows.
SAMPLE = 20
#: An edit of at most so many products is done within the request that confirms it.
AT_ONCE = 10_000


@dataclass(frozen=True)
class BulkPreview:
    """What a bulk operation would do, and the token that confirms exactly that."""

    confirmation: Confirmation
    commit_seq: int
    products: int
    changed: int
    sample: list[dict[str, Any]]
    changes: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[Conflicts] = field(default_factory=list)


def preview_delete(workspace: Workspace, tenant_id: UUID, request: Mapping[str, Any], *, actor: Actor) -> BulkPreview:
    """What deleting the products that ``request`` means would do; see :mod:`pim_platform.intake.wanted`.

    Raises InvalidRequest, NotFound, EngineUnavailable.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        read_snapshot(session)
        choice = choose_wanted(workspace, session, wanted_of(session, request, current_schema(session)))
        sample = sample_of(driver_connection(session), tenant_id, SAMPLE)
        seq = _commit_seq(session)
    asked = _ask(workspace, tenant_id, "delete", {"wanted": kept(request)}, choice, seq, actor)
    return BulkPreview(asked, seq, choice.products, choice.products, sample)


def preview_edit(
    workspace: Workspace, tenant_id: UUID, request: Mapping[str, Any], operations: Any, *, actor: Actor
) -> BulkPreview:
    """What the operations (see :mod:`pim_platform.intake.operations`) would do to the products meant.

    Raises InvalidRequest, NotFound, EngineUnavailable.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        read_snapshot(session)
        schema = current_schema(session)
        edits = edits_of(operations, schema)
        choice = choose_wanted(workspace, session, wanted_of(session, request, schema))
        connection = driver_connection(session)
        sample = sample_of(connection, tenant_id, SAMPLE)
        incoming = edited(tenant_id, edits)
        lines: list[dict[str, Any]] = []

        def shown(_connection: psycopg.Connection[Any]) -> bool:
            # Counted already, and nothing will be written: what is not shown need not stay in the plan.
            _connection.execute(
                sql.SQL(
                    'DELETE FROM {plan} WHERE "row" NOT IN '
                    '(SELECT "row" FROM {plan} WHERE action = \'update\' ORDER BY "row" LIMIT {few})'
                ).format(plan=PLAN, few=sql.Literal(SAMPLE))
            )
            with tempfile.TemporaryDirectory(prefix="pim-edit-") as folder:
                made = write_preview(_connection, tenant_id, incoming, Path(folder))
                lines.extend(read_lines(made.files, limit=SAMPLE * len(edits)).to_dicts() if made.files else [])
            return False

        done = merge(session, incoming, Origin("api", actor.name), dry_run=True, on_plan=shown)
        conflicts = conflicts_of(connection, tenant_id, edits)
        bulk = {
            "wanted": kept(request),
            "operations": kept(operations),
            "fields": fields_of(operations, schema),
        }
        seq = _commit_seq(session)
    asked = _ask(workspace, tenant_id, "edit", bulk, choice, seq, actor)
    return BulkPreview(asked, seq, choice.products, done.counts.updated, sample, lines, conflicts)


def _ask(
    workspace: Workspace, tenant_id: UUID, kind: Kind, bulk: dict[str, Any], choice: Choice, seq: int, actor: Actor
) -> Confirmation:
    request = bulk | {"digest": choice.digest, "products": choice.products, "commit": seq}
    with tenant_session(workspace.app, tenant_id) as session:
        return ask_confirmation(session, kind, request, actor.name)


def _commit_seq(session: Session) -> int:
    query = select(CatalogState.commit_seq).where(CatalogState.tenant_id == session.info["tenant_id"])
    return int(session.scalars(query).one())


def confirm_bulk(
    workspace: Workspace, tenant_id: UUID, kind: Kind, token: str, *, actor: Actor, door: Door = "api"
) -> ImportJob:
    """Make the job of what the token was given for; it is due for a run, or claimed by this process already.

    A claimed one (``state`` staging: an edit of at most :data:`AT_ONCE` products) is for the caller to carry out.
    Raises NotFound and Conflict as :func:`pim_platform.intake.confirmations.find_confirmation` does, and Conflict with
    code ``catalogue_moved`` where what was shown is not so any more.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        asked = find_confirmation(session, kind, token)
        bulk = dict(asked.request)
        if _commit_seq(session) != bulk["commit"]:
            _require_same(session, bulk, _choose(workspace, session, bulk))
        at_once = kind == "edit" and bulk["products"] <= AT_ONCE
        if not at_once:
            require_job_slot(session)
        job = ImportJob(
            tenant_id=tenant_id,
            source_id=ensure_source(session, door).id,
            kind=kind,
            filename=f"bulk {kind}",
            format="",
            origin=door,
            actor=actor.name,
            bulk=bulk | {"request_id": actor.trace_id},
            state="staging" if at_once else "confirmed",
            attempt=1 if at_once else 0,
            confirmed_at=func.clock_timestamp(),
            row_count=bulk["products"],
        )
        if at_once:
            job.lease_owner, job.lease_at = this_process(), func.clock_timestamp()
            job.started_at = func.clock_timestamp()
        session.add(job)
        session.flush()
        use_confirmation(asked, job)
        record(session, actor, f"products.bulk_{kind}", "import", str(job.id), products=bulk["products"])
        session.flush()
        session.refresh(job)
        return job


def _choose(workspace: Workspace, session: Session, bulk: Mapping[str, Any]) -> Choice:
    return choose_wanted(workspace, session, wanted_of(session, bulk["wanted"], current_schema(session)))


def _require_same(session: Session, bulk: Mapping[str, Any], choice: Choice) -> None:
    fields = bulk.get("fields", [])
    same = not fields or fields == fields_of(bulk["operations"], current_schema(session))
    if choice.digest != bulk["digest"] or not same:
        raise Conflict(
            f"The catalogue has moved since the preview: of the {bulk['products']:,} products that it showed some are "
            f"gone or changed, or others are meant now ({choice.products:,} in all). Nothing was done.",
            fix="Ask for a preview again, and confirm that one.",
            code=CATALOGUE_MOVED,
            value=choice.products,
            expected=bulk["products"],
        )


def run_bulk(workspace: Workspace, job: ImportJob, lease: Lease, *, wait_seconds: float | None = None) -> ImportJob:
    """Carry out a bulk edit or delete in one transaction, its ledger and the job's state with it.

    Returns the job as committed: ``importing``, which is merged and not yet published. Raises Conflict
    (``catalogue_moved``), JobCancelled, LeaseLost, TenantBusy after ``wait_seconds``.
    """
    assert job.bulk is not None
    lease.tell("waiting for the catalogue", 0)
    with tenant_session(workspace.app, job.tenant_id) as session:
        connection = driver_connection(session)
        with lease.interrupting(connection):
            lock_catalogue(connection, job.tenant_id, wait_seconds=wait_seconds)
            lease.tell("choosing products", 0)
            choice = _choose(workspace, session, job.bulk)
            _require_same(session, job.bulk, choice)
            lease.tell("writing", 0, choice.products)
            request_id = job.bulk.get("request_id")
            if job.kind == "delete":
                seq = _delete(connection, job, choice, request_id)
                counts = {"updated": 0, "unchanged": 0, "removed": choice.products}
            else:
                edits = edits_of(job.bulk["operations"], current_schema(session))
                source: Literal["api", "ui"] = "ui" if job.origin == "ui" else "api"
                origin = Origin(source, job.actor, job_id=job.id, attempt=job.attempt, request_id=request_id)
                done = merge(
                    session,
                    edited(job.tenant_id, edits),
                    origin,
                    on_progress=lambda stage, rows: lease.tell(stage, rows, choice.products),
                )
                seq = done.commit_seq
                counts = {"updated": done.counts.updated, "unchanged": done.counts.unchanged, "removed": 0}
        row = own_row(session, job)
        finish_without_file(row, created=0, commit_seq=seq, **counts)
        row.state, row.finished_at = "importing", None
        session.flush()
        session.refresh(row)
        return row


def _delete(connection: psycopg.Connection[Any], job: ImportJob, choice: Choice, request_id: str | None) -> int | None:
    if not choice.products:
        return None
    seq = next_commit(connection, job.tenant_id)
    author = Author(job.origin, job.actor, job.id, request_id)
    with joining(connection, CHOSEN):
        condition = sql.SQL("p.id IN (SELECT id FROM {})").format(CHOSEN)
        delete_rows(connection, job.tenant_id, seq, condition, author)
    return seq
