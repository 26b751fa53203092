"""What routes ask for, as ``Annotated`` aliases: the stores, the caller, ids and texts that can be stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from pydantic import AfterValidator
from sqlalchemy.orm import Session

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller
from pim_platform.tenancy.logins import Person

#: Describes the key in the OpenAPI document; :class:`pim_platform.api.routes.KeyRoute` is what checks it.
bearer = HTTPBearer(
    auto_error=False,
    description="An API key, `Authorization: Bearer pim_...`, or the access token of a person who logged in at "
    "`/auth/token`. A person of several tenants names one in the header `X-Tenant`, by its slug.",
    scheme_name="key",
)


# These are asynchronous because FastAPI sends every other function to a thread, which costs more than they do.


async def _workspace(request: Request) -> Workspace:
    found: Workspace = request.app.state.workspace
    return found


async def _caller(request: Request) -> Caller:
    found: Caller = request.state.caller
    return found


async def _credential(request: Request) -> Caller | Person:
    found: Caller | Person = request.state.credential
    return found


WorkspaceDep = Annotated[Workspace, Depends(_workspace)]
CallerDep = Annotated[Caller, Depends(_caller)]
#: The key or the person, for routes above tenants.
CredentialDep = Annotated[Caller | Person, Depends(_credential)]


def _reading(workspace: WorkspaceDep, caller: CallerDep) -> Iterator[Session]:
    with tenant_session(workspace.app, caller.tenant_id) as session:
        yield session


#: A session of the caller's tenant, for routes that only read. It ends after the route's handler, and so after the
#: answer was kept under its Idempotency-Key: what writes opens a session of its own, which is committed before.
SessionDep = Annotated[Session, Depends(_reading, scope="function")]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the character NUL cannot be stored")
    return text


#: A text that PostgreSQL can hold.
Text = Annotated[str, AfterValidator(_storable)]
