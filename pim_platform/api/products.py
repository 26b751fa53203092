"""Products: pages, one by id with its raw row and where it comes from, bulk upsert."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from pim_platform.api.conditions import IfNoneMatch, not_modified, tag_of
from pim_platform.api.dependencies import CallerDep, SessionDep, WorkspaceDep, bearer
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.models import Product
from pim_platform.catalog.products import as_json, get_product, relatives
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.provenance import provenance
from pim_platform.intake.raw_rows import merged_rows, raw_row
from pim_platform.intake.workspace import Workspace

#: What the document says of an answer with an ETag.
TAGGED: dict[str, Any] = {
    "headers": {"ETag": {"description": "The state of the product, for If-Match.", "schema": {"type": "string"}}}
}

router = APIRouter(prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)])


class ProductOut(BaseModel):
    """A product; the fields of the tenant's schema are in `data`."""

    id: UUID
    sku: str
    name: str
    active: bool
    kind: Literal["simple", "parent", "variant", "bundle"]
    parent_id: UUID | None
    variant_group: str | None
    data: dict[str, Any]
    source: Literal["csv", "api", "ui"]
    ai_readability_score: float | None
    version: int
    created_at: datetime
    updated_at: datetime


class RelatedProduct(BaseModel):
    """A product that belongs with another one."""

    id: UUID
    sku: str
    name: str
    kind: Literal["simple", "parent", "variant", "bundle"]


class WriteOut(BaseModel):
    """One write of a product."""

    commit: int = Field(description="Number of the commit in the tenant's catalogue.")
    at: datetime
    source: str | None = Field(description="The import's source; of a write by request `api` or `ui`.")
    job_id: UUID | None = Field(description="The import, undo or bulk operation; null: a write by request.")
    job_kind: Literal["file", "undo", "delete", "edit", "schema"] | None
    filename: str | None
    row: int | None = Field(description="Record number in the file; the header is 1.")
    actor: str | None = Field(description="Null where the change log does not hold it any more.")
    request_id: str | None


class ProvenanceOut(BaseModel):
    """Where a product comes from."""

    last: WriteOut = Field(description="The write that made it what it is.")
    created: WriteOut | None = Field(description="The write that created it.")


class ProductDetail(ProductOut):
    """A product, what it belongs with, and the record it was last written from."""

    parent: RelatedProduct | None = Field(description="The product that it is a variant of.")
    variants: list[RelatedProduct] = Field(
        description="The other variants of its group, the first hundred; list with `variant_group` for all."
    )
    more_variants: bool = Field(description="Whether the group has more.")

    raw_data: dict[str, str | None] | None = Field(
        description="`{header: cell}` before mapping; null where the product came by API."
    )
    merged_data: list[dict[str, str | None]] = Field(
        description="Records of the file that became part of it or its group: image rows, other locales."
    )
    provenance: ProvenanceOut = Field(description="Which import, file and row, or which request, wrote it.")


class BulkIn(BaseModel):
    """Products to create or update by SKU."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"products": [{"sku": "TENT-2", "name": "Tent for two", "weight_kg": 2.4}]}]},
    )

    products: list[dict[str, Any]] = Field(
        description="1 to 10,000 objects with `sku`; `name` where it is new; other keys are fields. A key that is "
        "absent or null keeps the stored value. A field the schema lacks is added to it."
    )


class BulkError(BaseModel):
    """Why one record was rejected."""

    row: int = Field(description="1-based position in the request.")
    column: str | None
    value: str | None
    error_code: str
    error: str
    suggestion: str


class BulkRow(BaseModel):
    """What became of one record."""

    row: int = Field(description="1-based position in the request.")
    sku: str | None
    outcome: Literal["created", "updated", "unchanged", "rejected", "superseded"] = Field(examples=["updated"])
    id: UUID | None = Field(description="The product; of a superseded record that of the later one. Null: rejected.")


class BulkOut(BaseModel):
    """What became of every record."""

    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int = Field(description="Records whose SKU came again further down.")
    errors: list[BulkError] = Field(description="Why records were rejected.")
    results: list[BulkRow] = Field(description="One per record, in their order.")
    published: bool = Field(description="Whether search has them already; else it will soon.")


@router.get(
    "/{product_id}/",
    summary="Read a product",
    response_model=ProductDetail,
    responses=documented(404, 422, ok={200: TAGGED, 304: {"description": "The answer is the one with this ETag."}}),
    openapi_extra=needs("viewer", scope="products:read"),
)
def product(
    request: Request,
    workspace: WorkspaceDep,
    session: SessionDep,
    product_id: UUID,
    _unless: IfNoneMatch = None,
) -> Response:
    """A product, its parent and the variants of its group, where it comes from, and the record behind it.

    `ETag` names this state for `If-Match` of a write, and this answer for `If-None-Match` of the next read.
    """
    answer = detail(workspace, session, get_product(session, product_id))
    if not_modified(request, answer.headers["etag"]):
        return Response(status_code=304, headers={"ETag": answer.headers["etag"]})
    return answer


def detail(workspace: Workspace, session: Session, found: Product, status: int = 200) -> Response:
    """The answer that shows one product, with its ETag."""
    belongs = relatives(session, found)
    origin = provenance(session, found)
    answer = as_json(found) | {
        "parent": _brief(belongs.parent) if belongs.parent else None,
        "variants": [_brief(variant) for variant in belongs.variants],
        "more_variants": belongs.more,
        "raw_data": raw_row(workspace, found),
        "merged_data": merged_rows(workspace, found),
        "provenance": {"last": origin.last.as_json(), "created": origin.created and origin.created.as_json()},
    }
    shown = exact_answer(ProductDetail, answer)
    shown.status_code = status
    shown.headers["ETag"] = tag_of(found, bytes(shown.body))
    return shown


def _brief(product: Product) -> dict[str, str]:
    return {"id": str(product.id), "sku": product.sku, "name": product.name, "kind": product.kind}


@router.post(
    "/bulk/",
    summary="Create and update products",
    response_model=BulkOut,
    responses=documented(400, 409, 413, 422),
    openapi_extra=needs("editor", scope="products:write"),
)
def bulk(workspace: WorkspaceDep, caller: CallerDep, body: BulkIn) -> dict[str, Any]:
    """Create and update products by SKU, all in one transaction; a record that is wrong is rejected alone."""
    result = bulk_upsert(workspace, caller.tenant_id, body.products, actor=caller.actor)
    return {**result.ledger, "errors": result.errors, "results": result.results, "published": result.published}
