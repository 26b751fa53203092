"""Changing the schema over the API: safe changes at once, narrowing ones only as they were shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.intake import schema_changing
from tests.integration.api.conftest import Api
from tests.support.imports import run_job

PATH = "/api/pim/schema/"
PRODUCTS = [
    {
        "sku": "A",
        "name": "Axe",
        "size": "10",
        "weight": 2.5,
        "tags": ["one"],
        "price": {"amount": 5, "currency": "EUR"},
    },
    {"sku": "B", "name": "Bow", "size": "1,234.50", "tags": ["one", "two"], "online": True},
    {"sku": "C", "name": "Cup", "size": "large"},
]


@pytest.fixture
def shop(api: Api) -> Api:
    assert api.post("/api/pim/products/bulk/", json={"products": PRODUCTS}).json()["created"] == 3
    return api


def change(api: Api, *changes: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = api.post(f"{PATH}changes/", json={"changes": list(changes)})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def confirm(api: Api, shown: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = api.post(f"{PATH}changes/", json={"token": shown["token"]} | more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["applied"]
    return body


def fields(api: Api) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in api.get(PATH).json()["fields"]}


def values(api: Api, name: str) -> dict[str, Any]:
    return {p["sku"]: p["data"].get(name) for p in api.get("/api/pim/products/").json()["products"]}


def typed(api: Api) -> dict[str, Any]:
    found = api.workspace.clickhouse.query(f"SELECT * FROM `{api.tenant.relation}`.products ORDER BY sku")
    return {name: [row[n] for row in found.result_rows] for n, name in enumerate(found.column_names)}


def assert_agree(api: Api) -> None:
    assert compare_engines(api.workspace.app, api.workspace.clickhouse, api.tenant.id).equal


def test_safe_changes_are_done_at_once(shop: Api) -> None:
    before = shop.get(PATH).json()["version"]
    body = change(
        shop,
        {"op": "add", "field": {"name": "season", "description": "Summer or winter"}},
        {"op": "describe", "name": "size", "description": "As printed"},
        {"op": "require", "name": "size", "required": False},
    )
    assert (body["applied"], body["token"], body["job"]) == (True, None, None)
    assert body["schema"]["version"] == before + 1
    assert fields(shop)["season"]["description"] == "Summer or winter"
    assert fields(shop)["size"]["description"] == "As printed"
    assert "season" in typed(shop)
    assert change(shop, {"op": "describe", "name": "size", "description": "As printed"})["schema"]["version"] == (
        before + 1
    ), "what changes nothing makes no version"


def test_a_wider_type_converts_the_values_at_once(shop: Api) -> None:
    body = change(
        shop,
        {"op": "retype", "name": "weight", "type": "string"},
        {"op": "retype", "name": "size", "type": "array"},
        {"op": "retype", "name": "price", "type": "multi_price"},
        {"op": "retype", "name": "online", "type": "string"},
    )
    assert body["applied"]
    assert (body["job"]["kind"], body["job"]["state"]) == ("schema", "done")
    assert [(e["narrowing"], e["products"], e["breaks"]) for e in body["effects"]] == [
        (False, 1, 0), (False, 3, 0), (False, 1, 0), (False, 1, 0),
    ]  # fmt: skip
    assert values(shop, "weight") == {"A": "2.5", "B": None, "C": None}
    assert values(shop, "size") == {"A": ["10"], "B": ["1,234.50"], "C": ["large"]}
    assert values(shop, "price")["A"] == [{"amount": 5, "currency": "EUR"}]
    assert values(shop, "online")["B"] == "true"
    assert typed(shop)["size"] == [["10"], ["1,234.50"], ["large"]]
    assert_agree(shop)


def test_a_narrower_type_says_what_it_breaks_and_asks(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    shown = change(shop, {"op": "retype", "name": "size", "type": "number"})
    (effect,) = shown["effects"]
    assert (shown["applied"], effect["narrowing"], effect["products"], effect["breaks"]) == (False, True, 3, 1)
    assert effect["examples"] == [{"sku": "C", "value": "large"}]
    assert fields(shop)["size"]["type"] == "string", "nothing is done yet"
    problem(shop.post(f"{PATH}changes/", json={"token": shown["token"]}), 409, "consequences_not_accepted")
    done = confirm(shop, shown, accept=True)
    assert fields(shop)["size"]["type"] == "number"
    assert values(shop, "size") == {"A": 10, "B": 1234.5, "C": None}
    assert typed(shop)["size"] == [10, 1234.5, None]
    assert_agree(shop)
    problem(shop.post(f"{PATH}changes/", json={"token": shown["token"]}), 409, "already_confirmed")
    problem(shop.post(f"/api/pim/import/{done['job']['job_id']}/undo/"), 409, "not_undoable")
    lost = next(p for p in shop.get("/api/pim/products/").json()["products"] if p["sku"] == "C")
    entry = shop.get(f"/api/pim/products/{lost['id']}/history/").json()["entries"][0]
    assert entry["changes"] == [{"field": "size", "old": "large", "new": None}]


def test_a_list_of_several_is_no_single_value(shop: Api) -> None:
    shown = change(shop, {"op": "retype", "name": "tags", "type": "string"})
    assert shown["effects"][0]["breaks"] == 1
    confirm(shop, shown, accept=True)
    assert values(shop, "tags") == {"A": "one", "B": None, "C": None}


def test_a_removed_field_loses_its_values_and_comes_back(shop: Api) -> None:
    shown = change(shop, {"op": "remove", "name": "size"}, {"op": "remove", "name": "weight"})
    assert [(e["products"], e["breaks"]) for e in shown["effects"]] == [(3, 3), (1, 1)]
    done = confirm(shop, shown, accept=True)
    assert {"size", "weight"} & set(fields(shop)) == set()
    assert values(shop, "size") == dict.fromkeys("ABC")
    assert "size" not in typed(shop)
    assert_agree(shop)
    undone = shop.post(f"/api/pim/import/{done['job']['job_id']}/undo/").json()
    assert undone["counts"]["restored"] == 3
    assert fields(shop)["weight"]["type"] == "number"
    assert values(shop, "size") == {"A": "10", "B": "1,234.50", "C": "large"}
    assert typed(shop)["weight"] == [2.5, None, None]
    assert_agree(shop)


def test_a_field_becomes_required_where_products_lack_it(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    shown = change(shop, {"op": "require", "name": "weight", "required": True})
    assert (shown["effects"][0]["breaks"], [e["sku"] for e in shown["effects"][0]["examples"]]) == (2, ["B", "C"])
    done = confirm(shop, shown, accept=True)
    assert done["job"] is None
    problem(shop.post("/api/pim/products/", json={"sku": "D", "name": "Die"}), 422, "missing_value")
    shown = change(shop, {"op": "require", "name": "size", "required": True})
    assert (shown["applied"], shown["effects"][0]["breaks"]) == (False, 0)
    confirm(shop, shown)  # nothing breaks, so nothing has to be accepted
    assert fields(shop)["size"]["required"]


def test_a_change_whose_effects_are_others_by_now_is_refused(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    shown = change(shop, {"op": "remove", "name": "weight"})
    shop.post("/api/pim/products/bulk/", json={"products": [{"sku": "B", "weight": 7}]})
    again = shop.post(f"{PATH}changes/", json={"token": shown["token"], "accept": True})
    problem(again, 409, "catalogue_moved")
    shown = change(shop, {"op": "remove", "name": "weight"})
    change(shop, {"op": "describe", "name": "size", "description": "another version"})
    again = shop.post(f"{PATH}changes/", json={"token": shown["token"], "accept": True})
    problem(again, 409, "catalogue_moved")
    assert "weight" in fields(shop)


def test_an_import_under_way_keeps_its_fields(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    job_id = shop.upload("SKU,Name,Size\nA,Axe,11\n").json()["job_id"]
    assert shop.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    body = {"changes": [{"op": "remove", "name": "size"}]}
    assert problem(shop.post(f"{PATH}changes/", json=body), 409, "imports_under_way")["value"] == job_id
    run_job(shop.workspace, shop.tenant.id, UUID(job_id))
    assert change(shop, {"op": "remove", "name": "size"})["token"]


def test_a_large_conversion_is_left_to_a_run(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_changing, "AT_ONCE", 2)
    body = change(shop, {"op": "retype", "name": "size", "type": "array"}, status=202)
    assert (body["applied"], body["job"]["state"]) == (False, "confirmed")
    assert fields(shop)["size"]["type"] == "string"
    assert run_job(shop.workspace, shop.tenant.id, UUID(body["job"]["job_id"])).state == "done"
    assert fields(shop)["size"]["type"] == "array"
    assert_agree(shop)


NO_CHANGES: list[tuple[dict[str, Any], str, str]] = [
    ({"op": "rename", "name": "size"}, "invalid_change", "changes.0.op"),
    ({"op": "remove", "name": "nothing"}, "unknown_field", "changes.0.name"),
    ({"op": "remove", "name": ["size"]}, "unknown_field", "changes.0.name"),
    ({"op": "remove"}, "invalid_change", "changes.0.name"),
    ({"op": "retype", "name": "size", "type": "date"}, "invalid_change", "changes.0.type"),
    ({"op": "require", "name": "size", "required": "yes"}, "invalid_change", "changes.0.required"),
    ({"op": "add", "field": {"name": "size"}}, "invalid_change", "changes.0.field.name"),
    ({"op": "add", "field": {"name": "sku"}}, "invalid_change", "changes.0.field.name"),
    ({"op": "add", "field": {"name": "Bad Name"}}, "invalid_schema", "name"),
    ({"op": "add", "field": {"name": "x", "kind": "string"}}, "invalid_schema", "kind"),
    ({"op": "add", "field": "x"}, "invalid_change", "changes.0.field"),
]


def test_a_change_that_cannot_be_is_told(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    for given, code, column in NO_CHANGES:
        body = problem(shop.post(f"{PATH}changes/", json={"changes": [given]}), 422, code)
        assert body["column"] == column, given


def test_versions_are_listed_and_read(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    for name in ("x", "y"):
        change(shop, {"op": "add", "field": {"name": name}})
    newest = shop.get(PATH).json()["version"]
    page = shop.get(f"{PATH}versions/", params={"limit": 2}).json()
    assert [one["version"] for one in page["versions"]] == [newest, newest - 1]
    rest = shop.get(f"{PATH}versions/", params={"before": page["next_before"]}).json()
    assert [one["version"] for one in rest["versions"]] == list(range(newest - 2, 0, -1))
    assert rest["next_before"] is None
    old = shop.get(f"{PATH}versions/{newest - 1}/").json()
    assert {field["name"] for field in old["fields"]} == set(fields(shop)) - {"y"}
    problem(shop.get(f"{PATH}versions/{newest + 1}/"), 404, "unknown_version")
