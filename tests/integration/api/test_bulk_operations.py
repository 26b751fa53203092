"""Bulk edits and deletes over the API: previewed, confirmed by token, done by a job, undone."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.intake.lease import claim
from pim_platform.storage.postgres import tenant_session
from tests.integration.api.conftest import Api
from tests.support.imports import ACTOR, run_job

PATH = "/api/pim/products/"
FIELDS = [
    {"name": "color"},
    {"name": "brand"},
    {"name": "stock", "type": "number"},
    {"name": "price", "type": "price"},
    {"name": "prices", "type": "multi_price"},
    {"name": "tags", "type": "array"},
    {"name": "blurb", "localizable": True},
    {"name": "online", "type": "boolean"},
]


def eur(amount: Any) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


PRODUCTS: list[dict[str, Any]] = [
    {"sku": "A", "name": "Axe", "color": "red", "brand": "Acme", "stock": 3, "price": eur("19.99"), "tags": ["new"]},
    {"sku": "B", "name": "Bow", "color": "red", "price": {"amount": 10, "currency": "USD"}, "tags": ["new", "sale"]},
    {"sku": "C", "name": "Cup", "color": "blue", "stock": "0.1", "price": eur(5)},
    {"sku": "D", "name": "Die", "brand": "Acme"},
]


@pytest.fixture
def shop(api: Api) -> Api:
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        save_schema(session, current_schema(session).with_fields(parse_fields(FIELDS)), ACTOR)
    assert api.post(f"{PATH}bulk/", json={"products": PRODUCTS}).json()["created"] == 4
    return api


def ok(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def preview(api: Api, *operations: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    body = (wanted or {"all": True}) | {"operations": list(operations)}
    return ok(api.post(f"{PATH}bulk-edit/preview/", json=body))


def edit(api: Api, *operations: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    token = preview(api, *operations, **wanted)["token"]
    job: dict[str, Any] = ok(api.post(f"{PATH}bulk-edit/", json={"token": token}))["job"]
    assert (job["kind"], job["state"]) == ("edit", "done")
    return job


def fields(api: Api, name: str) -> dict[str, Any]:
    found = ok(api.get(PATH))["products"]
    return {product["sku"]: product["data"].get(name) for product in found}


def test_a_preview_says_what_an_edit_would_do_and_the_edit_does_that(shop: Api) -> None:
    raised = {"op": "multiply", "field": "price", "by": 1.05, "decimals": 2, "currency": "EUR"}
    shown = preview(shop, raised, {"op": "set", "field": "brand", "value": "Acme"})
    assert (shown["products"], shown["changed"], shown["unchanged"]) == (4, 3, 1)
    changes = {(change["sku"], change["field"]): (change["old"], change["new"]) for change in shown["changes"]}
    assert changes == {
        ("A", "price"): (eur(19.99), eur(20.99)),
        ("B", "brand"): (None, "Acme"),
        ("C", "price"): (eur(5), eur(5.25)),
        ("C", "brand"): (None, "Acme"),
    }
    assert [(c["field"], c["reason"], c["products"], c["skus"]) for c in shown["conflicts"]] == [
        ("price", "no_value", 1, ["D"]),
        ("price", "other_currency", 1, ["B"]),
    ]
    assert fields(shop, "brand")["B"] is None, "a preview writes nothing"
    job = ok(shop.post(f"{PATH}bulk-edit/", json={"token": shown["token"]}))["job"]
    assert (job["state"], job["ledger"]["updated"], job["ledger"]["unchanged"]) == ("done", 3, 1)
    assert fields(shop, "price") == {
        "A": eur(20.99), "B": {"amount": 10, "currency": "USD"}, "C": eur(5.25), "D": None,
    }  # fmt: skip
    assert fields(shop, "brand") == dict.fromkeys("ABCD", "Acme")
    assert compare_engines(shop.workspace.app, shop.workspace.clickhouse, shop.tenant.id).equal
    entries = ok(shop.get(f"/api/pim/import/{job['job_id']}/changes/"))["entries"]
    assert len(entries) == 3
    undone = ok(shop.post(f"/api/pim/import/{job['job_id']}/undo/"))
    assert undone["counts"]["restored"] == 3
    assert fields(shop, "brand") == {"A": "Acme", "B": None, "C": None, "D": "Acme"}
    assert fields(shop, "price")["A"] == eur(19.99)


OPERATIONS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"op": "set", "field": "color", "value": "green"}, "color", dict.fromkeys("ABCD", "green")),
    ({"op": "set", "field": "stock", "value": "1.50"}, "stock", dict.fromkeys("ABCD", 1.5)),
    ({"op": "set", "field": "online", "value": True}, "online", dict.fromkeys("ABCD", True)),
    ({"op": "set", "field": "tags", "value": ["x", "y"]}, "tags", {sku: ["x", "y"] for sku in "ABCD"}),
    ({"op": "set", "field": "price", "value": "7"}, "price", dict.fromkeys("ABCD", eur(7))),
    ({"op": "clear", "field": "color"}, "color", dict.fromkeys("ABCD")),
    (
        {"op": "append", "field": "tags", "values": ["sale", "hot", "hot"]},
        "tags",
        {"A": ["new", "sale", "hot"], "B": ["new", "sale", "hot"], "C": ["sale", "hot"], "D": ["sale", "hot"]},
    ),
    (
        {"op": "remove", "field": "tags", "values": ["new", "gone"]},
        "tags",
        {"A": None, "B": ["sale"], "C": None, "D": None},
    ),
    ({"op": "add", "field": "stock", "by": "0.2"}, "stock", {"A": 3.2, "B": None, "C": 0.3, "D": None}),
    ({"op": "multiply", "field": "stock", "by": -2}, "stock", {"A": -6, "B": None, "C": -0.2, "D": None}),
    (
        {"op": "add", "field": "price", "by": "0.005", "currency": "EUR"},
        "price",
        {"A": eur(19.995), "B": {"amount": 10, "currency": "USD"}, "C": eur(5.005), "D": None},
    ),
]


def test_operations_do_what_they_say_and_are_undone(shop: Api) -> None:
    for operation, name, after in OPERATIONS:
        before = fields(shop, name)
        job = edit(shop, operation)
        assert fields(shop, name) == after, operation
        shown = preview(shop, operation)
        if operation["op"] not in ("add", "multiply"):
            assert (shown["changed"], shown["changes"]) == (0, []), "a second time there is nothing to do"
        ok(shop.post(f"/api/pim/import/{job['job_id']}/undo/"))
        assert fields(shop, name) == before, operation
    assert compare_engines(shop.workspace.app, shop.workspace.clickhouse, shop.tenant.id).equal


def test_amounts_of_several_prices_are_exact(shop: Api) -> None:
    prices = [{"amount": "0.1", "currency": "EUR"}, {"amount": "12345678901234567.10", "currency": "USD"}]
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": "A", "prices": prices}]})
    edit(shop, {"op": "multiply", "field": "prices", "by": "1.1"})
    text = shop.get(PATH).text
    assert '"amount": 13580246791358023.81' in text
    assert '"amount": 0.11' in text
    assert Decimal("12345678901234567.10") * Decimal("1.1") == Decimal("13580246791358023.81")


def test_locales_are_set_and_cleared_one_by_one(shop: Api) -> None:
    edit(shop, {"op": "set", "field": "blurb", "value": "hello"}, skus=["A", "b"])
    edit(shop, {"op": "set", "field": "blurb", "value": "hallo", "locale": "de_DE"}, skus=["A"])
    assert fields(shop, "blurb") == {"A": {"en-US": "hello", "de-DE": "hallo"}, "B": {"en-US": "hello"}} | {
        "C": None,
        "D": None,
    }
    edit(shop, {"op": "clear", "field": "blurb", "locale": "en-US"})
    assert fields(shop, "blurb") == {"A": {"de-DE": "hallo"}, "B": None, "C": None, "D": None}


def test_columns_of_the_product_are_edited_too(shop: Api) -> None:
    wanted = {"filter": {"color": "red"}}
    edit(
        shop,
        {"op": "set", "field": "active", "value": False},
        {"op": "set", "field": "variant_group", "value": "weapons"},
        {"op": "set", "field": "name", "value": "Weapon"},
        **wanted,
    )
    found = {p["sku"]: (p["name"], p["active"], p["variant_group"]) for p in ok(shop.get(PATH))["products"]}
    assert found["A"] == found["B"] == ("Weapon", False, "weapons")
    assert found["C"] == ("Cup", True, None)
    edit(shop, {"op": "clear", "field": "variant_group"})
    assert {p["variant_group"] for p in ok(shop.get(PATH))["products"]} == {None}


NO_OPERATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"op": "set", "field": "colour", "value": "x"}, "unknown_field", "operations.0.field"),
    ({"op": "set", "field": "sku", "value": "x"}, "unknown_field", "operations.0.field"),
    ({"op": "set", "field": "stock", "value": "many"}, "not_a_number", "stock"),
    ({"op": "set", "field": "color", "value": ""}, "invalid_operation", "operations.0.value"),
    ({"op": "set", "field": "color"}, "invalid_operation", "operations.0.value"),
    ({"op": "set", "field": "color", "value": "x", "by": 2}, "invalid_operation", "operations.0.by"),
    ({"op": "set", "field": "color", "value": "x", "locale": "de"}, "invalid_operation", "operations.0.locale"),
    ({"op": "clear", "field": "name"}, "invalid_operation", "operations.0.op"),
    ({"op": "append", "field": "color", "values": ["x"]}, "invalid_operation", "operations.0.field"),
    ({"op": "append", "field": "tags", "values": []}, "invalid_operation", "operations.0.values"),
    ({"op": "multiply", "field": "color", "by": 2}, "invalid_operation", "operations.0.field"),
    ({"op": "multiply", "field": "stock", "by": "two"}, "invalid_operation", "operations.0.by"),
    ({"op": "multiply", "field": "stock", "by": "Infinity"}, "invalid_operation", "operations.0.by"),
    ({"op": "multiply", "field": "stock"}, "invalid_operation", "operations.0.by"),
    ({"op": "add", "field": "price", "by": 2}, "invalid_operation", "operations.0.currency"),
    ({"op": "add", "field": "price", "by": 2, "currency": "XXL"}, "invalid_operation", "operations.0.currency"),
    ({"op": "divide", "field": "stock", "by": 2}, "invalid_request", "body.operations.0.op"),
]


def test_an_operation_that_cannot_be_is_told(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    for operation, code, column in NO_OPERATIONS:
        wanted = {"all": True, "operations": [operation]}
        body = problem(shop.post(f"{PATH}bulk-edit/preview/", json=wanted), 422, code)
        assert body["column"] == column, operation


def test_a_field_is_edited_once(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    twice = [{"op": "clear", "field": "color"}, {"op": "set", "field": "color", "value": "x"}]
    problem(shop.post(f"{PATH}bulk-edit/preview/", json={"all": True, "operations": twice}), 422, "invalid_operation")


def test_a_filter_that_cannot_be_is_told(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    body = {"filter": {"nothing": 1}, "operations": [{"op": "clear", "field": "color"}]}
    problem(shop.post(f"{PATH}bulk-edit/preview/", json=body), 422, "invalid_filter")
    problem(shop.post(f"{PATH}bulk-delete/preview/", json={"filter": {"nothing": 1}}), 422, "invalid_filter")


def test_an_edit_is_confirmed_once(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    token = preview(shop, {"op": "clear", "field": "color"})["token"]
    job = ok(shop.post(f"{PATH}bulk-edit/", json={"token": token}))["job"]
    again = problem(shop.post(f"{PATH}bulk-edit/", json={"token": token}), 409, "already_confirmed")
    assert again["value"] == job["job_id"]
    problem(shop.post(f"{PATH}bulk-delete/", json={"token": token}), 404, "unknown_token")
    problem(shop.post(f"{PATH}bulk-edit/", json={"token": "nonsense"}), 404, "unknown_token")


def test_an_edit_whose_products_were_written_since_is_refused(
    shop: Api, problem: Callable[..., dict[str, Any]]
) -> None:
    clear = {"op": "clear", "field": "color"}
    token = preview(shop, clear, filter={"color": "red"})["token"]
    # Another product changed: the edit still does exactly what was shown.
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": "D", "brand": "Other"}]})
    assert ok(shop.post(f"{PATH}bulk-edit/", json={"token": token}))["job"]["ledger"]["updated"] == 2
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": sku, "color": "red"} for sku in "AB"]})
    token = preview(shop, clear, filter={"color": "red"})["token"]
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": "A", "stock": 4}]})
    problem(shop.post(f"{PATH}bulk-edit/", json={"token": token}), 409, "catalogue_moved")
    token = preview(shop, clear, filter={"color": "red"})["token"]
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": "C", "color": "red"}]})
    body = problem(shop.post(f"{PATH}bulk-edit/", json={"token": token}), 409, "catalogue_moved")
    assert (body["expected"], body["value"]) == (2, 3)
    assert fields(shop, "color") == {"A": "red", "B": "red", "C": "red", "D": None}


def deleting(api: Api, **wanted: Any) -> tuple[dict[str, Any], str]:
    shown = ok(api.post(f"{PATH}bulk-delete/preview/", json=wanted))
    answer = ok(api.post(f"{PATH}bulk-delete/", json={"token": shown["token"]}), 202)
    assert (answer["job"]["kind"], answer["job"]["state"], answer["deleted"]) == ("delete", "confirmed", None)
    return shown, answer["job"]["job_id"]


def skus(api: Api) -> str:
    return "".join(product["sku"] for product in ok(api.get(PATH))["products"])


def test_a_bulk_delete_is_previewed_confirmed_and_carried_out_by_a_job(shop: Api) -> None:
    shown, job_id = deleting(shop, filter={"color": "red"})
    assert (shown["products"], [p["sku"] for p in shown["sample"]]) == (2, ["A", "B"])
    assert skus(shop) == "ABCD", "it is not done within the request"
    assert run_job(shop.workspace, shop.tenant.id, UUID(job_id)).state == "done"
    assert skus(shop) == "CD"
    job = ok(shop.get(f"/api/pim/import/{job_id}/"))
    assert (job["state"], job["rows_removed"], job["row_count"]) == ("done", 2, 0)
    assert job_id in shop.get("/api/pim/import/").text
    assert compare_engines(shop.workspace.app, shop.workspace.clickhouse, shop.tenant.id).equal
    assert ok(shop.post(f"/api/pim/import/{job_id}/undo/"))["counts"]["recreated"] == 2
    assert skus(shop) == "ABCD"


def test_a_bulk_delete_whose_process_dies_is_taken_up_again(shop: Api) -> None:
    _, job_id = deleting(shop, all=True)
    claim(shop.workspace, shop.tenant.id, UUID(job_id))
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:  # as if the process were gone
        from sqlalchemy import text

        session.execute(text("UPDATE pim.import_jobs SET lease_owner = NULL WHERE kind = 'delete'"))
    job = run_job(shop.workspace, shop.tenant.id, UUID(job_id))
    assert (job.state, job.attempt, job.rows_removed) == ("done", 2, 4)
    assert skus(shop) == ""


def test_a_bulk_delete_deletes_only_what_was_shown(shop: Api) -> None:
    _, job_id = deleting(shop, filter={"color": "red"})
    shop.post(f"{PATH}bulk/", json={"products": [{"sku": "A", "color": "green"}]})
    with pytest.raises(Exception, match="moved"):
        run_job(shop.workspace, shop.tenant.id, UUID(job_id))
    job = ok(shop.get(f"/api/pim/import/{job_id}/"))
    assert (job["state"], job["reason_code"]) == ("failed", "catalogue_moved")
    assert skus(shop) == "ABCD"


def test_a_bulk_delete_can_be_cancelled_before_it_runs(shop: Api) -> None:
    _, job_id = deleting(shop, all=True)
    assert ok(shop.post(f"/api/pim/import/{job_id}/cancel/"))["state"] == "cancelled"
    assert skus(shop) == "ABCD"


def test_of_two_who_confirm_at_once_one_does(shop: Api) -> None:
    from concurrent.futures import ThreadPoolExecutor

    token = preview(shop, {"op": "add", "field": "stock", "by": 1})["token"]
    with ThreadPoolExecutor(3) as pool:
        send = lambda _n: shop.post(f"{PATH}bulk-edit/", json={"token": token}).status_code  # noqa: E731
        assert sorted(pool.map(send, range(3))) == [200, 409, 409]
    assert fields(shop, "stock")["A"] == 4
