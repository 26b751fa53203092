"""``pim promote JOB``: commit exactly what a dry run showed."""

from __future__ import annotations

import sys

import click

from pim_platform.settings import get_settings


@click.command("promote")
@click.argument("job")
@click.option("--tenant", help="Slug of the tenant; with --api the key tells.")
@click.option("--yes", is_flag=True, help="Where the catalogue moved, accept the diff of now without asking.")
@click.option("--inline", is_flag=True, help="Run in this process; needs no running stack.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def promote_command(job: str, tenant: str | None, yes: bool, inline: bool, as_json: bool) -> None:
    """Commit exactly what the dry run JOB showed.

    Exit 0: done; 3: the catalogue moved, nothing was written, and the diff of now waits; 1: anything else.
    """
    from pim_platform.cli.actor import cli_actor
    from pim_platform.cli.imports import exit_code, rejects_file, report, run_to_rest, stores
    from pim_platform.cli.remote import client, installation, local_tenant, wait
    from pim_platform.cli.remote import rejects_file as fetched_rejects

    if url := installation(inline=inline):
        with client(url, tenant) as pim:
            while True:
                pim.promote(job)
                told = wait(pim, job, quiet=as_json)
                if told.reason_code != "catalogue_moved" or not yes:
                    break
            rejects = fetched_rejects(pim, told)
        report(told, rejects, as_json=as_json)
        sys.exit(exit_code(told))

    from pim_platform.intake.jobs import parse_job_id
    from pim_platform.intake.promoting import CATALOGUE_MOVED, promote_job
    from pim_platform.tenancy.tenants import find_tenant

    slug = local_tenant(tenant)
    settings = get_settings()
    with stores(settings, inline=inline) as workspace:
        found = find_tenant(workspace.app, slug)
        while True:
            started = promote_job(workspace, found.id, parse_job_id(job), cli_actor())
            done = run_to_rest(settings, workspace, found, started, inline=inline, quiet=as_json)
            if done.reason_code != CATALOGUE_MOVED or not yes:
                break
        rejects = rejects_file(settings, workspace, done)
    report(done, rejects, as_json=as_json)
    sys.exit(exit_code(done))
