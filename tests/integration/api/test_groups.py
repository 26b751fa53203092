"""Records that belong together, over the API."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.support.imports import run_job

CONTENT = (
    "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"
    "tee,T-shirt,Size,S,T-S,10,https://x.example/1.png\n"
    "tee,,,M,T-M,11,\n"
    "tee,,,,,,https://x.example/2.png\n"
    "mug,Mug,,,MUG,5,\n"
)


@pytest.fixture
def api(make_api):
    """A tenant of its own with the key of somebody who may confirm."""
    return make_api("admin")


def imported(api, content: str) -> dict:
    job_id = api.upload(content).json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    return api.get(f"/api/pim/import/{job_id}/").json()


def test_an_upload_says_which_rows_belong_together(api):
    answer = api.upload(CONTENT).json()
    (grouping,) = answer["groupings"]
    assert (grouping["style"], grouping["by"], grouping["images"]) == ("handle", 0, 6)
    assert "Handle" in grouping["reason"]
    assert "images" in {field["name"] for field in answer["suggested_schema"]["fields"]}


def test_a_product_is_answered_with_what_it_belongs_with(api):
    done = imported(api, CONTENT)
    assert done["ledger"] == {
        "read": 4, "created": 3, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 1,
    }  # fmt: skip
    page = api.get("/api/pim/products/", params={"variant_group": "tee"}).json()
    assert [product["sku"] for product in page["products"]] == ["T-M", "T-S"]
    detail = api.get(f"/api/pim/products/{page['products'][0]['id']}/").json()
    assert (detail["kind"], detail["parent"], [v["sku"] for v in detail["variants"]]) == ("variant", None, ["T-S"])
    assert detail["more_variants"] is False
    assert [row["Image Src"] for row in detail["merged_data"]] == ["https://x.example/2.png"]
    assert detail["raw_data"]["Title"] is None


def test_a_grouping_that_does_not_fit_is_refused(api, problem):
    job_id = api.upload(CONTENT).json()["job_id"]
    answer = api.post(f"/api/pim/import/{job_id}/confirm/", json={"groupings": [{"style": "handle", "by": 99}]})
    problem(answer, 422, "unknown_column")


def test_records_name_their_parent_by_sku(api):
    body = {"products": [
        {"sku": "CAP", "name": "Cap", "kind": "parent", "variant_group": "CAP"},
        {"sku": "CAP-1", "name": "Cap one", "kind": "variant", "variant_group": "CAP", "parent_sku": "cap"},
    ]}  # fmt: skip
    answer = api.post("/api/pim/products/bulk/", json=body)
    assert answer.json()["created"] == 2, json.dumps(answer.json())
    (one,) = api.get("/api/pim/products/", params={"sku": "cap-1"}).json()["products"]
    detail = api.get(f"/api/pim/products/{one['id']}/").json()
    assert detail["parent"]["sku"] == "CAP"
    parent = api.get(f"/api/pim/products/{detail['parent']['id']}/").json()
    assert [variant["sku"] for variant in parent["variants"]] == ["CAP-1"]
