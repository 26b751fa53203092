"""An upload's answer, put together from the job and the schema in force."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.orm import Session

from pim_platform.api.import_models import UploadOut
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import InvalidRequest, UnreadableFile
from pim_platform.intake.jobs import get_job
from pim_platform.intake.models import ImportJob, Source
from pim_platform.intake.proposing import suggested_fields, suggested_mapping
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller

#: Records shown of a file (seed 000).
SAMPLE_ROWS = 5


def parse_dialect(text: str | None) -> dict[str, Any] | None:
    """The form field `dialect`: a JSON object, or nothing. Raises InvalidRequest with code ``invalid_dialect``."""
    if not text or not text.strip():
        return None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_object(text) from error
    if not isinstance(given, dict):
        raise _no_object(text)
    return given


def _no_object(text: str) -> InvalidRequest:
    return InvalidRequest(
        "The form field dialect is no JSON object.",
        fix='Send an object such as {"delimiter": ";"}, or leave it out.',
        code="invalid_dialect",
        column="dialect",
        value=text[:200],
    )


def upload_answer(workspace: Workspace, caller: Caller, job: ImportJob) -> UploadOut:
    """The answer to the upload that made ``job``, also when it is asked for again under its Idempotency-Key.

    Raises UnreadableFile where the file could not be read, as the first answer did.
    """
    if job.headers is None:
        raise UnreadableFile(
            job.reason or "The file could not be read.",
            fix="Upload the corrected file under a new key.",
            code=job.reason_code,
            file=job.filename,
        )
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _answer(session, get_job(session, job.id))


def _answer(session: Session, job: ImportJob) -> UploadOut:
    mapping = suggested_mapping(job)
    schema = current_schema(session).with_fields(suggested_fields(job))
    return UploadOut.model_validate(
        {
            "job_id": job.id,
            "state": job.state,
            "reason_code": job.reason_code,
            "reason": job.reason,
            "filename": job.filename,
            "source": session.get_one(Source, (job.tenant_id, job.source_id)).slug,
            "dry_run": job.dry_run,
            "row_count": job.row_count,
            "row_count_exact": job.row_count_exact,
            "headers": job.headers,
            "sample_rows": (job.sample_rows or [])[:SAMPLE_ROWS],
            "suggested_schema": {
                "fields": schema.fields_json(),
                "default_currency": schema.default_currency,
                "default_locale": schema.default_locale,
            },
            "suggested_mapping": mapping.flat(),
            "columns": [column.model_dump() for column in mapping.columns],
            "groupings": list(mapping.groupings),
            "notices": job.notices,
            "dialect": job.dialect or {},
        }
    )
