"""Rejects that only the diff can tell: a row that would create a product but gives no name (design D3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS

#: Error code of such a reject.
NAMELESS = "name_missing"

_SAMPLE = 5


def write_nameless_rejects(
    staged: Sequence[Path], rows: Sequence[int], name_column: str | None, out: Path, *, row_column: int | None = None
) -> list[dict[str, Any]]:
    """Copy the raw cells of these record numbers from staged Parquet into a reject file; returns a few of them.

    ``row_column`` is the source column that holds the record number to tell, where the file is a corrected one.
    """
    wanted = pl.LazyFrame({"row": list(rows)}, schema={"row": pl.Int64})
    error = "The SKU is new and the row gives no name; a new product needs one."
    fix = f"Fill {name_column!r}." if name_column else "Map a column to 'name', or import names first."
    found = (
        pl.scan_parquet(list(staged))
        .select("row", pl.col(f"^{RAW_PREFIX.replace('.', '[.]')}[0-9]+$"))
        .join(wanted, on="row", how="semi")
        .with_columns(row=_told_row(row_column))
        .sort("row")
        .with_columns(
            column=pl.lit(name_column or "name"),
            value=pl.lit(None, dtype=pl.String),
            error_code=pl.lit(NAMELESS),
            error=pl.lit(error),
            suggestion=pl.lit(fix),
        )
        .collect(engine="streaming")
    )
    found.select(*REJECT_COLUMNS, pl.col(f"^{RAW_PREFIX.replace('.', '[.]')}[0-9]+$")).write_parquet(out)
    return found.head(_SAMPLE).select(REJECT_COLUMNS).to_dicts()


def _told_row(row_column: int | None) -> pl.Expr:
    if row_column is None:
        return pl.col("row")
    return pl.coalesce(pl.col(f"{RAW_PREFIX}{row_column}").str.strip_chars().cast(pl.Int64, strict=False), "row")
