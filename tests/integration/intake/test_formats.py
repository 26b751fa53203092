"""Files of other formats than CSV go the whole way: what is said of them counts, and rejects come back correctable."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import python_calamine as calamine
from sqlalchemy import select

from pim_platform.catalog.models import Product
from pim_platform.errors import InvalidMapping, InvalidRequest, UnreadableFile
from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.landing import land
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.running import write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, job_of, land_bytes, run_job
from tests.support.workbooks import workbook

MakeTenant = Callable[..., TenantInfo]

ROWS = [
    ["SKU", "Name", "Price", "Stock"],
    ["A-1", "Alpha", 10.5, 3],
    [None, "Beta", 20, 4],  # no SKU
    ["C-3", "=Gamma", "thirty", 5],  # no price
]
OTHER = [["Country", "Rate"], ["DE", 19], ["FR", 20], ["IT", 22], ["ES", 21], ["AT", 20]]


def products(workspace: Workspace, job: ImportJob) -> dict[str, Product]:
    with tenant_session(workspace.app, job.tenant_id) as session:
        found = session.scalars(select(Product).where(Product.tenant_id == job.tenant_id))
        return {product.sku: product for product in found}


def reworked(workspace: Workspace, job: ImportJob, content: bytes, filename: str) -> ImportJob:
    rework_job(workspace, job.tenant_id, job.id, io.BytesIO(content), filename=filename, actor=ACTOR)
    return run_job(workspace, job.tenant_id, job.id)


@pytest.fixture
def of_workbook(workspace: Workspace, make_tenant: MakeTenant) -> ImportJob:
    job = import_bytes(workspace, make_tenant().id, workbook({"Products": ROWS}), filename="list.xlsx")
    assert (job.format, job.rows_read, job.rows_created, job.rows_rejected) == ("xlsx", 3, 1, 2)
    return job


def rejected_rows(workspace: Workspace, job: ImportJob, folder: Path) -> list[list[Any]]:
    path = folder / "rejects.xlsx"
    assert write_rejects(workspace, job, path) == 2
    rows: list[list[Any]] = calamine.load_workbook(path).get_sheet_by_index(0).to_python()
    return rows


def test_rejects_of_a_workbook_are_a_workbook_that_can_be_corrected_and_sent_again(
    workspace: Workspace, of_workbook: ImportJob, tmp_path: Path
) -> None:
    rows = rejected_rows(workspace, of_workbook, tmp_path)
    assert rows[0] == [*ROWS[0], "row", "column", "error_code", "error", "suggestion"]
    # An editor opens this file: a supplier's cell must not be a formula there. The import takes the guard off again.
    assert [row[:6] for row in rows[1:]] == [
        ["", "Beta", "20", "4", 3.0, "SKU"],
        ["C-3", "'=Gamma", "thirty", "5", 4.0, "Price"],
    ]
    rows[1][0], rows[2][2] = "B-2", "30"
    done = reworked(workspace, of_workbook, workbook({"Rejects": rows}), "rejects-list.xlsx")
    assert (done.rows_created, done.rows_rejected) == (3, 0)
    found = products(workspace, done)
    assert sorted(found) == ["A-1", "B-2", "C-3"]
    assert found["C-3"].name == "=Gamma"


def test_a_workbooks_rejects_saved_as_csv_are_taken_as_well(
    workspace: Workspace, of_workbook: ImportJob, tmp_path: Path
) -> None:
    rows = rejected_rows(workspace, of_workbook, tmp_path)
    rows[2][2] = "30.00"
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([rows[0], [*rows[2][:4], "4", *rows[2][5:]]])
    done = reworked(workspace, of_workbook, out.getvalue().encode(), "corrected.csv")
    assert (done.rows_created, done.rows_rejected) == (2, 1)
    assert products(workspace, done)["C-3"].data["price"]["amount"] == 30


def test_rejects_of_json_are_lines_of_json_keyed_by_column(
    workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    records = [
        {"sku": "A-1", "name": "Alpha", "price": 10.50, "tags": ["x", "y"]},
        {"sku": "", "name": "Beta", "price": 20, "tags": ["z"], "row": "own"},
        {"sku": "C-3", "name": "Gamma", "price": "thirty"},
    ]
    content = json.dumps({"products": records}).encode()
    job = import_bytes(workspace, make_tenant().id, gzip.compress(content), filename="feed.json.gz")
    assert (job.format, job.rows_created, job.rows_rejected) == ("json", 1, 2)
    path = tmp_path / "rejects.jsonl"
    assert write_rejects(workspace, job, path) == 2
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["_reject"]["row"] for line in lines] == [2, 3]
    assert (lines[0]["tags[]"], lines[0]["row"], lines[1]["price"]) == ('["z"]', "own", "thirty")
    lines[0]["sku"], lines[1]["price"] = "B-2", 30
    corrected = "\n".join(json.dumps(line) for line in reversed(lines)).encode()
    done = reworked(workspace, job, corrected, "rejects-feed.jsonl")
    assert (done.rows_created, done.rows_rejected) == (3, 0)
    assert products(workspace, done)["B-2"].data["tags"] == ["z"]


def test_corrected_rejects_with_keys_of_another_file_are_refused(workspace: Workspace, make_tenant: MakeTenant) -> None:
    content = b'[{"sku": "A", "name": "a"}, {"sku": "", "name": "b"}]'
    job = import_bytes(workspace, make_tenant().id, content, filename="feed.json")
    with pytest.raises(InvalidMapping) as caught:
        reworked(workspace, job, b'{"sku": "B", "titel": "b"}\n', "other.jsonl")
    assert caught.value.code == "other_columns"
    assert "'titel'" in caught.value.message


def test_what_is_said_of_a_file_goes_before_what_is_detected(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = workbook({"Products": ROWS, "Other": [["Art", "Title"], ["Z-1", "Zeta"], ["Z-2", "Eta"]]})
    job_id = land_bytes(workspace, tenant.id, content, filename="list.xlsx", dialect={"sheet": "Other"})
    job = propose_job(workspace, tenant.id, job_id)
    assert (job.headers, (job.dialect or {})["sheet"]) == (["Art", "Title"], "Other")
    again = land_bytes(workspace, tenant.id, content, filename="list.xlsx", dialect={"sheet": "Products"})
    assert again == job_id, "the same file still waits: it is read anew, not landed twice"
    assert propose_job(workspace, tenant.id, job_id).headers == ROWS[0]


def test_a_dialect_corrected_when_confirming_gives_the_columns_that_are_mapped(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, workbook({"Products": ROWS, "Rates": OTHER}), filename="list.xlsx")
    assert propose_job(workspace, tenant.id, job_id).headers == ROWS[0]
    with pytest.raises(UnreadableFile, match="no sheet 'Nope'"):
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR, dialect={"sheet": "Nope"})
    with pytest.raises(InvalidRequest, match="'delimiter' has no meaning"):
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR, dialect={"delimiter": ";"})
    assert job_of(workspace, tenant.id, job_id).state == "mapping"
    wanted = {"Country": "sku"}
    confirm_job(workspace, tenant.id, job_id, actor=ACTOR, dialect={"sheet": "Rates"}, mapping=wanted)
    job = run_job(workspace, tenant.id, job_id)
    assert (job.headers, job.rows_read) == (["Country", "Rate"], 5)


def test_a_dialect_that_cannot_be_lands_nothing(workspace: Workspace, make_tenant: MakeTenant) -> None:
    with pytest.raises(InvalidRequest) as caught:
        land(
            workspace, make_tenant().id, io.BytesIO(b"x"), filename="a.csv", source="test", origin="cli", actor=ACTOR,
            dialect={"delimiter": ";;"},
        )  # fmt: skip
    assert caught.value.code == "invalid_dialect"
