"""Sources over the API: made, read, changed, deleted while nothing came from them; dialects are remembered."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.integration.api.conftest import Api, assert_problem
from tests.support.imports import run_job


def make(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.post("/api/pim/sources/", json={"slug": "acme"} | body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def patch(api: Api, body: dict[str, Any], source: str = "acme") -> dict[str, Any]:
    answer = api.request("PATCH", f"/api/pim/sources/{source}/", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_source_is_made_read_changed_and_deleted(api: Api) -> None:
    made = make(api, name="Acme Outdoor", full_feed=True, trust=0.9)
    assert (made["name"], made["full_feed"], made["trust"]) == ("Acme Outdoor", True, 0.9)
    assert (made["priority"], made["absent_rows"], made["feed"], made["last_accepted_import"]) == (
        50,
        "keep",
        None,
        None,
    )
    changed = patch(api, {"absent_rows": "delete", "default_currency": "CZK"})
    assert changed == made | {"absent_rows": "delete", "default_currency": "CZK"}
    assert patch(api, {"default_currency": None})["default_currency"] is None
    assert api.get("/api/pim/sources/acme/").json()["absent_rows"] == "delete"
    assert api.request("DELETE", "/api/pim/sources/acme/").status_code == 204
    assert_problem(api.get("/api/pim/sources/acme/"), 404, "unknown_source")


def test_sources_are_listed_in_pages(api: Api) -> None:
    for slug in ("c", "a", "b"):
        make(api, slug=slug)
    first = api.get("/api/pim/sources/?limit=2").json()
    assert [one["slug"] for one in first["sources"]] == ["a", "b"]
    second = api.get(f"/api/pim/sources/?limit=2&cursor={first['next_cursor']}").json()
    assert ([one["slug"] for one in second["sources"]], second["next_cursor"]) == (["c"], None)


def test_a_slug_is_made_once(api: Api) -> None:
    make(api)
    assert_problem(api.post("/api/pim/sources/", json={"slug": "ACME"}), 409, "source_exists")


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "no blanks"},
        {"priority": 101},
        {"priority": None},
        {"trust": -0.1},
        {"default_currency": "euro"},
        {"confirm_policy": "always"},
        {"reject_policy": "stop_above:101%"},
        {"dialect": {"format": "csv", "changes": {"delimeter": ";"}}},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_nothing_is_made(api: Api, wrong: dict[str, Any]) -> None:
    answer = api.post("/api/pim/sources/", json={"slug": "acme"} | wrong)
    assert answer.status_code == 422, answer.text
    assert answer.json()["fix"]
    assert api.get("/api/pim/sources/").json()["sources"] == []


def test_what_something_came_from_stays(api: Api, tents: str) -> None:
    job_id = api.upload(tents, source="acme").json()["job_id"]
    assert_problem(api.request("DELETE", "/api/pim/sources/acme/"), 409, "source_in_use")
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    last = api.get("/api/pim/sources/acme/").json()["last_accepted_import"]
    assert (last["job_id"], last["filename"], last["imported_count"]) == (job_id, "products.csv", 6)


def confirmed(api: Api, content: str, dialect: dict[str, Any] | None) -> dict[str, Any]:
    upload: dict[str, Any] = api.upload(content, source="acme").json()
    body = {"dialect": dialect} if dialect else {}
    answer = api.post(f"/api/pim/import/{upload['job_id']}/confirm/", json=body)
    assert answer.status_code == 202, answer.text
    return upload


def test_a_confirmed_dialect_is_used_for_the_next_file_until_it_is_forgotten(api: Api) -> None:
    said = {"delimiter": ";", "header_row": 2}
    first = confirmed(api, "Preise gelten ab Mai\nalle ohne Gewähr\nSKU;Name;Colour\nA-1;Alpha;red\n", said)
    assert first["notices"] == [] or "remembered" not in str(first["notices"])
    assert api.get("/api/pim/sources/acme/").json()["dialect"] == {"format": "csv", "changes": said}
    again = api.upload("a,b\nc,d\nSKU;Name;Colour\nA-2;Beta;blue\n", source="acme").json()
    assert again["headers"] == ["SKU", "Name", "Colour"]
    assert any("Read as confirmed before for this source" in notice for notice in again["notices"])
    assert patch(api, {"dialect": None})["dialect"] is None
    plain = api.upload("SKU,Name,Colour\nA-3;x,Gamma,green\n", source="acme").json()
    assert plain["dialect"]["delimiter"] == ","


def test_what_is_remembered_of_text_means_nothing_for_a_tree(api: Api) -> None:
    confirmed(api, "SKU;Name\nA-1;Alpha\n", {"delimiter": ";"})
    upload = api.upload('[{"sku": "A-2", "name": "Beta"}]', name="feed.json", source="acme").json()
    assert upload["headers"] == ["sku", "name"]
    assert not any("source" in notice for notice in upload["notices"])


def test_a_file_that_cannot_be_read_as_remembered_is_read_plainly_and_says_so(api: Api) -> None:
    confirmed(api, "t\nt\nt\nt\nSKU;Name\nA-1;Alpha\n", {"header_row": 4})
    upload = api.upload("SKU;Name\nA-2;Beta\n", source="acme").json()
    assert upload["headers"] == ["SKU", "Name"]
    assert any("does not fit this one" in notice for notice in upload["notices"])


def test_what_is_said_now_goes_before_what_is_remembered(api: Api) -> None:
    confirmed(api, "SKU;Name\nA-1;Alpha\n", {"delimiter": ";"})
    upload = api.upload("SKU|Name\nA-2|Beta;x\n", source="acme", dialect='{"delimiter": "|"}').json()
    assert upload["headers"] == ["SKU", "Name"]
