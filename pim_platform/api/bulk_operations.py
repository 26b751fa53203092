"""Bulk edits and bulk deletes: previewed, confirmed by a token, done as jobs that can be undone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Response, Security
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pim_platform.api.dependencies import CallerDep, Text, WorkspaceDep, bearer
from pim_platform.api.import_models import ImportOut
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.deleting import Selection
from pim_platform.errors import Conflict
from pim_platform.intake.bulk_jobs import BulkPreview, confirm_bulk, preview_delete, preview_edit
from pim_platform.intake.jobs import job_json
from pim_platform.intake.models import ImportJob
from pim_platform.intake.operations import MAXIMUM as MAXIMUM_OPERATIONS
from pim_platform.intake.removing import delete_selection
from pim_platform.intake.running import run_at_once
from pim_platform.intake.wanted import MAXIMUM_SKUS
from pim_platform.intake.workspace import Workspace
from pim_platform.storage import exact_json
from pim_platform.storage.postgres import tenant_session

router = APIRouter(prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)])

#: What names products, beside ``all``.
_SOME = ("skus", "source", "job_id", "fields", "filter", "q")
TOKEN_EXAMPLE = "confirm_4uD0bWZzq9Yx3v7kqkD1sT2mB5cN8hLp"  # noqa: S105  # an example in the document


class WantedIn(BaseModel):
    """Which products are meant: `all`, or those that meet every other condition given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"filter": {"brand": "Acme", "price": {"lt": 10}}}, {"source": "old-supplier"}]
        },
    )

    all: Literal[True] | None = Field(None, description="The whole catalogue; nothing else may be given then.")
    skus: list[Text] | None = Field(None, max_length=MAXIMUM_SKUS, description="However they are spelled.")
    source: Text | None = Field(None, description="Last written by this source.")
    job_id: UUID | None = Field(None, description="Last written by this import.")
    fields: dict[Text, Any] | None = Field(None, description="Field values, exactly; null: no value.")
    filter: dict[Text, Any] | None = Field(
        None, description='As in search: `{"price": {"gte": 10}, "colour": {"in": ["red", "blue"]}, "brand": "Acme"}`.'
    )
    q: Text | None = Field(None, description="Search text, as in search.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        self.require()
        return self

    def require(self) -> None:
        """Raise ValueError where it does not say which products are meant."""
        given = [part for part in _SOME if getattr(self, part) is not None]
        if bool(self.all) == bool(given) or self.fields == {} or self.filter == {} or self.q == "":
            raise ValueError("say which products: all, or any of skus, source, job_id, fields, filter and q")

    def request(self) -> dict[str, Any]:
        """What is given, as the domain takes it."""
        return {part: getattr(self, part) for part in ("all", *_SOME) if getattr(self, part) is not None}


class TokenIn(BaseModel):
    """The token of a preview."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": TOKEN_EXAMPLE}]})

    token: Annotated[Text, Field(max_length=200, description="As the preview answered it; good for an hour, once.")]


class OperationIn(BaseModel):
    """One change of one field.

    `set` (`value`), `clear`; `append` and `remove` (`values`) for lists; `multiply` and `add` (`by`, perhaps `decimals`
    and `currency`) for numbers and prices, exact to the last digit.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"op": "set", "field": "brand", "value": "Acme"},
                {"op": "multiply", "field": "price", "by": 1.05, "decimals": 2, "currency": "EUR"},
                {"op": "append", "field": "tags", "values": ["sale"]},
            ]
        },
    )

    op: Literal["set", "clear", "append", "remove", "multiply", "add"]
    field: Text
    value: Any = None
    values: list[Text] | None = None
    by: Any = Field(
        None, description="A number, also as a text.", json_schema_extra={"type": ["number", "string", "null"]}
    )
    decimals: int | None = Field(None, ge=0, le=10, description="Rounded to so many, halves away from zero.")
    currency: Text | None = Field(None, description="Only amounts in it; `add` to a price must name one.")
    locale: Text | None = Field(None, description="Of a localizable field.")


class EditIn(WantedIn):
    """Which products, and what becomes of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "filter": {"brand": "Acme"},
                    "operations": [{"op": "multiply", "field": "price", "by": 1.05, "decimals": 2}],
                }
            ]
        },
    )

    operations: list[OperationIn] = Field(min_length=1, max_length=MAXIMUM_OPERATIONS, description="One per field.")


class SampleProduct(BaseModel):
    """A product that is meant."""

    id: UUID
    sku: str
    name: str


class DeletePreviewOut(BaseModel):
    """What a bulk delete would do."""

    token: str = Field(description="Confirms exactly this, once, within an hour.", examples=[TOKEN_EXAMPLE])
    expires_at: datetime
    commit: int = Field(description="Number of the catalogue's last commit.")
    products: int = Field(description="Products that would be deleted.")
    sample: list[SampleProduct] = Field(description="The first of them by SKU.")


class FieldChange(BaseModel):
    """A field of a product before and after; null: no value."""

    product_id: UUID
    sku: str
    field: str
    old: Any
    new: Any


class ConflictOut(BaseModel):
    """Products that stay as they are in a field."""

    field: str
    reason: Literal["no_value", "not_a_number", "not_a_list", "other_currency", "required"]
    products: int
    skus: list[str] = Field(description="Some of them.")


class EditPreviewOut(DeletePreviewOut):
    """What a bulk edit would do."""

    products: int = Field(description="Products that are meant;")
    changed: int = Field(description="those that would change,")
    unchanged: int = Field(description="and those that would stay as they are.")
    changes: list[FieldChange] = Field(description="Changes of the first changed products by SKU.")
    conflicts: list[ConflictOut] = Field(description="What stands in the way of an operation.")


class BulkJobOut(BaseModel):
    """The job of a bulk operation; follow it and undo it like an import."""

    job: ImportOut


class DeleteIn(WantedIn):
    """The token of a preview; or SKUs alone, which are deleted at once."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"token": TOKEN_EXAMPLE}, {"skus": ["TENT-1", "TENT-2"]}]}
    )

    token: Annotated[Text | None, Field(max_length=200)] = None

    def require(self) -> None:
        """The same, where there is no token."""
        if self.token is None:
            super().require()
        elif self.request():
            raise ValueError("a token says which products are meant: send nothing else")


class DeleteOut(BulkJobOut):
    """A bulk delete: done where SKUs were named, else its job."""

    deleted: int | None = Field(description="Null where it is not done yet.")
    published: bool = Field(description="Whether search knows already; else it will soon.")


def _job(workspace: Workspace, job: ImportJob) -> dict[str, Any]:
    with tenant_session(workspace.app, job.tenant_id) as session:
        return job_json(session, job)


def _previewed(found: BulkPreview) -> dict[str, Any]:
    return {
        "token": found.confirmation.token,
        "expires_at": found.confirmation.expires_at,
        "commit": found.commit_seq,
        "products": found.products,
        "sample": found.sample,
    }


@router.post(
    "/bulk-edit/preview/",
    summary="Preview a bulk edit",
    response_model=EditPreviewOut,
    responses=documented(400, 404, 413, 422),
    openapi_extra=needs("editor", scope="products:write"),
)
def bulk_edit_preview(workspace: WorkspaceDep, caller: CallerDep, body: EditIn) -> Response:
    """What operations would do to the products that are meant, and a token that confirms exactly that."""
    operations = [operation.model_dump(exclude_unset=True) for operation in body.operations]
    found = preview_edit(workspace, caller.tenant_id, body.request(), operations, actor=caller.actor)
    shown = _previewed(found) | {
        "changed": found.changed,
        "unchanged": found.products - found.changed,
        "changes": [
            {name: line[name] for name in ("product_id", "sku", "field")}
            | {name: exact_json.loads(line[name]) if line[name] is not None else None for name in ("old", "new")}
            for line in found.changes
        ],
        "conflicts": [vars(conflict) for conflict in found.conflicts],
    }
    return exact_answer(EditPreviewOut, shown)


@router.post(
    "/bulk-edit/",
    summary="Edit many products",
    response_model=BulkJobOut,
    responses=documented(
        400, 404, 409, 413, 422, ok={202: {"model": BulkJobOut, "description": "It runs soon; follow the job."}}
    ),
    openapi_extra=needs("editor", scope="products:write"),
)
def bulk_edit(workspace: WorkspaceDep, caller: CallerDep, body: TokenIn, response: Response) -> dict[str, Any]:
    """Do what a preview showed, as a job that can be undone.

    `200` with the job that is done; `202` where it takes longer. `409 catalogue_moved` where one of the products was
    written since, or others are meant: nothing is done then.
    """
    job = confirm_bulk(workspace, caller.tenant_id, "edit", body.token, actor=caller.actor)
    if job.state == "staging":
        job = run_at_once(workspace, job)
    response.status_code = 200 if job.state == "done" else 202
    return {"job": _job(workspace, job)}


@router.post(
    "/bulk-delete/preview/",
    summary="Preview a bulk delete",
    response_model=DeletePreviewOut,
    responses=documented(400, 404, 413, 422),
    openapi_extra=needs("editor", scope="products:write"),
)
def bulk_delete_preview(workspace: WorkspaceDep, caller: CallerDep, body: WantedIn) -> dict[str, Any]:
    """Which products a bulk delete would take, and a token that confirms exactly that."""
    return _previewed(preview_delete(workspace, caller.tenant_id, body.request(), actor=caller.actor))


@router.post(
    "/bulk-delete/",
    summary="Delete many products",
    response_model=DeleteOut,
    responses=documented(
        400, 404, 409, 413, 422, ok={202: {"model": DeleteOut, "description": "It runs soon; follow the job."}}
    ),
    openapi_extra=needs("editor", scope="products:write"),
)
def bulk_delete(workspace: WorkspaceDep, caller: CallerDep, body: DeleteIn, response: Response) -> dict[str, Any]:
    """Delete what a preview showed, as a job that can be undone; `202`, and the job says when it is done.

    Products that are named one by one (`skus` alone) are deleted at once, without a token: `200`. Whatever else is
    meant has to be previewed: `409 confirmation_required`.
    """
    if body.token is not None:
        job = confirm_bulk(workspace, caller.tenant_id, "delete", body.token, actor=caller.actor)
        response.status_code = 202
        return {"job": _job(workspace, job), "deleted": None, "published": False}
    if set(body.request()) != {"skus"}:
        raise Conflict(
            "Products that are not named one by one are deleted only after a preview.",
            fix="Send the same to /api/pim/products/bulk-delete/preview/, and the token that it answers to this path.",
            code="confirmation_required",
        )
    done = delete_selection(
        workspace,
        caller.tenant_id,
        Selection(skus=tuple(body.skus or ())),
        actor=caller.actor,
        origin="api",
        wait_seconds=workspace.settings.lock_timeout_seconds,
    )
    return {"job": _job(workspace, done.job), "deleted": done.deleted, "published": done.published}
