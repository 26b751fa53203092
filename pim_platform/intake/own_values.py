"""Cells of the platform's own notation become values (see :mod:`pim_platform.catalog.notation`): none is repaired.

What is not written in the notation, because a person added or changed it, is read as it would be in any other file.
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import simplejson

from pim_platform.catalog.notation import unguard
from pim_platform.catalog.schema import FieldType
from pim_platform.intake import vocabulary as words
from pim_platform.intake.values import Rules, clean, convert, is_storable, price_json

_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"
_PRICE = r"^([A-Z]{3}) (-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)$"
#: A JSON array of texts without escapes by number, which could stand for what no engine stores.
_TEXTS = r"""^\[(?:"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"(?:, ?"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*")*)?\]$"""


def text_of(cell: pl.Expr) -> pl.Expr:
    """The text of a cell, exactly; null for an empty one."""
    return pl.when(cell != "").then(unguard(cell))


def convert_own(text: pl.Expr, kind: FieldType, rules: Rules, *, nested: bool = False) -> pl.Expr:
    """The values of texts in their staged form; null where a text is no value of ``kind``.

    ``nested``: the field has a value per locale or channel, and the cell is the JSON object of them.
    """
    if nested:
        of_kind = lambda cell: _nested(cell, kind)  # noqa: E731 - it binds the type for the elements
        return pl.when(text.str.starts_with("{")).then(text).map_elements(of_kind, return_dtype=pl.String)
    if kind == "string":
        return text
    free = convert(clean(text), kind, rules)
    if kind == "url":
        return pl.when(free.is_not_null()).then(text)
    if kind == "array":
        plain = pl.when(text.str.contains(_TEXTS)).then(text)  # as PostgreSQL writes nearly all of them
        other = pl.when(text.str.starts_with("[") & plain.is_null()).then(text)
        return pl.coalesce(plain, other.map_elements(_array, return_dtype=pl.String), free)
    if rules.decimal != ".":
        return free
    if kind == "number":
        return pl.when(text.str.contains(_NUMBER)).then(text).otherwise(free)
    if kind == "price":
        code, amount = text.str.extract(_PRICE, 1), text.str.extract(_PRICE, 2)
        known = amount.is_not_null() & code.is_in(words.CURRENCY_CODES)
        return pl.when(known).then(price_json(amount, code)).otherwise(free)
    return free


def _array(cell: str) -> str | None:
    """A JSON array of texts with all its entries, empty ones too; None for any other."""
    try:
        entries = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, str) and is_storable(entry) for entry in entries):
        return None
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def _nested(cell: str, kind: FieldType) -> str | None:
    """The object of a cell where each value in it, one or two levels down, is of the kind; None for any other."""
    try:
        found = simplejson.loads(cell, parse_float=_raw, parse_int=_raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not _holds(found, kind, 2):
        return None
    return str(simplejson.dumps(found, ensure_ascii=False, separators=(",", ":")))


def _raw(text: str) -> simplejson.RawJSON:
    return simplejson.RawJSON(text)


def _holds(value: Any, kind: FieldType, levels: int) -> bool:
    if levels and isinstance(value, dict) and not (kind == "price" and value.keys() == {"amount", "currency"}):
        return all(is_storable(key) and _holds(inner, kind, levels - 1) for key, inner in value.items())
    if kind in ("string", "url"):
        return isinstance(value, str) and is_storable(value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, simplejson.RawJSON)
    if kind == "price":
        return _is_price(value, {"amount", "currency"})
    if not isinstance(value, list):
        return False
    if kind == "array":
        return all(isinstance(entry, str) and is_storable(entry) for entry in value)
    return all(_is_price(entry, {*entry} if isinstance(entry, dict) else set()) for entry in value)


def _is_price(value: Any, keys: set[str]) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == keys
        and isinstance(value.get("amount"), simplejson.RawJSON)
        and value.get("currency") in words.CURRENCY_CODES
        and all(isinstance(v, str) and is_storable(v) for k, v in value.items() if k != "amount")
    )
