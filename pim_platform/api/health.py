"""Whether this process lives, and whether it can serve: for supervisors and load balancers, without a key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from pim_platform.api.dependencies import WorkspaceDep
from pim_platform.local.status import clickhouse_error, postgres_error
from pim_platform.storage.endpoints import Endpoints

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether both engines answer."""

    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or why the part cannot be used.", examples=[{"postgres": "ok"}])


@router.get("/live", summary="Is the process alive?")
def live() -> Live:
    """Answers as long as the process does."""
    return Live()


@router.get("/ready", summary="Can it serve?", responses={503: {"model": Ready, "description": "An engine is away."}})
def ready(workspace: WorkspaceDep, response: Response) -> Ready:
    """Asks both engines, as the roles that the API uses."""
    endpoints = Endpoints.of(workspace.settings)
    with ThreadPoolExecutor(2) as pool:
        asked = {
            "postgres": pool.submit(postgres_error, endpoints.app_url),
            "clickhouse": pool.submit(clickhouse_error, endpoints.clickhouse_url),
        }
    parts = {name: future.result() or "ok" for name, future in asked.items()}
    answer = Ready(ready=set(parts.values()) == {"ok"}, parts=parts)
    response.status_code = 200 if answer.ready else 503
    return answer
