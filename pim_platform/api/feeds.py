"""Feeds over the API: a file by its URL, where a source's file is fetched, and the hosts that a tenant allows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.import_answers import upload_answer
from pim_platform.api.import_models import REJECT_POLICY, UploadOut
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.api.sources import SourceOut
from pim_platform.intake.confirming import confirm_by_policy
from pim_platform.intake.feeds import (
    FeedSettings,
    allow_host,
    ask_for_fetch,
    forget_host,
    list_hosts,
    remove_feed,
    set_feed,
)
from pim_platform.intake.fetching import fetch_url
from pim_platform.intake.landing import AbsentRows, skips_unchanged
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.sources import find_source, source_json
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller

imports = APIRouter(prefix="/api/pim/import", tags=["imports"], route_class=KeyRoute, dependencies=[Security(bearer)])
sources = APIRouter(prefix="/api/pim/sources", tags=["sources"], route_class=KeyRoute, dependencies=[Security(bearer)])
hosts = APIRouter(
    prefix="/api/pim/fetch-hosts", tags=["sources"], route_class=KeyRoute, dependencies=[Security(bearer)]
)

#: How long a caller waits for a file; what takes longer belongs into a feed, which nobody waits for.
_SECONDS = 120.0
#: Files that one process fetches at a time for callers that wait: slow servers must not take all of its threads.
_AT_ONCE = 8


class UrlIn(BaseModel):
    """A file to fetch and import; the options of an upload."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://feeds.example.com/products.csv", "source": "acme"}]},
    )

    url: Text = Field(min_length=1, max_length=2_000, description="https://..., of a host that the tenant allows.")
    source: Text = Field("api", description="Where it comes from: a supplier, a feed.")
    dry_run: bool = Field(False, description="Stop after comparing with the catalogue.")
    reject_policy: str | None = Field(
        None, pattern=REJECT_POLICY, description="What bad rows do; left out: as the source says, else `skip`."
    )
    full_feed: bool = Field(False, description="The file lists all that its source has.")
    absent: AbsentRows | None = Field(
        None, description="What becomes of products that a full feed holds no more; left out: as the source says."
    )
    skip_unchanged: bool | None = Field(
        None, description="Import nothing where the source's last import had this content; left out: as it says."
    )
    dialect: dict[str, Any] | None = Field(None, description="What is known of the file, as the upload answers it.")


@imports.post(
    "/url/",
    status_code=201,
    summary="Import from a URL",
    response_model=UploadOut,
    responses=documented(
        413,
        422,
        502,
        ok={
            200: {
                "model": UploadOut,
                "description": "The same file again: unfinished, or skipped.",
            }
        },
    ),
    openapi_extra=needs("editor", scope="imports:write"),
)
async def import_url(workspace: WorkspaceDep, caller: CallerDep, response: Response, body: UrlIn) -> UploadOut:
    """Fetch a file, and do with it what an upload does.

    Its host must be among those the tenant allows, redirects included. With `skip_unchanged` the server is asked for
    the file only if it has another one than last time. A server that needs more than two minutes is one for a feed.
    """
    answer, new = await anyio.to_thread.run_sync(_import, workspace, caller, body, limiter=_limiter())
    if not new:
        response.status_code = 200
    return answer


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("fetches")


def _limiter() -> anyio.CapacityLimiter:
    """That of this event loop."""
    found = _limiters.get(None)
    if found is None:
        found = anyio.CapacityLimiter(_AT_ONCE)
        _limiters.set(found)
    return found


def _import(workspace: Workspace, caller: Caller, body: UrlIn) -> tuple[UploadOut, bool]:
    with tenant_session(workspace.app, caller.tenant_id) as session:
        skips = skips_unchanged(session, body.source, body.skip_unchanged)
    found = fetch_url(
        workspace,
        caller.tenant_id,
        body.url,
        source=body.source,
        origin="api",
        actor=caller.actor,
        conditional=skips and not body.dry_run and body.dialect is None,
        seconds=_SECONDS,
        dry_run=body.dry_run,
        reject_policy=body.reject_policy,
        full_feed=body.full_feed,
        absent_rows=body.absent,
        skip_unchanged=skips,
        dialect=body.dialect,
    )
    assert found.job_id is not None
    job = propose_job(workspace, caller.tenant_id, found.job_id)
    if job.state == "mapping":
        confirm_by_policy(workspace, caller.tenant_id, job.id, actor=caller.actor)
    skipped = found.outcome in ("skipped", "not_modified")
    return upload_answer(workspace, caller, job).model_copy(update={"skipped": skipped}), found.new


@sources.put(
    "/{source}/feed/",
    summary="Say where a source is fetched",
    response_model=SourceOut,
    responses=documented(413, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def set_source_feed(workspace: WorkspaceDep, caller: CallerDep, source: Text, body: FeedSettings) -> dict[str, Any]:
    """Say where the source's file is fetched, and when; it is due at once. Replaces what was said before.

    The stack fetches it by itself, sends what the server said of the file the last time (`ETag`, `Last-Modified`), and
    does with a new one what an upload does. What became of the last fetch is shown in the source's `feed.last`.
    """
    set_feed(workspace, caller.tenant_id, source, body, actor=caller.actor)
    return _shown(workspace, caller, source)


def _shown(workspace: Workspace, caller: Caller, source: str) -> dict[str, Any]:
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return source_json(session, find_source(session, source), whole_urls=True)


@sources.delete(
    "/{source}/feed/",
    status_code=204,
    summary="Fetch a source no more",
    responses=documented(404, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def remove_source_feed(workspace: WorkspaceDep, caller: CallerDep, source: Text) -> None:
    """Forget where the source's file is fetched, and its credentials."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        remove_feed(session, source, actor=caller.actor)


@sources.post(
    "/{source}/fetch/",
    status_code=202,
    summary="Fetch a source now",
    response_model=SourceOut,
    responses=documented(404, 422),
    openapi_extra=needs("editor", scope="imports:write"),
)
def fetch_now(workspace: WorkspaceDep, caller: CallerDep, source: Text) -> dict[str, Any]:
    """Let the stack fetch the source's file as soon as it comes to it; `feed.last` says what became of it."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return source_json(session, ask_for_fetch(session, source, actor=caller.actor), whole_urls=True)


class HostIn(BaseModel):
    """A host to allow."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"host": "feeds.example.com"}]})

    host: Text = Field(
        min_length=1, max_length=253, description="`feeds.example.com`, or `*.example.com` for all below example.com."
    )


class HostOut(BaseModel):
    """A host that files may be fetched from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"host": "*.example.com", "actor": "key:0199...", "created_at": "2026-11-01T08:00:00Z"}]
        }
    )

    host: str
    actor: str = Field(description="Who allowed it.")
    created_at: datetime


class HostList(BaseModel):
    """Every host that the tenant allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"hosts": [{"host": "feeds.example.com", "actor": "cli:ada", "created_at": "2026-11-01T08:00:00Z"}]}
            ]
        }
    )

    hosts: list[HostOut]


@hosts.get(
    "/",
    summary="List hosts to fetch from",
    response_model=HostList,
    responses=documented(),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def allowed_hosts(session: SessionDep) -> dict[str, Any]:
    """The hosts that the tenant's files may be fetched from; without any nothing is fetched."""
    found = list_hosts(session)
    return {"hosts": [{"host": one.host, "actor": one.actor, "created_at": one.created_at} for one in found]}


@hosts.post(
    "/",
    summary="Allow a host",
    response_model=HostOut,
    responses=documented(413, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def allow(workspace: WorkspaceDep, caller: CallerDep, body: HostIn) -> dict[str, Any]:
    """Allow the tenant's files to be fetched from a host, as far as the operator's setting does."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        made = allow_host(workspace.settings, session, body.host, actor=caller.actor)
        return {"host": made.host, "actor": made.actor, "created_at": made.created_at}


@hosts.delete(
    "/{host}/",
    status_code=204,
    summary="Allow a host no longer",
    responses=documented(404, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def forget(workspace: WorkspaceDep, caller: CallerDep, host: Text) -> None:
    """Fetch nothing from a host any more; feeds that name it fail from now on."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        forget_host(session, host, actor=caller.actor)
