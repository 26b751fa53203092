"""What an attempt left in the object store: its folder, and the manifest that is written last (design D21).

A manifest names objects by their full keys, and not only those of its own folder: the promotion of a dry run
takes over what the dry run staged. A folder without a manifest belongs to a dead attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select

from pim_platform.errors import NotFound
from pim_platform.intake.models import ImportAttempt, ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session


@dataclass(frozen=True)
class Manifest:
    """What an attempt staged. ``read``, ``valid``, ``rejected`` and ``merged`` count records of its own file.

    ``rejects`` and ``reasons`` are of the whole job: where the attempt brought corrected records, they hold what is
    still rejected, ``replaced`` counts the earlier rejects that it stands for, and ``row_column`` is the source column
    that holds a record's number in the job's file. ``folded`` holds merged records, ``repairs`` counts
    repaired cells by kind.
    """

    read: int
    valid: int
    rejected: int
    merged: int
    staged: list[str]
    rejects: list[str]
    reasons: dict[str, int]
    sample_rejects: list[dict[str, Any]]
    bytes_read: int
    replaced: int = 0
    row_column: int | None = None
    folded: list[str] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """Every object it names."""
        return [*self.staged, *self.rejects, *self.folded]


def job_folder(tenant_id: UUID, job_id: UUID) -> str:
    """Key prefix of everything a job writes (design D21)."""
    return f"tenants/{tenant_id}/jobs/{job_id}/"


def attempt_folder(tenant_id: UUID, job_id: UUID, attempt: int) -> str:
    """Key prefix of what one attempt writes."""
    return f"{job_folder(tenant_id, job_id)}{attempt}/"


def write_manifest(workspace: Workspace, job: ImportJob, manifest: Manifest) -> None:
    """Write the manifest of the job's present attempt."""
    key = attempt_folder(job.tenant_id, job.id, job.attempt) + "manifest.json"
    workspace.objects.put_bytes(key, json.dumps(asdict(manifest)).encode())


def read_manifest(workspace: Workspace, job: ImportJob, number: int | None = None) -> Manifest:
    """The manifest of attempt ``number``; without it that of the job's result, else of the present attempt.

    Raises NotFound, also where retention removed it.
    """
    if number is None:
        number = job.attempt if job.staged_attempt is None else job.staged_attempt
    key = attempt_folder(job.tenant_id, job.id, number) + "manifest.json"
    return Manifest(**json.loads(workspace.objects.read_bytes(key)))


def merged_attempts(workspace: Workspace, job: ImportJob) -> list[ImportAttempt]:
    """The job's merges, oldest first."""
    with tenant_session(workspace.app, job.tenant_id) as session:
        query = select(ImportAttempt).where(ImportAttempt.tenant_id == job.tenant_id, ImportAttempt.job_id == job.id)
        return list(session.scalars(query.order_by(ImportAttempt.attempt)))


def kept_by(workspace: Workspace, job: ImportJob, numbers: Iterable[int]) -> tuple[list[str], set[str]]:
    """What these attempts of a job are: (their folders, the manifests in them and every object that those name)."""
    folders = [attempt_folder(job.tenant_id, job.id, number) for number in sorted(set(numbers))]
    keys: set[str] = set()
    for number in set(numbers):
        try:
            keys.update(read_manifest(workspace, job, number).keys)
            keys.add(attempt_folder(job.tenant_id, job.id, number) + "manifest.json")
        except NotFound:
            continue  # it staged nothing, or retention took it
    return folders, keys


def forget_other_attempts(workspace: Workspace, job: ImportJob) -> None:
    """Remove what attempts staged that became no result of the job; products refer to the merging attempts."""
    numbers = {merge.attempt for merge in merged_attempts(workspace, job)}
    numbers |= {number for number in (job.staged_attempt, job.preview_attempt) if number is not None}
    folders, keys = kept_by(workspace, job, numbers)
    for found in list(workspace.objects.list(job_folder(job.tenant_id, job.id))):
        if found.key not in keys and not found.key.startswith(tuple(folders)):
            workspace.objects.delete(found.key)
