"""Quotas as a caller meets them: a problem that names the limit, what is used and what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pim_platform.tenancy.quotas import Quotas, set_quotas
from tests.integration.api.conftest import ACTOR, Api


def limit(api: Api, quotas: Quotas) -> None:
    set_quotas(api.workspace.app, api.tenant.id, quotas, actor=ACTOR)


def test_a_bulk_upsert_beyond_the_quota_is_a_problem_that_names_it(api: Api, problem: Callable[..., Any]) -> None:
    limit(api, Quotas(products=1))
    records = [{"sku": f"S-{n}", "name": "n"} for n in range(3)]
    body = problem(api.post("/api/pim/products/bulk/", json={"products": records}), 403, "quota_exceeded")
    assert (body["column"], body["expected"], body["value"]) == ("products", 1, 3)
    assert "1 products; it has 0, and 3 more" in body["detail"]
    assert api.get("/api/pim/products/").json()["products"] == []


def test_an_upload_beyond_the_quota_makes_no_job(api: Api, problem: Callable[..., Any]) -> None:
    limit(api, Quotas(storage_bytes=10))
    problem(api.upload("SKU,Name\nA,a\n"), 403, "quota_exceeded")
    assert api.get("/api/pim/import/").json()["imports"] == []


def test_a_bulk_job_takes_a_place_as_an_import_does(api: Api, problem: Callable[..., Any]) -> None:
    api.post("/api/pim/products/bulk/", json={"products": [{"sku": "S-1", "name": "n"}]})
    shown = api.post("/api/pim/products/bulk-delete/preview/", json={"all": True})
    assert shown.status_code == 200, shown.text
    limit(api, Quotas(concurrent_jobs=0))
    answer = api.post("/api/pim/products/bulk-delete/", json={"token": shown.json()["token"]})
    problem(answer, 403, "quota_exceeded")
    limit(api, Quotas())
    again = api.post("/api/pim/products/bulk-delete/", json={"token": shown.json()["token"]})
    assert again.status_code == 202, "the token is still good"
