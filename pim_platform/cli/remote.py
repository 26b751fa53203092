"""``pim --api URL ...``: commands that talk to another installation's API instead of this machine's stores.

Belongs here: which installation is meant, and what its answers look like to the commands. A command asks
:func:`installation` first and goes the same way with what it gets: the same options, the same output, the same exit
codes. The key comes from the environment (``PIM_API_KEY``), never from the command line, where others can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pim_platform.errors import Misconfigured
from pim_platform.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pim_platform.client import Client
    from pim_platform.client_answers import Import

#: Commands that ``--api`` is for; all others are about the stack of this machine.
COMMANDS = frozenset(("export", "import", "promote", "rework"))


def installation(*, inline: bool = False) -> str | None:
    """The address of the API to talk to, as ``--api`` or ``PIM_API_URL`` says; None: the stores of this machine."""
    context = click.get_current_context(silent=True)
    given = context.find_root().params.get("api") if context else None
    if given and inline:
        raise click.UsageError("--inline runs the import in this process; with --api the other installation runs it.")
    return given or (None if inline else get_settings().api_url)


def local_tenant(tenant: str | None) -> str:
    """The tenant of a command that works on this machine's stores, which have many. Raises click.UsageError."""
    if tenant is None:
        raise click.UsageError("Missing option '--tenant'.")
    return tenant


def client(url: str, tenant: str | None) -> Client:
    """A client with the key of the environment; ``tenant``: which one is meant, where the key does not tell.

    Raises Misconfigured without a key.
    """
    from pim_platform.client import Client

    key = get_settings().api_key
    if key is None:
        raise Misconfigured(
            f"There is no key for {url}.", fix="Set PIM_API_KEY to an API key of your tenant there.", code="no_api_key"
        )
    return Client(url, key.get_secret_value(), tenant=tenant)


@dataclass(frozen=True)
class RemoteJob:
    """An import as the API tells it, under the names that an import of these stores has."""

    told: Import

    @property
    def id(self) -> str:
        """The job's id."""
        return self.told["job_id"]

    @property
    def state(self) -> str:
        """The job's state."""
        return self.told["state"]

    @property
    def reason(self) -> str | None:
        """Why it waits or failed."""
        return self.told["reason"]

    @property
    def reason_code(self) -> str | None:
        """The same for programs."""
        return self.told["reason_code"]

    @property
    def dry_run(self) -> bool:
        """Whether it stops after the comparison."""
        return self.told["dry_run"]

    @property
    def reject_reasons(self) -> dict[str, int]:
        """Rejected records by what is wrong with them."""
        return self.told["reject_reasons"]

    @property
    def repairs(self) -> dict[str, int]:
        """Repaired cells by kind."""
        return self.told["repairs"]

    @property
    def progress(self) -> dict[str, Any]:
        """Stage and rows while it runs."""
        return self.told["progress"]

    def ledger(self) -> dict[str, int] | None:
        """What became of every record."""
        ledger = self.told["ledger"]
        return None if ledger is None else {str(name): int(str(count)) for name, count in ledger.items()}


def wait(pim: Client, job_id: str, *, quiet: bool) -> RemoteJob:
    """Follow an import until it rests, with a progress bar unless ``quiet``."""
    from contextlib import nullcontext

    from pim_platform.cli.imports import progress_bar

    with nullcontext(_silent) if quiet else progress_bar() as show:
        return RemoteJob(pim.wait(job_id, show=lambda job: show(RemoteJob(job))))


def _silent(_job: Any) -> None:
    """Shows nothing."""


def rejects_file(pim: Client, job: RemoteJob) -> Path | None:
    """Fetch the job's rejects into the home; None where it has none."""
    ledger = job.told["ledger"]
    if ledger is None or not ledger["rejected"]:
        return None
    folder = get_settings().home_path / "rejects"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f"{job.id}.part"
    pim.rejects(job.id, part)
    with part.open("rb") as file:
        workbook = file.read(2) == b"PK"
    lines = job.told.get("format") in ("json", "jsonl")
    return part.replace(part.with_suffix(".xlsx" if workbook else ".jsonl" if lines else ".csv"))


def import_file(
    pim: Client,
    file: Path,
    source: str,
    feed: Mapping[str, Any],
    *,
    agreed: Callable[[Any], bool],
    yes: bool,
    dry_run: bool,
    quiet: bool,
) -> tuple[RemoteJob, bool]:
    """Upload, confirm where ``agreed`` says so of the proposal, and follow; the second value: it was skipped."""
    given = {name: value for name, value in feed.items() if value is not None and name != "absent_rows"}
    key = given.pop("idempotency_key", None)
    with file.open("rb") as content:
        upload = pim.upload(
            content,
            filename=file.name,
            source=source,
            dry_run=dry_run,
            absent=feed["absent_rows"],
            idempotency_key=key,
            **given | {"dialect": given.get("dialect") or None},
        )
    if upload["state"] == "mapping":
        if not agreed(upload):
            return RemoteJob(pim.import_(upload["job_id"])), False
        pim.confirm(upload["job_id"], **({"seen": False} if yes else {}))
    return wait(pim, upload["job_id"], quiet=quiet), upload["skipped"]
