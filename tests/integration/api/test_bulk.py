"""Bulk upsert over the API."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.storage.postgres import driver_connection, tenant_session

PATH = "/api/pim/products/bulk/"


def test_created_updated_unchanged_rejected_superseded(api):
    first = api.post(PATH, json={"products": [
        {"sku": "A", "name": "Axe", "weight": 1.25, "tags": ["steel", "wood"]},
        {"sku": "B", "name": "Bag", "waterproof": True},
        {"sku": "C", "name": "Cup", "price": {"amount": 9.9, "currency": "EUR"}},
    ]})  # fmt: skip
    assert first.status_code == 200, first.text
    assert {name: value for name, value in first.json().items() if name != "results"} == {
        "created": 3, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "errors": [], "published": True,
    }  # fmt: skip
    types = {field["name"]: field["type"] for field in api.get("/api/pim/schema/").json()["fields"]}
    assert types == {"weight": "number", "tags": "array", "waterproof": "boolean", "price": "price"}

    second = api.post(PATH, json={"products": [
        {"sku": "A", "weight": 1.5},
        {"sku": "b", "name": "Bag"},
        {"sku": "", "name": "Nobody"},
        {"sku": "D"},
        {"sku": "E", "name": "Eel"},
        {"sku": "E", "name": "Elk"},
    ]})  # fmt: skip
    assert second.status_code == 200, second.text
    body = second.json()
    assert {key: body[key] for key in ("created", "updated", "unchanged", "rejected", "superseded")} == {
        "created": 1, "updated": 1, "unchanged": 1, "rejected": 2, "superseded": 1,
    }  # fmt: skip
    assert [(error["row"], error["error_code"]) for error in body["errors"]][1] == (4, "name_missing")
    assert body["errors"][0]["row"] == 3
    by_sku = {product["sku"]: product for product in api.get("/api/pim/products/").json()["products"]}
    assert sorted(by_sku) == ["A", "B", "C", "E"]
    assert by_sku["A"]["data"] == {"weight": 1.5, "tags": ["steel", "wood"]}, "what is absent stays"
    assert by_sku["A"]["version"] == 2
    assert by_sku["E"]["name"] == "Elk"
    assert by_sku["C"]["data"]["price"] == {"amount": 9.9, "currency": "EUR"}
    detail = api.get(f"/api/pim/products/{by_sku['A']['id']}/").json()
    assert detail["raw_data"] is None
    assert detail["source"] == "api"


def test_an_unknown_kind_rejects_its_record_only(api):
    records = [{"sku": "A", "name": "Axe", "kind": "weapon"}, {"sku": "B", "name": "Bag", "kind": "variant"}]
    body = api.post(PATH, json={"products": records}).json()
    assert (body["created"], body["rejected"]) == (1, 1)
    assert (body["errors"][0]["column"], body["errors"][0]["error_code"]) == ("kind", "unknown_kind")


def test_decimals_keep_their_digits(api):
    content = b'{"products": [{"sku": "A", "name": "Axe", "weight": 0.12345678901234567890123}]}'
    answer = api.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert answer.json()["created"] == 1, answer.text
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        stored = driver_connection(session).execute("SELECT data ->> 'weight' FROM pim.products").fetchone()
    assert stored == ("0.12345678901234567890123",)


def test_numbers_are_answered_with_every_digit_they_have(api):
    """A product page once answered 0.12345678901234568 for what was stored with 23 digits."""
    weight, size, amount = "0.12345678901234567890123", "12345678901234567890123", "12345678901234567.25"
    post = {"headers": {"Content-Type": "application/json"}}
    record = f'"weight": {weight}, "size": {size}, "price": {{"amount": "{amount}", "currency": "EUR"}}'
    api.post(PATH, content=b'{"products": [{"sku": "A", "name": "Axe", "weight": 1, "size": 2}]}', **post)
    answer = api.post(PATH, content=f'{{"products": [{{"sku": "A", {record}}}]}}', **post)
    assert answer.json()["updated"] == 1, answer.text
    page = api.get("/api/pim/products/")
    product = page.json()["products"][0]["id"]
    detail, history = api.get(f"/api/pim/products/{product}/"), api.get(f"/api/pim/products/{product}/history/")
    for told in (page, detail, history):
        for number in (weight, size, amount):
            assert f": {number}" in told.text
    assert page.json()["products"][0]["created_at"].endswith("Z")


def test_null_keeps_whatever_the_key(api):
    """A null in a field that the schema lacks once rejected its record."""
    api.post(PATH, json={"products": [{"sku": "A", "name": "Axe", "color": "red"}]})
    record = {"sku": "A", "name": "Adze", "color": None, "never_seen": None}
    body = api.post(PATH, json={"products": [record]}).json()
    assert (body["updated"], body["rejected"]) == (1, 0), body
    product = api.get("/api/pim/products/").json()["products"][0]
    assert (product["name"], product["data"]) == ("Adze", {"color": "red"})


def test_the_request_id_is_in_the_trail(api):
    answer = api.post(PATH, json={"products": [{"sku": "A", "name": "Axe"}]}, headers={"X-Request-ID": "order-17"})
    assert answer.headers["x-request-id"] == "order-17"
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        row = (
            driver_connection(session)
            .execute("SELECT trace_id, user_agent, actor FROM pim.audit_logs WHERE action = 'products.bulk_upsert'")
            .fetchone()
        )
    assert row is not None
    assert row[:2] == ("order-17", "testclient")
    assert row[2].startswith("key:")


def test_a_busy_catalogue_is_a_conflict_to_try_again(api, workspace, problem):
    hurried = workspace.settings.model_copy(update={"lock_timeout_seconds": 0.2})
    with (
        tenant_session(workspace.app, api.tenant.id) as session,
        TestClient(create_app(hurried)) as client,
    ):
        lock_catalogue(driver_connection(session), api.tenant.id, wait_seconds=None)
        answer = client.post(
            PATH,
            json={"products": [{"sku": "A", "name": "Axe"}]},
            headers={"Authorization": f"Bearer {api.key}"},
        )
        problem(answer, 409, "tenant_busy")
        assert int(answer.headers["retry-after"]) > 0
    assert api.get("/api/pim/products/").json()["products"] == []


def test_more_fields_than_a_table_can_have(api, problem):
    record = {"sku": "A", "name": "Axe"} | {f"f{n}": n for n in range(1001)}
    problem(api.post(PATH, json={"products": [record]}), 422, "too_many_fields")


@pytest.mark.parametrize("name", ["tenant_id", "Not Snake", "ä"])
def test_a_key_that_cannot_be_a_field(api, problem, name):
    problem(api.post(PATH, json={"products": [{"sku": "A", "name": "Axe", name: "x"}]}), 422, "invalid_schema")


def test_every_record_is_told_what_became_of_it(api):
    api.post(PATH, json={"products": [{"sku": "A", "name": "Axe"}, {"sku": "B", "name": "Bow", "weight": 1}]})
    ids = {product["sku"]: product["id"] for product in api.get("/api/pim/products/").json()["products"]}
    records = [
        {"sku": " a", "name": "Adze"},
        {"sku": "B", "name": "Bow"},
        {"sku": "C", "name": "Cup"},
        {"sku": "C", "name": "Can"},
        {"sku": "D", "weight": 2},
        {"sku": "E", "name": "Egg", "weight": "heavy"},
        {"sku": "D", "weight": 3},
        {"name": "Nobody"},
    ]
    body = api.post(PATH, json={"products": records}).json()
    results = [(one["row"], one["sku"], one["outcome"]) for one in body["results"]]
    assert results == [
        (1, " a", "updated"),
        (2, "B", "unchanged"),
        (3, "C", "superseded"),
        (4, "C", "created"),
        (5, "D", "rejected"),
        (6, "E", "rejected"),
        (7, "D", "rejected"),
        (8, None, "rejected"),
    ]
    known = {product["sku"]: product["id"] for product in api.get("/api/pim/products/").json()["products"]}
    assert [one["id"] for one in body["results"]] == [
        ids["A"], ids["B"], known["C"], known["C"], None, None, None, None,
    ]  # fmt: skip
    assert [error["row"] for error in body["errors"]] == [5, 6, 7, 8]
    counted = {name: sum(one["outcome"] == name for one in body["results"]) for name in body if name.endswith("ed")}
    assert {name: body[name] for name in counted if name != "published"} == {
        name: count for name, count in counted.items() if name != "published"
    }


def test_hundreds_of_fields_reach_the_typed_relation(api):
    """They are extracted in parts; a thousand in one took a minute for a single product."""
    record = {f"f{n}": [n, str(n), [str(n)], {"amount": n, "currency": "EUR"}, n % 2 == 0][n % 5] for n in range(230)}
    body = api.post(PATH, json={"products": [{"sku": "A", "name": "Axe"} | record, {"sku": "B"} | {"f1": "x"}]}).json()
    assert (body["created"], body["rejected"]) == (1, 1)
    found = api.workspace.clickhouse.query(f"SELECT * FROM `{api.tenant.relation}`.products")
    row = dict(zip(found.column_names, found.result_rows[0], strict=True))
    for n in range(230):
        expected = [n, str(n), [str(n)], n, n % 2 == 0][n % 5]
        assert row[f"f{n}"] == expected, n
    wrong = {"sku": "A"} | {f"f{n}": "no number" for n in range(0, 230, 5)}
    assert api.post(PATH, json={"products": [wrong]}).json()["errors"][0]["column"].count(";") == 45
