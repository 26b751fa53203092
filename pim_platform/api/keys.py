"""API keys of a tenant, for its admins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Security
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.paging import CursorQuery, LimitQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.errors import InvalidRequest
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Role, Scope, get_key, list_keys, make_key, revoke_key

router = APIRouter(prefix="/api/pim/keys", tags=["keys"], route_class=KeyRoute, dependencies=[Security(bearer)])

#: PostgreSQL's calendar is longer, Python's ends in 9999.
_LONGEST = timedelta(days=36_500)

_KEY: dict[str, JsonValue] = {
    "id": "0199b6c2-1f00-7d4e-8a55-9c3e2b1a0f77",
    "name": "scores of the reading service",
    "prefix": "pim_8sKf1Qx2",
    "role": "editor",
    "scopes": ["products:read", "scores:write"],
    "state": "active",
    "created_by": "user:0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55",
    "created_at": "2027-03-01T09:30:00Z",
    "expires_at": "2028-03-01T09:30:00Z",
    "revoked_at": None,
    "last_used_at": "2027-03-01T10:00:00Z",
}


class KeyOut(BaseModel):
    """A key, without the key."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    id: UUID
    name: str
    prefix: str = Field(description="How the key begins.")
    role: Role
    scopes: list[Scope] | None = Field(description="What it is limited to within its role; null: to nothing less.")
    state: Literal["active", "expired", "revoked"]
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Noted once a minute at most.")


class KeyMade(KeyOut):
    """A new key, shown this once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_KEY, "last_used_at": None, "key": "pim_8sKf1Qx2..."}]}
    )

    key: str = Field(description="Keep it: it cannot be shown again.")


class KeyList(BaseModel):
    """Keys, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [_KEY], "next_cursor": None}]})

    keys: list[KeyOut]
    next_cursor: NextCursor


class KeyIn(BaseModel):
    """The key to make."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "scores of the reading service",
                    "role": "editor",
                    "scopes": ["products:read", "scores:write"],
                    "expires_at": "2028-03-01T09:30:00Z",
                }
            ]
        },
    )

    name: Annotated[Text, Field(min_length=1, max_length=200)] = Field(description="What it is for.")
    role: Role = "editor"
    scopes: Annotated[list[Scope], Field(min_length=1)] | None = Field(
        None, description="What to limit it to within its role; null: to nothing less."
    )
    expires_at: AwareDatetime | None = Field(None, description="When it ends; null: when it is revoked.")


@router.get(
    "/",
    summary="List keys",
    response_model=KeyList,
    responses=documented(422),
    openapi_extra=needs("admin", scope="admin"),
)
def keys(session: SessionDep, cursor: CursorQuery = None, limit: LimitQuery = 100) -> dict[str, Any]:
    """Every key of the tenant, revoked and expired ones too."""
    found, following = list_keys(session, cursor=cursor, limit=limit)
    return {"keys": [one.as_json() for one in found], "next_cursor": following}


@router.post(
    "/",
    status_code=201,
    summary="Make a key",
    response_model=KeyMade,
    responses=documented(409, 413, 422),
    openapi_extra=needs("admin", scope="admin", keeps="nothing"),
)
def create(workspace: WorkspaceDep, caller: CallerDep, body: KeyIn) -> dict[str, Any]:
    """Make a key of this tenant. A caller that has scopes itself makes none with others."""
    if body.expires_at is not None and not timedelta(0) < body.expires_at - datetime.now(UTC) < _LONGEST:
        raise InvalidRequest(
            "A key cannot end then.",
            fix="Name a time to come, within 100 years, or leave it out.",
            column="expires_at",
            value=body.expires_at.isoformat(),
        )
    made, key = make_key(
        workspace.app,
        caller.tenant_id,
        role=body.role,
        name=body.name,
        actor=caller.actor,
        scopes=body.scopes,
        expires_at=body.expires_at,
        within=caller.scopes,
    )
    return made.as_json() | {"key": key}


@router.get(
    "/{key_id}/",
    summary="Read a key",
    response_model=KeyOut,
    responses=documented(404, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def key(session: SessionDep, key_id: UUID) -> dict[str, Any]:
    """A key of the tenant, without the key."""
    return get_key(session, key_id).as_json()


@router.delete(
    "/{key_id}/",
    summary="Revoke a key",
    response_model=KeyOut,
    responses=documented(404, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def revoke(workspace: WorkspaceDep, caller: CallerDep, key_id: UUID) -> dict[str, Any]:
    """Let a key open nothing from now on. It stays in the list, because the audit trail names it."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return revoke_key(session, key_id, actor=caller.actor).as_json()
