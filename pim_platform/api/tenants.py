"""The tenant itself: its settings, read by everybody in it and changed by its admins.

Tenants are made by the operator of the installation, on the command line: no key belongs to more than one tenant, so
none could make another.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response, Security
from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from pim_platform.api.dependencies import CallerDep, CredentialDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.schemas import adopt_defaults
from pim_platform.errors import NotFound
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller, Role
from pim_platform.tenancy.tenants import TenantSettings, change_tenant, get_tenant
from pim_platform.tenancy.usage import daily_budget, own_budget, set_own_budget

router = APIRouter(prefix="/api/pim/tenants", tags=["tenants"], route_class=KeyRoute, dependencies=[Security(bearer)])

_TENANT: dict[str, JsonValue] = {
    "slug": "main",
    "name": "Main",
    "default_currency": "EUR",
    "default_locale": "en-US",
    "timezone": "Europe/Berlin",
    "confirm_policy": "saved_mapping_fits",
    "claude_daily_budget_usd": 0.5,
    "claude_budget_left_usd": 0.48,
    "created_at": "2027-03-01T09:30:00Z",
}


class TenantRef(BaseModel):
    """A tenant that the caller belongs to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "main", "name": "Main", "role": "editor"}]})

    slug: str
    name: str
    role: Role


class TenantRefs(BaseModel):
    """The caller's tenants, by slug: one for a key, any number for a person."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tenants": [{"slug": "main", "name": "Main", "role": "editor"}]}]}
    )

    tenants: list[TenantRef]


#: Answered exactly, as the number that it is (`json_bodies.exact_answer`).
_Usd = Annotated[Decimal, WithJsonSchema({"type": "number"}, mode="serialization")]


class TenantOut(BaseModel):
    """A tenant and its settings."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TENANT]})

    slug: str
    name: str
    default_currency: str = Field(description="Of prices that name none, ISO 4217.")
    default_locale: str = Field(description="Of values that name none, BCP 47.")
    timezone: str = Field(description="IANA name.")
    confirm_policy: Literal["never", "saved_mapping_fits", "all_sure"] = Field(
        description="When a proposed mapping is confirmed without a person."
    )
    claude_daily_budget_usd: _Usd | None = Field(
        description="What may be spent on Claude per day (UTC), in USD; null: what the installation says."
    )
    claude_budget_left_usd: _Usd = Field(description="What is left of today's budget.")
    created_at: datetime


class TenantPatch(BaseModel):
    """What to change; what is left out stays. Only the budget can be null."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"timezone": "Europe/Berlin", "claude_daily_budget_usd": 0.5}]},
    )

    name: Annotated[Text, Field(min_length=1, max_length=200)] = ""
    default_currency: Annotated[Text, Field(max_length=3)] = Field("", description="ISO 4217, such as EUR.")
    default_locale: Annotated[Text, Field(max_length=20)] = Field("", description="BCP 47, such as en-US.")
    timezone: Annotated[Text, Field(max_length=100)] = Field("", description="IANA name, such as Europe/Berlin.")
    confirm_policy: Literal["never", "saved_mapping_fits", "all_sure"] = "never"
    claude_daily_budget_usd: Annotated[Decimal, Field(ge=0, le=999_999, decimal_places=4)] | None = Field(
        None, description="USD per day; 0: Claude is never asked; null: what the installation says."
    )


@router.get(
    "/",
    summary="List the caller's tenants",
    response_model=TenantRefs,
    responses=documented(),
    openapi_extra=needs("viewer", scope="any", above_tenants=True),
)
def tenants(workspace: WorkspaceDep, credential: CredentialDep) -> dict[str, Any]:
    """The tenants that the caller belongs to, and no others."""
    if isinstance(credential, Caller):
        found = get_tenant(workspace.app, credential.tenant_id)
        return {"tenants": [{"slug": found.slug, "name": found.name, "role": credential.role}]}
    return {"tenants": [{"slug": one.slug, "name": one.name, "role": one.role} for one in credential.tenants]}


@router.get(
    "/{slug}/",
    summary="Read a tenant",
    response_model=TenantOut,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="any"),
)
def tenant(workspace: WorkspaceDep, session: SessionDep, caller: CallerDep, slug: Text) -> Response:
    """The settings of the tenant that the caller works in."""
    _own(caller, slug)
    return exact_answer(TenantOut, _shown(workspace, session, caller))


@router.patch(
    "/{slug}/",
    summary="Change a tenant",
    response_model=TenantOut,
    responses=documented(404, 413, 422),
    openapi_extra=needs("admin", scope="admin"),
)
def change(workspace: WorkspaceDep, caller: CallerDep, slug: Text, body: TenantPatch) -> Response:
    """Change what the body names (JSON Merge Patch).

    A new default currency or locale makes a new version of the product schema; values that are stored keep theirs.
    """
    _own(caller, slug)
    given = body.model_dump(exclude_unset=True)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        if "claude_daily_budget_usd" in given:
            set_own_budget(session, given.pop("claude_daily_budget_usd"), actor=caller.actor)
        changed = change_tenant(session, TenantSettings(**given), actor=caller.actor)
        if given.keys() & {"default_currency", "default_locale"}:
            adopt_defaults(session, changed.default_currency, changed.default_locale, caller.actor)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return exact_answer(TenantOut, _shown(workspace, session, caller))


def _own(caller: Caller, slug: str) -> None:
    """Raise NotFound for any tenant but the caller's, whether it exists or not."""
    if slug != caller.tenant_slug:
        raise NotFound(
            f"There is no tenant {slug!r}.",
            fix="GET /api/pim/tenants/ lists yours; X-Tenant chooses among them.",
            code="unknown_tenant",
            value=slug,
        )


def _shown(workspace: Workspace, session: SessionDep, caller: Caller) -> dict[str, Any]:
    found = get_tenant(workspace.app, caller.tenant_id)
    return {
        "slug": found.slug,
        "name": found.name,
        "default_currency": found.default_currency,
        "default_locale": found.default_locale,
        "timezone": found.timezone,
        "confirm_policy": found.confirm_policy,
        "claude_daily_budget_usd": own_budget(session),
        "claude_budget_left_usd": daily_budget(session, workspace.settings.anthropic_daily_budget_usd).left,
        "created_at": found.created_at,
    }
