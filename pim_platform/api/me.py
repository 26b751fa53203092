"""Who the caller is, what it may do, and a person's own password."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.auth import BelongingOut, NewPassword, Password, UserOut, hashed_apart
from pim_platform.api.dependencies import CredentialDep, WorkspaceDep, bearer
from pim_platform.api.problems import documented
from pim_platform.api.request_ids import actor_of
from pim_platform.api.routes import TENANT_HEADER, KeyRoute, needs
from pim_platform.errors import Conflict
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import SCOPES, Caller, Scope, get_key
from pim_platform.tenancy.logins import Person
from pim_platform.tenancy.tenants import get_tenant
from pim_platform.tenancy.users import change_password

router = APIRouter(prefix="/api/pim/me", tags=["me"], route_class=KeyRoute, dependencies=[Security(bearer)])

_TENANT: dict[str, JsonValue] = {"slug": "main", "name": "Main", "role": "editor"}
_EXAMPLE: dict[str, JsonValue] = {
    "kind": "user",
    "user": {"id": "0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55", "email": "ana@example.com", "name": "Ana"},
    "key": None,
    "tenant": _TENANT,
    "tenants": [_TENANT],
    "scopes": ["products:read", "products:write"],
}


class OwnKey(BaseModel):
    """The key that was sent, without the key."""

    id: UUID
    name: str
    prefix: str
    expires_at: datetime | None


class Me(BaseModel):
    """The caller: a person or a key."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    kind: Literal["user", "key"]
    user: UserOut | None
    key: OwnKey | None
    tenant: BelongingOut | None = Field(
        description="Where requests go; null: a person of several tenants has to name one with `X-Tenant`."
    )
    tenants: list[BelongingOut]
    scopes: list[Scope] = Field(
        description="What the role in a tenant may be used for; all of them, unless a key has fewer."
    )


class OwnPasswordIn(BaseModel):
    """The password now and the one to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"current_password": "correct horse battery", "new_password": "staple under a full moon"}]
        },
    )

    current_password: Password
    new_password: NewPassword


@router.get(
    "/",
    summary="Who am I?",
    response_model=Me,
    responses=documented(),
    openapi_extra=needs("viewer", scope="any", above_tenants=True),
)
def me(request: Request, workspace: WorkspaceDep, credential: CredentialDep) -> dict[str, Any]:
    """The caller, the tenants it reaches, and what it may do there."""
    if isinstance(credential, Caller):
        return _key(workspace, credential)
    tenants = [{"slug": one.slug, "name": one.name, "role": one.role} for one in credential.tenants]
    wanted = request.headers.get(TENANT_HEADER)
    if wanted is not None:
        credential.caller(wanted)  # refuses a tenant that is not theirs
    fitting = [one for one in tenants if wanted in (None, one["slug"])]
    return {
        "kind": "user",
        "user": {"id": credential.user_id, "email": credential.email, "name": credential.name},
        "key": None,
        "tenant": fitting[0] if len(fitting) == 1 else None,
        "tenants": tenants,
        "scopes": SCOPES,
    }


def _key(workspace: Workspace, caller: Caller) -> dict[str, Any]:
    found = get_tenant(workspace.app, caller.tenant_id)
    assert caller.key_id is not None
    with tenant_session(workspace.app, caller.tenant_id) as session:
        key = get_key(session, caller.key_id)
    tenant = {"slug": found.slug, "name": found.name, "role": caller.role}
    return {
        "kind": "key",
        "user": None,
        "key": {"id": key.id, "name": key.name, "prefix": key.prefix, "expires_at": key.expires_at},
        "tenant": tenant,
        "tenants": [tenant],
        "scopes": [scope for scope in SCOPES if caller.scopes is None or scope in caller.scopes],
    }


@router.post(
    "/password/",
    status_code=204,
    summary="Change the own password",
    responses=documented(409, 413, 422),
    openapi_extra=needs("viewer", scope="any", above_tenants=True),
)
async def password(request: Request, workspace: WorkspaceDep, credential: CredentialDep, body: OwnPasswordIn) -> None:
    """Set one's own password. Every login of that person ends, this one too. A key has none."""
    if not isinstance(credential, Person):
        raise Conflict("A key has no password.", fix="Log in as the person.", code="person_needed")
    await hashed_apart(
        change_password,
        workspace.app,
        credential,
        body.current_password,
        body.new_password,
        actor=actor_of(request),
    )
