"""What an import would change, promoting it, and sending its rejects again corrected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, File, Query, Response, Security, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.import_models import ImportOut
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.preview import Action, csv_pieces, read_lines
from pim_platform.intake.jobs import get_job, job_json, parse_job_id
from pim_platform.intake.models import ImportJob
from pim_platform.intake.previews import preview_files, preview_summary
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage import exact_json
from pim_platform.storage.postgres import tenant_session

router = APIRouter(prefix="/api/pim/import", tags=["imports"], route_class=KeyRoute, dependencies=[Security(bearer)])

#: Most lines of a diff that one page holds.
MAXIMUM_LINES = 1000


class DiffLine(BaseModel):
    """One field of one product that an import would change."""

    position: int
    row: int | None = Field(description="Record number in the file; null for what a full feed holds no more.")
    sku: str
    product_id: UUID | None = Field(description="Null where the product is created.")
    action: Action
    field: str
    old: Any = Field(description="Null where there is no value.")
    new: Any


class DiffPage(BaseModel):
    """Some lines of a diff, in the order of the file."""

    lines: list[DiffLine]
    next_after: int | None = Field(description="Send it as `after` for the next page; null at the end.")


class Step(BaseModel):
    """Price changes of at least `from` and less than `to` percent of the old amount; null is open."""

    at_least: float | None = Field(alias="from")
    less_than: float | None = Field(alias="to")
    count: int


class PriceChanges(BaseModel):
    """How far one price field moves."""

    buckets: list[Step]
    not_comparable: int = Field(description="Changes of the currency, or from an amount of 0.")


class Spelling(BaseModel):
    """A SKU that the file spells differently from the stored product it means."""

    row: int
    sku: str
    stored_sku: str


class Collisions(BaseModel):
    """How many such SKUs there are, and the first of them."""

    count: int
    examples: list[Spelling]


class DiffSummary(BaseModel):
    """A diff in numbers."""

    digest: str = Field(description="SHA-256 of the ordered lines: equal digests, equal results.")
    lines: int
    products: dict[str, int] = Field(description="`create`, `update`, `unchanged`, and what a full feed removes.")
    rows: dict[str, int] = Field(description="`read`, `rejected`, `superseded`, `merged`.")
    fields: dict[str, dict[str, int]] = Field(description="`{field: {action: lines}}`")
    price_changes: dict[str, PriceChanges]
    collisions: Collisions


@router.get(
    "/{job_id}/diff/",
    summary="Read what an import would change",
    response_model=DiffPage,
    responses=documented(
        404,
        422,
        ok={200: {"content": {"text/csv": {}}, "description": "A page, or with `format=csv` all of it."}},
    ),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def diff(
    workspace: WorkspaceDep,
    session: SessionDep,
    job_id: str,
    after: Annotated[int, Query(ge=0, description="`next_after` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_LINES)] = 100,
    action: Action | None = None,
    field: Annotated[Text | None, Query(description="Only changes of this field.")] = None,
    sku: Annotated[Text | None, Query(description="Only this SKU, however it is spelled.")] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """Field by field what a dry run would change, in the order of the file; old and new are JSON."""
    job = get_job(session, parse_job_id(job_id))
    wanted = {"action": action, "field": field, "sku_key": sku_key(sku) if sku is not None else None}
    if form == "csv":
        return _as_csv(workspace, job, wanted)
    with preview_files(workspace, job) as files:
        page = read_lines(files, after=after, limit=limit + 1, **wanted).rows(named=True)
    lines = [line | {"old": _value(line["old"]), "new": _value(line["new"])} for line in page[:limit]]
    next_after = lines[-1]["position"] if len(page) > limit else None
    return exact_answer(DiffPage, {"lines": lines, "next_after": next_after})


def _value(text: str | None) -> Any:
    return exact_json.loads(text) if text is not None else None


def _as_csv(workspace: Workspace, job: ImportJob, wanted: dict[str, Any]) -> Response:
    files = ExitStack()
    paths = files.enter_context(preview_files(workspace, job))

    def pieces() -> Iterator[bytes]:
        with files:
            yield from csv_pieces(paths, **wanted)

    headers = {"Content-Disposition": f'attachment; filename="diff-{job.id}.csv"'}
    return StreamingResponse(pieces(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "/{job_id}/diff/summary/",
    summary="Sum up what an import would change",
    response_model=DiffSummary,
    responses=documented(404),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def summary(workspace: WorkspaceDep, session: SessionDep, job_id: str) -> dict[str, Any]:
    """Products and rows by outcome, lines by field, how far prices move, and SKUs spelled otherwise."""
    return preview_summary(workspace, get_job(session, parse_job_id(job_id)))


@router.post(
    "/{job_id}/promote/",
    status_code=202,
    summary="Promote a dry run",
    response_model=ImportOut,
    responses=documented(404, 409),
    openapi_extra=needs("reviewer", scope="imports:write"),
)
def promote(workspace: WorkspaceDep, caller: CallerDep, job_id: str) -> dict[str, Any]:
    """Commit exactly what the dry run showed.

    Where the catalogue moved meanwhile nothing is written: the job is `staged` again with the diff of now and the
    reason code `catalogue_moved`; promoting it again accepts that one.
    """
    job = promote_job(workspace, caller.tenant_id, parse_job_id(job_id), caller.actor)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return job_json(session, job)


@router.post(
    "/{job_id}/rejects/",
    status_code=202,
    summary="Send corrected rejects",
    response_model=ImportOut,
    responses=documented(400, 404, 409, 413, 422),
    openapi_extra=needs("editor", scope="imports:write", upload=True),
)
def rework(
    workspace: WorkspaceDep,
    caller: CallerDep,
    job_id: str,
    file: Annotated[UploadFile, File(description="The rejects as they were fetched, corrected.")],
) -> dict[str, Any]:
    """Import corrected rejects into the job that they came from; what is not sent again stays rejected."""
    name = (file.filename or "").replace("\x00", "")
    job = rework_job(workspace, caller.tenant_id, parse_job_id(job_id), file.file, filename=name, actor=caller.actor)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return job_json(session, job)
