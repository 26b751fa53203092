"""``pim import FILE``: propose, ask, run, and print the ledger."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

import click

from pim_platform.cli.dialect import dialect_options, taken_changes
from pim_platform.errors import EngineUnavailable, Misconfigured
from pim_platform.settings import Settings, get_settings

if TYPE_CHECKING:
    from pim_platform.cli.remote import RemoteJob
    from pim_platform.client_answers import Upload
    from pim_platform.intake.landing import AbsentRows
    from pim_platform.intake.models import ImportJob
    from pim_platform.intake.workspace import Workspace
    from pim_platform.tenancy.tenants import TenantInfo

_POLL_SECONDS = 0.3

#: Reasons of a failed job that no other file would mend; every other reason is the input's.
_NOT_INPUT = {"internal", "engines_disagree", "ledger_unbalanced", "too_many_attempts", "engine_unavailable"}


class _Feed(TypedDict):
    """What the caller says of the file: how it is written, what bad rows do, and those it lacks."""

    reject_policy: str | None
    full_feed: bool
    absent_rows: AbsentRows | None
    dialect: dict[str, Any]
    skip_unchanged: bool | None
    idempotency_key: str | None


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", help="Slug of the tenant; with --api the key tells.")
@click.option("--source", default="cli", show_default=True, help="Supplier or feed that the file comes from.")
@click.option("--yes", is_flag=True, help="Confirm the proposed mapping without asking.")
@click.option("--dry-run", is_flag=True, help="Count what would change and write nothing to the catalogue.")
@click.option("--inline", is_flag=True, help="Run in this process; needs no running stack.")
@click.option(
    "--rejects",
    "reject_policy",
    help="What bad rows do: skip, stop_first, or stop_above:N% ; else as the source says, or skip.",
)
@click.option("--full-feed", is_flag=True, help="The file lists all that its source has.")
@click.option(
    "--absent",
    type=click.Choice(["keep", "deactivate", "delete"]),
    help="What becomes of products that a full feed holds no more; else as the source says.",
)
@click.option(
    "--skip-unchanged/--import-unchanged",
    default=None,
    help="Whether the content of the source's last accepted import is left alone; else as the source says.",
)
@click.option("--idempotency-key", help="The same key means the same job for ever.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@dialect_options
def import_command(
    file: Path,
    tenant: str | None,
    source: str,
    yes: bool,
    dry_run: bool,
    inline: bool,
    reject_policy: str | None,
    full_feed: bool,
    absent: AbsentRows | None,
    skip_unchanged: bool | None,
    idempotency_key: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Import FILE into a tenant's catalogue.

    Exit 0: done (rejects allowed); 2: bad input; 3: held or waiting for a person; 1: anything else.
    """
    from pim_platform.cli.remote import client, import_file, installation, local_tenant
    from pim_platform.cli.remote import rejects_file as fetched_rejects

    feed: _Feed = {
        "reject_policy": reject_policy,
        "full_feed": full_feed,
        "absent_rows": absent,
        "dialect": taken_changes(options),
        "skip_unchanged": skip_unchanged,
        "idempotency_key": idempotency_key,
    }
    if url := installation(inline=inline):
        with client(url, tenant) as pim:

            def agreed(upload: Upload) -> bool:
                if not as_json:
                    _show_upload(upload)
                return _agreed(yes=yes, as_json=as_json)

            told, skipped = import_file(pim, file, source, feed, agreed=agreed, yes=yes, dry_run=dry_run, quiet=as_json)
            rejects = fetched_rejects(pim, told)
        report(told, rejects, as_json=as_json, skipped=skipped)
        sys.exit(exit_code(told))
    slug = local_tenant(tenant)
    settings = get_settings()
    with stores(settings, inline=inline) as workspace:
        from pim_platform.tenancy.tenants import find_tenant

        found = find_tenant(workspace.app, slug)
        job, skipped = _confirmed(workspace, found, file, source, feed, yes=yes, dry_run=dry_run, as_json=as_json)
        if job.state not in ("mapping", "done", "failed", "cancelled", "staged", "held"):
            job = run_to_rest(settings, workspace, found, job, inline=inline, quiet=as_json)
        rejects = rejects_file(settings, workspace, job)
    report(job, rejects, as_json=as_json, skipped=skipped)
    sys.exit(exit_code(job))


@contextmanager
def stores(settings: Settings, *, inline: bool) -> Iterator[Workspace]:
    """The workspace: with ``inline`` its engines are started where none run. Raises NotRunning without a stack."""
    from pim_platform.intake.workspace import Workspace

    with ExitStack() as stack:
        if inline:
            from pim_platform.local.engines import engines

            stack.enter_context(engines(settings))
        else:
            from pim_platform.local.status import stack_status

            status = stack_status(settings)
            if not status.ready:
                raise NotRunning(
                    f"The stack of {settings.home_path} is not running.", fix="Start it with `pim up`, or add --inline."
                )
        yield Workspace(settings)


class NotRunning(Misconfigured):
    """There is no stack to hand the import to."""

    code = "not_running"
    exit_code = 1


def _confirmed(
    workspace: Workspace,
    tenant: TenantInfo,
    file: Path,
    source: str,
    feed: _Feed,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> tuple[ImportJob, bool]:
    """Land, propose and confirm; a job that waits for a person comes back in ``mapping``.

    The second value says that nothing is imported, because the source skips what it has already.
    """
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.confirming import confirm_job
    from pim_platform.intake.landing import land
    from pim_platform.intake.proposing import propose_job

    actor = cli_actor()
    with file.open("rb") as content:
        landed = land(
            workspace,
            tenant.id,
            content,
            filename=file.name,
            source=source,
            origin="cli",
            actor=actor,
            dry_run=dry_run,
            **feed,
        )
    job = propose_job(workspace, tenant.id, landed.job_id)
    if job.state != "mapping":  # the same file is on its way already: watch that one
        return job, landed.skipped
    if not as_json:
        _show_mapping(job)
    if not _agreed(yes=yes, as_json=as_json):
        return job, False
    return confirm_job(workspace, tenant.id, job.id, actor=actor, evidence="unseen" if yes else "person"), False


def _agreed(*, yes: bool, as_json: bool) -> bool:
    """Whether the proposal is taken: said beforehand, or by whoever sits there."""
    return yes or (not as_json and sys.stdin.isatty() and click.confirm("Import it like this?"))


def _show_mapping(job: ImportJob) -> None:
    from pim_platform.intake.proposing import suggested_mapping

    mapping = suggested_mapping(job)
    columns = [
        (column.source, None if column.ignored else column.field, column.type, column.confidence, column.reason)
        for column in mapping.columns
    ]
    groups = [(grouping.style, grouping.reason) for grouping in mapping.groupings]
    _show_proposal(job.filename, job.row_count, job.row_count_exact, columns, groups, job.notices or [])


def _show_upload(upload: Upload) -> None:
    columns = [
        (one["source"], one["field"], one["type"], one["confidence"], one["reason"]) for one in upload["columns"]
    ]
    groups = [(one["style"], one["reason"]) for one in upload["groupings"]]
    name, count = upload["filename"], upload["row_count"]
    _show_proposal(name, count, upload["row_count_exact"], columns, groups, upload["notices"])


def _show_proposal(
    filename: str,
    row_count: int | None,
    exact: bool,
    columns: Iterable[tuple[str, str | None, str, float, str]],
    groups: Iterable[tuple[str, str]],
    notices: Iterable[str],
) -> None:
    """What the columns are taken for; ``columns``: header, field (None: ignored), type, confidence, reason."""
    from rich.console import Console
    from rich.table import Table

    rows = f": {'' if exact else 'about '}{row_count:,} rows" if row_count is not None else ""
    table = Table(title=filename + rows)
    for name in ("column", "becomes", "type", "sure", "why"):
        table.add_column(name, overflow="fold")
    for source, field, kind, confidence, reason in columns:
        sure = f"{confidence:.0%}" if field is not None else ""
        table.add_row(source, "[dim]ignored[/]" if field is None else field, kind, sure, reason)
    console = Console(stderr=True)
    console.print(table)
    for style, reason in groups:
        console.print(f"grouped ({style}): {reason}", markup=False)
    for notice in notices:
        console.print(notice, markup=False)


def run_to_rest(
    settings: Settings, workspace: Workspace, tenant: TenantInfo, job: ImportJob, *, inline: bool, quiet: bool
) -> ImportJob:
    """Run the job here, or wait for the stack to run it; shows progress either way."""
    from pim_platform.intake.jobs import FINAL, WAITING, get_job
    from pim_platform.storage.postgres import tenant_session

    def look() -> ImportJob:
        with tenant_session(workspace.app, tenant.id) as session:
            return get_job(session, job.id)

    with nullcontext(lambda _job: None) if quiet else progress_bar() as show:
        if inline:
            with _watching(look, show):
                _attempts(settings, tenant, job.id, look)
            return look()
        while True:
            job = look()
            show(job)
            if job.state in FINAL or job.state in WAITING:
                return job
            time.sleep(_POLL_SECONDS)


def _attempts(settings: Settings, tenant: TenantInfo, job_id: UUID, look: Callable[[], ImportJob]) -> None:
    """Run attempts until the job is settled: a transient error leaves it to the next one.

    An engine of this home that died meanwhile is started again, because nobody else here would.
    """
    from pim_platform.cli.inline import run_inline
    from pim_platform.local.engines import engines

    outages = 0
    while True:
        try:
            with engines(settings, migrate=False):
                job = look()
                if job.state not in ("confirmed", "staging", "importing"):
                    return
                succeeded = run_inline(settings, tenant.slug, job_id, job.attempt + 1)
                after = look()
        except EngineUnavailable:
            outages += 1
            if outages >= settings.max_attempts:
                raise
            time.sleep(1)
            continue
        if succeeded:
            continue
        if after.attempt == job.attempt:
            return  # it never became ours: another process runs it
        if after.state in ("staging", "importing"):
            time.sleep(min(10, 2**after.attempt))


@contextmanager
def progress_bar() -> Iterator[Callable[[ImportJob | RemoteJob], None]]:
    """A progress bar that is shown a job as often as there is news of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waiting for a run", total=None, rate=0)

        def show(job: ImportJob | RemoteJob) -> None:
            told = job.progress or {}
            bar.update(
                task,
                description=told.get("stage") or job.state,
                completed=told.get("rows") or 0,
                total=told.get("total"),
                rate=f"{told.get('rows_per_second') or 0:,}",
            )

        yield show


@contextmanager
def _watching(look: Callable[[], ImportJob], show: Callable[[ImportJob], None]) -> Iterator[None]:
    """Show progress from a thread while the block runs the job."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL_SECONDS):
            with suppress(EngineUnavailable):  # the run itself meets the same outage, and is what deals with it
                show(look())

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rejects_file(settings: Settings, workspace: Workspace, job: ImportJob) -> Path | None:
    """Write the job's rejects into the home; None where it has none."""
    from pim_platform.intake.dialect import Dialect
    from pim_platform.intake.rejects import reject_format
    from pim_platform.intake.running import write_rejects

    if not job.rows_rejected:
        return None
    folder = settings.home_path / "rejects"
    folder.mkdir(mode=0o700, exist_ok=True)
    suffix = reject_format(Dialect.model_validate(job.dialect or {}), job.rows_rejected).suffix
    path = folder / f"{job.id}.{suffix}"
    return path if write_rejects(workspace, job, path) else None


def report(job: ImportJob | RemoteJob, rejects: Path | None, *, as_json: bool, skipped: bool = False) -> None:
    """Print what became of the job: its ledger, or why it waits or failed; ``skipped``: of the import before."""
    ledger = job.ledger()
    if ledger and ledger["read"] and ledger["rejected"] == ledger["read"]:
        reasons = job.reject_reasons or {}
        commonest = max(reasons, key=lambda code: reasons[code], default="unknown")
        click.echo(
            f"Nothing was imported: all {ledger['read']:,} records were rejected, most of them as {commonest}. "
            "The rejects file says for each record how to mend it; where a column was misread, correct the mapping.",
            err=True,
        )
    if as_json:
        empty = dict.fromkeys(("read", "created", "updated", "unchanged", "rejected", "superseded", "merged"), 0)
        answer: dict[str, Any] = {
            "job_id": str(job.id),
            "state": job.state,
            "ledger": ledger or empty,
            "rejects_file": str(rejects) if rejects else None,
        }
        if skipped:
            answer["skipped"] = True
        if job.reason:
            answer |= {"reason_code": job.reason_code, "reason": job.reason}
        click.echo(json.dumps(answer))
        return
    if skipped:
        click.echo("skipped: the source's last accepted import had this content; this is its ledger")
    if job.state == "mapping":
        click.echo(f"job {job.id} waits for a person to confirm its mapping: add --yes, or confirm it over the API.")
    elif job.reason:
        click.echo(f"Error: {job.reason}", err=True)
    if ledger is None:
        return
    click.echo(f"job {job.id}: {'dry run, nothing written' if job.dry_run else job.state}")
    for name, count in ledger.items():
        click.echo(f"  {name:<11}{count:>12,}")
    for code, count in sorted((job.reject_reasons or {}).items(), key=lambda item: -item[1]):
        click.echo(f"    {count:>10,} x {code}")
    for kind, count in (job.repairs or {}).items():
        click.echo(f"    {count:>10,} cells repaired: {kind}")
    if rejects:
        click.echo(f"rejects: {rejects}")
    if job.state == "staged":
        click.echo(f"see it with `pim diff {job.id}`, commit exactly this with `pim promote {job.id}`")


def exit_code(job: ImportJob | RemoteJob) -> int:
    """0: done, or a dry run that is ready; 2: bad input; 3: held or waiting for a person; 1: anything else."""
    if job.state == "done" or (job.state == "staged" and job.dry_run and job.reason_code is None):
        return 0
    if job.state in ("mapping", "held", "staged"):
        return 3
    if job.state == "failed" and job.reason_code not in _NOT_INPUT:
        return 2
    return 1
