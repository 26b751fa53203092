"""Confirming: a person, or a policy, says what the columns mean; the schema gets its next version."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pim_platform.catalog.schema import PRODUCT_COLUMNS, ProductSchema, SchemaField
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.errors import Conflict, InvalidMapping, InvalidSchema, QuotaExceeded
from pim_platform.intake.feedback import Evidence, remember_feedback
from pim_platform.intake.jobs import get_job
from pim_platform.intake.mapping import Mapping, mapping_from_flat, validate
from pim_platform.intake.models import ImportJob, MappingTemplate, Source
from pim_platform.intake.proposing import propose_again, suggested_fields, suggested_mapping
from pim_platform.intake.remembered import remember_dialect
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant
from pim_platform.tenancy.quotas import require_job_slot
from pim_platform.tenancy.tenants import ConfirmPolicy, normalise_locale


def confirm_job(
    workspace: Workspace,
    tenant_id: UUID,
    job_id: UUID,
    *,
    actor: Actor,
    mapping: AbstractMapping[str, str | None] | None = None,
    columns: Sequence[AbstractMapping[str, Any]] | None = None,
    groupings: Sequence[AbstractMapping[str, Any]] | None = None,
    fields: Sequence[AbstractMapping[str, Any]] | None = None,
    default_currency: str | None = None,
    default_locale: str | None = None,
    evidence: Evidence = "person",
    dialect: AbstractMapping[str, Any] | None = None,
) -> ImportJob:
    """Confirm a job that waits in ``mapping``; it is ``confirmed`` then and gets its run.

    ``mapping`` is flat (``{header: field}``), ``columns`` the full form; without either the proposal holds.
    ``groupings`` say which rows belong together; without them those of the proposal hold, an empty list is none.
    ``fields`` are schema fields to add or to keep (those a tenant has already stay as they are unless their
    type changes, which is refused); without them the proposed ones are added as far as the mapping writes them.
    ``evidence`` says who stands behind it: only what a ``person`` looked at counts as feedback.
    ``dialect``: fields of the dialect that were recognised wrongly; the file is read anew with them, and the mapping
    given or proposed is one of the columns that it has then.
    Raises NotFound, Conflict (confirmed before, or not ready), InvalidMapping, InvalidSchema, InvalidRequest
    (``default_locale`` is none, ``invalid_dialect``), UnreadableFile (by that dialect).
    """
    if dialect:
        propose_again(workspace, tenant_id, job_id, dialect)
    if default_locale is not None:
        default_locale = normalise_locale(default_locale)
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        _require_mapping_state(job)
        proposed = suggested_mapping(job)
        schema = current_schema(session)
        offered = parse_fields([dict(field) for field in fields]) if fields is not None else suggested_fields(job)
        wanted = _merged_schema(schema, offered, default_currency, default_locale)
        headers = job.headers or []
        chosen = _chosen(mapping, columns, groupings, headers, wanted, proposed)
        validate(chosen, wanted, headers)
        written = {column.field for column in chosen.active_columns}
        written |= {name for grouping in chosen.groupings for name in (grouping.images_field, grouping.names_field)}
        if fields is None:  # what nobody asked for by name is added only where a column fills it
            wanted = _merged_schema(
                schema, [field for field in offered if field.name in written], default_currency, default_locale
            )
        saved = save_schema(session, wanted, actor)
        job.mapping = [column.model_dump() for column in chosen.columns]
        job.groupings = [grouping.model_dump() for grouping in chosen.groupings]
        job.schema_version = saved.version
        require_job_slot(session)
        job.state, job.reason_code, job.reason = "confirmed", None, None
        job.confirmed_at = func.clock_timestamp()
        _remember(session, job)
        remember_dialect(session.get_one(Source, (tenant_id, job.source_id)), job)
        remember_feedback(session, job, proposed, chosen, actor=actor.name, evidence=evidence)
        record(session, actor, "import.confirmed", "import", str(job.id), schema_version=saved.version)
        session.flush()
        session.refresh(job)
        return job


def confirm_by_policy(
    workspace: Workspace,
    tenant_id: UUID,
    job_id: UUID,
    *,
    actor: Actor | None = None,
    policy: ConfirmPolicy | None = None,
) -> bool:
    """Confirm a waiting job where its source's or tenant's policy allows it; else note on the job why it waits.

    ``actor`` is who sent the file: the audit trail names the policy, and the request that it was applied in. ``policy``
    holds instead of theirs where somebody who may confirm asked for it. Returns whether it was confirmed.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state != "mapping":
            return job.state == "confirmed"
        chosen = policy or _policy_of(session, job)
        why = _why_not(chosen, job, saved=_is_saved(session, job))
        if why is not None:
            job.reason_code, job.reason = "waiting", why
            return False
    by_policy = replace(actor or Actor(""), name=f"policy:{chosen}")
    try:
        confirm_job(workspace, tenant_id, job_id, actor=by_policy, evidence="policy")
    except QuotaExceeded as full:  # the file is in: it waits for a person, or for its turn
        with tenant_session(workspace.app, tenant_id) as session:
            job = get_job(session, job_id, lock=True)
            if job.state == "mapping":
                job.reason_code, job.reason = full.code, str(full)
        return False
    return True


def _require_mapping_state(job: ImportJob) -> None:
    if job.state == "mapping":
        return
    if job.state == "pending":
        raise Conflict("The job has no proposal yet.", fix="Try again in some seconds.", code="not_proposed")
    if job.state == "failed":
        raise Conflict(f"The job has failed: {job.reason}", fix="Upload the corrected file again.", code="job_failed")
    raise Conflict(
        f"The job was confirmed before; it is in state {job.state}.",
        fix="Ask for its status, or upload the file again for another import.",
        code="already_confirmed",
    )


def _merged_schema(
    schema: ProductSchema, offered: Sequence[SchemaField], currency: str | None, locale: str | None
) -> ProductSchema:
    for field in offered:
        known = schema.field(field.name)
        if known is not None and known.type != field.type:
            raise InvalidSchema(
                f"Field {field.name!r} is of type {known.type} in the schema and cannot become {field.type}.",
                fix=f"Leave its type {known.type}, or import into a field of another name.",
                code="field_type_conflict",
                column=field.name,
                value=field.type,
                expected=known.type,
            )
    added = [field for field in offered if field.name not in PRODUCT_COLUMNS]
    try:
        return ProductSchema.model_validate(
            schema.with_fields(added).model_dump()
            | ({"default_currency": currency} if currency else {})
            | ({"default_locale": locale} if locale else {})
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidSchema(
            f"Schema {'.'.join(map(str, first['loc']))}: {first['msg']}.",
            fix="default_currency is an ISO 4217 code such as EUR; every field name may appear once.",
        ) from error


def _chosen(
    flat: AbstractMapping[str, str | None] | None,
    columns: Sequence[AbstractMapping[str, Any]] | None,
    groupings: Sequence[AbstractMapping[str, Any]] | None,
    headers: Sequence[str],
    schema: ProductSchema,
    proposed: Mapping,
) -> Mapping:
    chosen = mapping_from_flat(flat, headers, schema, proposed) if flat is not None and columns is None else proposed
    if columns is not None or groupings is not None:
        given = {
            "columns": chosen.columns if columns is None else [dict(column) for column in columns],
            "groupings": chosen.groupings if groupings is None else [dict(grouping) for grouping in groupings],
        }
        try:
            return Mapping.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidMapping(
                f"Mapping {'.'.join(map(str, first['loc']))}: {first['msg']}.",
                fix="Send columns and groupings as the upload answered them, changed where you want.",
            ) from error
    return chosen


def _remember(session: Session, job: ImportJob) -> None:
    """Keep the confirmed mapping as the template of this header from this source."""
    values = {
        "tenant_id": job.tenant_id,
        "source_id": job.source_id,
        "header_fingerprint": job.header_fingerprint,
        "mapping": job.mapping,
        "groupings": job.groupings,
        "job_id": job.id,
    }
    session.execute(
        insert(MappingTemplate)
        .values(**values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "source_id", "header_fingerprint"],
            set_={"mapping": job.mapping, "groupings": job.groupings, "job_id": job.id, "updated_at": func.now()},
        )
    )


def _policy_of(session: Session, job: ImportJob) -> str:
    source = session.get_one(Source, (job.tenant_id, job.source_id))
    return source.confirm_policy or session.get_one(Tenant, job.tenant_id).confirm_policy


def _is_saved(session: Session, job: ImportJob) -> bool:
    return session.get(MappingTemplate, (job.tenant_id, job.source_id, job.header_fingerprint)) is not None


def _why_not(policy: str, job: ImportJob, *, saved: bool) -> str | None:
    """Why a policy does not confirm this job; None where it does. A pure decision."""
    by_hand = f"Confirm it with POST /api/pim/import/{job.id}/confirm/."
    columns = suggested_mapping(job).active_columns
    if not any(column.field == "sku" for column in columns):
        return f"No column was recognised as the SKU: say which one it is. {by_hand}"
    if policy == "never":
        return f"The mapping waits for a person (policy never). {by_hand}"
    if saved:
        return None
    if policy == "saved_mapping_fits":
        return f"No saved mapping of this source fits the header (policy saved_mapping_fits). {by_hand}"
    unsure = [column.source for column in columns if not column.auto and column.target != "attribute"]
    if unsure:
        return f"Not sure about {', '.join(map(repr, unsure))} (policy all_sure). {by_hand}"
    return None
