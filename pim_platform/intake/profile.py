"""What the cells of each column look like, from a sample: the evidence that mapping decides by.

Counts come from the whole sample, patterns from up to ``EXAMINED`` distinct values spread over it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from pim_platform.catalog.schema import FieldType
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake import vocabulary as words
from pim_platform.intake.patterns import (
    DateOrder,
    common_masks,
    date_order,
    is_price_list,
    isbn10_is_valid,
    number_range,
)

#: Distinct values per column whose patterns are looked at.
EXAMINED = 300
#: Examples kept for people.
EXAMPLES = 5

_NUMBER = re.compile(r"[-+−]?(?:\d[\d.,'’\s\u00a0\u202f]*|[.,]\d+)(?:[eE][-+]?\d+)?")
_UNIT = re.compile(r"(.*\d)\s*([a-zA-Zµ°%²³/\"″]{1,6})")
_MONEY = re.compile(words.CURRENCY_PATTERN)
_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_PER_UNIT = re.compile(words.PER_UNIT)
#: What may stand before a group of three digits; a group of thousands never begins with a zero.
_GROUP = re.compile(r"[-+−]?[1-9]\d{0,2}[.,]")
#: Accountants' brackets around what is owed, and a dash for no cents.
_OWED = re.compile(r"^\((.*)\)$")
_CENTLESS = re.compile(r"[.,][-–—]+$")
_BOOLEANS = frozenset(words.TRUE_WORDS + words.FALSE_WORDS)
_SIGNS = words.currency_codes(None)


class ColumnProfile(BaseModel):
    """Shares are of the filled cells, from 0 to 1; ``null_share`` is of all cells."""

    model_config = ConfigDict(frozen=True)

    index: int
    header: str
    type: FieldType = "string"
    filled: int = 0
    null_share: float = 1.0
    distinct_share: float = 0.0
    distinct: int = 0
    max_length: int = 0
    min_length: int = 0
    mean_length: float = 0.0
    examples: list[str] = Field(default_factory=list)
    number_share: float = 0.0
    url_share: float = 0.0
    boolean_like: bool = False
    binary: bool = Field(False, description="Nothing but 0 and 1: yes/no or a number, the header decides.")
    gtin_share: float = Field(0.0, description="Cells of 8, 12, 13 or 14 digits whose GS1 check digit is right.")
    leading_zeros: bool = False
    currency: str | None = None
    currencies: list[str] = Field(default_factory=list, description="ISO 4217 codes of all currencies in the cells.")
    unit: str | None = None
    decimal: Literal[".", ","] | None = None
    separator: str | None = None
    text_share: float = Field(0.0, description="Cells with white space and letters.")
    isbn_share: float = Field(0.0, description="Cells that are ISBN-10 with the right check digit.")
    date_share: float = Field(0.0, description="Cells that are dates.")
    date_order: DateOrder | None = Field(None, description="Order of day, month and year, where one order fits all.")
    minimum: str | None = Field(None, description="Smallest number of the examined cells, as decimal digits.")
    maximum: str | None = Field(None, description="Largest number of the examined cells, as decimal digits.")
    patterns: list[str] = Field(
        default_factory=list, description="Shapes that many cells have: letters A and a, digits 9, such as AA-999."
    )
    listed: bool = Field(False, description="Some cells are JSON arrays; the other facts are of their entries.")


def profile_columns(
    frame: pl.DataFrame, headers: Sequence[str], *, decimal: Literal[".", ","] | None = None
) -> list[ColumnProfile]:
    """Profiles of all ``raw.<n>`` columns; ``decimal`` is the file's sign where a column does not tell."""
    height = max(frame.height, 1)
    profiles = []
    for index, header in enumerate(headers):
        cells = frame[f"{RAW_PREFIX}{index}"].str.strip_chars()
        cells = cells.filter(cells != "")
        if cells.len() == 0:
            profiles.append(ColumnProfile(index=index, header=header))
            continue
        distinct = cells.unique(maintain_order=True)
        step = max(1, distinct.len() // EXAMINED)
        values = distinct.gather_every(step).head(EXAMINED).to_list()
        lengths = cells.str.len_chars()
        entries, several = _entries(values)
        facts = _facts(entries or values, decimal)
        if entries:
            facts |= {"listed": True, "separator": None}
            if several or header.endswith("[]"):
                facts["type"] = "array"
        profiles.append(
            ColumnProfile(
                index=index,
                header=header,
                filled=cells.len(),
                null_share=round(1 - cells.len() / height, 6),
                distinct_share=distinct.len() / cells.len(),
                distinct=distinct.len(),
                max_length=int(str(lengths.max())),
                min_length=int(str(lengths.min())),
                mean_length=float(str(lengths.mean())),
                examples=[value[:120] for value in values[:: max(1, len(values) // EXAMPLES)][:EXAMPLES]],
                **facts,
            )
        )
    return profiles


def _entries(values: list[str]) -> tuple[list[str], bool]:
    """The entries of cells that are JSON arrays of texts, and whether one of them holds different ones.

    Entries of cells that are no arrays count as well; without any array the list is empty.
    """
    entries: dict[str, None] = {}
    found = several = False
    for value in values:
        texts = list_of_texts(value) if value.startswith("[") and value.endswith("]") else None
        found = found or texts is not None
        filled = (
            dict.fromkeys(text.strip() for text in texts or () if text.strip()) if texts is not None else {value: None}
        )
        several = several or len(filled) > 1
        if len(entries) < EXAMINED:
            entries |= filled
    return (list(entries), several) if found else ([], False)


def list_of_texts(cell: str) -> list[str] | None:
    """The entries of a JSON array of texts; None for any other cell.

    >>> list_of_texts('["a","b"]'), list_of_texts("[1]"), list_of_texts("[a]")
    (['a', 'b'], None, None)
    """
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(entry, str) for entry in found) else None


def gtin_is_valid(digits: str) -> bool:
    """Whether a text is a GTIN-8, -12, -13 or -14 with the right check digit (GS1 General Specifications 7.9)."""
    if len(digits) not in (8, 12, 13, 14) or not (digits.isascii() and digits.isdigit()):
        return False
    total = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits[:-1])))
    return (10 - total % 10) % 10 == int(digits[-1])


def _facts(values: list[str], decimal: Literal[".", ","] | None) -> dict[str, Any]:
    count = len(values)
    lower = {value.lower() for value in values}
    money = Counter[str]()
    units = Counter[str]()
    numbers = []
    for value in values:
        if _NUMBER.fullmatch(value):
            numbers.append(value)
        elif len(value) <= 24 and any(c.isdigit() for c in value):
            unit = _UNIT.fullmatch(value)
            if unit and unit[2].islower() and unit[2] in words.UNITS and _NUMBER.fullmatch(unit[1].strip()):
                units[unit[2]] += 1  # "12 ft" is a length although "Ft" is a currency
                continue
            sign = _MONEY.search(value)
            rest = _MONEY.sub("", value, count=1).strip() if sign else ""
            code = (_SIGNS.get(sign[0].upper()) or sign[0].upper()) if sign else ""
            per = _PER_UNIT.sub("", rest) if sign else ""
            owed = _OWED.sub(r"\1", per) if sign else _OWED.sub(r"\1", value)
            if sign and code in words.CURRENCY_CODES and _NUMBER.fullmatch(_CENTLESS.sub("", owed).strip()):
                money[code] += 1
                numbers.append(_CENTLESS.sub("", owed).strip())
            elif not sign and _NUMBER.fullmatch(_CENTLESS.sub("", owed)):
                numbers.append(_CENTLESS.sub("", owed))
            elif unit and _NUMBER.fullmatch(unit[1].strip()):
                units[unit[2]] += 1
    urls = sum(bool(_URL.match(value)) for value in values)
    separator = _separator(values)
    dates, order = date_order(values)
    point = _decimal(numbers) or (_thousands(numbers) if sum(money.values()) >= 0.5 * count else None) or decimal
    smallest, largest = number_range(numbers, point)
    facts: dict[str, Any] = {
        "number_share": len(numbers) / count,
        "url_share": urls / count,
        "boolean_like": lower <= _BOOLEANS and not lower <= words.SHY_WORDS,
        "binary": lower <= {"0", "1"},
        "gtin_share": sum(gtin_is_valid(value) for value in values) / count,
        "leading_zeros": any(len(v) > 1 and v[0] == "0" and v.isdigit() for v in values),
        "currency": money.most_common(1)[0][0] if sum(money.values()) >= 0.5 * count else None,
        "unit": units.most_common(1)[0][0] if units and units.most_common(1)[0][1] >= 0.95 * count else None,
        "currencies": sorted(money),
        "decimal": point,
        "isbn_share": sum(isbn10_is_valid(value) for value in values) / count,
        "date_share": dates,
        "date_order": order,
        "minimum": smallest,
        "maximum": largest,
        "patterns": common_masks(values),
        "separator": separator,
        "text_share": sum(" " in v and any(c.isalpha() for c in v) for v in values) / count,
    }
    if lower <= words.SHY_WORDS and not lower <= {"0", "1"} and len(lower) == 2:
        trues, falses = lower & set(words.TRUE_WORDS), lower & set(words.FALSE_WORDS)
        facts["boolean_like"] = bool(trues and falses)
    facts["type"] = _type(facts, values)
    lists = sum(is_price_list(value) for value in values)
    if lists >= 0.9 * count and any(sum(map(value.count, "|;\n,")) and facts["separator"] for value in values):
        facts["type"] = "multi_price"
    if len(money) > 1:
        facts["currency"] = None  # in a column of several, a bare amount is in the source's or tenant's (design D16)
    return facts


def _type(facts: dict[str, Any], values: list[str]) -> FieldType:
    share = facts["number_share"]
    if facts["boolean_like"]:
        return "boolean"
    if facts["url_share"] >= 0.9:
        return "array" if facts["separator"] else "url"
    if facts["currency"] and share >= 0.9:
        return "price"
    digits = facts["gtin_share"] >= 0.9 and len(values) > 1
    if share >= 0.98 and not facts["leading_zeros"] and not digits:
        return "number"
    if all(value.startswith("[") and value.endswith("]") for value in values):
        return "array"
    return "array" if facts["separator"] == "|" else "string"


def _decimal(numbers: list[str]) -> Literal[".", ","] | None:
    """The decimal sign by the numbers that can be read in one way only; None where all are ambiguous."""
    comma = point = 0
    for number in numbers:
        signs = [c for c in number if c in ".,"]
        if not signs:
            continue
        last = signs[-1]
        tail = len(number) - number.rindex(last) - 1
        decimal: str | None = last
        grouped = tail == 3 and _GROUP.match(number) is not None
        if len(set(signs)) == 1 and (len(signs) > 1 or grouped):
            # Repeated, it separates thousands; once before three digits it could be either, but not in 0,650.
            decimal = None if len(signs) == 1 else ("," if last == "." else ".")
        comma, point = comma + (decimal == ","), point + (decimal == ".")
    if comma == point:
        return None
    return "," if comma > point else "."


def _thousands(numbers: list[str]) -> Literal[".", ","] | None:
    """The decimal sign of amounts of money that hold nothing but groups of three digits: nobody prices in mills."""
    signs = {c for number in numbers for c in number if c in ".,"}
    if len(signs) != 1 or not all(re.fullmatch(r"[-+−]?[1-9]\d{0,2}(?:[.,]\d{3})*|[-+−]?\d+", n) for n in numbers):
        return None
    return "," if signs == {"."} else "."


def _separator(values: list[str]) -> str | None:
    """What separates list entries, where enough cells hold more than one short entry."""
    best: tuple[float, str] | None = None
    for sign in "|;,\n ":
        several = [value for value in values if sign in value.strip(sign)]
        # Prose has commas too; entries of a list are short and do not begin with lower-case words.
        entries = [entry.strip() for value in several for entry in value.split(sign)]
        if not several or len(several) < 0.1 * len(values):
            continue
        if sign in ",;" and sum(_NUMBER.fullmatch(e) is not None for e in entries) > 0.5 * len(entries):
            continue
        links = sum(bool(_URL.match(e)) for e in entries) >= 0.9 * len(entries)
        short = sum(0 < len(e) <= 60 and e.count(" ") <= 5 for e in entries) >= 0.9 * len(entries)
        share = len(several) / len(values) * (2 if sign in "|;" else 1)
        # Blanks part addresses, but words as well.
        if (links or (short and sign != " ")) and (best is None or share > best[0]):
            best = share, sign
    return best[1] if best else None
