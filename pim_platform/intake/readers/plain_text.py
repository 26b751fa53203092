"""Typed values of workbooks and Parquet as the text that a person would read in their place."""

from __future__ import annotations

import base64
import datetime as dt
import math
from decimal import Decimal
from typing import Any


def plain_text(value: Any) -> str:
    """A scalar as text; None is empty.

    Numbers come in their shortest exact form and without exponent (``9.99``, ``5``, ``0.00001``), booleans as
    ``true`` and ``false``, dates and times in ISO 8601, a time of day only where there is one. Bytes are UTF-8 text,
    else base64. NaN is no value.

    >>> [plain_text(v) for v in (9.99, 19.5, 5.0, 1e16, True, dt.datetime(2024, 3, 1), Decimal("1.50"))]
    ['9.99', '19.5', '5', '10000000000000000', 'true', '2024-03-01', '1.50']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, dt.datetime):
        if value.time() == dt.time() and value.tzinfo is None:
            return value.date().isoformat()
        return value.isoformat()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else ""
    return str(value)


def float_text(value: float) -> str:
    """A binary number in the fewest digits that give it back, without exponent and without ``.0``."""
    if not math.isfinite(value):
        return ""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f").removesuffix(".0") if "e" in text else text.removesuffix(".0")


def duration_text(value: dt.timedelta) -> str:
    """``[-]hh:mm:ss[.ffffff]``, hours beyond 24 as they are."""
    sign = "-" if value < dt.timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.days * 86_400 + value.seconds, 60)
    text = f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return text + (f".{value.microseconds:06}" if value.microseconds else "")
