"""The row of a product and behind it one per variant, as trees give them: parent and variants, or one product."""

from __future__ import annotations

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.intake.folding.cells import cell, own_id, raw
from pim_platform.intake.folding.columns import Columns
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.grouping import Grouping


def fold_nested(part: Part, grouping: Grouping, columns: Columns, siblings: pl.Series) -> Part:
    """Link variants to the product above them, which is merged into the first of them where it has no SKU.

    ``siblings``: groups known to have other variants than those of this file.
    """
    frame = _with_groups(part.frame, grouping, columns)
    continues = ~pl.col("_variant") & pl.col("_parent").is_null() & pl.col("_into").is_not_null()
    has_parent = pl.col("_parent").is_not_null()
    several = (pl.col("_variants") > 1) | pl.col("_group").is_in(siblings.implode())
    kind = (
        pl.when(pl.col("_variant") & (has_parent | several))
        .then(pl.lit("variant"))
        .when(~pl.col("_variant") & has_parent & (pl.col("_variants") > 0))
        .then(pl.lit("parent"))
        .otherwise(pl.lit("simple"))
    )
    told = {
        "kind": kind,
        "variant_group": pl.coalesce("_parent", "_group"),
        "parent_sku": pl.when("_variant").then("_parent"),
    }
    taken = [
        pl.coalesce(cell(inner), cell(outer)).alias(raw(index))
        for outer, inner in grouping.levels
        for index in (outer, inner)
        if columns.sku not in (outer, inner)
    ]
    kept = frame.filter(~continues)
    return Part(
        kept.with_columns(pl.col("_sku").alias(raw(columns.sku)), *taken, *columns.told(told)),
        part.bad,
        part.bytes_read,
        kept.select("row", *columns.file),
        columns.merged(frame.filter(continues), pl.col("_group")),
    )


def _with_groups(given: pl.DataFrame, grouping: Grouping, columns: Columns) -> pl.DataFrame:
    """The rows with their own SKU (``_sku``), whether they are variants, and what their group has."""
    variant = pl.any_horizontal([cell(index).is_not_null() for index in grouping.variants] or [pl.lit(False)])
    sku = cell(columns.sku)
    levels = {inner: outer for outer, inner in grouping.levels}
    if columns.sku in levels:  # a variant without SKU does not have its product's
        sku = pl.when("_variant").then(sku).otherwise(cell(levels[columns.sku]))
    frame = given.with_columns(_group=cell(grouping.by), _variant=variant)
    frame = frame.with_columns(_id=own_id("_group"), _sku=sku, _key=sku_key_expr(sku))
    groups = frame.group_by("_id").agg(
        _variants=pl.col("_variant").sum(),
        _into=pl.col("row").filter(pl.col("_variant") & pl.col("_key").is_not_null()).min(),
        _parent=pl.col("_sku").filter(~pl.col("_variant")).drop_nulls().first(),
        _keys=pl.col("_key").filter("_variant"),
    )
    frame = frame.join(groups, on="_id", how="left", maintain_order="left")
    # The SKU of the product is often that of its only variant: they are one then.
    own = sku_key_expr(pl.col("_parent"))
    return frame.with_columns(_parent=pl.when(~pl.col("_keys").list.contains(own).fill_null(False)).then("_parent"))
