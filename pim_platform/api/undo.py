"""Undoing imports, with what that would do; the history of imports and products."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, WorkspaceDep, bearer
from pim_platform.api.import_models import ImportOut
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.paging import CursorQuery
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.history import import_changes, product_history
from pim_platform.catalog.undo import MAXIMUM_PAGE
from pim_platform.intake.jobs import get_job, job_json, parse_job_id
from pim_platform.intake.removing import release_job
from pim_platform.intake.undoing import commits_of, conflicts_of_undo, preview_undo_job, undo_job
from pim_platform.storage.postgres import tenant_session

imports = APIRouter(prefix="/api/pim/import", tags=["imports"], route_class=KeyRoute, dependencies=[Security(bearer)])
products = APIRouter(
    prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)]
)

LimitQuery = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)]


class UndoCountsOut(BaseModel):
    """Products by what an undo does to them."""

    restored: int = Field(description="Fields got back what they had.")
    recreated: int = Field(description="The import had deleted them; they are back under their ids.")
    removed: int = Field(description="The import had created them and nobody touched them since.")
    kept: int = Field(description="Nothing could be taken back.")
    conflicts: int = Field(description="Products of which something is kept because it changed later.")


class UndoOut(BaseModel):
    """An undo that is done: `job` is its own job, and can be undone."""

    job: ImportOut
    counts: UndoCountsOut
    published: bool = Field(description="Whether search has it already; else it will soon.")


class LaterOut(BaseModel):
    """The commit that stands in the way."""

    commit: int
    actor: str
    source: str
    job_id: UUID | None
    at: datetime


class UndoChange(BaseModel):
    """A field and its value now and after the undo."""

    field: str
    now: Any
    becomes: Any


class UndoConflict(BaseModel):
    """A field that stays as it is, and the commit that changed it last."""

    field: str
    later: LaterOut | None


class UndoItemOut(BaseModel):
    """What an undo does to one product."""

    product_id: UUID
    sku: str
    name: str
    outcome: Literal["restore", "remove", "recreate", "keep"]
    reason: Literal["changed_since", "deleted_since", "sku_taken", "back_already"] | None
    changes: list[UndoChange]
    conflicts: list[UndoConflict]
    later: LaterOut | None
    other_product_id: UUID | None = Field(description="The product that has the SKU now.")


class UndoPreviewOut(BaseModel):
    """What an undo would do now: counts of all products, and a page of them in the order of their SKUs."""

    counts: UndoCountsOut
    products: list[UndoItemOut]
    next_cursor: str | None


class UndoConflictsOut(BaseModel):
    """Products of which an undo left something as it was, in the order of their SKUs."""

    products: list[UndoItemOut] = Field(description="`restore`: other fields of it were restored; `keep`: nothing was.")
    next_cursor: str | None


class ChangeOut(BaseModel):
    """A field, before and after; null: no value."""

    field: str
    old: Any
    new: Any


class EntryOut(BaseModel):
    """One product in one commit."""

    product_id: UUID
    sku: str
    name: str
    action: Literal["create", "update", "delete"]
    version: int
    commit: int
    at: datetime
    actor: str | None = Field(description="Null for a creation by an import: its job tells.")
    source: str
    job_id: UUID | None
    request_id: str | None
    changes: list[ChangeOut] = Field(description="Changed fields only; none for a creation.")


class HistoryOut(BaseModel):
    """A page of entries."""

    entries: list[EntryOut]
    next_cursor: str | None


@imports.post(
    "/{job_id}/undo/",
    summary="Undo an import",
    response_model=UndoOut,
    responses=documented(404, 409),
    openapi_extra=needs("editor", scope="imports:write"),
)
def undo(workspace: WorkspaceDep, caller: CallerDep, job_id: str) -> dict[str, Any]:
    """Take back what an import, a bulk delete or an undo did, except where somebody changed it later."""
    done = undo_job(
        workspace,
        caller.tenant_id,
        parse_job_id(job_id),
        actor=caller.actor,
        origin="api",
        wait_seconds=workspace.settings.lock_timeout_seconds,
    )
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return {
            "job": job_json(session, done.job),
            "counts": done.counts.as_json(),
            "published": done.published,
        }


@imports.get(
    "/{job_id}/undo/",
    summary="Preview an undo",
    response_model=UndoPreviewOut,
    responses=documented(404, 409, 422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def undo_preview(
    workspace: WorkspaceDep,
    caller: CallerDep,
    job_id: str,
    only: Annotated[
        Literal["restore", "remove", "recreate", "keep", "conflict"] | None,
        Query(description="Products of one outcome, or those of which something is kept."),
    ] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Response:
    """What undoing the import would do now. Writes nothing."""
    found = preview_undo_job(workspace, caller.tenant_id, parse_job_id(job_id), only=only, cursor=cursor, limit=limit)
    shown = {
        "counts": found.counts.as_json(),
        "products": [item.as_json() for item in found.items],
        "next_cursor": found.next_cursor,
    }
    return exact_answer(UndoPreviewOut, shown)


@imports.get(
    "/{job_id}/conflicts/",
    summary="What an undo left as it was",
    response_model=UndoConflictsOut,
    responses=documented(404, 409, 422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def conflicts(
    workspace: WorkspaceDep, caller: CallerDep, job_id: str, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Response:
    """The conflicts of an undo that is done, as it met them; `job_id` is the undo's own job."""
    found = conflicts_of_undo(workspace, caller.tenant_id, parse_job_id(job_id), cursor=cursor, limit=limit)
    shown = {"products": [item.as_json() for item in found.items], "next_cursor": found.next_cursor}
    return exact_answer(UndoConflictsOut, shown)


@imports.post(
    "/{job_id}/release/",
    status_code=202,
    summary="Release a held import",
    response_model=ImportOut,
    responses=documented(404, 409),
    openapi_extra=needs("editor", scope="imports:write"),
)
def release(workspace: WorkspaceDep, caller: CallerDep, job_id: str) -> dict[str, Any]:
    """Let an import run that is held because its full feed lacks many products of the one before."""
    job = release_job(workspace, caller.tenant_id, parse_job_id(job_id), caller.actor)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return job_json(session, job)


@imports.get(
    "/{job_id}/changes/",
    summary="What an import changed",
    response_model=HistoryOut,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def changes(session: SessionDep, job_id: str, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Response:
    """What an import, an undo or a bulk delete did to each product, field by field."""
    job = get_job(session, parse_job_id(job_id))
    page = import_changes(session, commits_of(session, job), job.id, cursor=cursor, limit=limit)
    shown = {"entries": [entry.as_json() for entry in page.entries], "next_cursor": page.next_cursor}
    return exact_answer(HistoryOut, shown)


@products.get(
    "/{product_id}/history/",
    summary="A product's history",
    response_model=HistoryOut,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="products:read"),
)
def history(session: SessionDep, product_id: UUID, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Response:
    """Every change of a product, newest first, down to its creation; also of a deleted one."""
    page = product_history(session, product_id, cursor=cursor, limit=limit)
    shown = {"entries": [entry.as_json() for entry in page.entries], "next_cursor": page.next_cursor}
    return exact_answer(HistoryOut, shown)
