"""People of a tenant, their roles, invitations, and links that set a password; for its admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Security
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.paging import CursorQuery, LimitQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.invitations import invite, list_invitations, revoke_invitation
from pim_platform.tenancy.keys import Role
from pim_platform.tenancy.users import (
    MAXIMUM_EMAIL,
    change_role,
    get_member,
    list_members,
    make_password_link,
    remove_member,
)

router = APIRouter(prefix="/api/pim/users", tags=["users"], route_class=KeyRoute, dependencies=[Security(bearer)])

_MEMBER: dict[str, JsonValue] = {
    "id": "0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55",
    "email": "ana@example.com",
    "name": "Ana",
    "role": "editor",
    "joined_at": "2027-03-01T09:30:00Z",
}
_INVITATION: dict[str, JsonValue] = {
    "id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
    "email": "ben@example.com",
    "role": "reviewer",
    "created_by": "user:0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55",
    "created_at": "2027-03-01T09:30:00Z",
    "expires_at": "2027-03-08T09:30:00Z",
}


class MemberOut(BaseModel):
    """A person in this tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MEMBER]})

    id: UUID
    email: str
    name: str
    role: Role
    joined_at: datetime


class MemberList(BaseModel):
    """People in the order of their addresses."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"users": [_MEMBER], "next_cursor": None}]})

    users: list[MemberOut]
    next_cursor: NextCursor


class RoleIn(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "reviewer"}]})

    role: Role


class PasswordLinkOut(BaseModel):
    """A one-time link, shown this once. Hand it to that person over a safe way."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": "piml_x3Fq...", "expires_at": "2027-03-02T09:30:00Z"}]}
    )

    token: str = Field(description="The person sends it to `POST /auth/password` with the new password.")
    expires_at: datetime


class InvitationIn(BaseModel):
    """Whom to invite, and as what."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"email": "ben@example.com", "role": "reviewer"}]}
    )

    email: Annotated[Text, Field(max_length=MAXIMUM_EMAIL)]
    role: Role


class InvitationOut(BaseModel):
    """An invitation that nobody has accepted yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [_INVITATION]})

    id: UUID
    email: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime


class InvitationMade(InvitationOut):
    """A new invitation with its secret, shown this once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_INVITATION, "token": "pimi_Vb81..."}]})

    token: str = Field(description="The person sends it to `POST /auth/invitation`.")


class InvitationList(BaseModel):
    """Open invitations, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"invitations": [_INVITATION], "next_cursor": None}]})

    invitations: list[InvitationOut]
    next_cursor: NextCursor


@router.get(
    "/",
    summary="List users",
    response_model=MemberList,
    responses=documented(422),
    openapi_extra=needs("admin", scope="admin"),
)
def users(session: SessionDep, cursor: CursorQuery = None, limit: LimitQuery = 100) -> dict[str, Any]:
    """Everybody who belongs to the tenant, with the role."""
    found, following = list_members(session, cursor=cursor, limit=limit)
    return {"users": [member.as_json() for member in found], "next_cursor": following}


# Before the paths with an id: `invitations` is none.
@router.get(
    "/invitations/",
    summary="List open invitations",
    response_model=InvitationList,
    responses=documented(422),
    openapi_extra=needs("admin", scope="admin"),
)
def invitations(session: SessionDep, cursor: CursorQuery = None, limit: LimitQuery = 100) -> dict[str, Any]:
    """Invitations that nobody has accepted yet and that still hold."""
    found, following = list_invitations(session, cursor=cursor, limit=limit)
    return {"invitations": [one.as_json() for one in found], "next_cursor": following}


@router.post(
    "/invitations/",
    status_code=201,
    summary="Invite somebody",
    response_model=InvitationMade,
    responses=documented(409, 413, 422),
    openapi_extra=needs("admin", scope="unlimited", keeps="nothing"),
)
def create_invitation(workspace: WorkspaceDep, caller: CallerDep, body: InvitationIn) -> dict[str, Any]:
    """Offer somebody a role, whether they use the installation already or not: the answer does not tell.

    An earlier invitation of the same address ends.
    """
    with tenant_session(workspace.app, caller.tenant_id) as session:
        made, token = invite(session, workspace.settings, email=body.email, role=body.role, actor=caller.actor)
    return made.as_json() | {"token": token}


@router.delete(
    "/invitations/{invitation_id}/",
    status_code=204,
    summary="Take an invitation back",
    responses=documented(404, 422),
    openapi_extra=needs("admin", scope="unlimited"),
)
def delete_invitation(workspace: WorkspaceDep, caller: CallerDep, invitation_id: UUID) -> None:
    """End an open invitation."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        revoke_invitation(session, invitation_id, actor=caller.actor)


@router.get(
    "/{user_id}/",
    summary="Read a user",
    response_model=MemberOut,
    responses=documented(404, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def user(session: SessionDep, user_id: UUID) -> dict[str, Any]:
    """A person of the tenant."""
    return get_member(session, user_id).as_json()


@router.patch(
    "/{user_id}/",
    summary="Change a user's role",
    response_model=MemberOut,
    responses=documented(404, 409, 413, 422),
    openapi_extra=needs("admin", scope="unlimited"),
)
def change_user(workspace: WorkspaceDep, caller: CallerDep, user_id: UUID, body: RoleIn) -> dict[str, Any]:
    """Give a person another role in this tenant, from their next request on. The last admin stays one."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return change_role(session, user_id, body.role, actor=caller.actor).as_json()


@router.delete(
    "/{user_id}/",
    status_code=204,
    summary="Remove a user",
    responses=documented(404, 409, 422),
    openapi_extra=needs("admin", scope="unlimited"),
)
def remove_user(workspace: WorkspaceDep, caller: CallerDep, user_id: UUID) -> None:
    """Take a person out of this tenant at once. Other tenants of theirs stay, and so does the last admin."""
    with tenant_session(workspace.app, caller.tenant_id) as session:
        remove_member(session, user_id, actor=caller.actor)


@router.post(
    "/{user_id}/password-link/",
    status_code=201,
    summary="Make a link to set a password",
    response_model=PasswordLinkOut,
    responses=documented(404, 409, 422),
    openapi_extra=needs("admin", scope="unlimited", keeps="nothing"),
)
def password_link(workspace: WorkspaceDep, caller: CallerDep, user_id: UUID) -> dict[str, Any]:
    """Make a one-time link for somebody who forgot the password; earlier ones end.

    `operator_needed` where the password is not this tenant's alone to reset: only the operator of the installation
    can make the link then.
    """
    token, until = make_password_link(workspace.app, workspace.settings, caller.tenant_id, user_id, actor=caller.actor)
    return {"token": token, "expires_at": until}
