"""What the command line says of an import that ended."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from pim_platform.cli.imports import report
from pim_platform.intake.models import ImportJob


def job(*, rejected: int, created: int) -> ImportJob:
    counts = {"created": created, "rejected": rejected, "updated": 0, "unchanged": 0, "superseded": 0, "merged": 0}
    return ImportJob(
        id=UUID(int=1),
        state="done",
        dry_run=False,
        reject_reasons={"missing_sku": rejected - 1, "invalid_price": 1},
        rows_read=rejected + created,
        **{f"rows_{name}": count for name, count in counts.items()},
    )


def test_an_import_of_nothing_says_so_even_beside_json(capsys: pytest.CaptureFixture[str]) -> None:
    report(job(rejected=30, created=0), None, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["ledger"]["rejected"] == 30
    assert "Nothing was imported: all 30 records were rejected, most of them as missing_sku." in told.err


def test_an_import_of_something_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    report(job(rejected=29, created=1), None, as_json=True)
    assert capsys.readouterr().err == ""
