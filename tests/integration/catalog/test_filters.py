"""Filters find in ClickHouse what they say, of one tenant alone."""

from __future__ import annotations

from typing import Any

import pytest

from pim_platform.catalog.filters import Filter
from pim_platform.catalog.matching import matching
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import InvalidRequest
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.catalogues import stocked

PRODUCTS: list[dict[str, Any]] = [
    {
        "sku": "T-1",
        "name": "Tent for one",
        "price": {"amount": 199.9, "currency": "EUR"},
        "tags": ["red", "dark, blue"],
    },
    {"sku": "T-2", "name": "Tent for two", "price": {"amount": 299, "currency": "USD"}, "colour": "it's \\ red"},
    {"sku": "T-3", "name": "Zelt für drei", "weight": 2.5, "waterproof": True, "colour": "blue", "active": False},
]


def find(workspace: Workspace, tenant: TenantInfo, *query: tuple[str, str]) -> list[str]:
    with tenant_session(workspace.app, tenant.id) as session:
        wanted = Filter.from_query(query, current_schema(session))
        assert Filter.from_json(wanted.as_json(), current_schema(session)) == wanted
    return [key for batch in matching(workspace, tenant, wanted) for key in batch["sku_key"].to_pylist()]


@pytest.fixture(scope="module")
def tenant(workspace: Workspace) -> TenantInfo:
    """One for all tests here that only read."""
    return stocked(workspace, PRODUCTS)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ([], ["t-1", "t-2", "t-3"]),
        ([("filter[price][gte]", "200")], ["t-2"]),
        ([("filter[price][lt]", "200")], ["t-1"]),
        ([("filter[price.currency]", "USD")], ["t-2"]),
        ([("filter[price][has]", "false")], ["t-3"]),
        ([("filter[colour]", "it's \\ red")], ["t-2"]),
        ([("filter[colour][in]", "blue,it's \\ red")], ["t-2", "t-3"]),
        ([("filter[colour][missing]", "true")], ["t-1"]),
        ([("filter[tags][contains]", "dark, blue")], ["t-1"]),
        ([("filter[tags][in]", '"dark, blue",green')], ["t-1"]),
        ([("filter[tags][missing]", "true")], ["t-2", "t-3"]),
        ([("filter[waterproof]", "true")], ["t-3"]),
        ([("filter[active]", "false")], ["t-3"]),
        ([("filter[weight]", "2.50")], ["t-3"]),
        ([("filter[name][contains]", "TENT")], ["t-1", "t-2"]),
        ([("filter[name][contains]", "FÜR")], ["t-3"]),
        ([("filter[sku][in]", " t-1,T-3,other")], ["t-1", "t-3"]),
        ([("filter[updated_at][gte]", "2020-01-01")], ["t-1", "t-2", "t-3"]),
        ([("filter[updated_at][lt]", "2020-01-01T00:00:00+02:00")], []),
        ([("filter[source]", "api"), ("filter[price][gt]", "199.9")], ["t-2"]),
    ],
)
def test_a_filter_finds_what_it_says(
    workspace: Workspace, tenant: TenantInfo, query: list[tuple[str, str]], keys: list[str]
) -> None:
    assert find(workspace, tenant, *query) == keys


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("filter[prize][gte]", "10", "price"),
        ("filter[price][gte]", "ten", "a number"),
        ("filter[price][gte]", "NaN", "a number"),
        ("filter[price][contains]", "1", "gte"),
        ("filter[waterproof]", "perhaps", "true or false"),
        ("filter[updated_at][gte]", "yesterday", "ISO 8601"),
        ("filter[source]", "ui2", "csv, api, ui"),
        ("filter[id]", "7", "a UUID"),
        ("filter[price", "7", "filter[price][gte]"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(
    workspace: Workspace, tenant: TenantInfo, name: str, value: str, expected: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        find(workspace, tenant, (name, value))
    assert caught.value.code == "invalid_filter"
    assert caught.value.place["column"] == name
    assert expected in str(caught.value.place["expected"])
