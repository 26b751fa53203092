"""Saved mappings, measured accuracy, tiers, notices and costs over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx

from pim_platform.tenancy.usage import reserve

FILE = "SKU,Product Name,zq7\nT-1,Tent one,red\nT-2,Tent two,blue\n"
CORRECTED = {
    "schema": {"fields": [{"name": "material"}]},
    "mapping": {"SKU": "sku", "Product Name": "name", "zq7": "material"},
}

Problem = Callable[[httpx.Response, int, str], dict[str, object]]


def _confirmed(api: Any, source: str = "north") -> str:
    job_id: str = api.upload(FILE, source=source).json()["job_id"]
    answer = api.post(f"/api/pim/import/{job_id}/confirm/", json=CORRECTED)
    assert answer.status_code == 202, answer.text
    return job_id


def test_an_upload_says_of_each_column_where_its_meaning_comes_from_and_what_to_know(api: Any) -> None:
    body = api.upload(FILE).json()
    tiers = {column["source"]: column["tier"] for column in body["columns"]}
    assert tiers["SKU"] == "alias"
    assert tiers["zq7"] in ("none", "match")
    assert any("without Claude: no key is set" in notice for notice in body["notices"])


def test_accuracy_by_tier_and_band_of_one_source_or_all(api: Any, problem: Problem) -> None:
    assert api.get("/api/pim/mapping/accuracy/").json() == {"accuracy": []}
    _confirmed(api)
    found = api.get("/api/pim/mapping/accuracy/").json()["accuracy"]
    assert sum(one["columns"] for one in found) == 3
    assert sum(one["correct"] for one in found) == 2
    for one in found:
        assert one["precision_low"] <= one["precision"] <= one["precision_high"]
    assert api.get("/api/pim/mapping/accuracy/?source=north").json()["accuracy"] == found
    problem(api.get("/api/pim/mapping/accuracy/?source=south"), 404, "unknown_source")


def test_figures_are_the_tenants_own(make_api: Callable[..., Any]) -> None:
    first, second = make_api(), make_api()
    _confirmed(first)
    reserve(first.workspace.app, first.tenant.id, Decimal("0.25"), default_budget=1.0, endpoint="/v1/messages")
    assert first.get("/api/pim/mapping/costs/").json()["spent_today_usd"] == 0.25
    assert second.get("/api/pim/mapping/accuracy/").json() == {"accuracy": []}
    body = second.get("/api/pim/mapping/costs/").json()
    assert (body["costs"], body["spent_today_usd"]) == ([], 0.0)


def test_templates_are_listed_and_forgotten_by_those_who_may(api: Any, problem: Problem) -> None:
    job_id = _confirmed(api)
    _confirmed(api, "south")
    listed = api.get("/api/pim/mapping/templates/").json()["templates"]
    assert {one["source"] for one in listed} == {"north", "south"}
    (one,) = api.get("/api/pim/mapping/templates/?source=north").json()["templates"]
    assert one["job_id"] == job_id
    assert one["headers"] == ["SKU", "Product Name", "zq7"]
    assert one["mapping"]["zq7"] == "material"
    path = f"/api/pim/mapping/templates/north/{one['fingerprint']}/"
    problem(api.with_role("viewer").request("DELETE", path), 403, "forbidden")
    gone = api.with_role("reviewer").request("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    problem(api.request("DELETE", path), 404, "unknown_template")
    assert [one["source"] for one in api.get("/api/pim/mapping/templates/").json()["templates"]] == ["south"]


def test_costs_and_the_budget_of_today(api: Any, problem: Problem) -> None:
    body = api.get("/api/pim/mapping/costs/").json()
    assert body == {"costs": [], "daily_budget_usd": 1.0, "spent_today_usd": 0.0}
    problem(api.get("/api/pim/mapping/costs/?days=0"), 422, "invalid_request")
