"""Dry run, diff, promotion and corrected rejects by way of the commands, each a process and a Dagster run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.command import pim
from tests.support.compare import assert_engines_hold
from tests.support.imports import ACTOR

MakeTenant = Callable[..., TenantInfo]


def test_from_a_dry_run_to_the_last_corrected_reject(
    workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    tenant = make_tenant()
    file = tmp_path / "products.csv"
    file.write_text("SKU,Name,Colour\nA-1,Alpha,red\nB-2,Beta,blue\n,Gamma,green\n", "utf-8")
    to = ("--tenant", tenant.slug)

    staged = pim(workspace, "import", str(file), *to, "--dry-run", "--yes", "--inline")
    assert (staged["state"], staged["ledger"]["created"]) == ("staged", 2)
    job = staged["job_id"]
    shown = pim(workspace, "diff", job, *to, "--field", "name")
    assert [(line["sku"], line["action"], line["new"]) for line in shown["lines"]] == [
        ("A-1", "create", "Alpha"),
        ("B-2", "create", "Beta"),
    ]
    assert shown["summary"]["products"] == {"create": 2, "update": 0, "unchanged": 0}

    bulk_upsert(workspace, tenant.id, [{"sku": "B-2", "name": "Mine"}], actor=ACTOR)
    # The catalogue moved, so the first run writes nothing; --yes accepts the diff of now.
    done = pim(workspace, "promote", job, *to, "--inline", "--yes")
    assert (done["state"], done["ledger"]["updated"], done["ledger"]["rejected"]) == ("done", 1, 1)
    assert_engines_hold(workspace, tenant, {"A-1": ("Alpha", "red"), "B-2": ("Beta", "blue")}, "color")

    rejects = Path(done["rejects_file"])
    rows = list(csv.DictReader(rejects.read_text("utf-8").splitlines()))
    rows[0]["SKU"] = "C-3"
    with rejects.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    last = pim(workspace, "rework", job, str(rejects), *to, "--inline")
    assert last["ledger"] == {
        "read": 3, "created": 2, "updated": 1, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    expected = {"A-1": ("Alpha", "red"), "B-2": ("Beta", "blue"), "C-3": ("Gamma", "green")}
    assert_engines_hold(workspace, tenant, expected, "color")
