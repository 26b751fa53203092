"""Corrected rejects, uploaded into the job they came from: a further attempt with a ledger of its own.

The file is the one that the rejects were fetched as: the original columns, then what was wrong with each record.
The job's confirmed mapping holds; the told columns are recognised by name and dropped, but ``row`` says which
records were corrected: those are no longer rejects of the job, all others still are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from uuid import UUID

import polars as pl

from pim_platform.catalog.notation import guarded_foreign
from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.errors import Conflict, InvalidMapping, NotFound
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.jobs import get_job
from pim_platform.intake.landing import store_upload
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.models import ImportJob
from pim_platform.intake.readers.opening import OpenFile
from pim_platform.intake.rejects import TOLD_KEY, column_labels
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.quotas import require_job_slot

_SAMPLE = 10


def rework_job(
    workspace: Workspace, tenant_id: UUID, job_id: UUID, content: BinaryIO, *, filename: str, actor: Actor
) -> ImportJob:
    """Take corrected rejects of a finished import; it is ``confirmed`` then and runs again, over this file only.

    Raises NotFound, Conflict (not done, nothing rejected), UnreadableFile, InvalidRequest (too large),
    InvalidMapping with code ``other_columns`` where the columns are not those of the import.
    """
    name = PurePosixPath(filename.replace("\\", "/")).name or "rejects.csv"
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id)
        _require_rejects(job)
    try:
        read_manifest(workspace, job)
    except NotFound as error:
        raise Conflict(
            "The import's rejects are past their retention.",
            fix="Upload the corrected records as a new import.",
            code="nothing_rejected",
        ) from error
    with store_upload(workspace, tenant_id, content) as stored:
        dialect, row_column = _dialect_of(stored.path, name, job)
        with tenant_session(workspace.app, tenant_id) as session:
            job = get_job(session, job_id, lock=True)
            _require_rejects(job)
            require_job_slot(session)
            job.begin("rework")
            job.rework = {
                "upload_id": str(stored.ensure(session)),
                "filename": name,
                "actor": actor.name,
                "dialect": dialect.model_dump(),
                "row_column": row_column,
            }
            record(session, actor, "import.reworked", "import", str(job.id), filename=name)
            session.flush()
            session.refresh(job)
            return job


def _require_rejects(job: ImportJob) -> None:
    if job.state != "done" or job.kind != "file":
        raise Conflict(
            f"The import is in state {job.state}; rejects can be corrected once it is done.",
            fix="Wait until it is done, or upload the whole file again.",
            code="not_done",
            value=job.state,
        )
    if not job.rows_rejected:
        raise Conflict("The import has no rejects.", fix="Upload the file as a new import.", code="nothing_rejected")


def _dialect_of(path: Path, name: str, job: ImportJob) -> tuple[Dialect, int | None]:
    """How the corrected file is written, and which of its columns holds the record number (None: none does).

    It may have become another format on the way through a spreadsheet.
    """
    own = [header.strip() for header in job.headers or []]
    first = Dialect.model_validate(job.dialect)
    with OpenFile(path, name) as file:
        form = file.kind().format
        if form in ("csv", "xlsx"):
            return _by_position(file, own, first)
        return _by_name(file, own, first)


def _by_position(file: OpenFile, own: list[str], first: Dialect) -> tuple[Dialect, int | None]:
    """A table: the job's own columns, then those that tell what was wrong."""
    found = file.detect({"header_row": 0})
    # A few records say little about decimal signs; what the whole file said holds.
    found = found.model_copy(update={"width": 0, "decimal": first.decimal or found.decimal, "notation": first.notation})
    candidates = [found]
    if found.format == first.format == "csv":
        # The told errors are full of commas: where the job's own delimiter gives the right columns, it is the right
        # one; else it has changed on the way through a spreadsheet.
        candidates.insert(0, found.model_copy(update={"delimiter": first.delimiter}))
    for dialect in candidates:
        headers = file.headers(dialect)
        told = headers[len(own) :]
        if (
            headers[: len(own)] in (own, [guarded_foreign(name) for name in own])
            and set(told) <= set(REJECT_COLUMNS)
            and len(set(told)) == len(told)
        ):
            row_column = len(own) + told.index("row") if "row" in told else None
            return dialect.model_copy(update={"width": len(headers) if dialect.format == "csv" else 0}), row_column
    raise _other_columns(file.name, own, file.headers(found), set(REJECT_COLUMNS))


def _by_name(file: OpenFile, own: list[str], first: Dialect) -> tuple[Dialect, int | None]:
    """A tree: keys are the job's columns, in any order; one that no record has is empty."""
    found = file.detect().model_copy(update={"decimal": first.decimal})
    told = {f"{TOLD_KEY}.{name}" for name in REJECT_COLUMNS}
    labels = column_labels(own)
    headers = file.headers(found)
    if not set(headers) <= {*labels, *told} or not set(headers) & set(labels):
        raise _other_columns(file.name, labels, headers, told)
    columns = [*labels, f"{TOLD_KEY}.row"] if f"{TOLD_KEY}.row" in headers else labels
    return found.model_copy(update={"columns": tuple(columns)}), len(labels) if len(columns) > len(labels) else None


def _other_columns(name: str, own: list[str], headers: list[str], told: set[str]) -> InvalidMapping:
    missing = [header for header in own if header not in headers]
    unknown = [header for header in headers if header not in own and header not in told]
    wrong = [f"missing {', '.join(map(repr, missing))}"] if missing else []
    wrong += [f"unknown {', '.join(map(repr, unknown))}"] if unknown else []
    return InvalidMapping(
        f"{name} does not have the columns of the import's rejects: "
        f"{'; '.join(wrong) or 'they are in another order or there twice'}.",
        fix="Correct the cells of the file that the rejects were fetched as; leave its header line as it is.",
        code="other_columns",
        file=name,
        expected=", ".join(own),
    )


@dataclass(frozen=True)
class StillRejected:
    """What is rejected of a job after corrected records were staged: one file (or none), and how many were replaced."""

    paths: list[Path]
    reasons: dict[str, int]
    sample: list[dict[str, Any]]
    replaced: int


def still_rejected(
    workspace: Workspace,
    job: ImportJob,
    staged: Sequence[Path],
    rejects: Sequence[Path],
    row_column: int | None,
    scratch: Path,
) -> StillRejected:
    """The job's rejects after corrected records: those not sent again, and those rejected again.

    ``staged`` (rows that became part of others included) and ``rejects`` are what staging made of the corrected
    file. Records keep the number that they have in the job's own file, as far as the file tells it.
    """
    cells = [f"{RAW_PREFIX}{index}" for index in range(len(job.headers or []))]
    columns = [*REJECT_COLUMNS, *cells]
    number = (
        pl.col(f"{RAW_PREFIX}{row_column}").str.strip_chars().cast(pl.Int64, strict=False)
        if row_column is not None
        else None
    )
    with ExitStack() as stack:
        earlier = [
            stack.enter_context(workspace.objects.local_copy(key)) for key in read_manifest(workspace, job).rejects
        ]
        before = pl.concat([pl.scan_parquet(path).select(columns) for path in earlier])
        left = before.head(0)
        if number is not None:
            given = [pl.scan_parquet(path).select(row=number) for path in (*staged, *rejects)]
            left = before.join(pl.concat(given).unique(), on="row", how="anti")
        own = [
            pl.scan_parquet(path)
            .with_columns(row=pl.coalesce(number, "row") if number is not None else pl.col("row"))
            .select(columns)
            for path in rejects
        ]
        found = pl.concat([left, *own]).sort("row", maintain_order=True).collect(engine="streaming")
        replaced = before.select(pl.len()).collect().item() - left.select(pl.len()).collect(engine="streaming").item()
    path = scratch / "rejects-open.parquet"
    found.write_parquet(path, compression="lz4")
    codes = found.select(pl.col("error_code").str.split("; ").explode()).to_series().value_counts(sort=True)
    return StillRejected(
        [path] if found.height else [],
        dict(codes.rows()),
        found.head(_SAMPLE).select(REJECT_COLUMNS).to_dicts(),
        replaced,
    )


def known_groups(workspace: Workspace, job: ImportJob) -> list[str]:
    """Groups of which the job staged products before: a corrected record of one is not alone in it."""
    with ExitStack() as stack:
        paths = [stack.enter_context(workspace.objects.local_copy(key)) for key in read_manifest(workspace, job).staged]
        scanned = [pl.scan_parquet(path) for path in paths]
        if not scanned or "variant_group" not in scanned[0].collect_schema():
            return []
        groups = pl.concat([scan.select("variant_group") for scan in scanned]).drop_nulls().unique()
        return groups.collect()["variant_group"].to_list()
