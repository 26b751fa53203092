"""The preview of a dry run where it lies: diff Parquet and a summary in the attempt's folder (design D21)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pim_platform.catalog.preview import Preview
from pim_platform.errors import NotFound
from pim_platform.intake.manifests import attempt_folder
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace


def store_preview(workspace: Workspace, job: ImportJob, preview: Preview, summary: dict[str, Any]) -> None:
    """Store a diff in the folder of the job's present attempt; its summary names the files and comes last."""
    folder = attempt_folder(job.tenant_id, job.id, job.attempt)
    for path in preview.files:
        workspace.objects.put_file(folder + path.name, path)
    stored = summary | {"files": [path.name for path in preview.files]}
    workspace.objects.put_bytes(folder + "preview.json", json.dumps(stored).encode())


def preview_summary(workspace: Workspace, job: ImportJob) -> dict[str, Any]:
    """Counts, price changes, collisions and digest of the job's preview. Raises NotFound where it has none."""
    summary = _stored(workspace, job)
    del summary["files"]
    return summary


@contextmanager
def preview_files(workspace: Workspace, job: ImportJob) -> Iterator[list[Path]]:
    """The Parquet files of the job's preview, in order, while the block runs. Raises NotFound where it has none."""
    names = _stored(workspace, job)["files"]
    folder = attempt_folder(job.tenant_id, job.id, job.preview_attempt or 0)
    with ExitStack() as stack:
        yield [stack.enter_context(workspace.objects.local_copy(folder + name)) for name in names]


def _stored(workspace: Workspace, job: ImportJob) -> dict[str, Any]:
    if job.preview_attempt is None:
        raise NotFound(
            f"Import {job.id} has no preview.",
            fix="A dry run makes one: import the file with dry_run (`pim import --dry-run`).",
            code="no_preview",
        )
    key = attempt_folder(job.tenant_id, job.id, job.preview_attempt) + "preview.json"
    try:
        found: dict[str, Any] = json.loads(workspace.objects.read_bytes(key))
    except NotFound as error:
        raise NotFound(
            f"The preview of import {job.id} is past its retention.",
            fix="Import the file again as a dry run.",
            code="no_preview",
        ) from error
    return found
