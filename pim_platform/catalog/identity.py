"""What makes two SKUs the same product (design D2): one rule, once for Python and once for Polars."""

from __future__ import annotations

import secrets
import time
import unicodedata
from dataclasses import dataclass
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


def sku_keys(skus: pl.Series) -> pl.Series:
    """The keys of a column of SKUs, as :func:`sku_key_expr` gives them."""
    import polars as pl

    if skus.str.len_bytes().sum() != skus.str.len_chars().sum():
        return skus.to_frame("sku").select(sku_key_expr(pl.col("sku"))).to_series()
    keys = skus.str.strip_chars().str.to_lowercase()  # composing ASCII changes nothing, and is most of the work
    blank = (keys == "").fill_null(False)
    return keys.set(blank, None) if blank.any() else keys


@dataclass(frozen=True)
class IdSeries:
    """A run of UUIDv7: ``head`` followed by 12 hex digits of ``start`` + n (see :func:`id_series`)."""

    head: str
    start: int


def id_series() -> IdSeries:
    """The beginning of a run of UUIDv7 for one transaction, to be counted up by SQL.

    RFC 9562, section 6.2: the time of now, 26 random bits, and a counter of 48 bits that starts at random in
    the lower half. Asking the server's ``uuidv7()`` for each row costs a system call for random bytes each time,
    which is a quarter of the time of a plain INSERT.
    """
    milliseconds = time.time_ns() // 1_000_000
    text = f"{milliseconds:012x}"
    variant = 0x8000 | secrets.randbits(14)
    return IdSeries(f"{text[:8]}-{text[8:]}-7{secrets.randbits(12):03x}-{variant:04x}-", secrets.randbits(47))
