"""Sources: where files come from, how those of each are imported, and what is fetched from where."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.paging import CursorQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.intake.sources import (
    MAXIMUM_PAGE,
    RememberedDialect,
    SourceSettings,
    change_source,
    create_source,
    delete_source,
    find_source,
    list_sources,
    source_json,
)
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller

router = APIRouter(prefix="/api/pim/sources", tags=["sources"], route_class=KeyRoute, dependencies=[Security(bearer)])

_FEED: dict[str, JsonValue] = {
    "url": "https://feeds.example.com/products.csv",
    "interval_seconds": 3600,
    "cron": None,
    "auth": "basic",
    "due_at": "2026-11-21T07:00:00Z",
    "failures": 0,
    "last": {
        "at": "2026-11-21T06:00:00Z",
        "outcome": "landed",
        "http_status": 200,
        "error_code": None,
        "error": None,
        "job_id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
    },
}
_SOURCE: dict[str, JsonValue] = {
    "slug": "acme",
    "name": "Acme Outdoor",
    "priority": 50,
    "trust": 0.5,
    "default_currency": "EUR",
    "confirm_policy": "saved_mapping_fits",
    "full_feed": True,
    "absent_rows": "deactivate",
    "reject_policy": "stop_above:5%",
    "skip_unchanged": True,
    "dialect": {"format": "csv", "changes": {"delimiter": ";", "header_row": 2}},
    "created_at": "2026-11-01T08:00:00Z",
    "last_accepted_import": {
        "job_id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
        "filename": "products.csv",
        "finished_at": "2026-11-21T06:01:10Z",
        "imported_count": 1200,
    },
    "feed": _FEED,
}


class LastFetch(BaseModel):
    """What became of the last fetch."""

    at: datetime
    outcome: Literal["landed", "not_modified", "skipped", "failed"] = Field(
        description="`landed`: an import was made of it; `not_modified`: the server has nothing new; `skipped`: it has "
        "the content of the last accepted import."
    )
    http_status: int | None = Field(description="What the server answered; null where it did not.")
    error_code: str | None = Field(description="Why it failed, for programs,")
    error: str | None = Field(description="and for people, with what to do about it.")
    job_id: UUID | None = Field(description="The import it became, or the one that has this content.")


class FeedOut(BaseModel):
    """Where a source's file is fetched, and when. Credentials are never shown."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FEED]})

    url: str = Field(description="Without its query for keys weaker than editor: it may hold a token.")
    interval_seconds: int | None
    cron: str | None = Field(description="In the tenant's time zone.")
    auth: Literal["basic", "bearer"] | None = Field(description="Which credentials are kept for it.")
    due_at: datetime | None = Field(description="When it is fetched next; null: only when somebody asks.")
    failures: int = Field(description="Failed tries since the last one that succeeded.")
    last: LastFetch | None


class AcceptedImport(BaseModel):
    """The import of a source that was done last."""

    job_id: UUID
    filename: str
    finished_at: datetime | None
    imported_count: int


class SourceOut(BaseModel):
    """A source and how its files are imported."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SOURCE]})

    slug: str
    name: str
    priority: int = Field(description="Whose value stands where sources differ: the higher.")
    trust: float = Field(description="How much the source is believed, 0 to 1.")
    default_currency: str | None = Field(description="Of prices that name none; null: the tenant's.")
    confirm_policy: Literal["never", "saved_mapping_fits", "all_sure"] | None
    full_feed: bool
    absent_rows: Literal["keep", "deactivate", "delete"]
    reject_policy: str | None
    skip_unchanged: bool
    dialect: RememberedDialect | None = Field(description="What people said of its files, used for the next ones.")
    last_accepted_import: AcceptedImport | None
    feed: FeedOut | None
    created_at: datetime


class SourceList(BaseModel):
    """Sources in the order of their slugs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sources": [_SOURCE], "next_cursor": None}]})

    sources: list[SourceOut]
    next_cursor: NextCursor


class SourceIn(SourceSettings):
    """A new source."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"slug": "acme", "name": "Acme Outdoor", "full_feed": True}]},
    )

    slug: Text = Field(description="a-z, 0-9, and - _ . inside, up to 63 characters; how imports name it.")


class SourcePatch(SourceSettings):
    """What to change; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"absent_rows": "deactivate", "dialect": None}]}
    )


def sees_urls(caller: Caller) -> bool:
    """Whether whole URLs are shown to the caller: who may set them knows what is in them."""
    return caller.role in ("editor", "admin")


@router.get(
    "/",
    summary="List sources",
    response_model=SourceList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def sources(
    session: SessionDep,
    caller: CallerDep,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 100,
) -> dict[str, Any]:
    """The tenant's sources, each with its last accepted import and its feed."""
    page = list_sources(session, cursor=cursor, limit=limit, whole_urls=sees_urls(caller))
    return {"sources": page.sources, "next_cursor": page.next_cursor}


@router.post(
    "/",
    status_code=201,
    summary="Make a source",
    response_model=SourceOut,
    responses=documented(400, 409, 413, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def create(workspace: WorkspaceDep, caller: CallerDep, body: SourceIn) -> dict[str, Any]:
    """Make a source before its first import, which would make it with the defaults."""
    settings = SourceSettings.model_validate(body.model_dump(exclude={"slug"}, exclude_unset=True))
    with tenant_session(workspace.app, caller.tenant_id) as session:
        made = create_source(session, body.slug, settings, actor=caller.actor)
        return source_json(session, made, whole_urls=True)


@router.get(
    "/{source}/",
    summary="Read a source",
    response_model=SourceOut,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def read(session: SessionDep, caller: CallerDep, source: Text) -> dict[str, Any]:
    """How a source's files are imported, its last accepted import, and what became of the last fetch."""
    return source_json(session, find_source(session, source), whole_urls=sees_urls(caller))


@router.patch(
    "/{source}/",
    summary="Change a source",
    response_model=SourceOut,
    responses=documented(400, 404, 413, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def change(workspace: WorkspaceDep, caller: CallerDep, source: Text, body: SourcePatch) -> dict[str, Any]:
    """Change what the body names; null takes a setting back where it can be empty (JSON Merge Patch)."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        changed = change_source(session, source, body, actor=caller.actor)
        return source_json(session, changed, whole_urls=True)


@router.delete(
    "/{source}/",
    status_code=204,
    summary="Delete a source",
    responses=documented(404, 409, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def delete(workspace: WorkspaceDep, caller: CallerDep, source: Text) -> None:
    """Delete a source that nothing came from, with its feed."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        delete_source(session, source, actor=caller.actor)
