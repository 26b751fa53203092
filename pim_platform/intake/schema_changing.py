"""Changing a product schema: safe changes at once, narrowing ones after somebody saw what they break.

What a change does to stored values goes through the one merge, as a job of kind ``schema`` that can be undone: values
of a removed field are cleared; values of another type are read as a file's cells would be, and those that are no
value of the new type are cleared. Products that lack a field which becomes required stay as they are; it is asked of
them by the next write that gives the field, and of new products.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Literal
from uuid import UUID

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pim_platform.catalog.choosing import choose
from pim_platform.catalog.editing import Edit, clear_field, edited
from pim_platform.catalog.incoming import Column
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.models import CatalogState
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schema_changes import Step, plan_changes
from pim_platform.catalog.schemas import current_schema, lock_schema, save_schema
from pim_platform.catalog.staged import FIELD_PREFIX, RAW_PREFIX
from pim_platform.errors import Conflict
from pim_platform.intake.bulk_jobs import AT_ONCE
from pim_platform.intake.confirmations import ask_confirmation, find_confirmation, use_confirmation
from pim_platform.intake.landing import Origin as Door
from pim_platform.intake.lease import Lease, own_row, this_process
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.mapping.models import Mapping as ColumnMappings
from pim_platform.intake.models import Confirmation, ImportJob
from pim_platform.intake.plan import compile_plan
from pim_platform.intake.promoting import CATALOGUE_MOVED
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.sources import ensure_source
from pim_platform.intake.undoing import finish_without_file
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.quotas import require_job_slot

#: Products shown of those that a change breaks.
EXAMPLES = 5
_BATCH = 50_000
_CSV_ROWS = 16_384


@dataclass(frozen=True)
class Effect:
    """What one change does: to how many products that have a value of the field, and how many of them it breaks.

    For a field that becomes required ``products`` and ``breaks`` are those without a value. ``examples`` are
    ``{sku, value}`` of broken ones.
    """

    op: str
    field: str
    narrowing: bool
    products: int
    breaks: int
    consequence: str
    examples: list[dict[str, Any]] = made_by(default_factory=list)


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
        effects = _effects(session, after, steps)
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
        effects = _effects(session, after, steps)
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
            _require_as_shown(session, _effects(session, after, steps), job.bulk)
            saved = save_schema(session, after, Actor(job.actor))
            lease.tell("converting values", 0)
            edits, joins = _edits(connection, job.tenant_id, after, steps)
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


def _effects(session: Session, after: ProductSchema, steps: Sequence[Step]) -> list[Effect]:
    connection = driver_connection(session)
    tenant_id: UUID = session.info["tenant_id"]
    return [_effect(connection, tenant_id, after, step) for step in steps]


def _effect(connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step) -> Effect:
    if step.op == "remove":
        count, examples = _with_value(connection, tenant_id, step.name)
        return Effect(
            step.op, step.name, True, count, count, "its values are cleared; undoing brings them back", examples
        )
    if step.narrowing and step.op in ("add", "require"):
        count, examples = _without_value(connection, tenant_id, step.name)
        consequence = "products without a value stay; new ones, and whoever replaces one, must give it"
        return Effect(step.op, step.name, True, count, count, consequence, examples)
    if step.converts:
        return _conversion(connection, tenant_id, after, step)
    return Effect(step.op, step.name, step.narrowing, 0, 0, "nothing that is stored changes")


_VALUES = sql.SQL("FROM pim.products p WHERE p.tenant_id = {tenant} AND p.data ? {name}")


def _with_value(connection: psycopg.Connection[Any], tenant_id: UUID, name: str) -> tuple[int, list[dict[str, Any]]]:
    given = {"tenant": sql.Literal(tenant_id), "name": sql.Literal(name)}
    return _counted(connection, _VALUES.format(**given), sql.SQL("p.data -> {name}").format(**given))


def _without_value(connection: psycopg.Connection[Any], tenant_id: UUID, name: str) -> tuple[int, list[dict[str, Any]]]:
    lacking = sql.SQL("FROM pim.products p WHERE p.tenant_id = {} AND NOT p.data ? {}").format(
        sql.Literal(tenant_id), sql.Literal(name)
    )
    return _counted(connection, lacking, sql.SQL("NULL::jsonb"))


def _counted(
    connection: psycopg.Connection[Any], which: sql.Composable, value: sql.Composable
) -> tuple[int, list[dict[str, Any]]]:
    row = connection.execute(sql.SQL("SELECT count(*) {}").format(which)).fetchone()
    assert row is not None
    rows = connection.execute(
        sql.SQL("SELECT p.sku, {} {} ORDER BY p.sku_key LIMIT {}").format(value, which, sql.Literal(EXAMPLES))
    ).fetchall()
    return int(row[0]), [{"sku": sku, "value": found} for sku, found in rows]


def _conversion(connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step) -> Effect:
    assert step.before is not None
    assert step.after is not None
    count, _ = _with_value(connection, tenant_id, step.name)
    if count and step.before.localizable:
        raise Conflict(
            f"{count:,} products have values of {step.name!r} by locale; those cannot be converted.",
            fix="Add another field, or remove this one and add it anew.",
            code="field_is_localizable",
            column=step.name,
        )
    broken = 0
    examples: list[dict[str, Any]] = []
    for frame in _converted(connection, tenant_id, after, step):
        lost = frame.filter(pl.col("value").is_null())
        broken += lost.height
        examples += lost.select("sku", value=pl.col("cell")).head(EXAMPLES - len(examples)).to_dicts()
    consequence = f"values that are no {step.after.type} are cleared; the others are converted"
    return Effect(step.op, step.name, step.narrowing, count, broken, consequence, examples)


def _converted(
    connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, step: Step
) -> Iterator[pl.DataFrame]:
    """Frames of ``sku, sku_key, cell, value``: the value of the new type as JSON text, null where there is none.

    Values are laid out as cells and read by the rules of imports. A list of several entries is no single value.
    """
    target = after.field(step.name)
    assert step.before is not None
    assert target is not None, "a field that is retyped stays"
    columns = (
        ColumnMapping(source="sku", index=0, field="sku"),
        ColumnMapping(source=step.name, index=1, field=step.name, type=target.type),
    )
    plan = compile_plan(ColumnMappings(columns=columns), after)
    query = sql.SQL("SELECT p.sku, p.sku_key, {cell} {values} ORDER BY p.sku_key").format(
        cell=_cell(step),
        values=_VALUES.format(tenant=sql.Literal(tenant_id), name=sql.Literal(step.name)),
    )
    with connection.cursor(name="converting") as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            given = pl.DataFrame(rows, schema={"sku": pl.String, "sku_key": pl.String, "cell": pl.String}, orient="row")
            cells = given.select(
                row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
                **{f"{RAW_PREFIX}0": pl.col("sku"), f"{RAW_PREFIX}1": pl.col("cell")},
            )
            value = plan.apply(cells)[f"{FIELD_PREFIX}{step.name}"]
            yield given.with_columns(_json(value, step).alias("value"))


def _cell(step: Step) -> sql.Composable:
    """SQL for the text that stands for a value of the old type."""
    assert step.before is not None
    name = sql.Literal(step.name)
    one = sql.SQL("(p.data -> {} -> 0)").format(name)
    single = sql.SQL("jsonb_typeof(p.data -> {n}) = 'array' AND jsonb_array_length(p.data -> {n}) = 1").format(n=name)
    if step.before.type == "price":
        return sql.SQL("concat_ws(' ', p.data -> {n} ->> 'amount', p.data -> {n} ->> 'currency')").format(n=name)
    if step.before.type == "multi_price":
        amount = sql.SQL("concat_ws(' ', {o} ->> 'amount', {o} ->> 'currency')").format(o=one)
        return sql.SQL("CASE WHEN {} THEN {} END").format(single, amount)
    if step.before.type == "array":
        return sql.SQL("CASE WHEN {} THEN p.data -> {} ->> 0 END").format(single, name)
    return sql.SQL("p.data ->> {}").format(name)


def _json(value: pl.Series, step: Step) -> pl.Series:
    assert step.after is not None
    if step.after.type in ("string", "url"):
        written = value.alias("a").to_frame().select(
            pl.when(pl.col("a").is_not_null()).then(
                pl.struct("a").struct.json_encode().str.strip_prefix('{"a":').str.strip_suffix("}")
            )
        )  # fmt: skip
        return written.to_series()
    return value.cast(pl.String)


def _edits(
    connection: psycopg.Connection[Any], tenant_id: UUID, after: ProductSchema, steps: Sequence[Step]
) -> tuple[list[Edit], sql.Composable]:
    """What becomes of the fields, and the joins with the temporary tables of converted values."""
    edits: list[Edit] = []
    joins: list[sql.Composable] = []
    for number, step in enumerate(steps):
        if step.op == "remove":
            edits.append(clear_field(step.name))
        elif step.converts:
            table = sql.Identifier(f"converted_{number}")
            connection.execute(
                sql.SQL('CREATE TEMP TABLE {} (sku_key text COLLATE "C", value jsonb) ON COMMIT DROP').format(table)
            )
            for frame in _converted(connection, tenant_id, after, step):
                buffer = io.BytesIO()
                kept = frame.select("sku_key", "value")
                kept.write_csv(buffer, include_header=False, null_value="", batch_size=_CSV_ROWS)
                copy = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
                with connection.cursor() as cursor, cursor.copy(copy) as writer:
                    writer.write(buffer.getbuffer())
            connection.execute(sql.SQL("ANALYZE {}").format(table))
            joins.append(sql.SQL("LEFT JOIN {t} ON {t}.sku_key = p.sku_key").format(t=table))
            column = Column(f"{FIELD_PREFIX}{step.name}", step.name, "jsonb", "field")
            edits.append(Edit(column, sql.SQL("{}.value").format(table)))
    return edits, sql.SQL(" ").join(joins)
