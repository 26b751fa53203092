"""JSON whose numbers keep their digits both ways, whatever a binary float could hold (design D16).

PostgreSQL's jsonb keeps decimals exactly; Python's own reader rounds them to 17 digits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import simplejson

#: Decimals of at most so many significant digits survive the way through binary64 and back (IEEE 754).
_FLOAT_DIGITS = 15


def loads(text: str | bytes) -> Any:
    """The value in ``text``: a number with a point is a float where that holds it exactly as written, else a Decimal.

    Raises json.JSONDecodeError.
    """
    return json.loads(text, parse_float=_number)


def _number(text: str) -> float | Decimal:
    value = float(text)
    if (len(text) <= _FLOAT_DIGITS and "e" not in text.lower()) or Decimal(repr(value)) == Decimal(text):
        return value
    return Decimal(text)


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """``value`` as JSON text, Decimals as the numbers they are; ``default`` stands in for what JSON does not know.

    Raises TypeError for what neither knows.
    """
    return str(simplejson.dumps(value, use_decimal=True, ensure_ascii=False, allow_nan=False, default=default))
