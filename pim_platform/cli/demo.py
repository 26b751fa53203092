"""``pim demo``: the whole stack, a demo tenant, and a sample catalogue that takes the real way in.

The file is dropped into the inbox; sensor, runs, both engines and typed relations do what they always do.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from pim_platform.errors import Conflict, EnginesDisagree, PimError
from pim_platform.settings import Settings, get_settings

if TYPE_CHECKING:
    from pim_platform.intake.models import ImportJob
    from pim_platform.intake.workspace import Workspace
    from pim_platform.tenancy.tenants import TenantInfo

TENANT, SOURCE, SAMPLE = "demo", "outdoor-gear", "outdoor-gear.csv"

#: Generous, for slow machines; a stack that needs longer says in its log what it waits for.
_START_SECONDS = 300
_IMPORT_SECONDS = 300
_STOP_SECONDS = 60
_POLL_SECONDS = 0.5


class DemoFailed(PimError):
    """The demo did not come to its end in time."""

    code = "demo_failed"


@click.command("demo")
@click.option("--once", is_flag=True, help="Stop everything once the catalogue is complete; exit 0 if it is.")
def demo(once: bool) -> None:
    """Start the stack with a demo tenant and a sample catalogue; stays up until Ctrl-C."""
    settings = get_settings()
    began = time.monotonic()
    with _stack(settings) as supervisor:
        _wait_ready(settings, supervisor)
        click.echo(f"demo | ready after {time.monotonic() - began:.1f} s")
        _import_sample(settings)
        if not once:
            click.echo("demo | everything stays up; Ctrl-C ends it")
            supervisor.wait()


@contextmanager
def _stack(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """``pim up`` as a child; ended with the block however it ends."""
    supervisor = subprocess.Popen([sys.executable, "-m", "pim_platform.cli", "up"])
    try:
        yield supervisor
    except KeyboardInterrupt:
        click.echo("demo | ending", err=True)
    finally:
        # A second signal while the supervisor ends its children would only disturb it.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            supervisor.kill()
        signal.signal(signal.SIGINT, previous)


def _wait_ready(settings: Settings, supervisor: subprocess.Popen[bytes]) -> None:
    from pim_platform.local.status import stack_status

    until = time.monotonic() + _START_SECONDS
    while not stack_status(settings).ready:
        if supervisor.poll() is not None:
            raise DemoFailed("The stack did not start.", fix="Its last lines above say why.")
        if time.monotonic() > until:
            raise DemoFailed(f"The stack was not ready after {_START_SECONDS} s.", fix="See `pim status` and the logs.")
        time.sleep(_POLL_SECONDS)


def _import_sample(settings: Settings) -> None:
    from pim_platform.intake.workspace import Workspace

    workspace = Workspace(settings)
    tenant = _tenant(workspace)
    dropped = time.monotonic()
    name = f"{uuid4().hex[:8]}-{SAMPLE}"
    with as_file(files("samples") / SAMPLE) as path:
        workspace.objects.put_file(f"inbox/{tenant.slug}/{SOURCE}/{name}", path)
    click.echo(f"demo | dropped {SAMPLE} into inbox/{tenant.slug}/{SOURCE}/")
    job = _wait_done(workspace, tenant, name)
    _print_result(settings, workspace, tenant, job, time.monotonic() - dropped)


def _tenant(workspace: Workspace) -> TenantInfo:
    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.tenants import create_tenant, find_tenant

    try:
        return create_tenant(
            workspace.app,
            TENANT,
            currency="EUR",
            locale="en-US",
            timezone="Europe/Berlin",
            name="Demo: outdoor gear",
            confirm_policy="all_sure",
            actor=cli_actor(),
        )
    except Conflict:
        return find_tenant(workspace.app, TENANT)


def _wait_done(workspace: Workspace, tenant: TenantInfo, filename: str) -> ImportJob:
    from pim_platform.intake.jobs import FINAL, list_jobs
    from pim_platform.storage.postgres import tenant_session

    told = ""
    until = time.monotonic() + _IMPORT_SECONDS
    while time.monotonic() < until:
        with tenant_session(workspace.app, tenant.id) as session:
            job = next((job for job in list_jobs(session, limit=10) if job.filename == filename), None)
        state = job.state if job else "in the inbox"
        if state != told:
            click.echo(f"demo | {state}")
            told = state
        if job is not None and job.state in FINAL:
            if job.state != "done":
                raise DemoFailed(f"The import ended as {job.state}: {job.reason}")
            return job
        if job is not None and job.state == "mapping" and job.reason:
            raise DemoFailed(f"The import waits for a person: {job.reason}")
        time.sleep(_POLL_SECONDS)
    raise DemoFailed(f"The import was not done after {_IMPORT_SECONDS} s; it is {told}.", fix="See Dagster's runs.")


def _print_result(settings: Settings, workspace: Workspace, tenant: TenantInfo, job: ImportJob, seconds: float) -> None:
    from pim_platform.catalog.checksum import compare_engines
    from pim_platform.catalog.typed_relations import typed_rows
    from pim_platform.intake.running import write_rejects
    from pim_platform.storage.endpoints import Ports

    found = compare_engines(workspace.app, workspace.clickhouse, tenant.id)
    typed = typed_rows(workspace.clickhouse, tenant)
    if not found.equal or typed != found.postgres_rows:
        raise EnginesDisagree(
            f"PostgreSQL holds {found.postgres_rows:,} products, ClickHouse {found.clickhouse_rows:,}, "
            f"the typed relation {typed:,}."
        )
    click.echo(f"demo | from drop to catalogue: {seconds:.1f} s")
    ledger = job.ledger() or {}
    click.echo("demo | ledger: " + ", ".join(f"{count:,} {name}" for name, count in ledger.items()))
    for code, count in sorted(job.reject_reasons.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"demo |   rejected {count:>3} x {code}")
    folder = settings.home_path / "rejects"
    folder.mkdir(mode=0o700, exist_ok=True)
    rejects = folder / f"{job.id}.csv"
    write_rejects(workspace, job, rejects)
    ports = Ports.of(settings.port)
    for what, value in (
        ("rejects", str(rejects)),
        ("products", f"{found.postgres_rows:,} in PostgreSQL and ClickHouse, row by row the same"),
        ("API", f"http://{settings.host}:{ports.api}/docs"),
        ("UI", f"http://{settings.host}:{ports.ui}"),
        ("Dagster", f"http://{settings.host}:{ports.dagster}"),
    ):
        click.echo(f"demo | {what:<9} {value}")
