"""``pim undo``, ``pim delete`` and ``pim release``: they start this home's engines if none run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pim_platform.cli.tenant import open_workspace, tenant_option

if TYPE_CHECKING:
    from uuid import UUID

    from pim_platform.catalog.deleting import Selection
    from pim_platform.catalog.undo import ConflictPage, UndoItem, UndoPreview
    from pim_platform.intake.workspace import Workspace
    from pim_platform.tenancy.tenants import TenantInfo

#: Products of an undo that are printed; the API has all of them in pages.
_SHOWN = 20
_PAGE = 1000


@click.command("undo")
@click.argument("job")
@tenant_option
@click.option("--preview", is_flag=True, help="Say what it would do and write nothing.")
@click.option("--conflicts", is_flag=True, help="JOB is an undo that is done: list all that it left as it was.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def undo_command(job: str, slug: str, preview: bool, conflicts: bool, as_json: bool) -> None:
    """Take back what the import JOB did, except where somebody changed it later.

    JOB may be an undo or a bulk delete too. Exit 2: it cannot be undone.
    """
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.jobs import parse_job_id
    from pim_platform.intake.undoing import conflicts_of_undo, preview_undo_job, undo_job
    from pim_platform.storage import exact_json

    with open_workspace(slug) as (workspace, tenant):
        job_id = parse_job_id(job)
        if conflicts:
            _list_conflicts(workspace, tenant, job_id, as_json=as_json)
            return
        shown: UndoPreview | ConflictPage
        if preview:
            shown = preview_undo_job(workspace, tenant.id, job_id, only="conflict", limit=_SHOWN)
            answer: dict[str, Any] = {"preview": True, "counts": shown.counts.as_json()}
        else:
            done = undo_job(workspace, tenant.id, job_id, actor=cli_actor(), origin="cli")
            answer = {"job_id": str(done.job.id), "counts": done.counts.as_json(), "published": done.published}
            shown = conflicts_of_undo(workspace, tenant.id, done.job.id, limit=_SHOWN)
    if as_json:
        click.echo(exact_json.dumps(answer | {"kept": [item.as_json() for item in shown.items]}))
        return
    click.echo("would do" if preview else f"job {answer['job_id']}: done")
    for name, count in answer["counts"].items():
        click.echo(f"  {name:<11}{count:>12,}")
    _show_kept(shown.items)
    if shown.next_cursor is not None:
        more = answer["counts"]["conflicts"] - len(shown.items)
        click.echo(f"  ... and {more:,} more; `pim undo --conflicts` and the API show all of them")
    if not answer.get("published", True):
        click.echo("ClickHouse did not answer; it is published as soon as it does.", err=True)


def _list_conflicts(workspace: Workspace, tenant: TenantInfo, job_id: UUID, *, as_json: bool) -> None:
    """Print every conflict of an undo, page by page."""
    from pim_platform.intake.undoing import conflicts_of_undo
    from pim_platform.storage import exact_json

    cursor, found = None, []
    while True:
        page = conflicts_of_undo(workspace, tenant.id, job_id, cursor=cursor, limit=_PAGE)
        if as_json:
            found += [item.as_json() for item in page.items]
        else:
            _show_kept(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    if as_json:
        click.echo(exact_json.dumps({"job_id": str(job_id), "kept": found}))


def _show_kept(items: Sequence[UndoItem]) -> None:
    for item in items:
        fields = ", ".join(conflict.field for conflict in item.conflicts) or "whole"
        later = next((conflict.later for conflict in item.conflicts if conflict.later), item.later)
        who = f", {later.actor} at {later.at:%Y-%m-%d %H:%M}" if later else ""
        click.echo(f"  kept: {item.sku} ({fields}): {item.reason or 'changed_since'}{who}")


@click.command("delete")
@tenant_option
@click.option("--all", "everything", is_flag=True, help="The whole catalogue.")
@click.option("--sku", "skus", multiple=True, help="This product; may be given again.")
@click.option("--source", help="Products that this source wrote last.")
@click.option("--job", help="Products that this import wrote last.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def delete_command(
    slug: str, everything: bool, skus: tuple[str, ...], source: str | None, job: str | None, yes: bool, as_json: bool
) -> None:
    """Delete a tenant's products; `pim undo` brings them back.

    Several conditions must all be met. Exit 3: not confirmed.
    """
    from pim_platform.catalog.deleting import count_products
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.removing import delete_selection
    from pim_platform.storage.postgres import tenant_session

    with open_workspace(slug) as (workspace, tenant):
        selection = _selection(workspace, tenant, everything, skus, source, job)
        with tenant_session(workspace.app, tenant.id) as session:
            count = count_products(session, selection)
        if not yes and (
            as_json or not sys.stdin.isatty() or not click.confirm(f"Delete {count:,} products of {slug}?")
        ):
            click.echo(f"{count:,} products are meant; add --yes to delete them.", err=True)
            sys.exit(3)
        done = delete_selection(workspace, tenant.id, selection, actor=cli_actor(), origin="cli")
    if as_json:
        click.echo(json.dumps({"job_id": str(done.job.id), "deleted": done.deleted, "published": done.published}))
        return
    click.echo(f"job {done.job.id}: {done.deleted:,} products deleted; `pim undo {done.job.id}` brings them back")


def _selection(
    workspace: Workspace,
    tenant: TenantInfo,
    everything: bool,
    skus: tuple[str, ...],
    source: str | None,
    job: str | None,
) -> Selection:
    from pim_platform.catalog.deleting import Selection
    from pim_platform.intake.jobs import get_job, parse_job_id
    from pim_platform.intake.sources import find_source
    from pim_platform.storage.postgres import tenant_session

    with tenant_session(workspace.app, tenant.id) as session:
        return Selection(
            everything=everything,
            skus=skus or None,
            source_id=find_source(session, source).id if source else None,
            job_id=get_job(session, parse_job_id(job)).id if job else None,
        )


@click.command("release")
@click.argument("job")
@tenant_option
def release_command(job: str, slug: str) -> None:
    """Let the import JOB run that is held because its full feed lacks many products."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.jobs import parse_job_id
    from pim_platform.intake.removing import release_job

    with open_workspace(slug) as (workspace, tenant):
        found = release_job(workspace, tenant.id, parse_job_id(job), cli_actor())
    click.echo(f"job {found.id}: {found.state}; the stack runs it, or import the file again with --inline")
