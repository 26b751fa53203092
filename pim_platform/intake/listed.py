"""Cells of trees that are lists: JSON arrays of texts, written by the readers of JSON, XML and Parquet.

A field that holds one value takes the entry of a list that has one, however often it is repeated. Of different
entries a text field takes all, joined; a GTIN field the only valid GTIN among other numbers of the product (ONIX lists
ISBN-10 and ISBN-13 side by side). Anywhere else, and for every other identifier, they are several values where one is
expected: that is told, never cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal

import polars as pl

from pim_platform.intake import vocabulary as words
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.profile import gtin_is_valid

#: Formats whose cells may be lists; in the others a text in brackets is a text.
_TREES = frozenset({"json", "jsonl", "xml", "parquet"})
_START, _END = '["', '"]'
#: Entries longer than this are paragraphs, which are joined by line ends and not by commas.
_PARAGRAPH = 60


def holds_lists(dialect: Dialect | None) -> bool:
    """Whether cells of a file may be lists."""
    return dialect is not None and dialect.format in _TREES


def is_list(cells: pl.Series) -> pl.Series:
    """Which trimmed cells are lists; null counts as none."""
    return (cells.str.starts_with(_START) & cells.str.ends_with(_END)).fill_null(False)


def one_value(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The cells with lists of one value unwrapped, and which hold several; those stay as they are."""
    lists = is_list(cells)
    if not lists.any():
        return cells, lists
    frame = pl.DataFrame({"cell": cells, "list": lists})
    only = pl.when("list").then("cell").map_elements(_only, return_dtype=pl.String)
    found = frame.select(only=only, several=pl.col("list") & only.is_null(), cell=pl.col("cell"))
    unwrapped = found.select(pl.coalesce("only", "cell").replace("", None).alias(cells.name)).to_series()
    return unwrapped, found["several"]


def _only(cell: str) -> str | None:
    """The only value of a list, "" where it has none; None where it has several, or the cell is no list of texts."""
    entries = _texts(cell)
    if entries is None:
        return cell
    filled = {entry.strip() for entry in entries if entry.strip()}
    return None if len(filled) > 1 else next(iter(filled), "")


def joined(cells: pl.Series) -> pl.Series:
    """The cells with the different entries of lists as one text."""
    return _changed(cells, _joined)


def one_gtin(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    """As :func:`one_value`, where a list of several takes the only valid GTIN in it."""
    return one_value(_changed(cells, _gtin))


def _changed(cells: pl.Series, change: Callable[[str], str]) -> pl.Series:
    lists = is_list(cells)
    if not lists.any():
        return cells
    frame = pl.DataFrame({"cell": cells, "list": lists})
    changed = pl.when("list").then("cell").map_elements(change, return_dtype=pl.String)
    return frame.select(pl.coalesce(changed, "cell").replace("", None).alias(cells.name)).to_series()


def _joined(cell: str) -> str:
    entries = _texts(cell)
    if entries is None:
        return cell
    filled = dict.fromkeys(entry.strip() for entry in entries if entry.strip())
    return ("\n" if any(len(entry) > _PARAGRAPH for entry in filled) else ", ").join(filled)


def _gtin(cell: str) -> str:
    valid = {entry.strip().zfill(14): entry.strip() for entry in _texts(cell) or () if gtin_is_valid(entry.strip())}
    return next(iter(valid.values())) if len(valid) == 1 else cell


def priced(
    cells: pl.Series, currencies: pl.Series | None, default: str | None, decimal: Literal[".", ","]
) -> pl.Series:
    """The cells with lists of amounts as JSON prices, for fields that hold several.

    ``currencies``: the cells of the file's currency column; where such a cell is a list of the same length, each
    amount has the currency at its place. A list with an amount that is no plain number stays as it is.
    """
    if not is_list(cells).any():
        return cells
    named = cells.clear(cells.len()) if currencies is None else currencies
    texts = [_priced(cell, code, default, decimal) for cell, code in zip(cells, named, strict=True)]
    return pl.Series(cells.name, texts, dtype=pl.String)


def _priced(cell: str | None, named: str | None, default: str | None, decimal: str) -> str | None:
    amounts = _texts(cell)
    if amounts is None:
        return cell
    codes = _texts(named)
    if codes is None or len(codes) != len(amounts):
        only = _only(named) if codes is not None and named else named
        codes = [only or ""] * len(amounts)
    prices = []
    for amount, code in zip(amounts, codes, strict=True):
        if not amount.strip():
            continue
        number = amount.strip().replace(",", ".") if decimal == "," else amount.strip()
        sign = code.strip().upper()
        currency = words.currency_codes(default).get(sign, sign) or default
        if not re.fullmatch(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", number) or currency is None:
            return cell
        prices.append(f'{{"amount":{number},"currency":{json.dumps(currency)}}}')
    return f"[{','.join(prices)}]" if prices else None


def _texts(cell: str | None) -> list[str] | None:
    """The entries of a list of texts; None for any other cell."""
    if cell is None or not (cell.startswith(_START) and cell.endswith(_END)):
        return None
    try:
        entries = json.loads(cell)
    except ValueError:
        return None
    return entries if all(isinstance(entry, str) for entry in entries) else None
