"""The catalogue, or what a filter finds of it, as a file that an import reads back exactly."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import Context
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Query, Request, Response, Security
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from pim_platform.api.dependencies import CallerDep, Text, WorkspaceDep, bearer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.exporting import MEDIA_TYPES, Export, ExportFormat, ExportRequest, open_export
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import TooManyRequests
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import record
from pim_platform.tenancy.keys import Caller
from pim_platform.tenancy.tenants import get_tenant

router = APIRouter(prefix="/api/pim/export", tags=["exports"], route_class=KeyRoute, dependencies=[Security(bearer)])

#: Exports that one process answers at a time: each holds a connection of the pool as long as its reader takes.
_MOST_AT_ONCE = 8
_RETRY_SECONDS = 10
_slots = threading.BoundedSemaphore(_MOST_AT_ONCE)

_GZIP = "application/gzip"
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, streamed. Where it cannot be finished the connection is broken off, never ended.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*MEDIA_TYPES.values(), _GZIP)
        },
        "headers": {
            "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}},
            "ETag": {
                "description": "Equal for equal requests to an unchanged catalogue.",
                "schema": {"type": "string"},
            },
        },
    },
    304: {"description": "Nothing has changed since the export with that ETag."},
}

_ABOUT = """Sorted by SKU; one row per product, as one moment of the catalogue. The columns are `sku`, the product's own
columns, the fields of the schema under their names (`field[locale]` where a field is localizable) and last `pim:id`.
Uploading the file again changes nothing, in every format: the column `pim:id` says how its cells are to be read.

Texts that a spreadsheet would take for a formula get an apostrophe in front, in CSV and XLSX, which an import takes
off again; `guard=false` leaves it out. XLSX holds 1,048,575 products and 32,767 characters per cell: beyond that the
answer is `too_large_for_xlsx`, nothing is cut.

The answer begins with the first rows (XLSX: once it is complete). An error half-way breaks the connection off without
the last chunk, so that HTTP clients report an incomplete answer."""

IfNoneMatch = Annotated[str | None, Header(description="Answer 304 where the catalogue is still as it was then.")]


class ExportIn(BaseModel):
    """What to export and how."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"format": "csv", "fields": ["name", "price"], "filter": {"price": {"gte": 100}}}]
        },
    )

    format: ExportFormat = Field("csv", description="csv, jsonl (JSON Lines), xlsx or parquet.")
    fields: list[Text] | None = Field(
        None, max_length=1100, description="Columns in this order, behind the SKU; left out: all."
    )
    filter: dict[str, Any] | None = Field(
        None, description="`{field: {operator: value}}`, as the product list takes it; left out: all products."
    )
    q: Text = Field("", description="Only products that this search finds.")
    guard: bool = Field(True, description="Guard texts that look like formulas, in CSV and XLSX.")
    gzip: bool = Field(False, description="Compress: `.csv.gz`, `.jsonl.gz`.")


@router.get(
    "/",
    summary="Export products",
    description=_ABOUT + "\n\nFilters are query parameters as in the product list: `filter[price][gte]=10`.",
    response_class=StreamingResponse,
    responses=documented(422, 429, ok=_ANSWERS),
    openapi_extra=needs("viewer", scope="products:read"),
)
def export(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    form: Annotated[ExportFormat, Query(alias="format", description="csv, jsonl, xlsx or parquet.")] = "csv",
    fields: Annotated[Text | None, Query(description="Columns separated by commas; left out: all.")] = None,
    q: Annotated[Text, Query(description="Only products that this search finds.")] = "",
    guard: Annotated[bool, Query(description="Guard texts that look like formulas, in CSV and XLSX.")] = True,
    gzip: Annotated[bool, Query(description="Compress: `.csv.gz`, `.jsonl.gz`.")] = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Stream products as a file."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        wanted = Filter.from_query(request.query_params.multi_items(), current_schema(session), q=q)
    names = None if fields is None else tuple(name.strip() for name in fields.split(",") if name.strip())
    return _answer(workspace, caller, ExportRequest(form, names, wanted, guard, gzip), if_none_match)


@router.post(
    "/",
    summary="Export products, asked for by JSON",
    description=_ABOUT,
    response_class=StreamingResponse,
    responses=documented(400, 413, 422, 429, ok=_ANSWERS),
    openapi_extra=needs("viewer", scope="products:read"),
)
def export_asked(
    workspace: WorkspaceDep, caller: CallerDep, body: ExportIn, if_none_match: IfNoneMatch = None
) -> Response:
    """Stream products as a file."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        wanted = Filter.from_json(body.filter or {}, current_schema(session), q=body.q)
    names = None if body.fields is None else tuple(body.fields)
    asked = ExportRequest(body.format, names, wanted, body.guard, body.gzip)
    # Outside of what an Idempotency-Key keeps watch over: the audit trail's row is no change that must not come twice.
    return Context().run(_answer, workspace, caller, asked, if_none_match)


def _answer(workspace: Workspace, caller: Caller, wanted: ExportRequest, known: str | None) -> Response:
    if not _slots.acquire(blocking=False):
        raise TooManyRequests(
            f"{_MOST_AT_ONCE} exports are running already.",
            retry_after=_RETRY_SECONDS,
            fix="Try again in some seconds.",
            code="too_many_exports",
        )
    try:
        found = open_export(workspace, get_tenant(workspace.app, caller.tenant_id), wanted)
    except BaseException:
        _slots.release()
        raise
    answered = False
    try:
        if known is not None and found.etag in (tag.strip() for tag in known.split(",")):
            return Response(status_code=304, headers={"ETag": found.etag})
        found.begin()
        with tenant_session(workspace.app, caller.tenant_id) as session:
            told = {"format": wanted.format, "fields": list(wanted.fields) if wanted.fields else None}
            record(session, caller.actor, "products.exported", "export", found.filename, **told)
        answered = True
    finally:
        if not answered:
            found.close()
            _slots.release()
    headers = {
        "Content-Disposition": f'attachment; filename="{found.filename}"',
        "ETag": found.etag,
        "Cache-Control": "private, no-cache",
    }
    return _Download(found, headers)


class _Download(StreamingResponse):
    """An export on its way. An error leaves it without its end, which is how a client knows; however it ends, what it
    holds is given back, also where nobody reads on."""

    def __init__(self, export: Export, headers: Mapping[str, str]) -> None:
        super().__init__(iter(export), headers=headers, media_type=export.media_type)
        self._export = export

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._export.close)
            _slots.release()
