"""Products: pages, one by id with its raw row, bulk upsert."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.json_bodies import exact_answer
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.models import Product
from pim_platform.catalog.products import MAXIMUM_PAGE, as_json, find_product, get_product, list_products, relatives
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.raw_rows import merged_rows, raw_row

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


class ProductPageOut(BaseModel):
    """One page in the order of the SKUs."""

    products: list[ProductOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


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


class BulkOut(BaseModel):
    """What became of every record."""

    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int = Field(description="Records whose SKU came again further down.")
    errors: list[BulkError]
    published: bool = Field(description="Whether search has them already; else it will soon.")


@router.get(
    "/",
    summary="List products",
    response_model=ProductPageOut,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="products:read"),
)
def products(
    session: SessionDep,
    cursor: Annotated[Text | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 50,
    sku: Annotated[Text | None, Query(description="Only the product of this SKU, however it is spelled.")] = None,
    variant_group: Annotated[Text | None, Query(description="Only products of this group.")] = None,
) -> Response:
    """A page of products in the order of their SKUs."""
    if sku is not None:
        found = find_product(session, sku)
        return exact_answer(ProductPageOut, {"products": [as_json(found)] if found else [], "next_cursor": None})
    page = list_products(session, cursor=cursor, limit=limit, variant_group=variant_group)
    shown = {"products": [as_json(product) for product in page.products], "next_cursor": page.next_cursor}
    return exact_answer(ProductPageOut, shown)


@router.get(
    "/{product_id}/",
    summary="Read a product",
    response_model=ProductDetail,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="products:read"),
)
def product(workspace: WorkspaceDep, session: SessionDep, product_id: UUID) -> Response:
    """A product, its parent and the variants of its group, and the record of the file that wrote it last."""
    found = get_product(session, product_id)
    belongs = relatives(session, found)
    answer = as_json(found) | {
        "parent": _brief(belongs.parent) if belongs.parent else None,
        "variants": [_brief(variant) for variant in belongs.variants],
        "more_variants": belongs.more,
        "raw_data": raw_row(workspace, found),
        "merged_data": merged_rows(workspace, found),
    }
    return exact_answer(ProductDetail, answer)


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
    return {**result.ledger, "errors": result.errors, "published": result.published}
