"""The audit trail of a tenant, for its admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response, Security
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.dependencies import SessionDep, Text, bearer
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.paging import CursorQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.tenancy.audit import MAXIMUM_PAGE, AuditFilter, read_audit

router = APIRouter(prefix="/api/pim/audit", tags=["audit"], route_class=KeyRoute, dependencies=[Security(bearer)])

_ENTRY: dict[str, JsonValue] = {
    "id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
    "at": "2027-03-01T09:30:00Z",
    "actor": "user:0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55",
    "action": "key.created",
    "object_kind": "api_key",
    "object_id": "0199b6c2-1f00-7d4e-8a55-9c3e2b1a0f77",
    "details": {"name": "nightly feed", "role": "editor"},
    "ip": "192.0.2.7",
    "user_agent": "curl/8.11",
    "trace_id": "5f1c9a1e2b7d4c60a7f3b0a4d1e8c9f2",
}


class AuditEntry(BaseModel):
    """Who did what, when and from where."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ENTRY]})

    id: UUID
    at: datetime
    actor: str = Field(description="`user:<id>`, `key:<id>`, `cli:<login>`, `sensor:<name>` and so on.")
    action: str = Field(description="Such as `key.created`.")
    object_kind: str
    object_id: str | None
    details: dict[str, Any] = Field(description="Never a secret.")
    ip: str | None
    user_agent: str | None
    trace_id: str | None = Field(description="The request's `X-Request-ID`.")


class AuditList(BaseModel):
    """A page of entries, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"entries": [_ENTRY], "next_cursor": None}]})

    entries: list[AuditEntry]
    next_cursor: NextCursor


@router.get(
    "/",
    summary="Read the audit trail",
    response_model=AuditList,
    responses=documented(422),
    openapi_extra=needs("admin", scope="admin"),
)
def audit(
    session: SessionDep,
    action: Annotated[
        Text | None, Query(max_length=100, description="This action; with `.*` at its end all of a kind: `key.*`.")
    ] = None,
    actor: Annotated[Text | None, Query(max_length=200, description="Whose, such as `user:<id>`.")] = None,
    object_kind: Annotated[Text | None, Query(max_length=100)] = None,
    object_id: Annotated[Text | None, Query(max_length=200)] = None,
    trace_id: Annotated[Text | None, Query(max_length=128, description="Of one request.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="From then on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before then.")] = None,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 100,
) -> Response:
    """Operations on this tenant, newest first; with conditions, those that meet all."""
    wanted = AuditFilter(action, actor, object_kind, object_id, trace_id, since, until)
    page = read_audit(session, wanted, cursor=cursor, limit=limit)
    return exact_answer(AuditList, {"entries": page.entries, "next_cursor": page.next_cursor})
