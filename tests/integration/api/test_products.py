"""One product over the API: created, replaced, patched, renamed, deleted; and who read an older state is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.intake import writing
from pim_platform.intake.publishing import publish_now
from pim_platform.storage.postgres import tenant_session
from tests.integration.api.conftest import Api
from tests.support.imports import ACTOR

PATH = "/api/pim/products/"
FIELDS = [
    {"name": "color"},
    {"name": "weight", "type": "number"},
    {"name": "price", "type": "price"},
    {"name": "tags", "type": "array"},
    {"name": "blurb", "localizable": True},
    {"name": "brand", "required": False},
]


@pytest.fixture
def shop(api: Api) -> Api:
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        save_schema(session, current_schema(session).with_fields(parse_fields(FIELDS)), ACTOR)
    return api


def create(api: Api, **document: Any) -> dict[str, Any]:
    answer = api.post(PATH, json={"sku": "T-1", "name": "Tent"} | document)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}{body['id']}/"
    return body


def one(api: Api, product: dict[str, Any]) -> str:
    return f"{PATH}{product['id']}/"


def assert_engines_agree(api: Api) -> None:
    assert compare_engines(api.workspace.app, api.workspace.clickhouse, api.tenant.id).equal


def in_search(api: Api) -> dict[str, str]:
    found = api.workspace.clickhouse.query(
        "SELECT sku_key, name FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String}",
        parameters={"tenant": str(api.tenant.id)},
    )
    return dict(found.result_rows)


def test_a_product_is_created_and_read(shop: Api) -> None:
    made = create(shop, color="red", data={"weight": 2.5, "price": {"amount": "12.50", "currency": "EUR"}})
    assert made["data"] == {"color": "red", "weight": 2.5, "price": {"amount": 12.5, "currency": "EUR"}}
    assert (made["version"], made["source"], made["active"], made["kind"]) == (1, "api", True, "simple")
    assert made["provenance"]["last"]["source"] == "api"
    assert shop.get(one(shop, made)).json() == made
    assert in_search(shop) == {"t-1": "Tent"}
    assert_engines_agree(shop)


@pytest.mark.parametrize("sku", ["T-1", " t-1 "])
def test_a_sku_exists_once_however_it_is_spelled(shop: Api, problem: Callable[..., dict[str, Any]], sku: str) -> None:
    made = create(shop)
    body = problem(shop.post(PATH, json={"sku": sku, "name": "Other"}), 409, "sku_exists")
    assert body["value"] == made["id"]


NO_PRODUCTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_sku", "sku"),
    ({"sku": "A"}, "name_missing", "name"),
    ({"sku": "A", "name": " "}, "missing_value", "name"),
    ({"sku": " ", "name": "A"}, "missing_value", "sku"),
    ({"sku": "A" * 256, "name": "A"}, "sku_too_long", "sku"),
    ({"sku": "A", "name": "A", "weight": "heavy"}, "not_a_number", "weight"),
    ({"sku": "A", "name": "A", "weight": True}, "not_a_number", "weight"),
    ({"sku": "A", "name": "A", "data": {"price": {"amount": 1, "currency": "ZZZ"}}}, "not_a_price", "price"),
    ({"sku": "A", "name": "A", "kind": "group"}, "unknown_kind", "kind"),
    ({"sku": "A", "name": "A", "active": "perhaps"}, "not_a_boolean", "active"),
    ({"sku": "A", "name": "A", "colour": "red"}, "unknown_field", "colour"),
    ({"sku": "A", "name": "A", "data": {"colour": "red"}}, "unknown_field", "colour"),
    ({"sku": "A", "name": "A", "data": ["red"]}, "not_an_object", "data"),
    ({"sku": "A", "name": "A", "color": "red", "data": {"color": "blue"}}, "given_twice", "color"),
    ({"sku": "A", "name": "A", "version": 7}, "read_only", "version"),
    ({"sku": "A", "name": "A", "parent_sku": "nobody"}, "unknown_parent", "parent_sku"),
    ({"sku": "A", "name": "A", "parent_sku": "a"}, "unknown_parent", "parent_sku"),
]


def test_what_cannot_be_a_product_is_told_by_field(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    for document, code, column in NO_PRODUCTS:
        body = problem(shop.post(PATH, json=document), 422, code)
        assert body["column"] == column, document
        assert body["fix"]
    assert shop.get(PATH).json()["products"] == []


def test_every_fault_of_a_document_is_told(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    wrong = {"sku": "A", "name": "A", "weight": "heavy", "price": "free of charge"}
    body = problem(shop.post(PATH, json=wrong), 422, "not_a_number")
    assert [part["path"] for part in body["errors"]] == ["body.weight", "body.price"]
    body = problem(shop.post(PATH, json={"sku": "A", "a": 1, "b": 2}), 422, "unknown_field")
    assert [part["path"] for part in body["errors"]] == ["body.a", "body.b"]


def test_a_required_field_must_be_given_when_the_whole_product_is(
    shop: Api, problem: Callable[..., dict[str, Any]]
) -> None:
    made = create(shop, color="red", brand="Acme")
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        schema = current_schema(session)
        fields = tuple(f.model_copy(update={"required": f.name == "brand"}) for f in schema.fields)
        save_schema(session, schema.model_copy(update={"fields": fields}), ACTOR)
    assert problem(shop.post(PATH, json={"sku": "B", "name": "B"}), 422, "missing_value")["column"] == "brand"
    problem(shop.request("PUT", one(shop, made), json={"name": "C"}), 422, "missing_value")
    problem(shop.request("PATCH", one(shop, made), json={"brand": None}), 422, "missing_value")
    assert shop.request("PATCH", one(shop, made), json={"color": "blue"}).status_code == 200


def test_replacing_clears_what_is_left_out(shop: Api) -> None:
    create(shop, sku="P-1", kind="parent")
    made = create(shop, color="red", tags=["a", "b"], active=False, kind="variant", variant_group="g", parent_sku="P-1")
    assert made["parent"]["sku"] == "P-1"
    answer = shop.request("PUT", one(shop, made), json={"name": "Tarp", "data": {"weight": 3}})
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["sku"], body["name"], body["data"]) == ("T-1", "Tarp", {"weight": 3})
    assert (body["active"], body["kind"], body["variant_group"], body["parent"]) == (True, "simple", None, None)
    assert body["version"] == 2
    entry = shop.get(f"{one(shop, made)}history/").json()["entries"][0]
    told = {change["field"]: (change["old"], change["new"]) for change in entry["changes"]}
    assert told["color"] == ("red", None)
    assert told["variant_group"] == ("g", None)
    assert told["weight"] == (None, 3)
    assert_engines_agree(shop)


def test_what_was_read_can_be_sent_back(shop: Api) -> None:
    made = create(shop, color="red", blurb={"en-US": "hello", "de-DE": "hallo"}, tags=["a"], weight=0.1)
    answer = shop.request("PUT", one(shop, made), json=made)
    assert answer.status_code == 200, answer.text
    assert answer.json() == made, "nothing changed, so nothing was written"


def test_a_patch_changes_what_it_names(shop: Api) -> None:
    made = create(shop, color="red", weight=2, price={"amount": 5, "currency": "EUR"}, tags=["a", "b"])
    patch = {"color": None, "data": {"price": {"amount": 6}, "tags": ["c"]}}
    headers = {"Content-Type": "application/merge-patch+json"}
    body = shop.request("PATCH", one(shop, made), json=patch, headers=headers).json()
    assert body["data"] == {"weight": 2, "price": {"amount": 6, "currency": "EUR"}, "tags": ["c"]}
    assert (body["name"], body["version"]) == ("Tent", 2)
    assert shop.request("PATCH", one(shop, made), json=patch).json()["version"] == 2
    assert shop.request("PATCH", one(shop, made), json={}).json()["version"] == 2
    assert shop.request("PATCH", one(shop, made), json={"data": None}).json()["data"] == {}
    assert_engines_agree(shop)


def test_a_patch_goes_into_the_locales_of_a_field(shop: Api) -> None:
    made = create(shop, blurb={"en-US": "hello", "de-DE": "hallo"})

    def patched(value: Any) -> Any:
        answer = shop.request("PATCH", one(shop, made), json={"blurb": value})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"].get("blurb")

    assert patched({"fr_FR": "salut", "de_DE": None}) == {"en-US": "hello", "fr-FR": "salut"}
    assert patched({"en-US": None}) == {"fr-FR": "salut"}
    assert patched({"fr-FR": None}) is None


def test_a_product_is_moved_out_of_its_group_and_parent(shop: Api) -> None:
    create(shop, sku="P-1", kind="parent")
    made = create(shop, kind="variant", variant_group="g", parent_sku=" p-1 ")
    body = shop.request("PATCH", one(shop, made), json={"variant_group": None, "parent_sku": None}).json()
    assert (body["variant_group"], body["parent_id"], body["kind"]) == (None, None, "variant")


def test_a_rename_keeps_id_and_history(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    made = create(shop, color="red")
    other = create(shop, sku="O-1", name="Other")
    body = shop.request("PATCH", one(shop, made), json={"sku": "T-9", "name": "Renamed"}).json()
    assert (body["id"], body["sku"], body["name"], body["version"]) == (made["id"], "T-9", "Renamed", 2)
    assert in_search(shop) == {"t-9": "Renamed", "o-1": "Other"}
    assert [p["sku"] for p in shop.get(PATH).json()["products"]] == ["O-1", "T-9"]
    entries = shop.get(f"{one(shop, made)}history/").json()["entries"]
    assert [entry["action"] for entry in entries] == ["update", "create"]
    assert [c["field"] for c in entries[0]["changes"]] == ["name", "sku"]
    problem(shop.request("PATCH", one(shop, made), json={"sku": " o-1"}), 409, "sku_exists")
    # The old SKU is free, and its next product is another one.
    again = create(shop, sku="T-1", name="New")
    assert again["id"] != made["id"]
    assert in_search(shop) == {"t-9": "Renamed", "o-1": "Other", "t-1": "New"}
    assert shop.request("PUT", one(shop, other), json={"sku": "o-1"}).json()["sku"] == "o-1", "another spelling"
    assert_engines_agree(shop)


def test_a_rename_that_is_published_late_leaves_no_ghost(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed there and the key taken again before anything was published: the newest commit of each key wins."""
    made = create(shop)
    monkeypatch.setattr(writing, "publish_now", lambda _workspace, _tenant: False)
    shop.request("PATCH", one(shop, made), json={"sku": "T-2"})
    shop.request("PATCH", one(shop, made), json={"sku": "T-3"})
    create(shop, sku="T-2", name="Another")
    monkeypatch.undo()
    assert in_search(shop) == {"t-1": "Tent"}
    publish_now(shop.workspace, shop.tenant.id)
    assert in_search(shop) == {"t-3": "Tent", "t-2": "Another"}
    assert_engines_agree(shop)


def test_a_deleted_product_is_gone_everywhere(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    made = create(shop)
    answer = shop.request("DELETE", one(shop, made))
    assert (answer.status_code, answer.text) == (204, "")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        options = {"json": {}} if method in ("PUT", "PATCH") else {}
        problem(shop.request(method, one(shop, made), **options), 404, "unknown_product")
    assert in_search(shop) == {}
    assert shop.get(f"{one(shop, made)}history/").json()["entries"][0]["action"] == "delete"
    assert create(shop)["id"] != made["id"]


def test_who_read_an_older_state_is_told(shop: Api, problem: Callable[..., dict[str, Any]]) -> None:
    made = create(shop)
    read = shop.get(one(shop, made))
    tag = read.headers["etag"]
    assert shop.get(one(shop, made), headers={"If-None-Match": tag}).status_code == 304
    assert shop.get(one(shop, made), headers={"If-None-Match": '"other"'}).status_code == 200
    changed = shop.request("PATCH", one(shop, made), json={"color": "red"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    for method, options in (("PATCH", {"json": {"color": "x"}}), ("PUT", {"json": {}}), ("DELETE", {})):
        stale = shop.request(method, one(shop, made), headers={"If-Match": tag}, **options)
        body = problem(stale, 412, "changed_meanwhile")
        assert changed.headers["etag"].startswith(str(body["expected"])[:-1])
        given = {"If-None-Match": changed.headers["etag"]}
        problem(shop.request(method, one(shop, made), headers=given, **options), 412, "changed_meanwhile")
        weak = {"If-Match": f"W/{changed.headers['etag']}"}
        problem(shop.request(method, one(shop, made), headers=weak, **options), 412, "changed_meanwhile")
    now = {"If-Match": f'"nonsense", {body["expected"]}'}
    assert shop.request("PATCH", one(shop, made), json={"color": "y"}, headers=now).status_code == 200
    assert shop.request("DELETE", one(shop, made), headers={"If-Match": "*"}).status_code == 204


def test_of_two_writers_with_one_etag_one_wins(shop: Api) -> None:
    made = create(shop)
    tag = shop.get(one(shop, made)).headers["etag"]

    def write(color: str) -> int:
        given = {"If-Match": tag}
        return shop.request("PATCH", one(shop, made), json={"color": color}, headers=given).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(write, ["red", "blue", "green", "black"]))
    assert sorted(answers) == [200, 412, 412, 412]
    assert shop.get(one(shop, made)).json()["version"] == 2


def test_of_two_who_create_one_sku_one_wins(shop: Api) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: shop.post(PATH, json={"sku": "X", "name": f"{n}"}).status_code, range(4)))
    assert sorted(answers) == [201, 409, 409, 409]


def test_another_tenants_product_is_unknown(
    shop: Api, make_api: Callable[..., Api], problem: Callable[..., dict[str, Any]]
) -> None:
    made, other = create(shop), make_api()
    for product_id in (made["id"], str(uuid4())):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            options = {"json": {"name": "x"}} if method in ("PUT", "PATCH") else {}
            problem(other.request(method, f"{PATH}{product_id}/", **options), 404, "unknown_product")
    assert shop.get(one(shop, made)).json() == made
