"""Whether this process lives, and whether it can serve: for supervisors and load balancers, without a key."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import State

from pim_platform.api.dependencies import WorkspaceDep
from pim_platform.api.logs import logger
from pim_platform.api.request_ids import from_this_machine
from pim_platform.intake.workspace import Workspace
from pim_platform.local.status import clickhouse_error, postgres_error
from pim_platform.storage.endpoints import Endpoints

#: How long an answer holds.
_KEPT_SECONDS = 1.0

_log = logger("pim.api")

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether both engines answer."""

    ready: bool
    parts: dict[str, str] = Field(
        description="`ok` or `unavailable`; callers on this machine are told why.", examples=[{"postgres": "ok"}]
    )


@router.get("/live", summary="Is the process alive?")
def live() -> Live:
    """Answers as long as the process does."""
    return Live()


@router.get("/ready", summary="Can it serve?", responses={503: {"model": Ready, "description": "An engine is away."}})
def ready(request: Request, workspace: WorkspaceDep, response: Response) -> Ready:
    """Asks both engines, as the roles that the API uses, at most once a second however often it is called."""
    parts = _asked(request.app.state, workspace)
    all_ok = set(parts.values()) == {"ok"}
    if not all_ok and not from_this_machine(request):  # addresses and roles are nobody else's business
        parts = {name: found if found == "ok" else "unavailable" for name, found in parts.items()}
    response.status_code = 200 if all_ok else 503
    return Ready(ready=all_ok, parts=parts)


_guard = threading.Lock()


def _asked(kept: State, workspace: Workspace) -> dict[str, str]:
    """What each engine said last. Anybody may ask, and each answer takes two new connections."""
    with _guard:
        at, parts = getattr(kept, "engines", (-_KEPT_SECONDS, {}))
        if time.monotonic() - at >= _KEPT_SECONDS:
            parts = _ask(workspace)
            kept.engines = (time.monotonic(), parts)
        found: dict[str, str] = parts
        return found


def _ask(workspace: Workspace) -> dict[str, str]:
    endpoints = Endpoints.of(workspace.settings)
    with ThreadPoolExecutor(2) as pool:
        asked = {
            "postgres": pool.submit(postgres_error, endpoints.app_url),
            "clickhouse": pool.submit(clickhouse_error, endpoints.clickhouse_url),
        }
    parts = {name: future.result() or "ok" for name, future in asked.items()}
    for name, found in parts.items():
        if found != "ok":
            _log.warning("an engine does not answer", part=name, error=found)
    return parts
