"""What the texts of a column have in common: their shape, their dates, their check digits, their range."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Literal

from pim_platform.intake import vocabulary as words

DateOrder = Literal["DMY", "MDY", "YMD"]

#: Texts longer than this have no shape worth telling.
_LONGEST = 24
#: Shapes of at least this share of the texts are told, so many at most.
_COMMON, _MOST = 0.1, 3

_DATE = re.compile(r"(\d{1,4})([./\- ])(\d{1,2})\2(\d{1,4})(?:[T ]\d{1,2}:\d{2}.*)?|(\d{4})(\d{2})(\d{2})")
_MONEY = rf"(?:{'|'.join(words.CURRENCY_CODES)}|[€£$¥₹])"
_AMOUNT = r"\d[\d.,'’\u00a0\u202f]*"
_PACKED = re.compile(rf"(?:[A-Z]{{2}}-)?(?:{_MONEY}[\s:=]*{_AMOUNT}|{_AMOUNT}\s*{_MONEY})(?:\s+[\w.-]+)?(?:#[\w.-]+)?")


def mask(text: str) -> str:
    """The shape of a text: letters as ``A`` and ``a``, digits as ``9``, the rest as it is.

    >>> mask("AB-123"), mask("12 kg")
    ('AA-999', '99 aa')
    """
    return "".join(
        "9" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else " " if c.isspace() else c for c in text
    )


def common_masks(texts: Sequence[str]) -> list[str]:
    """The shapes that many of the texts have, the commonest first; none where the texts are prose."""
    found = Counter(mask(text) for text in texts if len(text) <= _LONGEST)
    return [shape for shape, count in found.most_common(_MOST) if count >= _COMMON * len(texts) and count > 1]


def date_order(texts: Sequence[str]) -> tuple[float, DateOrder | None]:
    """The share of texts that are dates, and the one order of day, month and year in which all of them are.

    The order is None where several fit (``01/02/2024`` alone) and the sign between does not tell: points
    separate day, month and year in that order wherever they are used.
    """
    parts = [found for text in texts if (found := _date_parts(text)) is not None]
    if not parts:
        return 0.0, None
    orders: list[DateOrder] = [order for order in ("YMD", "DMY", "MDY") if all(_fits(p, order) for p in parts)]
    share = sum(any(_fits(p, order) for order in ("YMD", "DMY", "MDY")) for p in parts) / len(texts)
    if len(orders) > 1 and all(sign == "." for _, sign in parts):
        orders = [order for order in orders if order == "DMY"]
    return share, orders[0] if len(orders) == 1 else None


def _date_parts(text: str) -> tuple[tuple[str, str, str], str] | None:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    if match[5]:
        return (match[5], match[6], match[7]), ""
    return (match[1], match[3], match[4]), match[2]


def _fits(found: tuple[tuple[str, str, str], str], order: DateOrder) -> bool:
    texts = dict(zip(order, found[0], strict=True))
    if len(texts["Y"]) not in (2, 4) or len(texts["D"]) > 2 or len(texts["M"]) > 2:
        return False
    if order == "YMD" and len(texts["Y"]) == 2:
        return False
    year = int(texts["Y"]) + (2000 if len(texts["Y"]) == 2 else 0)
    try:
        date(year, int(texts["M"]), int(texts["D"]))
    except ValueError:
        return False
    return 1800 <= year <= 2200


def isbn10_is_valid(text: str) -> bool:
    """Whether a text is an ISBN-10, with or without hyphens, with the right check digit (ISO 2108:1992)."""
    digits = text.replace("-", "").replace(" ", "").upper()
    if not re.fullmatch(r"\d{9}[\dX]", digits):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(value * weight for value, weight in zip(values, range(10, 0, -1), strict=True)) % 11 == 0


def is_price_list(text: str) -> bool:
    """Whether a text packs several prices, each with its currency, such as ``EUR 10|USD 12``."""
    parts = [part.strip() for part in re.split(r"[|;\n]|(?<=\d),\s+", text.strip().strip("|;")) if part.strip()]
    return bool(parts) and all(_PACKED.fullmatch(part) for part in parts)


def number_range(numbers: Sequence[str], decimal: Literal[".", ","] | None) -> tuple[str | None, str | None]:
    """The smallest and the largest of number texts, as decimal digits; None where none can be read."""
    known: list[Decimal] = []
    for number in numbers:
        digits = re.sub(r"[\s'’\u00a0\u202f+]", "", number).replace("\u2212", "-")
        digits = digits.replace(".", "").replace(",", ".") if decimal == "," else digits.replace(",", "")
        try:
            known.append(Decimal(digits))
        except InvalidOperation:
            continue
    if not known:
        return None, None
    return format(min(known), "f"), format(max(known), "f")
