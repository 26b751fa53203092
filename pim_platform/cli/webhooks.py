"""``pim webhooks``: deliver what waits, where no Dagster does it."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from pim_platform.settings import get_settings


@click.group("webhooks")
def webhooks() -> None:
    """Events for receivers outside."""


@webhooks.command("deliver")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Longest time to work.")
@click.option(
    "--linger", type=click.FloatRange(min=0), default=0.0, help="Seconds to wait for more when nothing is due."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def deliver_command(seconds: float, linger: float, as_json: bool) -> None:
    """Deliver what is due, of every tenant, then end. Several at once do no harm: fit for cron.

    Receivers that fail are tried again later; each webhook's log says what they answered.
    """
    from pim_platform.intake.workspace import Workspace
    from pim_platform.local.engines import engines
    from pim_platform.syndication.delivering import deliver

    settings = get_settings()
    with engines(settings):
        done = deliver(Workspace(settings), seconds=seconds, linger=linger)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(f"{done.delivered:,} events delivered to {done.receivers:,} receivers, {done.failed:,} calls failed")
