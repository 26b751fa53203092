"""The whole stack at work: files come in by every door, and both engines and Dagster show them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from pim_platform.catalog.deleting import Selection, count_products
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.intake.jobs import FINAL, list_jobs
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.endpoints import Endpoints, Ports
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.subscriptions import create_webhook
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import ConfirmPolicy, TenantInfo, create_tenant
from tests.support.compare import assert_engines_hold
from tests.support.dagster_ui import check_results, materialisations, runs_with, terminate
from tests.support.receivers import receiver
from tests.support.stacks import Stack, environment, wait_for

pytestmark = pytest.mark.timeout(600)

FILE = b"SKU,Name,Description\nA-1,Boot,high\nB-2,Tent,\nC-3,Stove,hot\n,Nothing,no sku\n"


def tenant_of(stores: Workspace, policy: ConfirmPolicy = "never") -> TenantInfo:
    return create_tenant(
        stores.app,
        "s" + uuid.uuid4().hex[:10],
        currency="EUR",
        locale="en-US",
        timezone="UTC",
        confirm_policy=policy,
        actor=Actor("test"),
    )


def jobs(stores: Workspace, tenant: TenantInfo) -> list[ImportJob]:
    with tenant_session(stores.app, tenant.id) as session:
        return list_jobs(session)


def drop(stores: Workspace, tenant: TenantInfo, content: bytes, name: str = "products.csv") -> None:
    stores.objects.put_bytes(f"inbox/{tenant.slug}/supplier/{name}", content)


def pim_import(stack: Stack, file: Path, tenant: TenantInfo) -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "pim_platform.cli",
        "import",
        str(file),
        "--tenant",
        tenant.slug,
        "--yes",
        "--json",
    ]
    env = {**os.environ, **environment(stack.settings)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_dropped_file_is_in_both_engines_and_dagster_shows_its_ledger(stack: Stack, stores: Workspace) -> None:
    tenant = tenant_of(stores, "all_sure")

    drop(stores, tenant, FILE)

    wait_for(lambda: [job.state for job in jobs(stores, tenant)] == ["done"], "the dropped file to be imported")
    rows = {"A-1": ("Boot", "high"), "B-2": ("Tent", None), "C-3": ("Stove", "hot")}
    job = jobs(stores, tenant)[0]
    ledger = {
        "read": 4, "created": 3, "updated": 0, "unchanged": 0, "rejected": 1, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert job.ledger() == ledger
    url = f"http://127.0.0.1:{Ports.of(stack.settings.port).dagster}"
    newest = materialisations(url, ["catalog", "products"], tenant.slug)[0]
    assert json.loads(newest["ledger"]) == ledger
    assert newest["rows_per_second"] > 0
    assert json.loads(newest["reject_reasons"]) == {"missing_sku": 1}
    assert json.loads(newest["sample_rejects"])[0]["row"] == 5
    assert check_results(url, ["catalog", "products"], "ledger_balances", tenant.slug) == [True]
    assert check_results(url, ["segmentation", "products"], "engines_agree", tenant.slug) == [True]
    assert materialisations(url, ["tenant", "products"], tenant.slug)
    found = stores.clickhouse.query(
        "SELECT sku, name, JSONExtractString(data, 'description') FROM segmentation.products "
        "WHERE tenant_id = {tenant:String} ORDER BY sku",
        parameters={"tenant": str(tenant.id)},
    )
    assert [(sku, (name, text or None)) for sku, name, text in found.result_rows] == list(rows.items())


def test_a_changed_partial_file_by_command_line_counts_rightly_and_loses_nothing(
    stack: Stack, stores: Workspace, tmp_path: Path
) -> None:
    tenant = tenant_of(stores)
    file = tmp_path / "products.csv"
    file.write_bytes(b"SKU,Name,Description\nA-1,Boot,high\nB-2,Tent,wide\nC-3,Stove,hot\n")
    assert pim_import(stack, file, tenant)[0] == 0
    # No name column, one empty cell, one change, one product left out, one new SKU that cannot be made without a name.
    file.write_bytes(b"SKU,Description\na-1,higher\nB-2,\nD-4,new\n")

    code, answer = pim_import(stack, file, tenant)

    assert (code, answer["state"]) == (0, "done")
    assert answer["ledger"] == {
        "read": 3, "created": 0, "updated": 1, "unchanged": 1, "rejected": 1, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert "D-4" in Path(answer["rejects_file"]).read_text("utf-8")
    expected = {"A-1": ("Boot", "higher"), "B-2": ("Tent", "wide"), "C-3": ("Stove", "hot")}
    assert_engines_hold(stores, tenant, expected, "description")


def test_bad_files_fail_or_wait_with_a_reason_and_the_next_good_one_comes_through(
    stack: Stack, stores: Workspace
) -> None:
    bad, waiting = tenant_of(stores, "all_sure"), tenant_of(stores, "never")

    drop(stores, bad, b"", "empty.csv")
    drop(stores, bad, b"\x00\xff\xfe\x01" * 500, "binary.csv")
    drop(stores, bad, b"Name,Colour\nBoot,red\nTent,green\n", "no-sku.csv")
    drop(stores, waiting, FILE)
    stores.objects.put_bytes("inbox/no-such-tenant/supplier/products.csv", FILE)

    wait_for(lambda: len(jobs(stores, bad)) == 3 and not _pending(stores, bad), "the bad files to be looked at")
    found = {job.filename: (job.state, job.reason_code) for job in jobs(stores, bad)}
    assert found == {
        "empty.csv": ("failed", "empty_file"),
        "binary.csv": ("failed", "not_text"),
        "no-sku.csv": ("mapping", "waiting"),
    }
    wait_for(lambda: [job.state for job in jobs(stores, waiting)] == ["mapping"], "the file that waits for a person")
    assert "waits for a person" in str(jobs(stores, waiting)[0].reason)
    drop(stores, bad, FILE, "good.csv")
    wait_for(lambda: any(job.state == "done" for job in jobs(stores, bad)), "the good file")


def test_the_same_bytes_twice_are_two_jobs_the_second_all_unchanged(stack: Stack, stores: Workspace) -> None:
    tenant = tenant_of(stores, "all_sure")
    for count in (1, 2):
        drop(stores, tenant, FILE)
        wait_for(
            lambda wanted=count: [job.state for job in jobs(stores, tenant)] == ["done"] * wanted,  # type: ignore[misc]
            f"import {count}",
        )
    second = jobs(stores, tenant)[0].ledger()
    assert second is not None
    assert (second["created"], second["unchanged"], second["rejected"]) == (0, 3, 1)


def _pending(stores: Workspace, tenant: TenantInfo) -> bool:
    return any(job.state not in (*FINAL, "mapping") for job in jobs(stores, tenant))


def test_who_subscribed_is_told_of_a_dropped_file(stack: Stack, stores: Workspace) -> None:
    tenant = tenant_of(stores, "all_sure")
    with receiver() as server:
        with tenant_session(stores.app, tenant.id) as session:
            _, secret = create_webhook(
                session, stores.settings, url=server.url, events=["import.completed"], actor=Actor("test")
            )
        drop(stores, tenant, FILE)
        wait_for(server.snapshot, "the webhook")
    (told,) = server.requests
    event = Webhook(secret).verify(told.body, told.headers)
    assert event["data"]["job_id"] == str(jobs(stores, tenant)[0].id)
    assert event["data"]["ledger"]["created"] == 3


def test_who_terminates_a_run_in_dagster_cancels_its_import(stack: Stack, stores: Workspace) -> None:
    tenant = tenant_of(stores, "all_sure")
    url = f"http://127.0.0.1:{Ports.of(stack.settings.port).dagster}"
    with psycopg.connect(Endpoints.of(stores.settings).admin_url) as writer:
        lock_catalogue(writer, tenant.id, wait_seconds=None)
        drop(stores, tenant, FILE)
        wait_for(
            lambda: (
                [(job.progress or {}).get("stage") for job in jobs(stores, tenant)] == ["waiting for the catalogue"]
            ),
            "the import to wait for the catalogue",
        )
        (job,) = jobs(stores, tenant)
        (run_id,) = runs_with(url, "pim/job", str(job.id))

        terminate(url, run_id)

        wait_for(lambda: jobs(stores, tenant)[0].state == "cancelled", "the import to be cancelled")
    wait_for(lambda: runs_with(url, "pim/job", str(job.id)) == {run_id: "CANCELED"}, "the run to end")
    with tenant_session(stores.app, tenant.id) as session:
        assert count_products(session, Selection(everything=True)) == 0
