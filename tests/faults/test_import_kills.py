"""``kill -9`` of the importing process at three named points; the next try finishes the same job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.manifests import job_folder
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.compare import Rows, assert_engines_hold
from tests.support.imports import import_bytes
from tests.support.stacks import environment

ROWS = 3_000


def run(workspace: Workspace, *command: str) -> subprocess.CompletedProcess[str]:
    settings = workspace.settings
    env = {**os.environ, **environment(settings), "PIM_STAGE_BATCH_ROWS": "500"}
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=240, check=False)


def write_file(path: Path, label: str) -> Rows:
    """A file of distinct products; returns what the catalogue must hold afterwards."""
    rows = {f"K-{n:05}": (f"Product {n}", f'{label} {n}, with \\ and "quotes"') for n in range(ROWS)}
    lines = ["SKU,Name,Description"]
    lines += [f'{sku},{name},"{text.replace(chr(34), chr(34) * 2)}"' for sku, (name, text) in rows.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


@pytest.mark.parametrize("stage", ["staging", "writing", "publishing"])
def test_a_killed_import_ends_as_if_nothing_had_happened(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo], tmp_path: Path, stage: str
) -> None:
    tenant = make_tenant()
    file = tmp_path / "products.csv"
    write_file(file, "first")
    arguments = ["import", str(file), "--tenant", tenant.slug, "--yes", "--inline", "--json"]
    assert import_bytes(workspace, tenant.id, file.read_bytes(), source="cli").rows_created == ROWS
    expected = write_file(file, "second")  # the same products, every description changed

    killed = run(workspace, "-m", "tests.support.die_at", stage, *arguments)
    assert killed.returncode == -signal.SIGKILL, (killed.returncode, killed.stderr)
    again = run(workspace, "-m", "pim_platform.cli", *arguments)

    assert again.returncode == 0, again.stderr
    answer = json.loads(again.stdout)
    assert answer["state"] == "done"
    assert answer["ledger"] == {
        "read": ROWS, "created": 0, "updated": ROWS, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert_engines_hold(workspace, tenant, expected, "description")
    with tenant_session(workspace.app, tenant.id) as session:
        newest, before = list_jobs(session)
    assert (str(newest.id), newest.attempt) == (answer["job_id"], 2)
    assert before.state == "done"
    kept = {found.key.split("/")[4] for found in workspace.objects.list(job_folder(tenant.id, newest.id))}
    assert kept == {str(newest.staged_attempt)}, "staging of the dead attempt is left behind"
