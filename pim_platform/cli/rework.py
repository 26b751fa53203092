"""``pim rework JOB FILE``: corrected rejects go into the job that they came from."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pim_platform.settings import get_settings


@click.command("rework")
@click.argument("job")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", help="Slug of the tenant; with --api the key tells.")
@click.option("--inline", is_flag=True, help="Run in this process; needs no running stack.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rework_command(job: str, file: Path, tenant: str | None, inline: bool, as_json: bool) -> None:
    """Import FILE, the corrected rejects of the import JOB, into that job.

    Exit 0: done (rejects allowed); 2: the file cannot be used; 1: anything else.
    """
    from pim_platform.cli.actor import cli_actor
    from pim_platform.cli.imports import exit_code, rejects_file, report, run_to_rest, stores
    from pim_platform.cli.remote import client, installation, local_tenant, wait
    from pim_platform.cli.remote import rejects_file as fetched_rejects

    if url := installation(inline=inline):
        with client(url, tenant) as pim:
            pim.send_rejects(job, file)
            told = wait(pim, job, quiet=as_json)
            rejects = fetched_rejects(pim, told)
        report(told, rejects, as_json=as_json)
        sys.exit(2 if told.state == "done" and told.reason_code else exit_code(told))

    from pim_platform.intake.jobs import parse_job_id
    from pim_platform.intake.reworking import rework_job
    from pim_platform.tenancy.tenants import find_tenant

    slug = local_tenant(tenant)
    settings = get_settings()
    with stores(settings, inline=inline) as workspace:
        found = find_tenant(workspace.app, slug)
        with file.open("rb") as content:
            started = rework_job(workspace, found.id, parse_job_id(job), content, filename=file.name, actor=cli_actor())
        done = run_to_rest(settings, workspace, found, started, inline=inline, quiet=as_json)
        rejects = rejects_file(settings, workspace, done)
    report(done, rejects, as_json=as_json)
    # Done as it was before, but not with this file.
    sys.exit(2 if done.state == "done" and done.reason_code else exit_code(done))
