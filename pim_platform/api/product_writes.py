"""Creating, replacing, patching and deleting one product."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response, Security
from pydantic import WithJsonSchema

from pim_platform.api.conditions import IfMatch, IfNoneMatch, precondition
from pim_platform.api.dependencies import CallerDep, WorkspaceDep, bearer
from pim_platform.api.problems import documented
from pim_platform.api.products import TAGGED, ProductDetail, detail
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.models import Product
from pim_platform.intake.workspace import Workspace
from pim_platform.intake.writing import create_product, delete_product, patch_product, replace_product
from pim_platform.storage.postgres import tenant_session

router = APIRouter(prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)])

_COLUMNS: dict[str, Any] = {
    "sku": {
        "type": ["string", "number"],
        "maxLength": 255,
        "description": "Unique, however it is spelled. Another one renames.",
    },
    "name": {"type": "string"},
    "active": {"type": "boolean", "description": "True where it is left out of a new or replaced product."},
    "kind": {"enum": ["simple", "parent", "variant", "bundle"], "description": "`simple` where it is left out."},
    "variant_group": {"type": ["string", "null"]},
    "parent_sku": {"type": ["string", "null"], "description": "SKU of the product that it is a variant of."},
    "data": {
        "type": ["object", "null"],
        "description": "The fields of the schema, as reads show them; they may stand beside the columns as well.",
        "additionalProperties": True,
    },
}
_EXAMPLE = {
    "sku": "TENT-2",
    "name": "Tent for two",
    "data": {"weight_kg": 2.4, "price": {"amount": 299.90, "currency": "EUR"}},
}
_SCHEMA = {"type": "object", "properties": _COLUMNS, "additionalProperties": True}

_Document = Annotated[
    dict[str, Any],
    WithJsonSchema(_SCHEMA),
    Body(description="A product.", openapi_examples={"tent": {"value": _EXAMPLE}}),
]
_PATCH_EXAMPLE = {"name": "Tent for two people", "data": {"price": {"amount": 279}, "colour": None}}
_Patch = Annotated[
    dict[str, Any],
    WithJsonSchema(_SCHEMA),
    Body(description="A JSON Merge Patch (RFC 7396).", openapi_examples={"tent": {"value": _PATCH_EXAMPLE}}),
]
#: The patch by its own media type as well.
_MERGE_PATCH = {"requestBody": {"content": {"application/merge-patch+json": {"schema": _SCHEMA}}}}


def _shown(workspace: Workspace, product: Product, status: int = 200) -> Response:
    with tenant_session(workspace.app, product.tenant_id) as session:
        return detail(workspace, session, product, status)


@router.post(
    "/",
    status_code=201,
    summary="Create a product",
    response_model=ProductDetail,
    responses=documented(
        400,
        409,
        413,
        422,
        ok={
            201: {
                "headers": TAGGED["headers"]
                | {"Location": {"description": "Path of the product.", "schema": {"type": "string"}}}
            }
        },
    ),
    openapi_extra=needs("editor", scope="products:write"),
)
def create(workspace: WorkspaceDep, caller: CallerDep, body: _Document) -> Response:
    """Create a product. `sku` and `name` must be given; a field that the schema lacks is refused.

    `409 sku_exists` where a product has this SKU, however it is spelled; `value` is its id.
    """
    made = create_product(workspace, caller.tenant_id, body, actor=caller.actor)
    answer = _shown(workspace, made.product, 201)
    answer.headers["Location"] = f"/api/pim/products/{made.product.id}/"
    return answer


@router.put(
    "/{product_id}/",
    summary="Replace a product",
    response_model=ProductDetail,
    responses=documented(400, 404, 409, 412, 413, 422, ok={200: TAGGED}),
    openapi_extra=needs("editor", scope="products:write"),
)
def replace(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    product_id: UUID,
    body: _Document,
    _only: IfMatch = None,
    _unless: IfNoneMatch = None,
) -> Response:
    """Make a product what the body says: fields that it leaves out are cleared. `sku` and `name` left out stay.

    Another `sku` renames the product; it keeps its id and its history. What a read answered can be sent back: what
    only the platform writes may be among it as long as it is as it was read.
    """
    done = replace_product(
        workspace, caller.tenant_id, product_id, body, actor=caller.actor, precondition=precondition(request)
    )
    return _shown(workspace, done.product)


@router.patch(
    "/{product_id}/",
    summary="Change a product",
    response_model=ProductDetail,
    responses=documented(400, 404, 409, 412, 413, 422, ok={200: TAGGED}),
    openapi_extra=needs("editor", scope="products:write") | _MERGE_PATCH,
)
def patch(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    product_id: UUID,
    body: _Patch,
    _only: IfMatch = None,
    _unless: IfNoneMatch = None,
) -> Response:
    """Change a product by a JSON Merge Patch (RFC 7396): what it leaves out stays, null clears, lists are replaced."""
    done = patch_product(
        workspace, caller.tenant_id, product_id, body, actor=caller.actor, precondition=precondition(request)
    )
    return _shown(workspace, done.product)


@router.delete(
    "/{product_id}/",
    status_code=204,
    summary="Delete a product",
    responses=documented(404, 409, 412, 422),
    openapi_extra=needs("editor", scope="products:write"),
)
def delete(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    product_id: UUID,
    _only: IfMatch = None,
    _unless: IfNoneMatch = None,
) -> None:
    """Delete a product. Its history stays as long as the change log is kept."""
    delete_product(workspace, caller.tenant_id, product_id, actor=caller.actor, precondition=precondition(request))
