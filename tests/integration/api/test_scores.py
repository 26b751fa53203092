"""Scores come by a door of their own: in bulk, without a trace in versions, history and search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.errors import TenantBusy
from pim_platform.intake.scoring import score_products
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from tests.integration.api.conftest import Api
from tests.support.imports import ACTOR

PATH = "/api/pim/products/"


@pytest.fixture
def shop(api: Api) -> Api:
    api.post(f"{PATH}bulk/", json={"products": [{"sku": sku, "name": sku} for sku in "ABC"]})
    return api


def products(api: Api) -> dict[str, dict[str, Any]]:
    return {product["sku"]: product for product in api.get(PATH).json()["products"]}


def put(api: Api, *scores: dict[str, Any]) -> dict[str, Any]:
    answer = api.request("PUT", f"{PATH}scores/", json={"scores": list(scores)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    parts = ("updated", "unchanged", "superseded", "rejected")
    assert body["read"] == len(scores) == sum(body[name] for name in parts)
    return body


def test_scores_are_written_by_sku_and_id(shop: Api) -> None:
    before = products(shop)
    body = put(
        shop,
        {"sku": " a ", "score": 1},
        {"id": before["B"]["id"], "score": 12.5},
        {"sku": "A", "score": 100},
        {"sku": "C", "score": None},
    )
    assert (body["updated"], body["unchanged"], body["superseded"], body["errors"]) == (2, 1, 1, [])
    after = products(shop)
    assert {sku: one["ai_readability_score"] for sku, one in after.items()} == {"A": 100, "B": 12.5, "C": None}
    same = {sku: one | {"ai_readability_score": None} for sku, one in after.items()}
    assert same == before, "neither a version nor a time moved"
    assert [e["action"] for e in shop.get(f"{PATH}{before['A']['id']}/history/").json()["entries"]] == ["create"]
    assert compare_engines(shop.workspace.app, shop.workspace.clickhouse, shop.tenant.id).equal
    assert put(shop, {"sku": "A", "score": 100})["unchanged"] == 1
    assert put(shop, {"sku": "A", "score": None})["updated"] == 1


def test_a_score_is_no_lost_update_for_editors(shop: Api) -> None:
    path = f"{PATH}{products(shop)['A']['id']}/"
    tag = shop.get(path).headers["etag"]
    put(shop, {"sku": "A", "score": 50})
    assert shop.get(path, headers={"If-None-Match": tag}).status_code == 200, "a read shows the score"
    assert shop.request("PATCH", path, json={"name": "x"}, headers={"If-Match": tag}).status_code == 200


def test_wrong_scores_are_rejected_one_by_one(shop: Api) -> None:
    wrong = [
        ({"sku": "Z", "score": 1}, "unknown_product"),
        ({"id": "0199b6c2-9d04-7b1a-a7f2-5d2c8e90b3a4", "score": 1}, "unknown_product"),
        ({"id": "none", "score": 1}, "not_an_id"),
        ({"score": 1}, "missing_sku"),
        ({"sku": " ", "score": 1}, "missing_sku"),
        ({"sku": 5, "score": 1}, "missing_sku"),
        ({"sku": "A"}, "missing_value"),
        ({"sku": "A", "score": "high"}, "not_a_number"),
        ({"sku": "A", "score": True}, "not_a_number"),
        ({"sku": "A", "score": 100.5}, "out_of_range"),
        ({"sku": "A", "score": -1}, "out_of_range"),
        ({"sku": "A", "score": 1, "name": "x"}, "unknown_field"),
    ]
    body = put(shop, *(score for score, _ in wrong), {"sku": "B", "score": 7})
    assert [(error["row"], error["error_code"]) for error in body["errors"]] == [
        (row, code) for row, (_, code) in enumerate(wrong, start=1)
    ]
    assert products(shop)["B"]["ai_readability_score"] == 7
    assert products(shop)["A"]["ai_readability_score"] is None


def test_none_and_too_many(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    for scores in ([], [{"sku": "A", "score": 1}] * 10_001):
        problem(shop.request("PUT", f"{PATH}scores/", json={"scores": scores}), 422, "invalid_request")


def test_scores_wait_for_whoever_writes_the_catalogue(shop: Api) -> None:
    """An import notes where a product lies; a score that moved it meanwhile would make it lose that product."""
    hurried = Workspace(shop.workspace.settings.model_copy(update={"lock_timeout_seconds": 0.2}))
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        lock_catalogue(driver_connection(session), shop.tenant.id, wait_seconds=None)
        with pytest.raises(TenantBusy):
            score_products(hurried, shop.tenant.id, [{"sku": "A", "score": 1}], actor=ACTOR)


def test_another_tenants_products_are_unknown(shop: Api, make_api: Callable[..., Api]) -> None:
    other = make_api()
    foreign = products(shop)["A"]["id"]
    body = put(other, {"id": foreign, "score": 1}, {"sku": "A", "score": 1})
    assert body["rejected"] == 2
    assert products(shop)["A"]["ai_readability_score"] is None
