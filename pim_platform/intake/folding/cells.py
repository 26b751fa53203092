"""Expressions for the raw cells that groups are told by."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.models import Mapping
from pim_platform.intake.values import clean


def raw(index: int) -> str:
    """The name of the column that holds the raw cells of a column of the file."""
    return f"{RAW_PREFIX}{index}"


def raws(indexes: Iterable[int]) -> list[str]:
    """The names of several such columns."""
    return [raw(index) for index in indexes]


def cell(index: int) -> pl.Expr:
    """The trimmed cell of a column of the file; null where it is empty."""
    return clean(pl.col(raw(index)))


def group_key(grouping: Grouping) -> pl.Expr:
    """What rows of one group have in common; null where a row names no group."""
    named = cell(grouping.by)
    return sku_key_expr(named) if grouping.style == "locale" else named


def own_id(key: str) -> pl.Expr:
    """The group of a row: the text of column ``key``, or one of its own where that is null."""
    return pl.coalesce(key, pl.concat_str(pl.lit("\x1f"), "row"))


def index_of(mapping: Mapping, field_name: str) -> int | None:
    """The column that feeds a field."""
    column = mapping.column_of(field_name)
    return column.index if column is not None else None


def sku_index(mapping: Mapping) -> int:
    """The column that holds the SKU."""
    index = index_of(mapping, "sku")
    assert index is not None, "a mapping without SKU is refused before"
    return index
