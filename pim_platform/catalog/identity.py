"""What makes two SKUs the same product (design D2): one rule, once for Python and once for Polars."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def sku_key(sku: str) -> str:
    """The key of a SKU: NFC, trimmed of Unicode white space, lower case.

    >>> sku_key("  AB-1 ")
    'ab-1'
    """
    return unicodedata.normalize("NFC", sku).strip().lower()


def sku_key_expr(column: pl.Expr) -> pl.Expr:
    """The same rule as a Polars expression over a string column; empty keys become null."""
    import polars as pl

    key = column.str.normalize("NFC").str.strip_chars().str.to_lowercase()
    return pl.when(key != "").then(key)
