"""``kill -9`` at a random moment, of the importing process or of an engine: in the end it is as if nothing had been.

The moment is drawn from the seed over the measured length of a clean run. The import is then run again until it is
done, as a person or a schedule would.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.manifests import job_folder
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.local.home import Home
from pim_platform.storage.postgres import dispose_engines, tenant_session
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.compare import Rows, assert_engines_hold
from tests.support.imports import ACTOR, import_bytes
from tests.support.stacks import environment, plain_environment, throwaway_settings

pytestmark = pytest.mark.timeout(300)

ROWS = 2_000
VICTIMS = ("importer", "postgres", "clickhouse")
SEEDS = [*range(5), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(5, 30))]


def content(label: str, price: int) -> bytes:
    lines = ["SKU,Name,Price,Description"]
    lines += [f"K-{n:05},Product {n},{price + n}.50,{label} {n}" for n in range(ROWS)]
    lines += [f",Nobody,{price}.00,rejected", "k-00000,,1.25,superseding"]
    return ("\n".join(lines) + "\n").encode()


@dataclass
class Kitchen:
    """A home, the file that is imported again and again, and what a clean import of it leaves."""

    workspace: Workspace
    file: Path
    seconds: float = 0.0
    clean: list[Any] | None = None
    ledger: dict[str, int] | None = None

    def tenant(self, name: str) -> TenantInfo:
        made = create_tenant(
            self.workspace.app,
            name,
            currency="EUR",
            locale="en-US",
            timezone="UTC",
            confirm_policy="never",
            actor=ACTOR,
        )
        import_bytes(self.workspace, made.id, content("first", 10), source="cli")
        return made

    def start(self, tenant: TenantInfo, scratch: Path) -> subprocess.Popen[str]:
        env = plain_environment() | environment(self.workspace.settings)
        env |= {"PIM_STAGE_BATCH_ROWS": "200", "TMPDIR": str(scratch)}
        command = [sys.executable, "-m", "pim_platform.cli", "import", str(self.file), "--tenant", tenant.slug]
        return subprocess.Popen(
            [*command, "--yes", "--inline", "--json"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, tenant: TenantInfo) -> list[Any]:
        """Everything of a product that does not depend on ids and times, from PostgreSQL."""
        query = text(
            "SELECT sku_key, sku, name, active, data::text, version, source_row FROM pim.products "
            "WHERE tenant_id = :tenant ORDER BY sku_key"
        )
        log = text(
            "SELECT sku_key, version, old::text, new::text FROM pim.product_changes "
            "WHERE tenant_id = :tenant ORDER BY sku_key, version"
        )
        with tenant_session(self.workspace.app, tenant.id) as session:
            return [tuple(row) for one in (query, log) for row in session.execute(one, {"tenant": tenant.id})]

    def expected(self) -> Rows:
        rows: Rows = {f"K-{n:05}": (f"Product {n}", f"second {n}") for n in range(ROWS)}
        return rows | {"K-00000": ("Product 0", "superseding")}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp("kills")
    file = folder / "products.csv"
    file.write_bytes(content("second", 20))
    with throwaway_settings() as settings, engines(settings):
        made = Kitchen(Workspace(settings), file)
        tenant = made.tenant("clean")
        began = time.monotonic()
        process = made.start(tenant, folder)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        made.seconds = time.monotonic() - began
        made.clean, made.ledger = made.rows(tenant), json.loads(out)["ledger"]
        assert_engines_hold(made.workspace, tenant, made.expected(), "description")
        yield made
        dispose_engines()


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_whenever_the_end_is_that_of_a_clean_import(
    kitchen: Kitchen, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    victim, delay = VICTIMS[seed % len(VICTIMS)], chance.uniform(0.05, 1.0) * kitchen.seconds
    with engines(kitchen.workspace.settings, migrate=False):
        pass  # whatever an earlier seed left killed
    tenant = kitchen.tenant(f"seed{seed}")
    process = kitchen.start(tenant, tmp_path)
    time.sleep(delay)
    number = process.pid
    if victim != "importer":
        state = Home(kitchen.workspace.settings.home_path).recall(victim)
        assert state is not None
        number = state.pid
    if victim != "importer" or process.poll() is None:
        psutil.Process(number).send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    told = f"seed {seed}: {victim} killed after {delay:.2f} s of {kitchen.seconds:.2f}\n{out}\n{err}"
    for _ in range(4):
        if process.returncode == 0:
            break
        process = kitchen.start(tenant, tmp_path)
        out, err = process.communicate(timeout=240)
        told += f"\n--- again\n{out}\n{err}"

    assert process.returncode == 0, told
    assert json.loads(out)["state"] == "done", told
    with engines(kitchen.workspace.settings, migrate=False):
        pass  # starts again what was killed when the import had no use for it any more
    assert kitchen.rows(tenant) == kitchen.clean, told
    assert_engines_hold(kitchen.workspace, tenant, kitchen.expected(), "description")
    assert compare_engines(kitchen.workspace.app, kitchen.workspace.clickhouse, tenant.id).equal, told
    with tenant_session(kitchen.workspace.app, tenant.id) as session:
        jobs = list_jobs(session)
    assert {job.state for job in jobs} == {"done"}, told
    # Where the kill came too late to matter, or before the file was landed, there may be another import of it.
    assert jobs[-2].ledger() == kitchen.ledger, told
    for job in jobs:
        ledger = job.ledger() or {}
        assert sum(ledger.values()) == 2 * ledger["read"], told
        assert staged_attempts(kitchen, tenant.id, job.id) == {str(job.staged_attempt)}, told
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith("pim")]
    assert left == [], told


def staged_attempts(kitchen: Kitchen, tenant_id: UUID, job_id: UUID) -> set[str]:
    found = kitchen.workspace.objects.list(job_folder(tenant_id, job_id))
    return {one.key.split("/")[4] for one in found}
