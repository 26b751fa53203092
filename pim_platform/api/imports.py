"""Imports: upload, confirm, follow, cancel, fetch the rejects."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Header, Query, Response, Security, UploadFile
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.idempotency import REPLAYED
from pim_platform.api.import_answers import parse_dialect, upload_answer
from pim_platform.api.import_models import (
    REJECT_POLICY,
    ConfirmIn,
    ConfirmSchema,
    ImportDetail,
    ImportList,
    ImportOut,
    UploadOut,
)
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.errors import NotFound
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.confirming import confirm_by_policy, confirm_job
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.jobs import get_job, job_json, list_jobs, parse_job_id
from pim_platform.intake.landing import AbsentRows, land
from pim_platform.intake.manifests import merged_attempts
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.rejects import reject_format, reject_name
from pim_platform.intake.running import write_rejects
from pim_platform.storage.object_store import clear_folder
from pim_platform.storage.postgres import tenant_session

router = APIRouter(prefix="/api/pim/import", tags=["imports"], route_class=KeyRoute, dependencies=[Security(bearer)])


@router.post(
    "/csv/",
    status_code=201,
    summary="Upload a file",
    response_model=UploadOut,
    responses=documented(
        400,
        413,
        422,
        ok={
            200: {
                "model": UploadOut,
                "description": "The same upload again: unfinished, under the same key, or skipped.",
            }
        },
    ),
    openapi_extra=needs("editor", scope="imports:write", upload=True, keeps="job"),
)
def upload(
    workspace: WorkspaceDep,
    caller: CallerDep,
    response: Response,
    file: Annotated[UploadFile, File(description="The product file.")],
    source: Annotated[Text, Form(description="Where it comes from: a supplier, a feed.")] = "api",
    dry_run: Annotated[bool, Form(description="Stop after comparing with the catalogue.")] = False,
    reject_policy: Annotated[
        str | None,
        Form(
            pattern=REJECT_POLICY,
            description="`skip`, `stop_first` or `stop_above:N%`; left out: as the source says, else `skip`.",
        ),
    ] = None,
    full_feed: Annotated[bool, Form(description="The file lists all that its source has.")] = False,
    absent: Annotated[
        AbsentRows | None,
        Form(description="What becomes of products that a full feed holds no more; left out: as the source says."),
    ] = None,
    skip_unchanged: Annotated[
        bool | None,
        Form(description="Import nothing where the source's last import had this content; left out: as it says."),
    ] = None,
    dialect: Annotated[
        Text | None,
        Form(
            description="What is known of the file, as a JSON object: `encoding`, `delimiter`, `header_row`, `sheet`, "
            "`record_path`, `member` ... as the upload answers them.",
            examples=['{"sheet": "Products"}'],
        ),
    ] = None,
    idempotency_key: Annotated[
        Text | None, Header(min_length=1, max_length=200, description="The same key means the same job for ever.")
    ] = None,
) -> UploadOut:
    """Store a file, work out what its columns mean, and answer with the proposal.

    The job waits in `mapping` for a confirmation then, unless the tenant's or the source's policy gives it.
    """
    landed = land(
        workspace,
        caller.tenant_id,
        file.file,
        filename=(file.filename or "").replace("\x00", ""),
        source=source,
        origin="api",
        actor=caller.actor,
        idempotency_key=idempotency_key,
        dry_run=dry_run,
        reject_policy=reject_policy,
        full_feed=full_feed,
        absent_rows=absent,
        skip_unchanged=skip_unchanged,
        dialect=parse_dialect(dialect),
    )
    job = propose_job(workspace, caller.tenant_id, landed.job_id)
    if job.state == "mapping":
        confirm_by_policy(workspace, caller.tenant_id, job.id, actor=caller.actor)
    if not landed.new:
        response.status_code = 200
        if idempotency_key is not None:
            response.headers[REPLAYED] = "true"
    return upload_answer(workspace, caller, job).model_copy(update={"skipped": landed.skipped})


@router.get(
    "/",
    summary="List imports",
    response_model=ImportList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def imports(session: SessionDep, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """The newest imports of every door and source, newest first."""
    return {"imports": [job_json(session, job) for job in list_jobs(session, limit=limit)]}


@router.get(
    "/{job_id}/",
    summary="Follow an import",
    response_model=ImportDetail,
    responses=documented(404),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def status(workspace: WorkspaceDep, session: SessionDep, job_id: str) -> dict[str, Any]:
    """State, progress, ledger and reject reasons of an import, and each of its merges."""
    job = get_job(session, parse_job_id(job_id))
    merges = [
        {
            "attempt": merge.attempt,
            "kind": merge.kind,
            "filename": merge.filename,
            "ledger": merge.ledger(),
            "replaced": merge.rows_replaced,
            "merged_at": merge.merged_at,
        }
        for merge in merged_attempts(workspace, job)
    ]
    return job_json(session, job) | {
        "merges": merges,
        "preview": job.preview_attempt is not None,
        "dialect": job.dialect or {},
    }


@router.post(
    "/{job_id}/confirm/",
    status_code=202,
    summary="Confirm an import",
    response_model=ImportOut,
    responses=documented(400, 404, 409, 413, 422),
    openapi_extra=needs("reviewer", scope="imports:write"),
)
def confirm(workspace: WorkspaceDep, caller: CallerDep, job_id: str, body: ConfirmIn | None = None) -> dict[str, Any]:
    """Say what the columns mean and let the import run. Without a body the proposal holds."""
    body = body or ConfirmIn()
    wanted = body.wanted_schema or ConfirmSchema()
    job = confirm_job(
        workspace,
        caller.tenant_id,
        parse_job_id(job_id),
        actor=caller.actor,
        evidence="person" if body.seen else "unseen",
        mapping=body.mapping,
        columns=body.columns,
        groupings=body.groupings,
        fields=wanted.fields,
        default_currency=wanted.default_currency,
        default_locale=wanted.default_locale,
        dialect=body.dialect,
    )
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return job_json(session, job)


@router.post(
    "/{job_id}/cancel/",
    status_code=202,
    summary="Cancel an import",
    response_model=ImportOut,
    responses=documented(404, 409, ok={200: {"model": ImportOut, "description": "Cancelled at once."}}),
    openapi_extra=needs("editor", scope="imports:write"),
)
def cancel(workspace: WorkspaceDep, caller: CallerDep, job_id: str, response: Response) -> dict[str, Any]:
    """Cancel an import that has not been merged: at once before it runs, at its next step (202) while it runs."""
    job = cancel_job(workspace, caller.tenant_id, parse_job_id(job_id), caller.actor)
    if job.state == "cancelled":
        response.status_code = 200
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return job_json(session, job)


@router.get(
    "/{job_id}/rejects/",
    summary="Fetch the rejects",
    response_class=FileResponse,
    responses=documented(
        404,
        ok={
            200: {
                "content": {
                    "text/csv": {},
                    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {},
                    "application/jsonl": {},
                },
                "description": "The rejected records and what is wrong with them: a workbook of a workbook, JSON "
                "Lines of JSON, else CSV.",
            }
        },
    ),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def rejects(workspace: WorkspaceDep, caller: CallerDep, job_id: str) -> FileResponse:
    """The rejected records in the file's own format, each with its row, column, value, error and suggestion."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        job = get_job(session, parse_job_id(job_id))
    folder = Path(tempfile.mkdtemp(prefix="pim-rejects-"))
    path = folder / "rejects"
    dialect = Dialect.model_validate(job.dialect or {})
    try:
        count = write_rejects(workspace, job, path)
        if not count:
            raise NotFound(
                f"Import {job.id} has no rejects.",
                fix="Its ledger says how many records it rejected.",
                code="no_rejects",
            )
        form = reject_format(dialect, count)
        media_type = form.media_type
        if media_type == "text/csv":
            with path.open("rb") as file:
                marked = file.read(3) == b"\xef\xbb\xbf"
            media_type = f"text/csv; charset={'utf-8' if marked else dialect.encoding}"
    except BaseException:
        clear_folder(folder)
        raise
    return FileResponse(
        path,
        media_type=media_type,
        filename=reject_name(job.filename, form),
        background=BackgroundTask(clear_folder, folder),
    )
