"""``kill -9`` of every process of the stack, and of the supervisor, and Ctrl-C, while an import is at a named point.

The import is held at the point by a lock that the test takes: the tenant's catalogue inside the merge, the
publisher between merge and publish; staging is slow enough by itself. Then the part dies, the lock goes, and the
import has to come to the same end.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest

from pim_platform.errors import EngineUnavailable
from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.local.status import stack_status
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import dispose_engines, tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.compare import Rows, assert_engines_hold
from tests.support.imports import import_bytes
from tests.support.stacks import Stack, running, throwaway_settings, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

UP = "from pim_platform.cli import cli; cli(['up'])"
PARTS = ("postgres", "clickhouse", "code-server", "api", "ui", "dagster", "daemon", "supervisor", "orderly stop")
POINTS = ("staging", "merge", "publish")
ROWS = {"staging": 150_000, "merge": 3_000, "publish": 3_000}
#: A dead run is noticed by its lease; a short one keeps the suite short.
LEASE = {"lease_timeout_seconds": 8.0, "lease_heartbeat_seconds": 1.0, "stage_batch_rows": 2_000}


@pytest.fixture(scope="module")
def stacks() -> Iterator[list[Stack]]:
    """The running stack, alone in a list, so that a test may put its successor there."""
    with throwaway_settings(**LEASE) as settings, running(settings, UP) as started:
        held = [started]
        yield held
        held[0].end()
        dispose_engines()


def products(rows: int, label: str) -> tuple[bytes, Rows]:
    """A file of ``rows`` products and what the catalogue holds after it."""
    expected = {f"K-{n:06}": (f"Product {n}", f"{label} {n}") for n in range(rows)}
    lines = ["SKU,Name,Description", *(f"{sku},{name},{text}" for sku, (name, text) in expected.items())]
    return "\n".join(lines).encode() + b"\n", expected


def newest(stores: Workspace, tenant: TenantInfo) -> ImportJob | None:
    """The tenant's newest job that came through the inbox; None also while PostgreSQL is away."""
    try:
        with tenant_session(stores.app, tenant.id) as session:
            return next((job for job in list_jobs(session) if job.origin == "inbox"), None)
    except EngineUnavailable:
        return None


@contextmanager
def held_at(stores: Workspace, tenant: TenantInfo, point: str) -> Iterator[None]:
    """Keep the import from going past the point while the block runs."""
    url = Endpoints.of(stores.settings).admin_url
    with psycopg.connect(url) as connection:
        if point == "merge":
            connection.execute("LOCK TABLE pim.product_changes IN ACCESS EXCLUSIVE MODE")
        elif point == "publish":
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", (str(tenant.id),))
        try:
            yield
        finally:
            try:
                connection.rollback()
            except psycopg.OperationalError:
                connection.close()  # PostgreSQL was the one to die, and the lock with it


def is_at(job: ImportJob | None, point: str) -> bool:
    """Whether the job has come to the point."""
    if job is None:
        return False
    stage = (job.progress or {}).get("stage")
    if point == "staging":
        return job.state == "staging" and stage in (None, "staging")
    if point == "merge":
        return job.state in ("staging", "importing") and not job.merged and stage in ("comparing", "writing")
    return job.state == "importing" and job.merged


def kill(stacks: list[Stack], part: str) -> None:
    stack = stacks[0]
    if part == "orderly stop":
        stack.process.send_signal(signal.SIGINT)
        stack.process.wait(timeout=120)
        stacks[0] = Stack(stack.settings, UP)
        stacks[0].wait_ready()
        return
    pid = stack.process.pid if part == "supervisor" else stack.pid(part)
    psutil.Process(pid).kill()
    if part == "supervisor":
        stack.process.wait(timeout=60)
        stacks[0] = Stack(stack.settings, UP)
        stacks[0].wait_ready()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("part", PARTS)
def test_an_import_outlives_the_death_of_any_part_at_any_point(stacks: list[Stack], part: str, point: str) -> None:
    settings = stacks[0].settings
    wait_for(lambda: stack_status(settings).ready, "the stack before the kill")
    stores = Workspace(settings)
    tenant = create_tenant(
        stores.app,
        "k" + uuid.uuid4().hex[:10],
        currency="EUR",
        locale="en-US",
        timezone="UTC",
        confirm_policy="all_sure",
        actor=Actor("test"),
    )
    import_bytes(stores, tenant.id, products(ROWS[point], "first")[0])
    content, expected = products(ROWS[point], "second")

    with held_at(stores, tenant, point):
        stores.objects.put_bytes(f"inbox/{tenant.slug}/supplier/products.csv", content)
        wait_for(lambda: is_at(newest(stores, tenant), point), f"the import to come to {point}")
        kill(stacks, part)
    wait_for(lambda: stack_status(settings).ready, f"the stack after {part} died", seconds=300)
    wait_for(lambda: (job := newest(stores, tenant)) is not None and job.state in ("done", "failed"), "the end", 300)

    job = newest(stores, tenant)
    assert job is not None
    assert (job.state, job.reason) == ("done", None)
    ledger = job.ledger()
    assert ledger is not None
    assert (ledger["read"], ledger["updated"]) == (ROWS[point], ROWS[point])
    assert_engines_hold(stores, tenant, expected, "description")
