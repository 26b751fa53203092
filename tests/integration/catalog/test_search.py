"""Searching and sorting: what is found, in which order, over how many pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pim_platform.catalog.facets import facets
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.matching import matching
from pim_platform.catalog.relation import relation_of
from pim_platform.catalog.search import SearchPage, search
from pim_platform.errors import InvalidRequest
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.catalogues import stocked

PRODUCTS: list[dict[str, Any]] = [
    {"sku": "TENT-1", "name": "Red tent", "price": 30, "brand": "Öko"},
    {"sku": "TENT-2", "name": "Big tent, red and dark", "price": 10.5, "colour": "red"},
    {"sku": "LAMP-1", "name": "Lamp", "text": "Hangs in every tent", "price": 10.5, "colour": "Blue"},
    {"sku": "MATT-7", "name": "Mattress", "tags": ["sleep", "camping"], "waterproof": True},
    {"sku": "ZELT-1", "name": "Großes Zelt für draußen", "brand": "Öko", "colour": "blue"},
    {"sku": "帐-1", "name": "帐篷 红色", "price": 2},
]


@pytest.fixture(scope="module")
def tenant(workspace: Workspace) -> TenantInfo:
    """One for all tests here that only read."""
    return stocked(workspace, PRODUCTS)


def ask(workspace: Workspace, tenant: TenantInfo, q: str = "", *filters: tuple[str, str], **more: Any) -> SearchPage:
    return search(workspace, tenant.id, lambda schema: Filter.from_query(filters, schema, q=q), **more)


@pytest.mark.parametrize(
    ("q", "keys"),
    [
        ("tent", ["tent-1", "tent-2", "lamp-1"]),
        ("TENT-2", ["tent-2"]),
        ("ten", ["tent-1", "tent-2"]),
        ("red tent", ["tent-1", "tent-2"]),
        ("tent hangs", ["lamp-1"]),
        ("mattres", ["matt-7"]),
        ("matress", ["matt-7"]),
        ("mtatress", ["matt-7"]),
        ("camping", ["matt-7"]),
        ("grosses", ["zelt-1"]),
        ("GROSSES ZELT", ["zelt-1"]),
        ("oko", ["tent-1", "zelt-1"]),
        ("ÖKO zelt", ["zelt-1"]),
        ("帐篷", ["帐-1"]),
        ("lamp mattress", ["lamp-1", "matt-7"]),
        ("lamp xyzzyx", ["lamp-1"]),
        ("xyzzyx", []),
        ("--", []),
        ("' OR {rows} --", []),
    ],
)
def test_search_finds_the_best_first(workspace: Workspace, tenant: TenantInfo, q: str, keys: list[str]) -> None:
    page = ask(workspace, tenant, q)
    assert (page.keys, page.count, page.count_capped) == (keys, len(keys), False)
    with_filter = Filter.from_query([], relation_of(workspace, tenant.id).schema, q=q)
    found = [key for batch in matching(workspace, tenant, with_filter) for key in batch["sku_key"].to_pylist()]
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize(
    ("sort", "keys"),
    [
        ("sku", ["lamp-1", "matt-7", "tent-1", "tent-2", "zelt-1", "帐-1"]),
        ("-sku", ["帐-1", "zelt-1", "tent-2", "tent-1", "matt-7", "lamp-1"]),
        ("price", ["帐-1", "lamp-1", "tent-2", "tent-1", "matt-7", "zelt-1"]),
        ("-price", ["tent-1", "lamp-1", "tent-2", "帐-1", "matt-7", "zelt-1"]),
        ("colour", ["lamp-1", "zelt-1", "tent-2", "matt-7", "tent-1", "帐-1"]),
        ("-waterproof", ["matt-7", "lamp-1", "tent-1", "tent-2", "zelt-1", "帐-1"]),
        ("updated_at", ["lamp-1", "matt-7", "tent-1", "tent-2", "zelt-1", "帐-1"]),
        ("name", ["tent-2", "zelt-1", "lamp-1", "matt-7", "tent-1", "帐-1"]),
        ("-id", None),
        ("source", ["lamp-1", "matt-7", "tent-1", "tent-2", "zelt-1", "帐-1"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 4])
def test_pages_of_any_order_hold_every_product_once(
    workspace: Workspace, tenant: TenantInfo, sort: str, keys: list[str] | None, limit: int
) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = ask(workspace, tenant, sort=sort, cursor=cursor, limit=limit)
        seen += page.keys
        assert page.count == len(PRODUCTS)
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == sorted(product["sku"].lower() for product in PRODUCTS)
    assert keys is None or seen == keys


def test_pages_of_a_search_go_on_at_the_step_that_found_something(workspace: Workspace, tenant: TenantInfo) -> None:
    first = ask(workspace, tenant, "tentt", limit=2)
    second = ask(workspace, tenant, "tentt", limit=2, cursor=first.next_cursor)
    assert first.keys + second.keys == ["tent-1", "tent-2", "lamp-1"]
    assert (second.count, second.next_cursor) == (3, None)


@pytest.mark.parametrize("q", ["tent", "ten", "red", "red tent", "oko", "mattres", "lamp mattress"])
@pytest.mark.parametrize("sort", [None, "sku", "-price"])
def test_a_short_page_counts_what_a_long_one_does(
    workspace: Workspace, tenant: TenantInfo, q: str, sort: str | None
) -> None:
    long, short = ask(workspace, tenant, q, sort=sort), ask(workspace, tenant, q, sort=sort, limit=1)
    assert (short.keys, short.count) == (long.keys[:1], len(long.keys))


def test_fields_may_be_called_as_anything_a_query_calls_its_own(workspace: Workspace) -> None:
    tenant = stocked(
        workspace,
        [
            {"sku": "A", "name": "Red tent", "v": "one", "n": 7, "parts": "two", "price": 1},
            {"sku": "B", "name": "Tent", "v": "other", "n": 8, "parts": "two", "price": 2},
            {"sku": "C", "name": "Tent", "v": "one", "n": 8, "parts": "two", "price": 3},
        ],
    )
    filters = [("filter[v]", "one"), ("filter[n][gte]", "8"), ("filter[parts]", "two")]
    assert ask(workspace, tenant, "", *filters, sort="-price").keys == ["c"]
    assert ask(workspace, tenant, "tent", *filters).keys == ["c"]
    assert ask(workspace, tenant, "", sort="-n").keys == ["b", "c", "a"]
    names = ["v", "n", "parts", "price"]
    found = facets(workspace, tenant.id, lambda schema: Filter.from_query(filters, schema, q=""), names)
    assert [facet.values for facet in found.facets] == [[("one", 1)], [], [("two", 1)], []]
    assert [[part.count for part in facet.ranges] for facet in found.facets] == [[], [1], [], [1]]


def test_facets_tell_values_ranges_and_what_has_none(workspace: Workspace, tenant: TenantInfo) -> None:
    names = ["colour", "price", "tags", "waterproof"]
    found = facets(workspace, tenant.id, lambda schema: Filter.from_query([], schema, q=""), names, top=1)
    colour, price, tags, waterproof = found.facets
    assert (found.count, [facet.missing for facet in found.facets]) == (6, [3, 2, 5, 5])
    assert (colour.values, colour.more) == ([("Blue", 1)], True)
    assert (tags.values, tags.more) == ([("camping", 1)], True)
    assert (waterproof.values, waterproof.more) == ([(True, 1)], False)
    assert (price.low, price.high, sum(part.count for part in price.ranges)) == (2, 30, 4)
    assert {part.low: part.count for part in price.ranges if part.count} == {0: 1, 10: 2, 25: 1}


def test_a_cursor_of_another_question_is_refused(workspace: Workspace, tenant: TenantInfo) -> None:
    cursor = ask(workspace, tenant, sort="price", limit=1).next_cursor
    for question in ({"sort": "-price"}, {"sort": "price", "q": "tent"}):
        with pytest.raises(InvalidRequest, match="another question"):
            ask(workspace, tenant, cursor=cursor, **question)
    with pytest.raises(InvalidRequest, match="not a cursor"):
        ask(workspace, tenant, sort="price", cursor="abc")


@pytest.mark.parametrize("sort", ["tags", "nothing", "relevance"])
def test_what_has_no_order_is_refused(workspace: Workspace, tenant: TenantInfo, sort: str) -> None:
    with pytest.raises(InvalidRequest):
        ask(workspace, tenant, sort=sort)


def test_a_search_follows_writes_at_once(workspace: Workspace) -> None:
    tenant = stocked(workspace, PRODUCTS)
    bulk_upsert(workspace, tenant.id, [{"sku": "TENT-1", "name": "Boot"}], actor=Actor("test"))
    assert ask(workspace, tenant, "boot").keys == ["tent-1"]
    assert ask(workspace, tenant, "red tent").keys == ["tent-2"]
    assert ask(workspace, tenant, "", ("filter[name]", "Red tent")).keys == []


def test_a_tenant_without_products_finds_none(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> None:
    assert ask(workspace, make_tenant(), "tent") == SearchPage([], None, 0, count_capped=False)
