"""``pim up``, ``pim status``, ``pim doctor`` and ``pim migrate``: the one-machine stack from the command line."""

from __future__ import annotations

import json
import sys

import click

from pim_platform.settings import get_settings


@click.command("up")
def up() -> None:
    """Run everything on this machine until Ctrl-C: engines, Dagster, API, UI."""
    from pim_platform.local.supervisor import up as run

    run(get_settings())


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Say what runs; exit 0 when every part is ready, else 1."""
    from pim_platform.local.status import stack_status

    found = stack_status(get_settings())
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        for name, part in found.parts.items():
            pid = "" if part.pid is None else str(part.pid)
            click.echo(f"{name:<12} {part.state:<12} {pid:>8}  {part.url}")
        click.echo(f"{'ready' if found.ready else 'not ready'}: {found.home}")
    sys.exit(0 if found.ready else 1)


@click.command("doctor")
def doctor() -> None:
    """Check settings, versions, servers, migrations, roles and disk; exit 1 when anything is wrong."""
    from pim_platform.local.doctor import examine

    findings = examine(get_settings())
    for finding in findings:
        mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red", bold=True)
        click.echo(f"{mark}  {finding.subject:<13}  {finding.text}")
        if not finding.ok:
            click.echo(f"{'':<22}fix: {finding.fix}")
    wrong = sum(not finding.ok for finding in findings)
    click.echo("all is well" if not wrong else f"{wrong} of {len(findings)} need attention")
    sys.exit(1 if wrong else 0)


@click.command("migrate")
def migrate_command() -> None:
    """Bring both engines to the newest version; make roles and databases where they are missing."""
    from pim_platform.local.engines import engines

    with engines(get_settings()):
        click.echo("both engines are at the newest version")
