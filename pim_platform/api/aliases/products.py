"""Products and uploads under the names of the first importer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import File, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pim_platform.api.aliases.routes import alias_router, instead
from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.paging import CursorQuery
from pim_platform.api.problems import documented
from pim_platform.api.routes import needs
from pim_platform.catalog.deleting import Selection
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.models import Product
from pim_platform.catalog.pages import key_page, products_of
from pim_platform.catalog.products import as_json, get_product
from pim_platform.catalog.schema import SchemaField
from pim_platform.catalog.schemas import current_schema, save_schema
from pim_platform.catalog.search import search
from pim_platform.intake.confirming import confirm_by_policy
from pim_platform.intake.jobs import get_job, parse_job_id
from pim_platform.intake.landing import land
from pim_platform.intake.models import ImportJob
from pim_platform.intake.progress import percent
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.removing import delete_selection
from pim_platform.intake.workspace import Workspace
from pim_platform.intake.writing import create_product, delete_product, patch_product
from pim_platform.storage import exact_json
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import Caller

router = alias_router("/api/products")

_PRODUCT: dict[str, JsonValue] = {
    "id": "0199b6c2-9d0e-7b6a-b0a5-3f6c3f0c2f51",
    "name": "Tent for one",
    "sku": "T-1",
    "description": "Green, 1.2 kg",
    "active": True,
    "created_at": "2026-11-21T05:30:44Z",
    "updated_at": "2026-11-21T05:30:44Z",
}
_JOB: dict[str, JsonValue] = {
    "id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
    "job_id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11",
    "status": "processing",
    "progress": 42,
    "total_records": 861_688,
    "processed_records": 430_000,
    "error_message": None,
    "created_at": "2026-11-21T05:30:44Z",
    "updated_at": "2026-11-21T05:30:49Z",
}


class AliasProduct(BaseModel):
    """A product as the first importer knew it; the rest of it is at `/api/pim/products/`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PRODUCT]})

    id: UUID
    name: str
    sku: str
    description: str
    active: bool
    created_at: datetime
    updated_at: datetime


class AliasProductList(BaseModel):
    """A page of products."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"products": [_PRODUCT], "next_cursor": None, "count": 1, "count_capped": False}]
        }
    )

    products: list[AliasProduct]
    next_cursor: str | None
    count: int | None = Field(description="How many there are, up to 10,000; null without a filter.")
    count_capped: bool


class AliasProductIn(BaseModel):
    """A new product."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Tent for one", "sku": "T-1", "description": "Green, 1.2 kg"}]},
    )

    name: Text
    sku: Text
    description: Text = ""
    active: bool = True


class AliasProductPut(BaseModel):
    """What a product is to be; what is left out stays, and so does all that these names do not know."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Tent for one", "active": False}]}
    )

    name: Text | None = None
    sku: Text | None = None
    description: Text | None = None
    active: bool | None = None


class AliasJob(BaseModel):
    """An import as the first importer knew it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})

    id: UUID
    job_id: UUID
    status: Literal["pending", "processing", "completed", "failed"]
    progress: int = Field(description="0 to 100.")
    total_records: int
    processed_records: int
    error_message: str | None = Field(description="Why it failed, or what it waits for.")
    created_at: datetime
    updated_at: datetime


class AliasDeleted(BaseModel):
    """What became of all products."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"deleted": 500_000, "job_id": "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11"}]}
    )

    deleted: int
    job_id: UUID = Field(description="The job, which can be undone.")


def _product(shown: dict[str, Any]) -> dict[str, Any]:
    value = shown["data"].get("description")
    names = ("id", "name", "sku", "active", "created_at", "updated_at")
    return {name: shown[name] for name in names} | {"description": _text(value)}


def _text(value: Any) -> str:
    """A description as one text: of one that differs by locale or channel, the first there is."""
    while isinstance(value, dict):
        value = next(iter(value.values()), "")
    return "" if value is None else str(value)


@router.get(
    "/",
    summary="List products (alias)",
    response_model=AliasProductList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="products:read") | instead("/api/pim/products/"),
)
def list_products(
    workspace: WorkspaceDep,
    caller: CallerDep,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    sku: Annotated[Text | None, Query(description="Part of the SKU.")] = None,
    name: Annotated[Text | None, Query(description="Part of the name.")] = None,
    description: Annotated[Text | None, Query(description="Part of the description.")] = None,
    active: Annotated[bool | None, Query()] = None,
) -> Response:
    """A page of products, filtered by parts of their texts."""
    parts = {"sku": sku, "name": name, "description": description}
    pairs = [(f"filter[{field}][contains]", part) for field, part in parts.items() if part]
    if active is not None:
        pairs.append(("filter[active]", str(active).lower()))
    count, capped = None, False
    if pairs:
        page = search(
            workspace,
            caller.tenant_id,
            lambda schema: Filter.from_query(pairs, schema),
            sort="sku",
            cursor=cursor,
            limit=limit,
        )
        texts = products_of(workspace.app, caller.tenant_id, page.keys)
        following, count, capped = page.next_cursor, page.count, page.count_capped
    else:
        plain = key_page(workspace.app, caller.tenant_id, cursor=cursor, limit=limit)
        texts, following = plain.products, plain.next_cursor
    shown = [_product(exact_json.loads(one)) for one in texts]
    return exact_answer(
        AliasProductList, {"products": shown, "next_cursor": following, "count": count, "count_capped": capped}
    )


@router.post(
    "/",
    status_code=201,
    summary="Create a product (alias)",
    response_model=AliasProduct,
    responses=documented(409, 413, 422),
    openapi_extra=needs("editor", scope="products:write") | instead("/api/pim/products/"),
)
def create(workspace: WorkspaceDep, caller: CallerDep, body: AliasProductIn) -> dict[str, Any]:
    """Create a product."""
    given = body.model_dump()
    if not given["description"]:
        del given["description"]
    _require_description(workspace, caller, given)
    return _shown(create_product(workspace, caller.tenant_id, given, actor=caller.actor).product)


def _require_description(workspace: Workspace, caller: Caller, given: dict[str, Any]) -> None:
    """The first importer's schema has a description, a tenant's may lack it."""
    if given.get("description") is None:
        return
    with tenant_session(workspace.app, caller.tenant_id) as session:
        schema = current_schema(session)
        if schema.field("description") is None:
            save_schema(session, schema.with_fields([SchemaField(name="description", type="string")]), caller.actor)


def _shown(product: Product) -> dict[str, Any]:
    return _product(as_json(product))


@router.post(
    "/upload/",
    status_code=202,
    summary="Upload a file (alias)",
    response_model=AliasJob,
    responses=documented(413, 422),
    openapi_extra=needs("editor", scope="imports:write", upload=True, keeps="answer") | instead("/api/pim/import/csv/"),
)
def upload(
    workspace: WorkspaceDep, caller: CallerDep, file: Annotated[UploadFile, File(description="The product file.")]
) -> dict[str, Any]:
    """Upload a file and import it.

    The first importer knew no confirmation, so whoever uses its path gives it: where every column is understood for
    certain, the import runs. Else it is `pending`, and `error_message` says what is not sure and how to confirm it.
    """
    landed = land(
        workspace,
        caller.tenant_id,
        file.file,
        filename=(file.filename or "").replace("\x00", ""),
        source="api",
        origin="api",
        actor=caller.actor,
    )
    job = propose_job(workspace, caller.tenant_id, landed.job_id)
    if job.state == "mapping":
        confirm_by_policy(workspace, caller.tenant_id, job.id, actor=caller.actor, policy="all_sure")
    with tenant_session(workspace.app, caller.tenant_id) as session:
        return _job(get_job(session, job.id))


@router.get(
    "/upload/{job_id}/status/",
    summary="Follow an upload (alias)",
    response_model=AliasJob,
    responses=documented(404),
    openapi_extra=needs("viewer", scope="imports:read") | instead("/api/pim/import/{job_id}/"),
)
def status(session: SessionDep, job_id: str) -> dict[str, Any]:
    """How far an upload is."""
    return _job(get_job(session, parse_job_id(job_id)))


_STATUS: dict[str, str] = {
    "staging": "processing",
    "importing": "processing",
    "done": "completed",
    "undone": "completed",
    "failed": "failed",
    "cancelled": "failed",
}


def _job(job: ImportJob) -> dict[str, Any]:
    told = job.progress
    total = job.row_count or told.get("total") or 0
    state = _STATUS.get(job.state, "pending")
    done = {"completed": job.rows_read or 0, "processing": told.get("rows") or 0}.get(state, 0)
    return {
        "id": job.id,
        "job_id": job.id,
        "status": state,
        "progress": percent(job.state, told) if state != "pending" else 0,
        "total_records": total,
        "processed_records": min(done, total) if total else done,
        "error_message": job.reason if state != "failed" else job.reason or "It was cancelled.",
        "created_at": job.created_at,
        "updated_at": job.finished_at or job.lease_at or job.confirmed_at or job.created_at,
    }


@router.delete(
    "/bulk-delete/",
    summary="Delete all products (alias)",
    response_model=AliasDeleted,
    responses=documented(409, 422),
    openapi_extra=needs("admin", scope="products:write") | instead("/api/pim/products/bulk-delete/"),
)
def delete_all(workspace: WorkspaceDep, caller: CallerDep) -> dict[str, Any]:
    """Delete the whole catalogue, as a job that can be undone. For admins: nothing asks whether it is meant."""
    done = delete_selection(
        workspace,
        caller.tenant_id,
        Selection(everything=True),
        actor=caller.actor,
        origin="api",
        wait_seconds=workspace.settings.lock_timeout_seconds,
    )
    return {"deleted": done.deleted, "job_id": done.job.id}


@router.get(
    "/{product_id}/",
    summary="Read a product (alias)",
    response_model=AliasProduct,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="products:read") | instead("/api/pim/products/{product_id}/"),
)
def read(session: SessionDep, product_id: UUID) -> dict[str, Any]:
    """One product."""
    return _shown(get_product(session, product_id))


@router.put(
    "/{product_id}/",
    summary="Update a product (alias)",
    response_model=AliasProduct,
    responses=documented(404, 409, 413, 422),
    openapi_extra=needs("editor", scope="products:write") | instead("/api/pim/products/{product_id}/"),
)
def update(workspace: WorkspaceDep, caller: CallerDep, product_id: UUID, body: AliasProductPut) -> dict[str, Any]:
    """Update a product. Fields that the first importer did not know stay as they are."""
    given = body.model_dump(exclude_none=True)
    with tenant_session(workspace.app, caller.tenant_id) as session:
        get_product(session, product_id)
    _require_description(workspace, caller, given)
    return _shown(patch_product(workspace, caller.tenant_id, product_id, given, actor=caller.actor).product)


@router.delete(
    "/{product_id}/",
    status_code=204,
    summary="Delete a product (alias)",
    responses=documented(404, 409, 422),
    openapi_extra=needs("editor", scope="products:write") | instead("/api/pim/products/{product_id}/"),
)
def delete(workspace: WorkspaceDep, caller: CallerDep, product_id: UUID) -> None:
    """Delete a product."""
    delete_product(workspace, caller.tenant_id, product_id, actor=caller.actor)
