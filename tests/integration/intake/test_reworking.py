"""Corrected rejects go into the job that they came from; what is not corrected stays rejected."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pim_platform.catalog.models import Product
from pim_platform.errors import BadInput, Conflict
from pim_platform.intake import running
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.lease import claim
from pim_platform.intake.manifests import job_folder, merged_attempts
from pim_platform.intake.models import ImportJob
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.running import attempt, stage_job, write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, run_job

MakeTenant = Callable[..., TenantInfo]

CONTENT = (
    b"SKU;Name;Price\n"
    b"A-1;Alpha;10,00\n"
    b";Beta;20,00\n"  # 3: no SKU
    b"C-3;Gamma;thirty\n"  # 4: no price
    b"D-4;;40,00\n"  # 5: a new one without a name
    b"E-5;Epsilon;fifty\n"  # 6: no price
)


def rejects(workspace: Workspace, job: ImportJob, folder: Path) -> list[dict[str, Any]]:
    path = folder / "rejects.csv"
    if not write_rejects(workspace, job, path):
        return []
    return list(csv.DictReader(io.StringIO(path.read_text(job.dialect["encoding"])), delimiter=";"))  # type: ignore[index]


def as_file(rows: list[dict[str, Any]], delimiter: str = ";") -> io.BytesIO:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return io.BytesIO(out.getvalue().encode())


def rework(workspace: Workspace, job: ImportJob, content: io.BytesIO) -> ImportJob:
    rework_job(workspace, job.tenant_id, job.id, content, filename="corrected.csv", actor=ACTOR)
    return run_job(workspace, job.tenant_id, job.id)


def skus(workspace: Workspace, job: ImportJob) -> dict[str, Product]:
    with tenant_session(workspace.app, job.tenant_id) as session:
        found = session.scalars(select(Product).where(Product.tenant_id == job.tenant_id))
        return {product.sku: product for product in found}


@pytest.fixture
def done(workspace: Workspace, make_tenant: MakeTenant) -> ImportJob:
    job = import_bytes(workspace, make_tenant().id, CONTENT)
    assert job.ledger() == {
        "read": 5, "created": 1, "updated": 0, "unchanged": 0, "rejected": 4, "superseded": 0, "merged": 0,
    }  # fmt: skip
    return job


def test_corrected_rejects_become_products_and_the_rest_stays_rejected(
    workspace: Workspace, done: ImportJob, tmp_path: Path
) -> None:
    rows = rejects(workspace, done, tmp_path)
    assert sorted(row["row"] for row in rows) == ["3", "4", "5", "6"]
    by_row = {row["row"]: row for row in rows}
    by_row["3"]["SKU"] = "B-2"
    by_row["4"]["Price"] = "30,00"
    by_row["5"]["Name"] = " "  # sent again, wrong again
    sent = [by_row[number] for number in ("3", "4", "5")]  # the fourth is not sent at all

    job = rework(workspace, done, as_file(sent))

    assert (job.id, job.state, job.attempt, job.task) == (done.id, "done", 2, "import")
    assert job.ledger() == {
        "read": 5, "created": 3, "updated": 0, "unchanged": 0, "rejected": 2, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert job.reject_reasons["name_missing"] == 1
    assert sum(job.reject_reasons.values()) == 2
    left = rejects(workspace, job, tmp_path)
    assert sorted((row["row"], row["SKU"]) for row in left) == [("5", "D-4"), ("6", "E-5")]
    assert list(left[0]) == list(rows[0]), "the columns told are there once"
    products = skus(workspace, job)
    assert set(products) == {"A-1", "B-2", "C-3"}
    assert products["C-3"].data == {"price": {"amount": 30, "currency": "EUR"}}
    assert raw_row(workspace, products["A-1"]) == {"SKU": "A-1", "Name": "Alpha", "Price": "10,00"}
    assert raw_row(workspace, products["B-2"]) == {"SKU": "B-2", "Name": "Beta", "Price": "20,00"}
    merges = [(one.kind, one.attempt, one.filename, one.rows_replaced, one.ledger()) for one in
              merged_attempts(workspace, job)]  # fmt: skip
    assert merges[0][:4] == ("import", 1, "products.csv", 0)
    assert merges[1][:4] == ("rework", 2, "corrected.csv", 3)
    assert merges[1][4]["read"] == 3
    assert merges[1][4]["rejected"] == 1

    by_row = {row["row"]: row for row in left}
    by_row["5"]["Name"], by_row["6"]["Price"] = "Delta", "50,00"
    last = rework(workspace, job, as_file([by_row["6"], by_row["5"]], delimiter=","))
    assert last.ledger() == {
        "read": 5, "created": 5, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert rejects(workspace, last, tmp_path) == []
    assert set(skus(workspace, last)) == {"A-1", "B-2", "C-3", "D-4", "E-5"}
    with pytest.raises(Conflict) as caught:
        rework(workspace, last, as_file(rows))
    assert caught.value.code == "nothing_rejected"


def test_a_file_without_record_numbers_stands_for_all_rejects(
    workspace: Workspace, done: ImportJob, tmp_path: Path
) -> None:
    job = rework(workspace, done, io.BytesIO(b"SKU;Name;Price\nB-2;Beta;20,00\n;Nobody;1,00\n"))
    assert job.ledger() == {
        "read": 3, "created": 2, "updated": 0, "unchanged": 0, "rejected": 1, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert [row["Name"] for row in rejects(workspace, job, tmp_path)] == ["Nobody"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SKU;Name;row\nB-2;Beta;3\n", "missing 'Price'"),
        (b"SKU;Name;Price;Size\nB-2;Beta;20,00;4\n", "unknown 'Size'"),
        (b"Name;SKU;Price\nBeta;B-2;20,00\n", "another order"),
    ],
)
def test_a_file_of_other_columns_is_refused_and_the_job_stays_done(
    workspace: Workspace, done: ImportJob, content: bytes, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        rework(workspace, done, io.BytesIO(content))
    assert caught.value.code == "other_columns"
    with tenant_session(workspace.app, done.tenant_id) as session:
        assert session.get_one(ImportJob, (done.tenant_id, done.id)).state == "done"


def test_what_fails_or_is_cancelled_leaves_the_import_done_as_it_was(
    workspace: Workspace, done: ImportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rejects(workspace, done, tmp_path)

    def broken(*_arguments: object, **_options: object) -> None:
        raise BadInput("It cannot be read.", fix="Send another.", code="broken")

    with monkeypatch.context() as patch:
        patch.setattr(running, "stage", broken)
        with pytest.raises(BadInput):
            rework(workspace, done, as_file(rows))
    with tenant_session(workspace.app, done.tenant_id) as session:
        job = session.get_one(ImportJob, (done.tenant_id, done.id))
    assert (job.state, job.reason_code, job.task, job.ledger()) == ("done", "broken", "import", done.ledger())

    rework_job(workspace, done.tenant_id, done.id, as_file(rows), filename="corrected.csv", actor=ACTOR)
    job = cancel_job(workspace, done.tenant_id, done.id, ACTOR)
    assert (job.state, job.reason_code, job.cancel_requested) == ("done", "cancelled", False)
    assert len(rejects(workspace, job, tmp_path)) == 4


def test_a_dead_attempt_is_taken_up_and_leaves_nothing(workspace: Workspace, done: ImportJob, tmp_path: Path) -> None:
    rows = rejects(workspace, done, tmp_path)
    for row in rows:
        row.update(SKU="X-" + row["row"], Name="Corrected", Price="1,00")
    rework_job(workspace, done.tenant_id, done.id, as_file(rows), filename="corrected.csv", actor=ACTOR)
    claim(workspace, done.tenant_id, done.id)

    def stopped() -> None:
        with attempt(workspace, done.tenant_id, done.id) as (mine, lease):
            stage_job(workspace, mine, lease)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()

    job = run_job(workspace, done.tenant_id, done.id)

    assert (job.state, job.attempt) == ("done", 3)
    assert job.ledger() == {
        "read": 5, "created": 5, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    folders = {found.key.split("/")[4] for found in workspace.objects.list(job_folder(job.tenant_id, job.id))}
    assert folders == {"1", "3"}
