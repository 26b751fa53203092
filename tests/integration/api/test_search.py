"""Searching through the API: pages, filters, facets, and what happens where the search engine is away."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pim_platform.errors import EngineUnavailable
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import create_tenant
from tests.integration.api.conftest import ACTOR, Api, assert_problem

PRODUCTS: list[dict[str, Any]] = [
    {"sku": "T-1", "name": "Tent for one", "price": {"amount": 199.9, "currency": "EUR"}, "tags": ["red", "light"]},
    {"sku": "T-2", "name": "Tent for two", "price": {"amount": 299.9, "currency": "EUR"}, "tags": ["red"]},
    {"sku": "L-1", "name": "Lamp", "price": {"amount": 9.123456789012346, "currency": "EUR"}, "bright": True},
    {"sku": "X-1", "name": "Something else"},
]


@pytest.fixture(scope="module")
def shop(client: TestClient, workspace: Workspace) -> Api:
    """A shop for all tests here that only read."""
    tenant = create_tenant(
        workspace.app, "s" + uuid.uuid4().hex[:12], currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    key = create_key(workspace.app, tenant.id, role="editor", name="test", actor=ACTOR)
    return stocked(Api(client, workspace, tenant, key))


def stocked(api: Api) -> Api:
    assert api.post("/api/pim/products/bulk/", json={"products": PRODUCTS}).status_code == 200
    return api


def skus(body: dict[str, Any]) -> list[str]:
    return [product["sku"] for product in body["products"]]


def test_a_list_shows_products_as_reading_one_does(shop: Api) -> None:
    for path in ("/api/pim/products/", "/api/pim/products/?sort=sku", "/api/pim/products/?sku=t-1"):
        for shown in shop.get(path).json()["products"]:
            detail = shop.get(f"/api/pim/products/{shown['id']}/").json()
            assert shown == {key: detail[key] for key in shown}


def test_filters_sort_and_search_go_together(shop: Api) -> None:
    answer = shop.get("/api/pim/products/?q=tent&filter[price][gte]=10&sort=-price").json()
    assert (skus(answer), answer["count"], answer["count_capped"]) == (["T-2", "T-1"], 2, False)
    same = {"q": "tent", "filter": {"price": {"gte": 10}}, "sort": "-price"}
    assert shop.post("/api/pim/products/search/", json=same).json() == answer
    assert skus(shop.get("/api/pim/products/?filter[tags]=light").json()) == ["T-1"]
    assert skus(shop.get("/api/pim/products/?q=lmap").json()) == ["L-1"]
    assert skus(shop.get("/api/pim/products/?sku=T-1&sort=name").json()) == ["T-1"]


def test_pages_follow_their_cursor(shop: Api) -> None:
    for query in ("", "sort=-name&", "filter[sku][contains]=-&"):
        seen, cursor = [], ""
        while cursor is not None:
            page = shop.get(f"/api/pim/products/?{query}limit=1" + (f"&cursor={cursor}" if cursor else "")).json()
            seen += skus(page)
            cursor = page["next_cursor"]
        assert sorted(seen) == ["L-1", "T-1", "T-2", "X-1"]


def test_facets_count_what_was_found(shop: Api) -> None:
    answer = shop.get("/api/pim/products/facets/?facets=tags,price,bright,source&filter[sku][contains]=-1").json()
    tags, price, bright, source = answer["facets"]
    assert answer["count"] == 3
    assert [(value["value"], value["count"]) for value in tags["values"]] == [("light", 1), ("red", 1)]
    assert (tags["missing"], price["missing"], bright["missing"]) == (2, 1, 2)
    assert (price["low"], price["high"]) == (9.123456789012346, 199.9)
    assert sum(part["count"] for part in price["ranges"]) == 2
    assert bright["values"] == [{"value": True, "count": 1, "count_capped": False}]
    assert source["values"] == [{"value": "api", "count": 3, "count_capped": False}]
    body = {"facets": ["tags"], "q": "tent", "top": 1}
    (facet,) = shop.post("/api/pim/products/facets/", json=body).json()["facets"]
    assert facet["values"] == [{"value": "red", "count": 2, "count_capped": False}]
    assert facet["more_values"] is True


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("?filter[price][gte]=much", "invalid_filter"),
        ("?filter[nothing]=1", "invalid_filter"),
        ("?filter[price=1", "invalid_filter"),
        ("?sort=tags", "invalid_sort"),
        ("?sort=price&cursor=nonsense", "invalid_cursor"),
        ("?cursor=!", "invalid_request"),
        ("?limit=1001", "invalid_request"),
        ("facets/?facets=", "invalid_facet"),
        ("facets/?facets=created_at", "invalid_facet"),
    ],
)
def test_what_cannot_be_asked_is_a_problem(shop: Api, path: str, code: str) -> None:
    assert_problem(shop.get(f"/api/pim/products/{path}"), 422, code)


def test_a_write_is_found_by_the_next_search(api: Api) -> None:
    shop = stocked(api)
    shop.post("/api/pim/products/bulk/", json={"products": [{"sku": "T-1", "name": "Hammock"}]})
    assert skus(shop.get("/api/pim/products/?q=hammock").json()) == ["T-1"]
    shop.post("/api/pim/products/bulk-delete/", json={"skus": ["T-1"]})
    assert skus(shop.get("/api/pim/products/?q=hammock").json()) == []


def test_without_the_search_engine_lists_by_key_still_work(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Workspace) -> object:
        raise EngineUnavailable("ClickHouse does not answer.", fix="Start it.")

    monkeypatch.setattr(Workspace, "clickhouse", property(away))
    answer = shop.get("/api/pim/products/?q=tent")
    assert_problem(answer, 503, "engine_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert_problem(shop.get("/api/pim/products/facets/?facets=tags"), 503, "engine_unavailable")
    assert len(shop.get("/api/pim/products/").json()["products"]) == 4
