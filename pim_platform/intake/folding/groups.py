"""Products that name the group they belong to (``item_group_id``): every row stays a record."""

from __future__ import annotations

import polars as pl

from pim_platform.intake.folding.cells import cell, group_key
from pim_platform.intake.folding.columns import Columns
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.grouping import Grouping


def link_groups(part: Part, grouping: Grouping, columns: Columns, sizes: pl.DataFrame, siblings: pl.Series) -> Part:
    """Make variants of the products whose group has several SKUs.

    ``sizes`` has ``hash`` of a group and its number of ``skus``; ``siblings`` are groups known to have other variants
    than those of this file.
    """
    frame = part.frame.with_columns(_group=cell(grouping.by), _hash=group_key(grouping).hash())
    frame = frame.join(sizes, left_on="_hash", right_on="hash", how="left", maintain_order="left")
    several = (pl.col("skus") > 1) | pl.col("_group").is_in(siblings.implode())
    kind = pl.when(pl.col("_group").is_not_null() & several).then(pl.lit("variant")).otherwise(pl.lit("simple"))
    told = columns.told({"kind": kind, "variant_group": pl.col("_group")})
    return Part(frame.with_columns(told), part.bad, part.bytes_read, part.cells, part.merged)
