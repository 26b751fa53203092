"""``pim gc``: remove stored files and logs that nothing refers to any more."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from pim_platform.settings import get_settings


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def gc_command(dry_run: bool, as_json: bool) -> None:
    """Remove staged files, uploads, months of the change log and deliveries of webhooks that are past retention.

    Nothing that a product, a job, a mapping template or an undo refers to is ever removed.
    """
    from pim_platform.intake.collecting import collect
    from pim_platform.intake.workspace import Workspace
    from pim_platform.local.engines import engines
    from pim_platform.syndication.deliveries import forget_deliveries

    settings = get_settings()
    with engines(settings):
        found = collect(Workspace(settings), dry_run=dry_run)
        told = forget_deliveries(Workspace(settings), dry_run=dry_run)
    if as_json:
        deliveries = {"webhook_deliveries": told.deliveries, "webhook_deliveries_waiting": told.waiting}
        click.echo(json.dumps(asdict(found) | deliveries | {"dry_run": dry_run}))
        return
    click.echo("would remove:" if dry_run else "removed:")
    click.echo(f"  staged files  {found.staged_objects:>10,}  {found.staged_bytes / 1e6:>12,.1f} MB")
    click.echo(f"  uploads       {found.upload_objects:>10,}  {found.upload_bytes / 1e6:>12,.1f} MB")
    click.echo(f"  upload rows   {found.upload_rows:>10,}")
    click.echo(f"  kept answers  {found.kept_answers:>10,}")
    click.echo(f"  log months    {len(found.change_partitions):>10,}  {' '.join(found.change_partitions)}".rstrip())
    click.echo(f"  deliveries    {told.deliveries:>10,}  {told.waiting:,} of them still waited")
