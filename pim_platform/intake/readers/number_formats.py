"""What a workbook's number formats add to a number: padding zeros, percent signs, currencies, units.

A cell that holds 4711 and shows ``0004711 kg`` means the latter: identifiers keep their zeros, amounts their
currency. Digits that a format hides stay; thousands separators and colours are left out.
Codes: ECMA-376 part 1, 18.8.30 and 18.8.31.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache

#: Built-in formats that show more than the number itself (ECMA-376 part 1, 18.8.30).
BUILT_IN = {9: "0%", 10: "0.00%"}

Shown = Callable[[str], str]

_TOKENS = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|\[[^\]]*\]|_.|\*.|(.)', re.DOTALL)
_PLACES = "0#?.,%"
#: Characters that show themselves without quotes; all other letters are words of dates and times.
_LITERAL = re.compile(r"[$€£¥₹₽₩₺₴₪₫₱฿\s/:!^&'~{}<>=-]|[^\x00-\x7f]")


@cache
def shown_by(code: str) -> Shown | None:
    """How a format shows a number that is written plainly; None where it adds nothing, or shows a date.

    >>> shown_by("00000")("123"), shown_by('#,##0.00 "kg"')("1.5"), shown_by("0%")("0.19"), shown_by("0.00")
    ('00123', '1.5 kg', '19%', None)
    """
    parts: list[tuple[bool, str]] = []  # (is a place for digits, text)
    for quoted, escaped, currency, plain in _TOKENS.findall(_first_section(code)):
        if plain and plain in _PLACES:
            parts.append((True, plain))
        elif plain in ("(", ")", "+"):
            continue  # around negative numbers
        elif plain and not _LITERAL.match(plain):
            return None
        elif text := quoted or escaped or currency or plain:
            parts.append((False, text))
    at = [index for index, (place, _) in enumerate(parts) if place]
    if not at:
        return None
    inner = parts[at[0] : at[-1] + 1]
    places = "".join(text for place, text in inner if place)
    between = "".join(text for place, text in inner if not place)
    before = "".join(text for _, text in parts[: at[0]]).lstrip(" -")
    after = "".join(text for _, text in parts[at[-1] + 1 :]).rstrip(" -")
    if between.strip() or (between and set(places) == {"0"}):
        return _masked("".join(text for _, text in inner)) if set(places) == {"0"} and not before + after else None
    if "%" in places:
        return _percent
    padded = len(places) if set(places) == {"0"} and len(places) > 1 else 0
    return _around(before, padded, after) if padded or before.strip() or after.strip() else None


def _first_section(code: str) -> str:
    quoted = False
    for index, char in enumerate(code):
        if char == '"':
            quoted = not quoted
        elif char == ";" and not quoted and (index == 0 or code[index - 1] != "\\"):
            return code[:index]
    return code


def _around(before: str, padded: int, after: str) -> Shown:
    def shown(number: str) -> str:
        sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
        return f"{before}{sign}{digits.zfill(padded) if digits.isdigit() else digits}{after}"

    return shown


def _percent(number: str) -> str:
    value = Decimal(number) * 100
    return f"{value.to_integral_value() if value == value.to_integral_value() else value.normalize():f}%"


def _masked(mask: str) -> Shown:
    wanted = mask.count("0")

    def shown(number: str) -> str:
        if not number.isdigit() or len(number) > wanted:
            return number
        digits = iter(number.zfill(wanted))
        return "".join(next(digits) if char == "0" else char for char in mask)

    return shown
