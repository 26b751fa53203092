"""The raw row of a product: the cells of the file's record that wrote it last, read by reference (design D21)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pim_platform.catalog.models import Product
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import NotFound
from pim_platform.intake.jobs import get_job
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session

#: Merged records shown of one product.
MAXIMUM_MERGED = 100


def raw_row(workspace: Workspace, product: Product) -> dict[str, str | None] | None:
    """``{header: cell}`` of the record behind a product; None where it came by API or its file is gone.

    A blank header and the second of two equal ones are written ``#n``, n counting columns from 1.
    """
    if product.job_id is None or product.source_row is None:
        return None
    with tenant_session(workspace.app, product.tenant_id) as session:
        job = get_job(session, product.job_id)
    try:
        for key in read_manifest(workspace, job, product.attempt).staged:
            with workspace.objects.local_copy(key) as path:
                cells = _cells(path, product.source_row)
            if cells is not None:
                width = len(job.headers or [])  # corrected rejects have more columns: what was wrong with them
                return dict(zip(_labels(job.headers or [], width), cells[:width], strict=True))
    except NotFound:
        return None  # retention removed what the job staged; the product itself is whole
    return None


def merged_rows(workspace: Workspace, product: Product) -> list[dict[str, str | None]]:
    """The records that became part of a product, or of its group, as ``{header: cell}``, in file order.

    At most :data:`MAXIMUM_MERGED`; empty where there are none, or the file is gone.
    """
    if product.job_id is None or product.source_row is None:
        return []
    with tenant_session(workspace.app, product.tenant_id) as session:
        job = get_job(session, product.job_id)
    mine = pl.col("into") == product.source_row
    if product.variant_group is not None:
        mine = mine | (pl.col("variant_group") == product.variant_group)
    width = len(job.headers or [])
    cells = [f"{RAW_PREFIX}{index}" for index in range(width)]
    labels = _labels(job.headers or [], width)
    found: list[dict[str, str | None]] = []
    try:
        for key in read_manifest(workspace, job, product.attempt).folded:
            with workspace.objects.local_copy(key) as path:
                rows = pl.scan_parquet(path).filter(mine).sort("row").head(MAXIMUM_MERGED).select(cells).collect()
            found += [dict(zip(labels, row, strict=True)) for row in rows.rows()]
    except NotFound:
        return []  # retention removed what the job staged
    return found[:MAXIMUM_MERGED]


def _cells(path: Path, row: int) -> Sequence[str | None] | None:
    # The statistics of `row` in the file spare reading any other row group.
    found = pl.scan_parquet(path).filter(pl.col("row") == row).select(pl.col(f"^{RAW_PREFIX[:-1]}[.][0-9]+$")).collect()
    return found.row(0) if found.height else None


def _labels(headers: Sequence[str], width: int) -> list[str]:
    labels: list[str] = []
    for index in range(width):
        header = headers[index].strip() if index < len(headers) else ""
        labels.append(header if header and header not in labels else f"#{index + 1}")
    return labels
