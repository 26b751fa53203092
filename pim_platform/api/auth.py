"""Doors without a credential: logging in and out, and links that set a password or lead into a tenant.

Passwords are hashed by threads of their own: each takes 64 MiB and tens of milliseconds of a core, and a crowd at
this door must not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, ParamSpec, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from pim_platform.api.dependencies import Text, WorkspaceDep
from pim_platform.api.problems import described
from pim_platform.api.request_ids import actor_of
from pim_platform.api.routes import OpenRoute
from pim_platform.errors import TooManyRequests
from pim_platform.tenancy.invitations import accept_invitation
from pim_platform.tenancy.keys import Role
from pim_platform.tenancy.logins import Tokens, log_in, log_out, refresh_login
from pim_platform.tenancy.passwords import MAXIMUM_PASSWORD, MINIMUM_PASSWORD
from pim_platform.tenancy.users import MAXIMUM_EMAIL, use_password_link

router = APIRouter(prefix="/auth", tags=["auth"], route_class=OpenRoute)

_hashers = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="passwords")
#: More would wait for seconds; they are asked to come again.
_room = threading.BoundedSemaphore(64)

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")

_PROBLEMS = (400, 413, 422, 429, 500, 503)
_SECRET_LENGTH = 200

Password = Annotated[Text, Field(max_length=MAXIMUM_PASSWORD)]
NewPassword = Annotated[
    Password,
    Field(description=f"{MINIMUM_PASSWORD} to {MAXIMUM_PASSWORD} characters, neither the name nor the address."),
]
Secret = Annotated[Text, Field(max_length=_SECRET_LENGTH)]


async def hashed_apart(function: Callable[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
    """Call what hashes a password away from the event loop. Raises TooManyRequests where too many wait for it."""
    if not _room.acquire(blocking=False):
        raise TooManyRequests("Too many people are logging in.", fix="Try again in a moment.", retry_after=2)
    try:
        return await asyncio.get_running_loop().run_in_executor(_hashers, partial(function, *args, **kwargs))
    finally:
        _room.release()


class PasswordGrant(BaseModel):
    """A password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"grant_type": "password", "email": "ana@example.com", "password": "correct horse battery"}]
        },
    )

    grant_type: Literal["password"] = "password"
    email: Annotated[Text, Field(max_length=MAXIMUM_EMAIL)]
    password: Password


class RefreshGrant(BaseModel):
    """The refresh token of a login."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"grant_type": "refresh_token", "refresh_token": "pimr_9hT2..."}]},
    )

    grant_type: Literal["refresh_token"]
    refresh_token: Secret


def _kind(body: Any) -> str:
    given = body.get("grant_type", "password") if isinstance(body, dict) else getattr(body, "grant_type", None)
    return given if isinstance(given, str) else ""


Grant = Annotated[
    Annotated[PasswordGrant, Tag("password")] | Annotated[RefreshGrant, Tag("refresh_token")], Discriminator(_kind)
]


class UserOut(BaseModel):
    """A person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": "0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55", "email": "ana@example.com", "name": "Ana"}]
        }
    )

    id: UUID
    email: str
    name: str


class BelongingOut(BaseModel):
    """A tenant that a person belongs to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "main", "name": "Main", "role": "editor"}]})

    slug: str = Field(description="What `X-Tenant` names it by.")
    name: str
    role: Role


class TokensOut(BaseModel):
    """A login. Both tokens are shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9...",
                    "token_type": "Bearer",
                    "expires_in": 900,
                    "refresh_token": "pimr_9hT2...",
                    "refresh_expires_at": "2027-03-31T09:30:00Z",
                    "user": {
                        "id": "0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55",
                        "email": "ana@example.com",
                        "name": "Ana",
                    },
                    "tenants": [{"slug": "main", "name": "Main", "role": "editor"}],
                }
            ]
        }
    )

    access_token: str = Field(description="Send it as `Authorization: Bearer ...`.")
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds that the access token is valid.")
    refresh_token: str = Field(description="Good for one exchange; the answer holds the next.")
    refresh_expires_at: datetime = Field(description="When a password is needed again.")
    user: UserOut
    tenants: list[BelongingOut] = Field(description="Where there are several, name one with `X-Tenant`.")


class LogoutIn(BaseModel):
    """The login to end."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"refresh_token": "pimr_9hT2...", "everywhere": False}]}
    )

    refresh_token: Secret = Field(description="Any refresh token of the login, used ones too.")
    everywhere: bool = Field(False, description="End every login of this person.")


class NewPasswordIn(BaseModel):
    """A one-time link and the password to set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"token": "piml_x3Fq...", "password": "correct horse battery"}]},
    )

    token: Secret = Field(description="The secret of the link.")
    password: NewPassword


class AcceptIn(BaseModel):
    """An invitation and who accepts it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"token": "pimi_Vb81...", "name": "Ana", "password": "correct horse battery"}]},
    )

    token: Secret = Field(description="The secret of the invitation.")
    password: Password = Field(
        description="Of a new person: the password to be; of one who has a login already: that one's."
    )
    name: Annotated[Text, Field(max_length=200)] = Field(
        description="The person's; one who has a login already keeps the name it has."
    )


class AcceptedOut(BaseModel):
    """Where the invitation leads. Log in at `/auth/token`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ana@example.com", "tenant": {"slug": "main", "name": "Main", "role": "editor"}}]
        }
    )

    email: str
    tenant: BelongingOut


@router.post(
    "/token", summary="Log in, or stay logged in", response_model=TokensOut, responses=described((401, *_PROBLEMS))
)
async def token(request: Request, workspace: WorkspaceDep, body: Grant) -> dict[str, Any]:
    """Exchange a password, or the refresh token of a login, for an access token and the next refresh token.

    A refresh token works once. One that is sent a second time was copied by somebody, so its login ends.
    """
    actor = actor_of(request)
    if isinstance(body, PasswordGrant):
        made = await hashed_apart(log_in, workspace.app, workspace.settings, body.email, body.password, actor)
    else:
        made = await asyncio.to_thread(refresh_login, workspace.app, workspace.settings, body.refresh_token, actor)
    return _answer(made)


def _answer(made: Tokens) -> dict[str, Any]:
    person = made.person
    return {
        "access_token": made.access_token,
        "token_type": "Bearer",
        "expires_in": made.expires_in,
        "refresh_token": made.refresh_token,
        "refresh_expires_at": made.refresh_expires_at,
        "user": {"id": person.user_id, "email": person.email, "name": person.name},
        "tenants": [{"slug": one.slug, "name": one.name, "role": one.role} for one in person.tenants],
    }


@router.post("/logout", status_code=204, summary="Log out", responses=described(_PROBLEMS))
def logout(request: Request, workspace: WorkspaceDep, body: LogoutIn) -> None:
    """End a login: its access and refresh tokens open nothing from now on. An unknown token is answered alike."""
    log_out(workspace.app, body.refresh_token, actor_of(request), everywhere=body.everywhere)


@router.post("/password", status_code=204, summary="Set a password by link", responses=described((404, *_PROBLEMS)))
async def password(request: Request, workspace: WorkspaceDep, body: NewPasswordIn) -> None:
    """Set a password with a one-time link that an admin has made. Every login of that person ends."""
    await hashed_apart(use_password_link, workspace.app, body.token, body.password, actor=actor_of(request))


@router.post(
    "/invitation",
    summary="Accept an invitation",
    response_model=AcceptedOut,
    responses=described((401, 404, 409, *_PROBLEMS)),
)
async def invitation(request: Request, workspace: WorkspaceDep, body: AcceptIn) -> dict[str, Any]:
    """Join a tenant: a new person sets name and password, one who has a login already proves it with the password.

    Every login of that person ends; log in again.
    """
    found = await hashed_apart(
        accept_invitation, workspace.app, body.token, password=body.password, name=body.name, actor=actor_of(request)
    )
    tenant = {"slug": found.tenant_slug, "name": found.tenant_name, "role": found.role}
    return {"email": found.email, "tenant": tenant}
