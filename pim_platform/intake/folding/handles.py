"""Rows of one product that share a handle (Shopify): variants, and rows that only continue the product."""

from __future__ import annotations

import polars as pl

from pim_platform.intake.folding.cells import cell, own_id, raw
from pim_platform.intake.folding.columns import BETWEEN_IMAGES, Columns
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.grouping import Grouping


def fold_handles(part: Part, grouping: Grouping, columns: Columns, siblings: pl.Series) -> Part:
    """Give each record what its handle's rows say, and merge the rows that are no records.

    ``siblings``: groups known to have other variants than those of this file.
    """
    by_sku = grouping.by == columns.sku
    frame = _with_groups(part.frame, grouping, columns)
    continues = ~pl.col("_record") & pl.col("_into").is_not_null()
    # A row without SKU stays what it is, a record without SKU, unless the row that lacks it stands before it.
    lost = ~pl.col("_record") & pl.col("_into").is_null() & ~pl.col("_first")
    several = (pl.col("_records") > 1) | pl.col("_group").is_in(siblings.implode())
    kind = pl.lit("simple") if by_sku else pl.when(several).then(pl.lit("variant")).otherwise(pl.lit("simple"))
    told: dict[str, pl.Expr] = {"kind": kind, "variant_group": pl.col("_group")}
    if grouping.images_field is not None:
        texts = pl.col("_images").list.join(BETWEEN_IMAGES)
        told[grouping.images_field] = pl.when(texts != "").then(texts)
    kept = frame.filter(~(continues | lost))
    filled_in = kept.with_columns(
        *[pl.coalesce(cell(index), f"_given.{index}").alias(raw(index)) for index in grouping.inherited],
        *columns.told(told),
    )
    return Part(
        filled_in,
        _with_orphans(part.bad, frame.filter(lost), grouping, columns),
        part.bytes_read,
        kept.select("row", *columns.file),
        columns.merged(frame.filter(continues), pl.col("_group")),
    )


def _with_groups(given: pl.DataFrame, grouping: Grouping, columns: Columns) -> pl.DataFrame:
    """The rows with what they are (``_record``, ``_first`` of its group) and what their group gives."""
    filled = pl.any_horizontal([cell(index).is_not_null() for index in columns.own] or [pl.lit(False)])
    frame = given.with_columns(
        _group=cell(grouping.by), _sku=cell(columns.sku).is_not_null(), _own=filled
    ).with_columns(_id=own_id("_group"))
    frame = frame.with_columns(_first=pl.col("row") == pl.col("row").min().over("_id"))
    is_record = pl.col("_first") if grouping.by == columns.sku else pl.col("_sku") | pl.col("_own")
    frame = frame.with_columns(_record=pl.col("_group").is_null() | is_record)
    images = cell(grouping.images) if grouping.images is not None else pl.lit(None, pl.String)
    if grouping.position is not None:  # rows come in the order of the file
        number = cell(grouping.position).cast(pl.Float64, strict=False)
        images = images.sort_by(number, "row", nulls_last=True)
    groups = frame.group_by("_id").agg(
        *[cell(index).first(ignore_nulls=True).alias(f"_given.{index}") for index in grouping.inherited],
        _into=pl.col("row").filter(pl.col("_record") & pl.col("_sku")).min(),
        _records=pl.col("_record").sum(),
        _images=images.drop_nulls().unique(maintain_order=True),
    )
    return frame.join(groups, on="_id", how="left", maintain_order="left")


def _with_orphans(bad: pl.DataFrame, orphans: pl.DataFrame, grouping: Grouping, columns: Columns) -> pl.DataFrame:
    header = columns.headers[columns.sku]
    return columns.rejected(
        bad,
        orphans,
        column=columns.sku,
        value=pl.lit(None, pl.String),
        code="missing_sku",
        error=pl.concat_str(
            pl.lit(f"{header}: empty, expected a SKU in some row of {columns.headers[grouping.by]} '"),
            "_group",
            pl.lit("', which this row belongs to"),
        ),
        fix="fill in the SKU in the first row of this product; leave this row below it",
    )
