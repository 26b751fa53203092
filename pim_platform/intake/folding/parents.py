"""Products that name their parent, by SKU or by id: every row stays a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.intake.folding.cells import cell, raw
from pim_platform.intake.folding.columns import Columns
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.grouping import Grouping

if TYPE_CHECKING:
    from pim_platform.intake.readers.delimited import Batch

#: Levels of products above a variant whose names are looked for: groups of groups are rare, circles are slips.
_LEVELS = 4
#: Words for product types as shops write them: WooCommerce, Magento and UnoPim, Amazon (also in German), Odoo.
_PARENT_TYPES = r"\b(variable|configurable|parent|master|vater)\b"
_BUNDLE_TYPES = r"\b(bundle|grouped|kit)\b"
#: WooCommerce names a parent by its id where it has no SKU (WC_Product_CSV_Importer::parse_relative_field).
_BY_ID = r"^id:\s*(\d+)$"


def link_parents(
    part: Part, grouping: Grouping, columns: Columns, parents: pl.DataFrame, ids: pl.DataFrame | None
) -> Part:
    """Make variants of the products that name a parent, and parents of those that are named.

    ``parents`` and ``ids`` are those of :class:`pim_platform.intake.folding.survey.Survey`.
    """
    frame = _with_parents(part.frame, grouping, columns, ids).join(
        parents, on="parent_key", how="left", maintain_order="left"
    )
    known = cell(grouping.kinds).str.to_lowercase() if grouping.kinds is not None else pl.lit("", pl.String)
    named = pl.col("_key").is_in(parents["parent_key"].implode())
    is_parent = (named | known.str.contains(_PARENT_TYPES)).fill_null(False)
    bundle = known.str.contains(_BUNDLE_TYPES).fill_null(False)
    kind = (
        pl.when("_child")
        .then(pl.lit("variant"))
        .when(is_parent)
        .then(pl.lit("parent"))
        .when(bundle)
        .then(pl.lit("bundle"))
        .otherwise(pl.lit("simple"))
    )
    own = pl.when(is_parent).then(cell(columns.sku))
    told = columns.told(
        {
            "kind": kind,
            "variant_group": pl.when("_child").then(pl.coalesce("_parent", "_ref")).otherwise(own),
            "parent_sku": pl.when("_child").then("_parent"),
        }
    )
    cells = part.frame if part.cells is None else part.cells
    if columns.name is not None and "parent_name" in parents.columns:
        name = cell(columns.name)
        given = pl.when("_child").then(pl.coalesce(name, "parent_name")).otherwise(name)
        told.append(given.alias(raw(columns.name)))
    return Part(frame.with_columns(told), part.bad, part.bytes_read, cells.select("row", *columns.file), part.merged)


def _with_parents(given: pl.DataFrame, grouping: Grouping, columns: Columns, ids: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with the SKU of their parent, its key, and whether they are a child of it (and not of themselves)."""
    frame = given.with_columns(_ref=parent_ref(grouping.by), _key=sku_key_expr(cell(columns.sku)))
    if ids is not None:
        frame = frame.with_columns(_id=_id_of(pl.col("_ref"), ids)).join(
            ids, left_on="_id", right_on="id", how="left", maintain_order="left"
        )
        by_id = pl.col("_id").is_not_null()
        frame = frame.with_columns(_parent=pl.when(by_id).then("id_sku").otherwise("_ref"))
    else:
        frame = frame.with_columns(_parent=pl.col("_ref"))
    frame = frame.with_columns(parent_key=sku_key_expr(pl.col("_parent")))
    is_child = pl.col("_ref").is_not_null() & ~pl.col("parent_key").eq_missing(pl.col("_key"))
    return frame.with_columns(_child=is_child)


def parent_ref(index: int) -> pl.Expr:
    """What a cell names as a row's parent; WordPress, Magento and PrestaShop write 0 where a record has none."""
    named = cell(index)
    return pl.when(named != "0").then(named)


def parent_keys(refs: pl.DataFrame, ids: pl.DataFrame | None) -> pl.DataFrame:
    """``parent_key`` of every parent that some ``ref`` names, by SKU or by one of the ``ids``."""
    if ids is not None:
        refs = refs.with_columns(id=_id_of(pl.col("ref"), ids)).join(ids, on="id", how="left")
        refs = refs.select(ref=pl.when(pl.col("id").is_not_null()).then("id_sku").otherwise("ref"))
    return refs.select(parent_key=sku_key_expr(pl.col("ref"))).drop_nulls().unique()


def _id_of(ref: pl.Expr, ids: pl.DataFrame) -> pl.Expr:
    """The id that a reference names: behind ``id:``, or bare where it is the id of a row (Shopware) and no SKU."""
    is_sku = sku_key_expr(ref).is_in(ids.select(sku_key_expr(pl.col("id_sku"))).to_series().implode())
    bare = pl.when(ref.is_in(ids["id"].implode()) & ~is_sku).then(ref)
    return pl.coalesce(ref.str.extract(_BY_ID, 1), bare)


def with_names(
    read: Callable[[], Iterable[Batch]], parents: pl.DataFrame, sku: int, name: int, by: int
) -> pl.DataFrame:
    """The parents with their names; one that has none either has that of its own parent, some levels up."""
    schema = dict.fromkeys(("parent_key", "parent_name", "above"), pl.String)
    found = [pl.DataFrame(schema=schema)]
    for batch in read():
        rows = batch.frame.select(
            parent_key=sku_key_expr(cell(sku)), parent_name=cell(name), above=sku_key_expr(parent_ref(by))
        )
        found.append(rows.join(parents, on="parent_key", how="semi"))
    known = pl.concat(found).unique("parent_key", keep="first", maintain_order=True)
    for _ in range(_LEVELS):
        names = known.select(above="parent_key", higher="parent_name", higher_above="above")
        known = known.join(names, on="above", how="left").select(
            "parent_key",
            parent_name=pl.coalesce("parent_name", "higher"),
            above=pl.when(pl.col("parent_name").is_null() & pl.col("higher").is_null()).then("higher_above"),
        )
    return parents.join(known.select("parent_key", "parent_name"), on="parent_key", how="left")
