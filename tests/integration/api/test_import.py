"""A file's way over the API: upload, confirm, run, follow, read."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select

from pim_platform.intake.lease import claim
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.models import AuditLog
from tests.support.imports import run_job


def test_upload_confirm_run_read(api, tents):
    answer = api.upload(tents, source="acme")
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert upload["state"] == "mapping"
    assert upload["headers"] == ["SKU", "Product Name", "Price", "Colour", "In stock"]
    assert len(upload["sample_rows"]) == 5
    assert upload["sample_rows"][0]["SKU"] == "T-1"
    assert upload["row_count"] == 6
    assert upload["filename"] == "products.csv"
    assert upload["source"] == "acme"
    mapping = upload["suggested_mapping"]
    assert (mapping["SKU"], mapping["Product Name"]) == ("sku", "name")
    schema = upload["suggested_schema"]
    assert (schema["default_currency"], schema["default_locale"]) == ("EUR", "en-US")
    assert {"name", "type", "required", "description"} <= schema["fields"][0].keys()
    assert {field["name"] for field in schema["fields"]} >= set(mapping.values()) - {"sku", "name"}
    assert len(upload["columns"]) == 5
    assert upload["dialect"]["delimiter"] == ","

    # Exactly what the upload answered may be sent back.
    confirmed = api.post(f"/api/pim/import/{upload['job_id']}/confirm/", json={"schema": schema, "mapping": mapping})
    assert confirmed.status_code == 202, confirmed.text
    assert confirmed.json()["state"] == "confirmed"

    run_job(api.workspace, api.tenant.id, UUID(upload["job_id"]))
    status = api.get(f"/api/pim/import/{upload['job_id']}/").json()
    assert status["state"] == status["status"] == "done"
    assert status["ledger"] == {
        "read": 6, "created": 6, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert (status["row_count"], status["imported_count"]) == (6, 6)
    listed = api.get("/api/pim/import/").json()["imports"]
    assert [job["job_id"] for job in listed] == [upload["job_id"]]

    page = api.get("/api/pim/products/").json()
    assert [product["sku"] for product in page["products"]] == ["T-1", "T-2", "T-3", "T-4", "T-5", "T-6"]
    assert page["next_cursor"] is None
    price = mapping["Price"]
    assert page["products"][0]["data"][price] == {"amount": 199.9, "currency": "EUR"}
    detail = api.get(f"/api/pim/products/{page['products'][1]['id']}/").json()
    assert detail["name"] == "Tent for two"
    assert detail["raw_data"] == {
        "SKU": "T-2", "Product Name": "Tent for two", "Price": "299.90", "Colour": "red", "In stock": "0",
    }  # fmt: skip
    version = api.get("/api/pim/schema/").json()
    assert version["version"] == 1
    assert price in {field["name"] for field in version["fields"]}


def test_pages_and_the_exact_sku(api):
    records = [{"sku": f"P-{n:02}", "name": f"Product {n}"} for n in range(7)]
    assert api.post("/api/pim/products/bulk/", json={"products": records}).status_code == 200
    seen, cursor = [], None
    for _ in range(4):
        page = api.get("/api/pim/products/", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen.append([product["sku"] for product in page["products"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [["P-00", "P-01", "P-02"], ["P-03", "P-04", "P-05"], ["P-06"]]
    assert [p["sku"] for p in api.get("/api/pim/products/", params={"sku": " p-03 "}).json()["products"]] == ["P-03"]
    nobody = api.get("/api/pim/products/", params={"sku": "P-99"}).json()
    assert (nobody["products"], nobody["next_cursor"]) == ([], None)


def test_without_a_body_the_proposal_is_confirmed(api, tents):
    job_id = api.upload(tents).json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").json()["state"] == "confirmed"


def test_the_full_columns_can_be_sent_back_changed(api, tents):
    upload = api.upload(tents).json()
    columns = [column | ({"target": "ignore", "field": None} if column["source"] == "Colour" else {})
               for column in upload["columns"]]  # fmt: skip
    answer = api.post(f"/api/pim/import/{upload['job_id']}/confirm/", json={"columns": columns})
    assert answer.status_code == 202, answer.text
    run_job(api.workspace, api.tenant.id, UUID(upload["job_id"]))
    data = api.get("/api/pim/products/").json()["products"][0]["data"]
    assert upload["suggested_mapping"]["Colour"] not in data


def test_a_policy_confirms_at_once(make_api, tents):
    api = make_api(policy="all_sure")
    sure = "SKU,Name\nT-1,Tent\nT-2,Tarp\n"
    answer = api.upload(sure)
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "confirmed"


def test_the_trail_of_a_policys_confirmation_names_policy_and_request(make_api, tents):
    api = make_api(policy="all_sure")
    files = {"file": ("products.csv", tents, "text/csv")}
    answer = api.post("/api/pim/import/csv/", files=files, headers={"X-Request-ID": "feed-7"})
    assert answer.json()["state"] == "confirmed", answer.text
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        query = select(AuditLog.actor, AuditLog.trace_id).where(
            AuditLog.tenant_id == api.tenant.id, AuditLog.action == "import.confirmed"
        )
        assert session.execute(query).all() == [("policy:all_sure", "feed-7")]


def test_a_waiting_job_says_why(api, tents):
    upload = api.upload(tents).json()
    assert upload["reason_code"] == "waiting"
    assert f"/api/pim/import/{upload['job_id']}/confirm/" in upload["reason"]


def test_the_same_upload_again_is_the_same_job_while_unfinished(api, tents):
    first, second = api.upload(tents), api.upload(tents)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert api.upload(tents, source="other").status_code == 201
    job_id = UUID(first.json()["job_id"])
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, job_id)
    assert api.upload(tents).status_code == 201, "finished: the same bytes are a new import"


def test_an_upload_says_what_kind_of_feed_it_is(api, tents, problem):
    upload = api.upload(tents, full_feed="true", absent="deactivate", reject_policy="stop_above:2.5%").json()
    job = api.get(f"/api/pim/import/{upload['job_id']}/").json()
    assert (job["full_feed"], job["absent_rows"]) == (True, "deactivate")
    assert (upload["row_count"], upload["row_count_exact"], job["row_count_exact"]) == (6, True, True)
    problem(api.upload(tents, absent="burn"), 422, "invalid_request")


def test_a_full_feed_over_the_api_removes_what_it_lacks(api, tents):
    for content in (tents, tents.replace("T-6,Tent for six,699.90,grey,5\n", "")):
        upload = api.upload(content, full_feed="true", absent="delete").json()
        api.post(f"/api/pim/import/{upload['job_id']}/confirm/")
        run_job(api.workspace, api.tenant.id, UUID(upload["job_id"]))
    assert api.get(f"/api/pim/import/{upload['job_id']}/").json()["rows_removed"] == 1
    skus = [product["sku"] for product in api.get("/api/pim/products/").json()["products"]]
    assert skus == ["T-1", "T-2", "T-3", "T-4", "T-5"]


def test_the_content_of_the_last_import_is_skipped_where_asked(api, tents):
    first = api.upload(tents).json()
    api.post(f"/api/pim/import/{first['job_id']}/confirm/")
    run_job(api.workspace, api.tenant.id, UUID(first["job_id"]))
    again = api.upload(tents, skip_unchanged="true")
    assert (again.status_code, again.json()["skipped"]) == (200, True)
    assert (again.json()["job_id"], again.json()["state"]) == (first["job_id"], "done")
    third = api.upload(tents)
    assert (third.status_code, third.json()["skipped"]) == (201, False)


def test_an_idempotency_key_means_one_job_for_ever(api, tents, problem):
    first = api.upload(tents, key="k-1")
    job_id = UUID(first.json()["job_id"])
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, job_id)
    again = api.upload(tents, key="k-1")
    assert again.status_code == 200
    assert again.json()["job_id"] == str(job_id)
    assert again.json()["state"] == "done"
    problem(api.upload(tents + "T-7,More,1,red,1\n", key="k-1"), 422, "idempotency_key_reused")


def test_an_unreadable_upload_answers_the_same_under_its_key(api, problem):
    first = problem(api.upload("", key="empty"), 422, "empty_file")
    again = problem(api.upload("", key="empty"), 422, "empty_file")
    assert again["detail"].startswith(first["detail"])


def test_a_dry_run_stops_before_the_catalogue(api, tents):
    upload = api.upload(tents, dry_run="true").json()
    assert upload["dry_run"] is True
    job_id = UUID(upload["job_id"])
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, job_id)
    status = api.get(f"/api/pim/import/{job_id}/").json()
    assert status["state"] == "staged"
    assert status["ledger"]["created"] == 6
    assert api.get("/api/pim/products/").json()["products"] == []


def test_rejects_come_as_a_file(api, problem):
    content = "SKU;Name;Größe\nT-1;Zelt;klein\n;Ohne Nummer;groß\nT-3;;mittel\n".encode("cp1252")
    upload = api.upload(content, name="zelte.csv").json()
    assert upload["headers"] == ["SKU", "Name", "Größe"]
    job_id = upload["job_id"]
    problem(api.get(f"/api/pim/import/{job_id}/rejects/"), 404, "no_rejects")
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    ledger = api.get(f"/api/pim/import/{job_id}/").json()["ledger"]
    assert (ledger["created"], ledger["rejected"]) == (1, 2)
    answer = api.get(f"/api/pim/import/{job_id}/rejects/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv; charset=")
    assert 'filename="rejects-zelte.csv"' in answer.headers["content-disposition"]
    lines = answer.content.decode(answer.charset_encoding).splitlines()
    assert lines[0].startswith("SKU;Name;Größe;row;column;")
    assert len(lines) == 3
    assert lines[1].startswith(";Ohne Nummer;groß;3;")


def test_cancel_before_the_run_is_at_once(api, tents, problem):
    job_id = api.upload(tents).json()["job_id"]
    answer = api.post(f"/api/pim/import/{job_id}/cancel/")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "cancelled"
    problem(api.post(f"/api/pim/import/{job_id}/cancel/"), 409, "already_finished")
    problem(api.post(f"/api/pim/import/{job_id}/confirm/"), 409, "already_confirmed")


def test_cancel_while_running_is_asked_for(api, tents):
    job_id = UUID(api.upload(tents).json()["job_id"])
    api.post(f"/api/pim/import/{job_id}/confirm/")
    claim(api.workspace, api.tenant.id, job_id)
    answer = api.post(f"/api/pim/import/{job_id}/cancel/")
    assert answer.status_code == 202
    assert answer.json()["state"] == "staging"
    from pim_platform.intake.jobs import get_job

    with tenant_session(api.workspace.app, api.tenant.id) as session:
        assert get_job(session, job_id).cancel_requested


def test_cancel_after_the_merge_is_refused(api, tents, problem):
    from pim_platform.intake.running import attempt, merge_job, stage_job

    job_id = UUID(api.upload(tents).json()["job_id"])
    api.post(f"/api/pim/import/{job_id}/confirm/")
    claim(api.workspace, api.tenant.id, job_id)
    with attempt(api.workspace, api.tenant.id, job_id) as (job, lease):
        stage_job(api.workspace, job, lease)
        merge_job(api.workspace, job, lease)
        problem(api.post(f"/api/pim/import/{job_id}/cancel/"), 409, "already_merged")


@pytest.mark.parametrize("path", ["/api/pim/import", "/api/pim/products", "/api/pim/schema", "/health/live/"])
def test_a_trailing_slash_more_or_less_is_no_redirect(api, path):
    answer = api.get(path, follow_redirects=False)
    assert answer.status_code == 200, answer.text
