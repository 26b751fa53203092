"""Undo, bulk delete, release and history over the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.integration.api.conftest import Api
from tests.support.imports import run_job


def imported(api: Api, content: str, **form: str) -> str:
    job_id: str = api.upload(content, source="shop", **form).json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    return job_id


def skus(api: Api) -> list[str]:
    return [product["sku"] for product in api.get("/api/pim/products/").json()["products"]]


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_import_is_previewed_undone_and_brought_back(api: Api, tents: str) -> None:
    imported(api, tents)
    job_id = imported(api, tents.replace("199.90", "149.90").replace("T-6", "T-7"))
    ids = {p["sku"]: p["id"] for p in api.get("/api/pim/products/").json()["products"]}
    api.post("/api/pim/products/bulk/", json={"products": [{"sku": "T-7", "color": "black"}]})
    shown = done(api.get(f"/api/pim/import/{job_id}/undo/"))
    assert shown["counts"] == {"restored": 1, "recreated": 0, "removed": 0, "kept": 1, "conflicts": 1}
    first, second = shown["products"]
    price = {"amount": 149.9, "currency": "EUR"}
    assert first["changes"] == [{"field": "price", "now": price, "becomes": price | {"amount": 199.9}}]
    assert (second["sku"], second["reason"], second["later"]["source"]) == ("T-7", "changed_since", "api")
    page = done(api.get(f"/api/pim/import/{job_id}/undo/?limit=1&only=conflict"))
    assert ([p["sku"] for p in page["products"]], page["next_cursor"]) == (["T-7"], None)

    answer = done(api.post(f"/api/pim/import/{job_id}/undo/"))
    assert answer["counts"] == shown["counts"]
    assert answer["published"] is True
    undo = answer["job"]
    assert (undo["kind"], undo["state"], undo["undoes_job_id"]) == ("undo", "done", job_id)
    assert undo["ledger"]["read"] == undo["ledger"]["updated"] + undo["ledger"]["unchanged"] == 2
    assert done(api.get(f"/api/pim/import/{job_id}/"))["state"] == "undone"
    changes = done(api.get(f"/api/pim/import/{undo['job_id']}/changes/"))["entries"]
    assert [(e["sku"], e["job_id"], e["changes"][0]["field"]) for e in changes] == [("T-1", undo["job_id"], "price")]
    product = done(api.get(f"/api/pim/products/{ids['T-1']}/"))
    assert product["data"]["price"]["amount"] == 199.9
    assert product["raw_data"] is None, "no record of a file says what it holds now"

    again = done(api.post(f"/api/pim/import/{undo['job_id']}/undo/"))
    assert again["counts"]["restored"] == 1
    assert done(api.get(f"/api/pim/import/{job_id}/"))["state"] == "done"
    history = done(api.get(f"/api/pim/products/{ids['T-1']}/history/"))["entries"]
    assert [entry["action"] for entry in history] == ["update", "update", "update", "create"]
    assert {entry["product_id"] for entry in history} == {ids["T-1"]}


def test_an_undo_keeps_what_it_left_as_it_was(api, problem):
    first = imported(api, "SKU,Product Name,Colour\n" + "".join(f"C-{n},Camping chair {n},red\n" for n in range(5)))
    problem(api.get(f"/api/pim/import/{first}/conflicts/"), 409, "not_an_undo")
    edits = [{"sku": f"C-{n}", "name": f"Mug {n}"} for n in range(3)]
    api.post("/api/pim/products/bulk/", json={"products": edits})
    undone = api.post(f"/api/pim/import/{first}/undo/").json()
    assert (undone["counts"]["removed"], undone["counts"]["conflicts"]) == (2, 3)
    # What comes after the undo does not change what it met.
    api.post("/api/pim/products/bulk-delete/", json={"skus": [f"C-{n}" for n in range(3)]})
    path = f"/api/pim/import/{undone['job']['job_id']}/conflicts/"
    page = api.get(path, params={"limit": 2}).json()
    rest = api.get(path, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    found = page["products"] + rest["products"]
    assert rest["next_cursor"] is None
    assert [(one["sku"], one["outcome"], one["reason"]) for one in found] == [
        (f"C-{n}", "keep", "changed_since") for n in range(3)
    ]
    assert found[0]["name"] == "Mug 0"
    assert found[0]["later"]["actor"].startswith("key:")


def test_what_cannot_be_undone_says_why(api: Api, tents: str, problem: Callable[..., dict[str, Any]]) -> None:
    waiting = api.upload(tents).json()["job_id"]
    problem(api.post(f"/api/pim/import/{waiting}/undo/"), 409, "not_done")
    problem(api.get(f"/api/pim/import/{waiting}/undo/"), 409, "not_done")
    problem(api.post(f"/api/pim/import/{waiting}/release/"), 409, "not_held")
    problem(api.post(f"/api/pim/import/{uuid4()}/undo/"), 404, "unknown_job")
    job_id = imported(api, tents, dry_run="false")
    undo = done(api.post(f"/api/pim/import/{job_id}/undo/"))["job"]["job_id"]
    assert problem(api.post(f"/api/pim/import/{job_id}/undo/"), 409, "already_undone")["value"] == undo
    redo = done(api.post(f"/api/pim/import/{undo}/undo/"))["job"]["job_id"]
    assert problem(api.post(f"/api/pim/import/{job_id}/undo/"), 409, "brought_back")["value"] == redo
    problem(api.get(f"/api/pim/import/{redo}/undo/?cursor=%21"), 422, "invalid_request")
    assert len(skus(api)) == 6


def deleted(api: Api, **wanted: Any) -> dict[str, Any]:
    """Preview, confirm and carry out a bulk delete; returns its job."""
    shown = done(api.post("/api/pim/products/bulk-delete/preview/", json=wanted))
    answer = api.post("/api/pim/products/bulk-delete/", json={"token": shown["token"]})
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job"]["job_id"]
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    job = done(api.get(f"/api/pim/import/{job_id}/"))
    assert job["rows_removed"] == shown["products"]
    return job


def test_products_are_deleted_by_selection_and_come_back(api: Api, tents: str) -> None:
    job_id = imported(api, tents)
    answer = done(api.post("/api/pim/products/bulk-delete/", json={"skus": ["t-1", " T-2 ", "T-2", "none"]}))
    assert (answer["deleted"], answer["published"]) == (2, True)
    assert (answer["job"]["kind"], answer["job"]["rows_removed"]) == ("delete", 2)
    assert skus(api) == ["T-3", "T-4", "T-5", "T-6"]
    assert deleted(api, fields={"color": "green"})["rows_removed"] == 1
    assert deleted(api, source="SHOP", skus=["T-3"])["rows_removed"] == 1
    rest = deleted(api, job_id=job_id)
    assert (rest["rows_removed"], skus(api)) == (2, [])
    assert deleted(api, all=True)["rows_removed"] == 0
    assert done(api.post(f"/api/pim/import/{rest['job_id']}/undo/"))["counts"]["recreated"] == 2
    assert skus(api) == ["T-5", "T-6"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fields": {}},
        {"all": True, "skus": ["a"]},
        {"all": False},
        {"skus": "a"},
        {"filter": {}},
        {"skus": [1]},
        {"token": "x", "all": True},
    ],
    ids=str,
)
def test_a_delete_that_does_not_say_what_is_refused(
    api: Api, tents: str, problem: Callable[..., dict[str, Any]], body: dict[str, Any]
) -> None:
    imported(api, tents)
    problem(api.post("/api/pim/products/bulk-delete/", json=body), 422, "invalid_request")
    problem(api.post("/api/pim/products/bulk-delete/preview/", json=body), 422, "invalid_request")
    assert len(skus(api)) == 6


@pytest.mark.parametrize("body", [{"all": True}, {"fields": {"color": "green"}}, {"skus": ["T-1"], "source": "shop"}])
def test_what_is_not_named_one_by_one_needs_a_preview(
    api: Api, tents: str, problem: Callable[..., dict[str, Any]], body: dict[str, Any]
) -> None:
    imported(api, tents)
    problem(api.post("/api/pim/products/bulk-delete/", json=body), 409, "confirmation_required")
    assert len(skus(api)) == 6


def test_an_unknown_source_and_import_are_told(api: Api, problem: Callable[..., dict[str, Any]]) -> None:
    problem(api.post("/api/pim/products/bulk-delete/preview/", json={"source": "nobody"}), 404, "unknown_source")
    problem(api.post("/api/pim/products/bulk-delete/preview/", json={"job_id": str(uuid4())}), 404, "unknown_job")
