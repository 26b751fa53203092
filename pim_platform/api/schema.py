"""The tenant's product schema: read, its versions, its changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query, Response, Security
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pim_platform.api.bulk_operations import TOKEN_EXAMPLE
from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.import_models import FieldOut, ImportOut
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.schema_changes import MAXIMUM, OPERATIONS
from pim_platform.catalog.schemas import current_schema, find_schema_version, schema_versions
from pim_platform.intake.jobs import job_json
from pim_platform.intake.running import run_at_once
from pim_platform.intake.schema_changing import change_schema, confirm_schema_change
from pim_platform.storage.postgres import tenant_session

router = APIRouter(prefix="/api/pim/schema", tags=["schema"], route_class=KeyRoute, dependencies=[Security(bearer)])


class SchemaOut(BaseModel):
    """The field vocabulary in force."""

    version: int
    fields: list[FieldOut]
    default_currency: str
    default_locale: str


@router.get(
    "/",
    summary="Read the schema",
    response_model=SchemaOut,
    responses=documented(),
    openapi_extra=needs("viewer", scope="schema:read"),
)
def schema(session: SessionDep) -> dict[str, Any]:
    """The fields that products of this tenant may have, beside `sku`, `name` and `active`."""
    found = current_schema(session)
    return found.model_dump() | {"fields": found.fields_json()}


class VersionOut(BaseModel):
    """One version of the schema."""

    version: int
    created_at: datetime
    actor: str = Field(examples=["key:0199b6c2-1f00-7d4e-8a55-9c3e2b1a0f77"])
    field_count: int


class VersionList(BaseModel):
    """Versions, newest first."""

    versions: list[VersionOut]
    next_before: int | None = Field(description="Send it as `before` for the next page; null at the end.")


class VersionDetail(SchemaOut):
    """One version of the schema with its fields."""

    created_at: datetime
    actor: str = Field(examples=["key:0199b6c2-1f00-7d4e-8a55-9c3e2b1a0f77"])


_CHANGES: Any = [
    {"op": "add", "field": {"name": "season", "type": "string", "description": "Summer or winter"}},
    {"op": "describe", "name": "weight_kg", "description": "Without packing"},
    {"op": "require", "name": "brand", "required": False},
    {"op": "retype", "name": "material", "type": "array"},
    {"op": "remove", "name": "old_code"},
]


class ChangeIn(BaseModel):
    """Changes to make; or the token that an answer to changes gave."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"changes": _CHANGES}, {"token": TOKEN_EXAMPLE, "accept": True}]},
    )

    changes: list[dict[str, Any]] | None = Field(
        None,
        min_length=1,
        max_length=MAXIMUM,
        description="`add` (`field`), `describe` (`name`, `description`), `require` (`name`, `required`), `retype` "
        "(`name`, `type`), `remove` (`name`).",
        examples=[_CHANGES],
    )
    token: Annotated[Text | None, Field(max_length=200, examples=[TOKEN_EXAMPLE])] = None
    accept: bool = Field(False, description="With a token: what the change breaks may be lost.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.changes is None) == (self.token is None):
            raise ValueError("send either changes or the token of an answer to them")
        return self


class BrokenOut(BaseModel):
    """A product that a change breaks."""

    sku: str
    value: Any = Field(description="The value that would be lost; null: there is none.")


class EffectOut(BaseModel):
    """What one change does."""

    op: Literal[OPERATIONS]  # type: ignore[valid-type]  # pydantic reads them when the module is loaded
    field: str
    narrowing: bool = Field(description="Whether it can break something; such a change needs a confirmation.")
    products: int = Field(description="Products with a value of the field; of one to be required those without.")
    breaks: int = Field(description="How many of them lose it, or lack it.")
    consequence: str = Field(examples=["its values are cleared; undoing brings them back"])
    examples: list[BrokenOut] = Field(description="The first of the broken ones by SKU.")


class ChangeOut(BaseModel):
    """What a change does, and whether it is done."""

    applied: bool = Field(description="The schema is in force and the products follow it.")
    token: str | None = Field(
        description="Confirms a narrowing change; null where none is needed.", examples=[TOKEN_EXAMPLE]
    )
    expires_at: datetime | None
    effects: list[EffectOut]
    schema_: SchemaOut = Field(alias="schema", description="The schema after the change.")
    job: ImportOut | None = Field(description="The job that changes the products, where there are any to change.")


@router.get(
    "/versions/",
    summary="List versions of the schema",
    response_model=VersionList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="schema:read"),
)
def versions(
    session: SessionDep,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only versions older than this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Every version that the schema had, newest first; the highest is in force."""
    found = schema_versions(session, before=before, limit=limit + 1)
    shown = [
        {"version": one.version, "created_at": one.created_at, "actor": one.actor, "field_count": len(one.fields)}
        for one in found[:limit]
    ]
    return {"versions": shown, "next_before": found[limit - 1].version if len(found) > limit else None}


@router.get(
    "/versions/{version}/",
    summary="Read one version of the schema",
    response_model=VersionDetail,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="schema:read"),
)
def version(session: SessionDep, version: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> dict[str, Any]:
    """The fields that one version had."""
    found = find_schema_version(session, version)
    return {
        "version": found.version,
        "fields": found.fields,
        "default_currency": found.default_currency,
        "default_locale": found.default_locale,
        "created_at": found.created_at,
        "actor": found.actor,
    }


@router.post(
    "/changes/",
    summary="Change the schema",
    response_model=ChangeOut,
    responses=documented(
        400, 404, 409, 413, 422, ok={202: {"model": ChangeOut, "description": "The products follow soon; see the job."}}
    ),
    openapi_extra=needs("editor", scope="schema:write"),
)
def changes(workspace: WorkspaceDep, caller: CallerDep, body: ChangeIn) -> Response:
    """Change fields. What is safe is done at once: a new field, a description, what becomes optional, a wider type.

    What is narrowing (a required field, another type, a field that goes) is answered with `applied: false`, what it
    would break, and a token. Sent back, the token applies exactly that; where something breaks, with `accept: true`:
    values that do not fit are cleared, in the history and by a job that can be undone.
    """
    if body.token is not None:
        done = confirm_schema_change(workspace, caller.tenant_id, body.token, accept=body.accept, actor=caller.actor)
    else:
        done = change_schema(workspace, caller.tenant_id, body.changes, actor=caller.actor)
    job, applied, status = done.job, done.applied, 200
    if job is not None:
        job = run_at_once(workspace, job) if job.state == "staging" else job
        applied = job.state == "done"
        status = 200 if applied else 202
    with tenant_session(workspace.app, caller.tenant_id) as session:
        now = current_schema(session) if applied else done.schema
        shown = {
            "applied": applied,
            "token": done.confirmation.token if done.confirmation else None,
            "expires_at": done.confirmation.expires_at if done.confirmation else None,
            "effects": [vars(effect) for effect in done.effects],
            "schema": now.model_dump() | {"fields": now.fields_json()},
            "job": job_json(session, job) if job is not None else None,
        }
    answer = exact_answer(ChangeOut, shown)
    answer.status_code = status
    return answer
