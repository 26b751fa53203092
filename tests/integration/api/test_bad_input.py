"""Every wrong input is a problem document that names the fix."""

from __future__ import annotations

import uuid

import pytest
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"SKU,Name\n", "header_only"),
        (bytes(range(256)) * 40, "not_text"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00\x01\x02" * 500, "not_text"),
    ],
    ids=["empty", "header only", "garbage", "an image"],
)
def test_a_file_that_cannot_be_read(api, problem, content, code):
    body = problem(api.upload(content, name="bad.csv"), 422, code)
    assert body["file"] == "bad.csv"


def test_no_sku_column(api, problem):
    upload = api.upload("Farbe,Notiz\nrot,warm\nblau,kalt\n")
    assert upload.status_code == 201, upload.text
    assert "sku" not in upload.json()["suggested_mapping"].values()
    body = problem(api.post(f"/api/pim/import/{upload.json()['job_id']}/confirm/"), 422, "no_sku_column")
    assert "Farbe" in body["detail"]


@pytest.mark.parametrize("path", ["", "confirm/", "cancel/", "rejects/"])
def test_an_unknown_job_and_a_foreign_one_look_the_same(api, make_api, problem, tents, path):
    foreign = make_api().upload(tents).json()["job_id"]
    method = "POST" if path in ("confirm/", "cancel/") else "GET"
    bodies = []
    for job_id in (foreign, str(uuid.uuid4()), "no-uuid"):
        body = problem(api.request(method, f"/api/pim/import/{job_id}/{path}"), 404, "unknown_job")
        bodies.append({key: str(value).replace(job_id, "ID") for key, value in body.items()})
    assert bodies[0] == bodies[1]


def test_an_unknown_product_and_a_foreign_one_look_the_same(api, make_api, problem):
    other = make_api()
    other.post("/api/pim/products/bulk/", json={"products": [{"sku": "A", "name": "A"}]})
    foreign = other.get("/api/pim/products/").json()["products"][0]["id"]
    bodies = []
    for product_id in (foreign, str(uuid.uuid4())):
        body = problem(api.get(f"/api/pim/products/{product_id}/"), 404, "unknown_product")
        bodies.append({key: str(value).replace(product_id, "ID") for key, value in body.items()})
    assert bodies[0] == bodies[1]
    problem(api.get("/api/pim/products/no-uuid/"), 422, "invalid_request")


def test_confirm_twice(api, problem, tents):
    path = f"/api/pim/import/{api.upload(tents).json()['job_id']}/confirm/"
    assert api.post(path).status_code == 202
    problem(api.post(path), 409, "already_confirmed")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mapping": {"SKU": "sku", "Product Name": "name", "Price": "no_such_field"}}, "unknown_field"),
        ({"mapping": {"SKU": "sku", "Product Name": "name", "Colour": "name"}}, "duplicate_field"),
        ({"mapping": {"Product Name": "name"}}, "no_sku_column"),
        ({"mapping": {"Nope": "sku"}}, "unknown_column"),
        ({"schema": {"fields": [{"name": "Not Snake", "type": "string"}]}}, "invalid_schema"),
        ({"schema": {"fields": [{"name": "weight", "type": "heavy"}]}}, "invalid_schema"),
        ({"schema": {"default_currency": "euro"}}, "invalid_request"),
        ({"schema": {"default_locale": "klingon!"}}, "invalid_request"),
        ({"columns": [{"source": "SKU"}]}, "invalid_mapping"),
        ({"mapping": {"SKU": 3}}, "invalid_request"),
        ({"mapped": {}}, "invalid_request"),
    ],
)
def test_a_wrong_confirmation_changes_nothing(api, problem, tents, change, code):
    job_id = api.upload(tents).json()["job_id"]
    problem(api.post(f"/api/pim/import/{job_id}/confirm/", json=change), 422, code)
    assert api.get(f"/api/pim/import/{job_id}/").json()["state"] == "mapping"
    assert api.get("/api/pim/schema/").json()["version"] == 0


@pytest.mark.parametrize("form", [{"source": "No Such Name!"}, {"reject_policy": "maybe"}, {"dry_run": "perhaps"}])
def test_a_wrong_upload_form(api, problem, tents, form):
    problem(api.upload(tents, **form), 422, "invalid_request")
    assert api.get("/api/pim/import/").json()["imports"] == []


def test_an_upload_without_a_file(api, problem):
    body = problem(api.post("/api/pim/import/csv/", data={"source": "x"}), 422, "invalid_request")
    assert body["errors"][0]["path"] == "body.file"


@pytest.mark.parametrize("declared", [True, False], ids=["with Content-Length", "chunked"])
def test_an_upload_that_is_too_large(api, workspace, problem, declared):
    small = workspace.settings.model_copy(update={"max_upload_bytes": 1000})
    with TestClient(create_app(small)) as client:
        body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        body += b"x" * (2 * 1024**2) + b"\r\n--b--\r\n"
        headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "multipart/form-data; boundary=b"}
        content = body if declared else iter([body[:70_000], body[70_000:]])
        problem(client.post("/api/pim/import/csv/", content=content, headers=headers), 413, "too_large")
        # The file itself may be too large although the form as a whole is not.
        del headers["Content-Type"]
        answer = client.post("/api/pim/import/csv/", files={"file": ("a.csv", b"y" * 2000)}, headers=headers)
        problem(answer, 413, "too_large")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1,2",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"products": 7}',
        b'{"products": [NaN]}',
        b'{"products": [{"sku": "a\\u0000b", "name": "x"}]}',
        b'{"products": [{"sku": "\\ud800"}]}',
        b'{"products": [{"sku": "a", "n": 1e999999999}]}',
        b'{"products": [' + b"9" * 5000 + b"]}",
    ],
    ids=["cut", "cut list", "no UTF-8", "too deep", "no list", "NaN", "NUL", "half a pair", "huge", "many digits"],
)
def test_a_body_that_is_no_good_json(api, problem, content):
    answer = api.post("/api/pim/products/bulk/", content=content, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("records", [[], [{"sku": str(n), "name": "n"} for n in range(10_001)]], ids=["none", "many"])
def test_a_bulk_upsert_of_none_or_too_many(api, problem, records):
    problem(api.post("/api/pim/products/bulk/", json={"products": records}), 422, "invalid_request")


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"cursor": "###"}, {"sku": "\x00"}])
def test_wrong_query_parameters(api, problem, params):
    body = problem(api.get("/api/pim/products/", params=params), 422, "invalid_request")
    assert next(iter(params)) in str(body["column"])


def test_unknown_paths_and_methods(api, problem):
    problem(api.get("/api/pim/nothing/"), 404, "unknown_path")
    problem(api.get("/nothing"), 404, "unknown_path")
    answer = api.request("DELETE", "/api/pim/products/")
    problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]
