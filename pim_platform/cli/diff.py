"""``pim diff JOB``: what a dry run would change, field by field."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pim_platform.cli.tenant import open_workspace, tenant_option

if TYPE_CHECKING:
    from pim_platform.intake.models import ImportJob
    from pim_platform.intake.workspace import Workspace

_PAGE = 1000


@click.command("diff")
@click.argument("job")
@tenant_option
@click.option(
    "--action",
    type=click.Choice(["create", "update", "reject", "deactivate", "delete"]),
    help="Only products that this happens to.",
)
@click.option("--field", help="Only changes of this field.")
@click.option("--sku", help="Only this SKU, however it is spelled.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Lines to show at most.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every line as CSV; --limit does not count.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: summary and lines.")
def diff_command(
    job: str,
    slug: str,
    action: str | None,
    field: str | None,
    sku: str | None,
    limit: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show what the dry run JOB would change in a tenant's catalogue."""
    from pim_platform.catalog.identity import sku_key
    from pim_platform.intake.jobs import get_job, parse_job_id
    from pim_platform.storage.postgres import tenant_session

    wanted = {"action": action, "field": field, "sku_key": sku_key(sku) if sku is not None else None}
    with open_workspace(slug) as (workspace, tenant):
        with tenant_session(workspace.app, tenant.id) as session:
            found = get_job(session, parse_job_id(job))
        _show(workspace, found, wanted, limit, as_csv=as_csv, as_json=as_json)


def _show(
    workspace: Workspace, job: ImportJob, wanted: dict[str, Any], limit: int, *, as_csv: bool, as_json: bool
) -> None:
    from pim_platform.catalog.preview import csv_pieces, read_lines
    from pim_platform.intake.previews import preview_files, preview_summary
    from pim_platform.storage import exact_json

    summary = preview_summary(workspace, job)
    with preview_files(workspace, job) as files:
        if as_csv:
            for piece in csv_pieces(files, **wanted):
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            return
        lines = read_lines(files, limit=limit, **wanted).rows(named=True)
    if as_json:
        parsed = [
            line | {side: exact_json.loads(line[side]) if line[side] else None for side in ("old", "new")}
            for line in lines
        ]
        click.echo(exact_json.dumps({"job_id": str(job.id), "summary": summary, "lines": parsed}))
        return
    _print(summary, lines)


def _print(summary: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    names = ("row", "sku", "action", "field", "old", "new")
    for name in names:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*("" if line[name] is None else str(line[name]) for name in names))
    Console().print(table)
    click.echo(f"{len(lines):,} of {summary['lines']:,} lines")
    for name, count in {**summary["products"], **summary["rows"]}.items():
        click.echo(f"  {name:<11}{count:>12,}")
    for name, prices in summary["price_changes"].items():
        click.echo(f"{name} changes by percent of the old amount:")
        for bucket in prices["buckets"]:
            if bucket["count"]:
                low, high = (("" if edge is None else f"{edge:+}") for edge in (bucket["from"], bucket["to"]))
                click.echo(f"  {low:>5} .. {high:<5}{bucket['count']:>12,}")
    collisions = summary["collisions"]
    if collisions["count"]:
        shown = ", ".join(f"{one['sku']} ({one['stored_sku']})" for one in collisions["examples"][:5])
        click.echo(f"{collisions['count']:,} SKUs are spelled otherwise than stored: {shown}")
