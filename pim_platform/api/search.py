"""Products in pages: by key from PostgreSQL; filtered, searched, sorted and counted from ClickHouse (design D11)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from pim_platform.api.dependencies import CallerDep, Text, WorkspaceDep, bearer
from pim_platform.api.paging import CursorQuery, NextCursor
from pim_platform.api.problems import documented
from pim_platform.api.products import ProductOut
from pim_platform.api.routes import KeyRoute, admit, needs, role_and_scope
from pim_platform.catalog import facets as faceting
from pim_platform.catalog.facets import MAXIMUM_FACETS, MAXIMUM_VALUES, Facet, Facets, capped
from pim_platform.catalog.filters import MAXIMUM_TEXT, Filter
from pim_platform.catalog.pages import key_page, product_of_sku, products_of
from pim_platform.catalog.products import MAXIMUM_PAGE
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.search import search
from pim_platform.intake.workspace import Workspace
from pim_platform.storage import exact_json
from pim_platform.tenancy.keys import Caller


class PageRoute(KeyRoute):
    """The route of the list. A plain page, which programs ask for by the thousand, takes a short way.

    Key, limits and page are seen to in one thread and two round trips; FastAPI's reading of parameters would take as
    long again. Everything but a well-formed ``cursor`` and ``limit`` goes the usual way, and is answered there.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the short way in front."""
        role, scope = role_and_scope(self)
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            plain = _plain_page(request)
            if request.method != "GET" or plain is None:
                return await usual(request)

            def page() -> Response:
                caller = admit(request)
                caller.require(role, scope)
                request.state.caller = caller
                workspace: Workspace = request.app.state.workspace
                found = key_page(workspace.app, caller.tenant_id, **plain)
                return page_answer(found.products, found.next_cursor)

            return await run_in_threadpool(page)

        return handler


def _plain_page(request: Request) -> dict[str, Any] | None:
    """The arguments of :func:`key_page` where nothing else is asked for, and nothing wrong."""
    given = request.query_params
    pairs = given.multi_items()
    if len(pairs) > 2 or len(pairs) != len(given) or not given.keys() <= {"cursor", "limit"}:
        return None
    limit = given.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAXIMUM_PAGE):
        return None
    return {"cursor": given.get("cursor"), "limit": int(limit)}


router = APIRouter(prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)])
pages = APIRouter(prefix=router.prefix, tags=["products"], route_class=PageRoute, dependencies=[Security(bearer)])

_FILTER = (
    "Conditions by field, all of which a product must meet: `filter[price][gte]=10`, `filter[colour]=red`, "
    "`filter[colour][in]=red,blue`, `filter[title.de-DE][has]=true`. Operators: `eq` (may be left out), `in`, `gt`, "
    "`gte`, `lt`, `lte`, `contains`, `has`, `missing`. Fields: those of the schema and `id`, `sku`, `name`, `active`, "
    "`kind`, `source`, `import`, `source_id`, `parent_id`, `variant_group`, `created_at`, `updated_at`."
)
_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "filter",
        "in": "query",
        "required": False,
        "style": "deepObject",
        "explode": True,
        "description": _FILTER,
        "schema": {"type": "object", "additionalProperties": True},
        "examples": {"red": {"summary": "By one value", "value": {"colour": "red"}}},
    }
]

QText = Annotated[
    Text | None,
    Query(max_length=MAXIMUM_TEXT, description="Search text: a SKU or its beginning, words of the product's texts."),
]
Sort = Annotated[
    Text | None,
    Query(
        max_length=200,
        description="A field that holds one value, `name`, `sku`, `updated_at`, ...; with `-` in front descending; "
        "`relevance` of a search. Products without a value come last.",
    ),
]


class ProductPageOut(BaseModel):
    """One page: in the order of the SKUs, of relevance to `q`, or as `sort` says."""

    products: list[ProductOut]
    next_cursor: NextCursor
    count: int | None = Field(
        None, description="How many products there are, up to 10,000; null where neither q, filter nor sort is given."
    )
    count_capped: bool = Field(False, description="Whether there are more than `count`.")


class SearchIn(BaseModel):
    """A search whose filter is JSON."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"q": "tent", "filter": {"price": {"gte": 10, "lt": 300}, "colour": ["red", "blue"]}, "sort": "-price"}
            ]
        },
    )

    q: str | None = Field(None, max_length=MAXIMUM_TEXT, description="Search text.")
    filter: dict[str, Any] | None = Field(
        None,
        description='`{"price": {"gte": 10}, "colour": ["red", "blue"], "active": true}`: a list is `in`, else `eq`.',
    )
    sort: str | None = Field(None, max_length=200)
    cursor: str | None = None
    limit: int = Field(50, ge=1, le=MAXIMUM_PAGE)


class FacetsIn(BaseModel):
    """Facets of a search whose filter is JSON."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"facets": ["colour", "price"], "filter": {"active": True}, "top": 10}]},
    )

    facets: list[str] = Field(min_length=1, max_length=MAXIMUM_FACETS)
    q: str | None = Field(None, max_length=MAXIMUM_TEXT)
    filter: dict[str, Any] | None = None
    top: int = Field(10, ge=1, le=MAXIMUM_VALUES)


class FacetValue(BaseModel):
    """A value and how many of the products have it."""

    value: str | bool
    count: int
    count_capped: bool


class FacetRange(BaseModel):
    """Numbers from one to below another (the last range includes its end)."""

    low: float
    high: float
    count: int
    count_capped: bool


class FacetOut(BaseModel):
    """What the products found hold in one field."""

    field: str
    kind: Literal["values", "range"]
    values: list[FacetValue] = Field(description="Of `values`: most frequent first.")
    more_values: bool = Field(description="Whether there are other values.")
    low: float | None = Field(description="Of `range`: the least number,")
    high: float | None = Field(description="and the greatest.")
    ranges: list[FacetRange]
    missing: int = Field(description="Products without a value.")
    missing_capped: bool


class FacetsOut(BaseModel):
    """Facets of the products found; counts go up to 10,000."""

    count: int
    count_capped: bool
    facets: list[FacetOut]


@pages.get(
    "/",
    summary="List and search products",
    response_model=ProductPageOut,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="products:read") | {"parameters": _PARAMETERS},
)
def products(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 50,
    sku: Annotated[Text | None, Query(description="Only the product of this SKU, however it is spelled.")] = None,
    variant_group: Annotated[Text | None, Query(description="Only products of this group.")] = None,
    q: QText = None,
    sort: Sort = None,
) -> Response:
    """A page of products. Without `q`, `filter` and `sort` it is read by key, whatever the search engine does."""
    pairs = [(name, text) for name, text in request.query_params.multi_items() if name.startswith("filter")]
    if q or sort or pairs:
        more = [("filter[sku]", sku)] if sku is not None else []
        more += [("filter[variant_group]", variant_group)] if variant_group is not None else []
        return _found(
            workspace, caller, lambda schema: Filter.from_query([*pairs, *more], schema, q=q or ""), sort, cursor, limit
        )
    if sku is not None:
        return page_answer(product_of_sku(workspace.app, caller.tenant_id, sku), None)
    page = key_page(workspace.app, caller.tenant_id, cursor=cursor, limit=limit, variant_group=variant_group)
    return page_answer(page.products, page.next_cursor)


@router.post(
    "/search/",
    summary="Search products with a JSON filter",
    response_model=ProductPageOut,
    responses=documented(400, 413, 422),
    openapi_extra=needs("viewer", scope="products:read"),
)
def search_products(workspace: WorkspaceDep, caller: CallerDep, body: SearchIn) -> Response:
    """The same as the list with `q`, `filter` and `sort`, for filters too long for an address."""
    return _found(
        workspace,
        caller,
        lambda schema: Filter.from_json(body.filter or {}, schema, q=body.q or ""),
        body.sort,
        body.cursor,
        body.limit,
    )


@router.get(
    "/facets/",
    summary="Count values",
    response_model=FacetsOut,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="products:read") | {"parameters": _PARAMETERS},
)
def facets(
    request: Request,
    workspace: WorkspaceDep,
    caller: CallerDep,
    facets: Annotated[Text, Query(description="Fields, separated by commas.", examples=["colour,price"])],
    q: QText = None,
    top: Annotated[int, Query(ge=1, le=MAXIMUM_VALUES, description="Values of each.")] = 10,
) -> dict[str, Any]:
    """What there is to choose from among the products that `q` and `filter` mean: values with counts, ranges."""
    pairs = request.query_params.multi_items()
    names = [name.strip() for name in facets.split(",") if name.strip()]
    found = faceting.facets(
        workspace, caller.tenant_id, lambda schema: Filter.from_query(pairs, schema, q=q or ""), names, top=top
    )
    return _facets_answer(found)


@router.post(
    "/facets/",
    summary="Count values with a JSON filter",
    response_model=FacetsOut,
    responses=documented(400, 413, 422),
    openapi_extra=needs("viewer", scope="products:read"),
)
def count_facets(workspace: WorkspaceDep, caller: CallerDep, body: FacetsIn) -> dict[str, Any]:
    """The same for filters too long for an address."""
    found = faceting.facets(
        workspace,
        caller.tenant_id,
        lambda schema: Filter.from_json(body.filter or {}, schema, q=body.q or ""),
        body.facets,
        top=body.top,
    )
    return _facets_answer(found)


def _found(
    workspace: Workspace,
    caller: Caller,
    read_filter: Callable[[ProductSchema], Filter],
    sort: str | None,
    cursor: str | None,
    limit: int,
) -> Response:
    page = search(workspace, caller.tenant_id, read_filter, sort=sort, cursor=cursor, limit=limit)
    shown = products_of(workspace.app, caller.tenant_id, page.keys)
    return page_answer(shown, page.next_cursor, page.count, capped=page.count_capped)


def page_answer(
    products: list[str], next_cursor: str | None, count: int | None = None, *, capped: bool = False
) -> Response:
    """A page whose products are JSON texts already, as :class:`ProductPageOut` says."""
    rest = exact_json.dumps({"next_cursor": next_cursor, "count": count, "count_capped": capped})
    return Response(f'{{"products":[{",".join(products)}],{rest[1:]}', media_type="application/json")


def _facets_answer(found: Facets) -> dict[str, Any]:
    count, more = capped(found.count)
    return {"count": count, "count_capped": more, "facets": [_facet(facet) for facet in found.facets]}


def _facet(facet: Facet) -> dict[str, Any]:
    def counted(number: int) -> dict[str, Any]:
        count, more = capped(number)
        return {"count": count, "count_capped": more}

    missing, missing_capped = capped(facet.missing)
    return {
        "field": facet.name,
        "kind": facet.kind,
        "values": [{"value": value, **counted(count)} for value, count in facet.values],
        "more_values": facet.more,
        "low": facet.low,
        "high": facet.high,
        "ranges": [{"low": part.low, "high": part.high, **counted(part.count)} for part in facet.ranges],
        "missing": missing,
        "missing_capped": missing_capped,
    }
