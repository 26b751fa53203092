"""How far imports are, for many who watch: a few columns of the job row, read for all watched jobs at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from pim_platform.intake.jobs import FINAL, WAITING
from pim_platform.intake.models import ImportJob

#: Where each stage of a run begins and ends, in percent of an import as measured (docs/performance.md), roughly.
_BANDS: dict[str, tuple[int, int]] = {
    "staging": (0, 40),
    "waiting for the catalogue": (40, 40),
    "looking for unchanged rows": (40, 42),
    "loading": (42, 55),
    "comparing": (55, 60),
    "describing the changes": (60, 65),
    "writing": (60, 85),
    "publishing": (85, 95),
    "refreshing typed relations": (95, 99),
}

_COLUMNS = (
    ImportJob.state,
    ImportJob.reason_code,
    ImportJob.reason,
    ImportJob.attempt,
    ImportJob.row_count,
    ImportJob.row_count_exact,
    ImportJob.imported_count,
    ImportJob.progress,
    ImportJob.rows_read,
    ImportJob.rows_created,
    ImportJob.rows_updated,
    ImportJob.rows_unchanged,
    ImportJob.rows_rejected,
    ImportJob.rows_superseded,
    ImportJob.rows_merged,
)


def percent(state: str, progress: Mapping[str, Any]) -> int:
    """How much of an import is done, 0 to 100, by its state and its ``progress``. A pure function.

    >>> percent("staging", {"stage": "staging", "rows": 500, "total": 1000})
    20
    """
    if state in ("done", "undone", "staged"):
        return 100
    if state not in ("staging", "importing"):
        return 0
    first, last = _BANDS.get(str(progress.get("stage")), (0, 0))
    rows, total = progress.get("rows") or 0, progress.get("total") or 0
    part = min(1.0, float(rows) / float(total)) if total else 0.0
    return int(first + (last - first) * part)


def progress_json(job: ImportJob) -> dict[str, Any]:
    """What those who watch an import are told of it."""
    return {
        "job_id": str(job.id),
        "state": job.state,
        "reason_code": job.reason_code,
        "reason": job.reason,
        "attempt": job.attempt,
        "percent": percent(job.state, job.progress),
        "progress": job.progress,
        "row_count": job.row_count,
        "row_count_exact": job.row_count_exact,
        "imported_count": job.imported_count,
        "ledger": job.ledger(),
    }


def progress_of(session: Session, job_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """:func:`progress_json` of some jobs of the session's tenant by one query; those of others are not there."""
    query = (
        select(ImportJob)
        .where(ImportJob.tenant_id == session.info["tenant_id"], ImportJob.id.in_(job_ids))
        .options(load_only(*_COLUMNS))
    )
    return {job.id: progress_json(job) for job in session.scalars(query)}


def is_over(state: str) -> bool:
    """Whether nothing more happens to an import in this state."""
    return state in FINAL


def is_waiting(state: str) -> bool:
    """Whether an import in this state waits for a person."""
    return state in WAITING
