"""Changing a product schema: safe changes at once, narrowing ones after somebody saw what they break.

What a change does to stored values goes through the one merge, as a job of kind ``schema`` that can be undone: values
of a removed field are cleared; values of another type are read as a file's cells would be, and those that are no
value of the new type are cleared. Products that lack a field which becomes required stay as they are; it is asked of
them by the next write that gives the field, and of new products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pim_platform.catalog.choosing import choose
from pim_platform.catalog.editing import edited
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.models import CatalogState
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schema_changes import Step, plan_changes
from pim_platform.catalog.schemas import current_schema, lock_schema, save_schema
from pim_platform.errors import Conflict
from pim_platform.intake.bulk_jobs import AT_ONCE
from pim_platform.intake.confirmations import ask_confirmation, find_confirmation, use_confirmation
from pim_platform.intake.converting import edits_of
from pim_platform.intake.landing import Origin as Door
from pim_platform.intake.lease import Lease, own_row, this_process
from pim_platform.intake.models import Confirmation, ImportJob
from pim_platform.intake.promoting import CATALOGUE_MOVED
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.schema_effects import Effect, effects_of
from pim_platform.intake.sources import ensure_source
from pim_platform.intake.undoing import finish_without_file
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.quotas import require_job_slot


@dataclass(frozen=True)
class SchemaChange:
    """A change that is done (``schema`` is in force), left to ``job``, or waits for the ``confirmation``."""

    schema: ProductSchema
    effects: list[Effect]
    applied: bool
    job: ImportJob | None = None
    confirmation: Confirmation | None = None


def change_schema(
    workspace: Workspace, tenant_id: UUID, changes: Any, *, actor: Actor, door: Door = "api"
) -> SchemaChange:
    """Apply changes (see :mod:`pim_platform.catalog.schema_changes`) that are safe; ask about narrowing ones.

    A safe change that gives values another form is done by a job: see ``job.state``, which is ``staging`` where this
    process has claimed it and is to run it. Raises InvalidSchema, Conflict (``field_is_localizable``,
    ``imports_under_way``), TenantBusy.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        schema, after, steps = _planned(session, changes)
        effects = effects_of(session, after, steps)
        confirmation = None
        if any(effect.narrowing for effect in effects):
            request = {
                "changes": changes,
                "effects": [[effect.products, effect.breaks] for effect in effects],
                "commit": _commit_seq(session),
                "schema_version": schema.version,
            }
            confirmation = ask_confirmation(session, "schema", request, actor.name)
    if confirmation is not None:
        return SchemaChange(schema, effects, applied=False, confirmation=confirmation)
    return _apply(workspace, tenant_id, list(changes), actor, door, shown=None)


def confirm_schema_change(
    workspace: Workspace, tenant_id: UUID, token: str, *, accept: bool, actor: Actor, door: Door = "api"
) -> SchemaChange:
    """Apply what the token was given for; ``accept``: what it breaks may be lost.

    Raises NotFound and Conflict as :func:`pim_platform.intake.confirmations.find_confirmation` does, Conflict with code
    ``consequences_not_accepted`` or ``catalogue_moved``, TenantBusy.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        request = dict(find_confirmation(session, "schema", token).request)
    breaks = sum(count for _, count in request["effects"])
    if breaks and not accept:
        raise Conflict(
            f"The change breaks {breaks:,} values; the preview says which.",
            fix="Send `accept: true` with the token to go on, or change the products first.",
            code="consequences_not_accepted",
            value=breaks,
        )
    return _apply(workspace, tenant_id, request["changes"], actor, door, shown=request, token=token)


def _apply(
    workspace: Workspace,
    tenant_id: UUID,
    changes: list[Any],
    actor: Actor,
    door: Door,
    *,
    shown: Mapping[str, Any] | None,
    token: str | None = None,
) -> SchemaChange:
    with tenant_session(workspace.app, tenant_id) as session:
        wait = workspace.settings.lock_timeout_seconds
        lock_catalogue(driver_connection(session), tenant_id, wait_seconds=wait)
        lock_schema(session)
        asked = find_confirmation(session, "schema", token) if token is not None else None
        _, after, steps = _planned(session, changes)
        effects = effects_of(session, after, steps)
        _require_as_shown(session, effects, shown)
        touched = sum(effect.products for effect, step in zip(effects, steps, strict=True) if _writes(step))
        if not touched:
            saved = save_schema(session, after, actor)
            if asked is not None:
                use_confirmation(asked, None)
        else:
            job = _job(session, changes, steps, effects, actor, door, at_once=touched <= AT_ONCE)
            if asked is not None:
                use_confirmation(asked, job)
            session.flush()
            session.refresh(job)
            return SchemaChange(after, effects, applied=False, job=job)
    publish_now(workspace, tenant_id)
    return SchemaChange(saved, effects, applied=True)


def _job(
    session: Session,
    changes: list[Any],
    steps: Sequence[Step],
    effects: Sequence[Effect],
    actor: Actor,
    door: Door,
    *,
    at_once: bool,
) -> ImportJob:
    if not at_once:
        require_job_slot(session)
    job = ImportJob(
        tenant_id=session.info["tenant_id"],
        source_id=ensure_source(session, door).id,
        kind="schema",
        filename="schema change",
        format="",
        origin=door,
        actor=actor.name,
        bulk={
            "changes": changes,
            "effects": [[effect.products, effect.breaks] for effect in effects],
            "commit": _commit_seq(session),
            "schema_version": current_schema(session).version,
            "removed": [step.before.model_dump() for step in steps if step.op == "remove" and step.before],
            "retyped": [step.name for step in steps if step.converts],
            "request_id": actor.trace_id,
        },
        state="staging" if at_once else "confirmed",
        attempt=1 if at_once else 0,
        confirmed_at=func.clock_timestamp(),
    )
    if at_once:
        job.lease_owner, job.lease_at, job.started_at = this_process(), func.clock_timestamp(), func.clock_timestamp()
    session.add(job)
    session.flush()
    return job


def run_schema_change(
    workspace: Workspace, job: ImportJob, lease: Lease, *, wait_seconds: float | None = None
) -> ImportJob:
    """Carry out a change of the schema that writes products: the new version, the values and the ledger at once.

    Returns the job as committed. Raises Conflict (``catalogue_moved``), JobCancelled, LeaseLost, TenantBusy.
    """
    assert job.bulk is not None
    lease.tell("waiting for the catalogue", 0)
    with tenant_session(workspace.app, job.tenant_id) as session:
        connection = driver_connection(session)
        with lease.interrupting(connection):
            lock_catalogue(connection, job.tenant_id, wait_seconds=wait_seconds)
            lock_schema(session)
            _, after, steps = _planned(session, job.bulk["changes"])
            _require_as_shown(session, effects_of(session, after, steps), job.bulk)
            saved = save_schema(session, after, Actor(job.actor))
            lease.tell("converting values", 0)
            edits, joins = edits_of(connection, job.tenant_id, after, steps)
            names = [edit.column.name for edit in edits]
            touched = sql.SQL("p.data ?| {}::text[]").format(sql.Literal(names))
            choose(connection, job.tenant_id, touched)
            request_id = job.bulk.get("request_id")
            source: Literal["ui", "api"] = "ui" if job.origin == "ui" else "api"
            done = merge(
                session,
                edited(job.tenant_id, edits, joins=joins),
                Origin(source, job.actor, job_id=job.id, attempt=job.attempt, request_id=request_id),
                on_progress=lease.tell,
            )
        row = own_row(session, job)
        row.schema_version = saved.version
        finish_without_file(
            row,
            created=0,
            updated=done.counts.updated,
            unchanged=done.counts.unchanged,
            removed=0,
            commit_seq=done.commit_seq,
        )
        row.state, row.finished_at = "importing", None
        session.flush()
        session.refresh(row)
        return row


def _planned(session: Session, changes: Any) -> tuple[ProductSchema, ProductSchema, list[Step]]:
    schema = current_schema(session)
    after, steps = plan_changes(schema, changes)
    for step in steps:
        if _writes(step):
            _require_no_import(session, step)
    return schema, after, steps


def _writes(step: Step) -> bool:
    return step.op == "remove" or step.converts


_UNDER_WAY = text("""
SELECT id FROM pim.import_jobs
WHERE tenant_id = :tenant AND kind = 'file' AND state IN ('confirmed', 'staging', 'staged', 'held', 'importing')
  AND NOT committed AND mapping @> CAST(:feeds AS jsonb) LIMIT 1
""")


def _require_no_import(session: Session, step: Step) -> None:
    """An import that was confirmed under the schema of now would bring the field back as it is."""
    given = {"tenant": session.info["tenant_id"], "feeds": f'[{{"field": "{step.name}"}}]'}
    under_way = session.scalar(_UNDER_WAY, given)
    if under_way is not None:
        raise Conflict(
            f"Import {under_way} is under way and writes the field {step.name!r}.",
            fix="Wait until it is done, or cancel it.",
            code="imports_under_way",
            value=str(under_way),
        )


def _commit_seq(session: Session) -> int:
    query = select(CatalogState.commit_seq).where(CatalogState.tenant_id == session.info["tenant_id"])
    return int(session.scalars(query).one())


def _require_as_shown(session: Session, effects: Sequence[Effect], shown: Mapping[str, Any] | None) -> None:
    if shown is None:
        return
    same = [[effect.products, effect.breaks] for effect in effects] == shown["effects"]
    if current_schema(session).version != shown["schema_version"] or not same:
        raise Conflict(
            "The catalogue or its schema has moved since the preview: the change would do something else now. "
            "Nothing was done.",
            fix="Send the change again, and confirm what it answers.",
            code=CATALOGUE_MOVED,
        )
