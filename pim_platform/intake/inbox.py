"""The inbox: files dropped at ``inbox/<tenant>/<source>/<name>`` become import jobs (design, section 3).

A file counts as complete when size and time of writing stood still between two looks. It is landed under a
key made of those, so a crash between landing and removing it makes no second job; then it is removed, so the
same bytes dropped again are a new job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

from pim_platform.errors import BadInput, NotFound
from pim_platform.intake.confirming import confirm_by_policy
from pim_platform.intake.landing import land
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.object_store import StoredObject
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import find_tenant

PREFIX = "inbox"

#: Names under which programs write files that are not finished, and what nobody means to import.
_UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart", "~")

_DEFAULT_SOURCE = "inbox"


@dataclass(frozen=True)
class Dropped:
    """A complete file in the inbox and where it belongs."""

    key: str
    stamp: str
    tenant: str
    source: str
    filename: str


@dataclass(frozen=True)
class Taken:
    """What became of a dropped file: its job (None where it has no tenant) and why it goes no further, if so."""

    dropped: Dropped
    tenant_id: UUID | None
    job_id: UUID | None
    confirmed: bool
    problem: str | None


def decide(found: Iterable[StoredObject], seen: dict[str, str]) -> tuple[list[Dropped], dict[str, str]]:
    """Which objects to take now, and what to remember for the next look. A pure decision."""
    ready: list[Dropped] = []
    remember: dict[str, str] = {}
    for entry in found:
        path = PurePosixPath(entry.key)
        parts = path.parts[1:]
        if len(parts) < 2 or path.name.startswith(".") or path.name.endswith(_UNFINISHED):
            continue
        stamp = f"{entry.size}@{entry.modified.isoformat()}"
        remember[entry.key] = stamp
        if seen.get(entry.key) == stamp:
            source = parts[1] if len(parts) > 2 else _DEFAULT_SOURCE
            ready.append(Dropped(entry.key, stamp, parts[0], source, path.name))
    return ready, remember


def take(workspace: Workspace, dropped: Dropped) -> Taken:
    """Land a dropped file, propose its mapping, confirm it where the policy allows; a bad file's job is failed."""
    actor = Actor("sensor:inbox")
    try:
        tenant = find_tenant(workspace.app, dropped.tenant)
    except NotFound as error:
        return Taken(dropped, None, None, confirmed=False, problem=f"{dropped.key}: {error}")
    once = hashlib.sha256(f"{dropped.key}\n{dropped.stamp}".encode()).hexdigest()
    try:
        with workspace.objects.local_copy(dropped.key) as path, path.open("rb") as content:
            landed = land(
                workspace,
                tenant.id,
                content,
                filename=dropped.filename,
                source=dropped.source,
                origin="inbox",
                actor=actor,
                idempotency_key=f"inbox:{once}",
            )
    except BadInput as error:
        return Taken(dropped, tenant.id, None, confirmed=False, problem=f"{dropped.key}: {error}")
    confirmed, problem = False, None
    if landed.skipped:
        problem = f"{dropped.key}: skipped, import {landed.job_id} has this content already"
    else:
        try:
            propose_job(workspace, tenant.id, landed.job_id)
            confirmed = confirm_by_policy(workspace, tenant.id, landed.job_id)
        except BadInput as error:
            problem = f"{dropped.key}: {error}"
    # Removed last: what a crash interrupts is found again, under the same key, as the same job.
    workspace.objects.delete(dropped.key)
    return Taken(dropped, tenant.id, landed.job_id, confirmed=confirmed, problem=problem)
