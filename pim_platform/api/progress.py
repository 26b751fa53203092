"""Live progress of an import: server-sent events, and a WebSocket that browsers may open with a ticket.

Both tell the same, from the job's row: `progress` at each change, `waiting` where a person has to do something, `end`
with the final state, after which they close; and that they live where nothing changes. The credential is looked at
again about every minute, and a connection ends with it, at the latest after an hour; who still wants to know connects
again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Security, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from pim_platform.api.dependencies import CallerDep, SessionDep, WorkspaceDep, bearer
from pim_platform.api.import_models import Ledger, State
from pim_platform.api.problems import documented, pim_problem
from pim_platform.api.progress_hub import ProgressHub, TooManyListeners, hub_of
from pim_platform.api.routes import TENANT_HEADER, KeyRoute, admit, needs
from pim_platform.api.standing import TICKET_SECONDS, Standing, make_ticket, redeem_ticket, standing_of
from pim_platform.errors import Forbidden, PimError, TransientError, Unauthorized
from pim_platform.intake.jobs import get_job, parse_job_id
from pim_platform.intake.progress import is_over, is_waiting
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.keys import Caller, Role, Scope

router = APIRouter(prefix="/api/pim/import", tags=["imports"], route_class=KeyRoute, dependencies=[Security(bearer)])
sockets = APIRouter()

#: Seconds after which the credential of a connection is looked at again, with the next word that is sent.
CHECK_SECONDS = 60.0
#: Seconds that a connection lives at most.
CONNECTION_SECONDS = 3_600.0
#: Seconds in which the first message has to say who calls, and connections of a process that may be that far.
HELLO_SECONDS = 10.0
_STRANGERS = 100
_HELLO_BYTES = 16_384

_PURPOSE = "import-watch"
_MAXIMUM_TICKET = 4_000
_ROLE: Role = "viewer"
_SCOPE: Scope = "imports:read"
_CLOSED = 4_000  # application codes of a WebSocket: this and the status that HTTP would have
_RETRY_MS = 3_000

_strangers = 0


class ProgressOut(BaseModel):
    """How far an import is: the data of every event."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
                    "state": "staging",
                    "reason_code": None,
                    "reason": None,
                    "attempt": 1,
                    "percent": 20,
                    "progress": {
                        "stage": "staging",
                        "rows": 430_000,
                        "total": 861_688,
                        "rows_per_second": 215_000,
                        "eta_seconds": 2.0,
                        "seconds": 2.0,
                    },
                    "row_count": 861_688,
                    "row_count_exact": True,
                    "imported_count": 0,
                    "ledger": None,
                }
            ]
        }
    )

    job_id: UUID
    state: State
    reason_code: str | None
    reason: str | None
    attempt: int
    percent: int = Field(description="Of the whole import, roughly, 0 to 100.")
    progress: dict[str, Any] = Field(description="Stage, rows, total, rows_per_second, eta_seconds, seconds in it.")
    row_count: int | None
    row_count_exact: bool
    imported_count: int
    ledger: Ledger | None


class TicketOut(BaseModel):
    """What opens one stream of one import, WebSocket or server-sent events, once and for a short time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ticket": "gAAAAAB...",
                    "expires_in": 60,
                    "path": "/ws/pim/import/0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11?ticket=gAAAAAB...",
                    "events_path": "/api/pim/import/0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11/events/?ticket=gAAAAAB...",
                }
            ]
        }
    )

    ticket: str
    expires_in: int = Field(description="Seconds in which the connection has to be opened; it lives on.")
    path: str = Field(description="Of the WebSocket.")
    events_path: str = Field(description="Of the server-sent events; the ticket opens one of the two.")


#: One event of the stream, as readers of server-sent events hand it out.
_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {"event": {"enum": ["progress", "waiting", "end"]}, "data": {"type": "string"}},
}


class _WatchRoute(KeyRoute):
    """A route that a ticket opens too, for pages, whose EventSource can send no header."""

    def admitted(self, request: Request) -> Caller:
        """Who calls, by the header or else by the ticket."""
        ticket = request.query_params.get("ticket")
        if ticket is None or "authorization" in request.headers:
            caller = admit(request)
            request.state.standing = standing_of(request, caller.tenant_id)
            return caller
        caller, request.state.standing = _redeemed(request, request.path_params["job_id"], ticket)
        return caller


watched = APIRouter(
    prefix="/api/pim/import", tags=["imports"], route_class=_WatchRoute, dependencies=[Security(bearer)]
)


@watched.get(
    "/{job_id}/events/",
    summary="Watch an import",
    response_class=StreamingResponse,
    responses=documented(
        404,
        422,
        ok={
            200: {
                "description": "Events `progress`, `waiting` and at last `end`; the data of each is a `ProgressOut`.",
                "content": {"text/event-stream": {"schema": _EVENT}},
            }
        },
    ),
    openapi_extra=needs(_ROLE, scope=_SCOPE),
)
async def events(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    session: SessionDep,
    job_id: str,
    ticket: Annotated[
        str | None, Query(max_length=_MAXIMUM_TICKET, description="Instead of the header, for pages. Good for once.")
    ] = None,
) -> StreamingResponse:
    """Follow an import by server-sent events: once a second while it runs, until it is over.

    Every event tells all that is known, so one that was missed is no loss. Comments come where nothing changes. The
    stream ends where the key or the login does.
    """
    job = await run_in_threadpool(get_job, session, parse_job_id(job_id))
    hub = hub_of(workspace.app)
    hub.require_room(caller.tenant_id)
    return StreamingResponse(
        _sent_events(hub, _Watcher(workspace, request.state.standing, caller.actor), job.id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def event_of(told: dict[str, Any]) -> Literal["progress", "waiting", "end"]:
    """What the event of a state is called."""
    if is_over(told["state"]):
        return "end"
    return "waiting" if is_waiting(told["state"]) else "progress"


@dataclass(frozen=True)
class _Watcher:
    """Who follows an import."""

    workspace: Workspace
    standing: Standing
    actor: Actor

    async def states(self, hub: ProgressHub, job_id: UUID) -> AsyncGenerator[dict[str, Any] | None, None]:
        """The states of a job, as :meth:`ProgressHub.follow` gives them, as long as the credential holds.

        Raises Unauthorized or Forbidden where it does not any more, before anything else is told.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + CHECK_SECONDS
        async with aclosing(hub.follow(self.standing.tenant_id, job_id)) as states:
            async for told in states:
                if loop.time() >= due:
                    due = loop.time() + CHECK_SECONDS
                    # Where the database does not answer nothing is told either: asked again a minute later.
                    with suppress(TransientError, SQLAlchemyError):
                        await run_in_threadpool(self._require)
                yield told

    def _require(self) -> None:
        self.standing.caller(self.workspace, self.actor).require(_ROLE, _SCOPE)


async def _sent_events(hub: ProgressHub, watcher: _Watcher, job_id: UUID) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=_RETRY_MS)
    # Who is refused meanwhile connects again by itself, and is told why then.
    with suppress(TimeoutError, TooManyListeners, Unauthorized, Forbidden):
        async with asyncio.timeout(CONNECTION_SECONDS), aclosing(watcher.states(hub, job_id)) as states:
            async for told in states:
                if told is None:
                    yield format_sse_event(comment="still here")
                else:
                    yield format_sse_event(data_str=json.dumps(told), event=event_of(told))


@router.post(
    "/{job_id}/ticket/",
    summary="Get a ticket to watch an import",
    response_model=TicketOut,
    responses=documented(404),
    openapi_extra=needs(_ROLE, scope=_SCOPE, keeps="nothing"),
)
def ticket(request: Request, caller: CallerDep, session: SessionDep, job_id: str) -> dict[str, Any]:
    """Get what opens the WebSocket or the server-sent events of an import for a page, which can send no header.

    It opens one of them once, within a minute, for this import alone. Keys do not belong into URLs; a ticket may be in
    one, because nobody has any use for it afterwards.
    """
    job = get_job(session, parse_job_id(job_id))
    sealed = make_ticket(request, _PURPOSE, str(job.id), caller.tenant_id)
    return {
        "ticket": sealed,
        "expires_in": TICKET_SECONDS,
        "path": f"/ws/pim/import/{job.id}?ticket={sealed}",
        "events_path": f"/api/pim/import/{job.id}/events/?ticket={sealed}",
    }


@sockets.websocket("/ws/pim/import/{job_id}")
async def socket(
    websocket: WebSocket, job_id: str, ticket: Annotated[str | None, Query(max_length=_MAXIMUM_TICKET)] = None
) -> None:
    """Follow an import by a WebSocket: JSON messages `{"event", "import"}`.

    Who calls is said by the header `Authorization`, by a `ticket` in the query, or by the first message:
    `{"authorization": "Bearer pim_...", "tenant": "..."}`. Refused with a problem before it is opened, or closed with
    4401, 4403, 4404, 4429, 4503 afterwards.
    """
    workspace: Workspace = websocket.app.state.workspace
    accepted = False
    try:
        if ticket is not None:
            watcher = await run_in_threadpool(_with_ticket, websocket, job_id, ticket)
        elif "authorization" in websocket.headers:
            watcher = await run_in_threadpool(_admitted, websocket)
        else:
            _count_stranger(1)
            try:
                await websocket.accept()
                accepted = True
                watcher = await _introduced(websocket)
            finally:
                _count_stranger(-1)
        job = await run_in_threadpool(_found, workspace, watcher.standing.tenant_id, job_id)
        if not accepted:
            await websocket.accept()
            accepted = True
        await _tell(websocket, hub_of(workspace.app), watcher, job)
    except WebSocketDisconnect:
        return
    except PimError as error:
        if accepted:
            await websocket.close(_CLOSED + error.http_status, error.code)
        else:
            await websocket.send_denial_response(pim_problem(error))


def _redeemed(connection: HTTPConnection, job_id: str, ticket: str) -> tuple[Caller, Standing]:
    return redeem_ticket(connection, _PURPOSE, job_id.lower(), ticket)


def _with_ticket(connection: HTTPConnection, job_id: str, ticket: str) -> _Watcher:
    return _let_in(connection, *_redeemed(connection, job_id, ticket))


def _admitted(connection: HTTPConnection) -> _Watcher:
    caller = admit(connection)
    return _let_in(connection, caller, standing_of(connection, caller.tenant_id))


def _let_in(connection: HTTPConnection, caller: Caller, standing: Standing) -> _Watcher:
    caller.require(_ROLE, _SCOPE)
    return _Watcher(connection.app.state.workspace, standing, caller.actor)


def _count_stranger(step: int) -> None:
    global _strangers  # of this process: connections that have not said who they are
    if step > 0 and _strangers >= _STRANGERS:
        raise TooManyListeners(
            "Too many connections have not said who they are.", fix="Send the header Authorization, or a ticket."
        )
    _strangers += step


async def _introduced(websocket: WebSocket) -> _Watcher:
    """Who calls, by the first message; checked exactly as headers are."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            text = await websocket.receive_text()
    except (TimeoutError, KeyError) as error:  # KeyError: the message is not text
        raise _not_introduced() from error
    try:
        hello: dict[str, Any] = json.loads(text if len(text) <= _HELLO_BYTES else "null")
        headers = {"authorization": hello["authorization"], TENANT_HEADER.lower(): hello.get("tenant")}
        given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value is not None]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _not_introduced() from error
    others = [entry for entry in websocket.scope["headers"] if entry[0] not in {name for name, _ in given}]
    return await run_in_threadpool(_admitted, HTTPConnection({**websocket.scope, "headers": [*others, *given]}))


def _not_introduced() -> Unauthorized:
    return Unauthorized(
        "The first message does not say who calls.", fix='Send {"authorization": "Bearer pim_..."} within ten seconds.'
    )


def _found(workspace: Workspace, tenant_id: UUID, job_id: str) -> UUID:
    with tenant_session(workspace.app, tenant_id) as session:
        return get_job(session, parse_job_id(job_id)).id


async def _tell(websocket: WebSocket, hub: ProgressHub, watcher: _Watcher, job_id: UUID) -> None:
    """Send states until the import is over, the other side is gone, or an hour has passed.

    Raises Unauthorized or Forbidden where the credential has ended, TooManyListeners.
    """
    sending = asyncio.create_task(_send_states(websocket, hub, watcher, job_id))
    leaving = asyncio.create_task(_until_gone(websocket))
    try:
        await asyncio.wait({sending, leaving}, timeout=CONNECTION_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended, gone = sending.done(), leaving.done()
    finally:
        for task in (sending, leaving):
            task.cancel()
        results = await asyncio.gather(sending, leaving, return_exceptions=True)
    if isinstance(results[0], PimError):
        raise results[0]
    if not gone:
        with suppress(RuntimeError, WebSocketDisconnect):  # it may have left this very moment
            await websocket.close(1000, "" if ended else "connect again")


async def _send_states(websocket: WebSocket, hub: ProgressHub, watcher: _Watcher, job_id: UUID) -> None:
    async with aclosing(watcher.states(hub, job_id)) as states:
        async for told in states:
            message = {"event": "heartbeat"} if told is None else {"event": event_of(told), "import": told}
            await websocket.send_json(message)


async def _until_gone(websocket: WebSocket) -> None:
    """What the other side says is of no interest; that it leaves is."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        continue
