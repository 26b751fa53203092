"""Proposing: a landed file's dialect, schema and mapping are worked out and put into its job."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.catalog.schemas import current_schema, parse_fields
from pim_platform.errors import BadInput
from pim_platform.intake.assisting import assist
from pim_platform.intake.feedback import learned_columns, mapping_accuracy, profile_digest, with_measured_trust
from pim_platform.intake.jobs import get_job
from pim_platform.intake.mapping import Mapping
from pim_platform.intake.models import ImportJob, MappingTemplate, Source, Upload
from pim_platform.intake.proposal import Proposal, refined
from pim_platform.intake.remembered import propose_as_remembered
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session


def propose_job(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> ImportJob:
    """Fill a ``pending`` job with its proposal: it waits in ``mapping`` then. A job further on is returned as it is.

    What a person said of the dialect when the file landed, or of an earlier file of the source, goes before what is
    detected. A file that cannot be read
    fails the job, and the error (UnreadableFile, InvalidRequest) is raised.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id)
        if job.state != "pending":
            return job
    try:
        proposal, given = _proposal(workspace, tenant_id, job, job.given_dialect)
    except BadInput as error:
        fail_job(workspace, tenant_id, job_id, error)
        raise
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state == "pending":
            _write(session, job, proposal, given)
        return job


def propose_again(workspace: Workspace, tenant_id: UUID, job_id: UUID, changes: AbstractMapping[str, Any]) -> ImportJob:
    """Read the file of a job that waits in ``mapping`` anew, by a dialect with these fields, and propose from there.

    A job in any other state is returned as it is. Raises NotFound, InvalidRequest (``invalid_dialect``) and
    UnreadableFile; the job and its proposal stay as they were then.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id)
        if job.state != "mapping":
            return job
    proposal, given = _proposal(workspace, tenant_id, job, {**(job.given_dialect or {}), **changes})
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state == "mapping":
            _write(session, job, proposal, given)
        return job


def _proposal(
    workspace: Workspace, tenant_id: UUID, job: ImportJob, changes: AbstractMapping[str, Any] | None
) -> tuple[Proposal, dict[str, Any]]:
    """The proposal, and what people said of the dialect that it rests on."""
    with tenant_session(workspace.app, tenant_id) as session:
        key = session.get_one(Upload, (tenant_id, job.upload_id)).object_key
        schema = current_schema(session)
        source = session.get_one(Source, (tenant_id, job.source_id))
    with workspace.objects.local_copy(key) as path:
        proposal, given = propose_as_remembered(
            path,
            source.dialect,
            changes,
            filename=job.filename,
            schema=schema,
            default_currency=source.default_currency or schema.default_currency,
            default_locale=schema.default_locale,
        )
    return _taught(workspace, tenant_id, job, proposal, schema), given


def _taught(
    workspace: Workspace, tenant_id: UUID, job: ImportJob, proposal: Proposal, schema: ProductSchema
) -> Proposal:
    """The proposal with what this tenant's people decided before and, for what is open then, Claude's answers."""
    with tenant_session(workspace.app, tenant_id) as session:
        if session.get(MappingTemplate, (tenant_id, job.source_id, proposal.fingerprint)) is not None:
            return proposal  # it is applied as it is: nothing is open
        if proposal.dialect.notation == "own":
            return proposal  # its headers say what they mean: there is nothing to learn
        learned = learned_columns(session, job, proposal.headers)
        measured = mapping_accuracy(session)
    proposal = refined(proposal, schema, learned=learned)
    proposal = assist(workspace, tenant_id, job.id, proposal, schema, learned)
    return proposal.model_copy(update={"columns": with_measured_trust(proposal.columns, measured)})


def _write(session: Session, job: ImportJob, proposal: Proposal, given: dict[str, Any]) -> None:
    job.state = "mapping"
    job.given_dialect = given or None
    job.dialect = proposal.dialect.model_dump()
    job.format = proposal.dialect.format
    job.headers = list(proposal.headers)
    job.header_fingerprint = proposal.fingerprint
    job.sample_rows = list(proposal.sample_rows)
    job.row_count, job.row_count_exact = proposal.rows, proposal.rows_exact
    job.notices = list(proposal.notices)
    job.profile_digests = [profile_digest(profile) for profile in proposal.profiles]
    saved = _saved_mapping(session, job)
    mapping = saved if saved is not None else proposal.mapping
    job.suggested_columns = [column.model_dump() for column in mapping.columns]
    job.suggested_groupings = [grouping.model_dump() for grouping in mapping.groupings]
    job.suggested_fields = [] if saved is not None else [field.model_dump() for field in proposal.wanted_fields]


def _saved_mapping(session: Session, job: ImportJob) -> Mapping | None:
    """The mapping confirmed last for this header from this source: the first tier, applied as it is (section 3)."""
    template = session.get(MappingTemplate, (job.tenant_id, job.source_id, job.header_fingerprint))
    if template is None:
        return None
    known = {"confidence": 1.0, "auto": True, "reason": "confirmed before for this source", "tier": "template"}
    columns = [{**column, **known} for column in template.mapping]
    return Mapping.model_validate({"columns": columns, "groupings": template.groupings})


def fail_job(workspace: Workspace, tenant_id: UUID, job_id: UUID, error: BadInput) -> None:
    """End a job that cannot go on, with the reason a person can act on."""
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        job.state, job.reason_code, job.reason = "failed", error.code, str(error)
        job.finished_at = func.clock_timestamp()


def suggested_mapping(job: ImportJob) -> Mapping:
    """The mapping that was proposed for a job."""
    return Mapping.model_validate({"columns": job.suggested_columns or [], "groupings": job.suggested_groupings})


def suggested_fields(job: ImportJob) -> list[SchemaField]:
    """The schema fields that were proposed for a job: those its mapping writes and the schema lacks."""
    return parse_fields(job.suggested_fields or [])
