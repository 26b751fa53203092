"""Progress of a running import: in its job's row, in Dagster's log, and in the bar of the command line."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import text

import assets.imports
from assets.imports import progress_line
from pim_platform.cli.imports import progress_bar
from pim_platform.definitions import build_defs
from pim_platform.intake import lease
from pim_platform.intake.progress import percent
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from resources import WorkspaceResource
from sensors.imports import run_config, run_tags
from tests.support.imports import confirmed_job, job_of

ROWS = 8_000

_WORKSPACES: list[Workspace] = []


class _Stores(WorkspaceResource):
    """The stores of the tests."""

    def workspace(self) -> Workspace:
        return _WORKSPACES[-1]


@pytest.fixture
def often(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose imports tell many times a second what they tell once, and stage in small batches."""
    monkeypatch.setattr(lease, "_PROGRESS_SECONDS", 0.03)
    monkeypatch.setattr(assets.imports, "_LOG_SECONDS", 0.02)
    return Workspace(workspace.settings.model_copy(update={"stage_batch_rows": 400}))


def content() -> bytes:
    return b"SKU,Name,Colour\n" + b"".join(b"S-%d,Name %d,red\n" % (i, i) for i in range(ROWS))


@contextmanager
def collected(workspace: Workspace, tenant: TenantInfo, job_id: UUID) -> Iterator[list[dict[str, Any]]]:
    """Every progress that the job's row held while the block ran."""
    found: list[dict[str, Any]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            with tenant_session(workspace.app, tenant.id) as session:
                told = session.scalar(text("SELECT progress FROM pim.import_jobs WHERE id = :id"), {"id": job_id})
            if told and (not found or found[-1] != told):
                found.append(told)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def run_in_dagster(workspace: Workspace, tenant: TenantInfo, job_id: UUID) -> list[str]:
    """Run the import's Dagster job; returns what its steps logged."""
    _WORKSPACES.append(workspace)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions("tenants", [tenant.slug])
            result = (
                build_defs({"stores": _Stores()})
                .resolve_job_def("import_products")
                .execute_in_process(
                    partition_key=tenant.slug,
                    instance=instance,
                    tags=run_tags(str(job_id), tenant.slug, 1),
                    run_config=run_config(str(job_id)),
                )
            )
            assert result.success
            logs = instance.all_logs(result.run_id)
    finally:
        _WORKSPACES.pop()
    return [entry.user_message for entry in logs if entry.level == 20 and not entry.is_dagster_event]


def test_the_row_and_dagsters_log_tell_stages_rows_rate_and_time_left(
    often: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    tenant = make_tenant()
    job_id = confirmed_job(often, tenant.id, content())
    with collected(often, tenant, job_id) as told:
        logged = run_in_dagster(often, tenant, job_id)
    assert job_of(often, tenant.id, job_id).state == "done"
    stages = list(dict.fromkeys(one["stage"] for one in told if "stage" in one))
    assert stages[0] == "staging"
    assert {"staging", "publishing"} <= set(stages)
    for stage in stages:
        rows = [one["rows"] for one in told if one.get("stage") == stage]
        assert rows == sorted(rows), f"{stage} goes forward"
        assert all({"rows", "total", "rows_per_second", "eta_seconds", "seconds"} <= one.keys() for one in told)
    staging = [one for one in told if one["stage"] == "staging" and one["rows"]]
    assert staging, "a file of twenty batches is told of while it is read"
    assert all(one["total"] == ROWS and one["rows_per_second"] > 0 and one["eta_seconds"] >= 0 for one in staging)
    percents = [percent("importing", one) for one in told]
    assert percents == sorted(percents)
    assert all(one["rows_per_second"] < 100_000_000 for one in told), "a stage's first word comes with its first rows"
    assert any(line.startswith("staging: ") and "rows/s" in line for line in logged), logged
    assert any(line.startswith("publishing") for line in logged), logged


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        ({}, "starting: 0 s"),
        ({"stage": "comparing", "rows": 0, "total": 5, "seconds": 3.4}, "comparing: 3 s"),
        (
            {"stage": "staging", "rows": 430_000, "total": 861_688, "rows_per_second": 215_000, "eta_seconds": 2.0},
            "staging: 430,000 of 861,688 rows, 215,000 rows/s, 2 s left",
        ),
        (
            {"stage": "writing", "rows": 10, "total": None, "rows_per_second": 5, "eta_seconds": None},
            "writing: 10 rows, 5 rows/s",
        ),
    ],
)
def test_a_line_of_the_log(progress: dict[str, Any], line: str) -> None:
    assert progress_line(progress) == line


def test_the_bar_of_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    told = {"stage": "staging", "rows": 430_000, "total": 861_688, "rows_per_second": 215_000, "eta_seconds": 2.0}
    with progress_bar() as show:
        show(SimpleNamespace(state="staging", progress=told))
    shown = capsys.readouterr().err
    assert "staging" in shown
    assert "430000/861688" in shown
    assert "215,000 rows/s" in shown
