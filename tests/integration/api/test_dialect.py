"""What a caller says of a file goes before what is detected; rejects of a workbook are fetched as one."""

from __future__ import annotations

import io
import json
from uuid import UUID

import pytest
import python_calamine as calamine

from tests.support.imports import run_job
from tests.support.workbooks import workbook

BOOK = workbook(
    {
        "Products": [["SKU", "Name"], ["A", "Alpha"], ["", "Beta"]],
        "Prices": [["Art", "Amount"], ["A", 1], ["B", 2]],
    }
)


def test_a_sheet_said_at_upload_is_the_one_that_is_read_and_shown(api):
    answer = api.upload(BOOK, name="list.xlsx", dialect=json.dumps({"sheet": "Prices"})).json()
    assert (answer["headers"], answer["dialect"]["sheet"]) == (["Art", "Amount"], "Prices")
    detail = api.get(f"/api/pim/import/{answer['job_id']}/").json()
    assert (detail["format"], detail["dialect"]["sheet"]) == ("xlsx", "Prices")


def test_a_sheet_said_at_confirming_is_read_instead(api, problem):
    job_id = api.upload(BOOK, name="list.xlsx").json()["job_id"]
    wrong = {"dialect": {"sheet": "Nope"}}
    problem(api.post(f"/api/pim/import/{job_id}/confirm/", json=wrong), 422, "unknown_sheet")
    body = {"dialect": {"sheet": "Prices"}, "mapping": {"Art": "sku"}}
    assert api.post(f"/api/pim/import/{job_id}/confirm/", json=body).status_code == 202
    assert run_job(api.workspace, api.tenant.id, UUID(job_id)).rows_read == 2


@pytest.mark.parametrize("given", ["nonsense", "[1]", '{"colour": 1}', '{"delimiter": ";;"}', '{"sheet": "A"}'])
def test_a_dialect_that_cannot_be_is_refused(api, problem, given):
    problem(api.upload("SKU,Name\nA,Alpha\n", dialect=given), 422, "invalid_dialect")


def test_rejects_of_a_workbook_are_fetched_as_a_workbook(api):
    job_id = api.upload(BOOK, name="list.xlsx").json()["job_id"]
    api.post(f"/api/pim/import/{job_id}/confirm/")
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    answer = api.get(f"/api/pim/import/{job_id}/rejects/")
    assert answer.headers["content-type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert 'filename="rejects-list.xlsx"' in answer.headers["content-disposition"]
    rows = calamine.load_workbook(io.BytesIO(answer.content)).get_sheet_by_index(0).to_python()
    assert rows[1][:4] == ["", "Beta", 3.0, "SKU"]
