"""Exports: what is written is what is there, and reading it again changes nothing."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.integration.api.conftest import Api
from tests.support.imports import job_of, run_job
from tests.support.odd_catalogue import odd_products, write_products

FORMATS = ("csv", "jsonl", "xlsx", "parquet")


@pytest.fixture(scope="module")
def _module() -> None:
    """Nothing yet."""


def _again(api: Api, content: bytes, name: str) -> dict[str, int]:
    """Upload a file, take the proposal as it is, run it, and return its ledger."""
    made = api.upload(content, name=name, source="back")
    assert made.status_code == 201, made.text
    job_id = made.json()["job_id"]
    columns = made.json()["columns"]
    assert all(column["auto"] for column in columns), [column for column in columns if not column["auto"]]
    confirmed = api.post(f"/api/pim/import/{job_id}/confirm/", json={})
    assert confirmed.status_code == 202, confirmed.text
    job = run_job(api.workspace, api.tenant.id, UUID(job_id))
    job = job_of(api.workspace, api.tenant.id, job.id)
    assert job.state == "done", job.reason
    return {
        "read": job.rows_read,
        "created": job.rows_created,
        "updated": job.rows_updated,
        "unchanged": job.rows_unchanged,
        "rejected": job.rows_rejected,
    }


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_imported_again_changes_nothing(api: Api, form: str) -> None:
    products = odd_products()
    write_products(api.workspace, api.tenant.id, products)
    answer = api.get(f"/api/pim/export/?format={form}")
    assert answer.status_code == 200, answer.text
    count = len(products)
    assert _again(api, answer.content, f"export.{form}") == {
        "read": count, "created": 0, "updated": 0, "unchanged": count, "rejected": 0,
    }  # fmt: skip
