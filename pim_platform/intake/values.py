"""Cells become values: one vectorised parser per field type (design D16).

``parse(cell, type, rules)`` gives a value expression and an ok expression. The value is null for an
empty cell; ``ok`` is false where a filled cell is no value of the type. The column's rules (decimal
sign, separator, currency) are decided once, never per row, so ``1,234`` means the same on every line.

A column whose filled cells are all plain already (:func:`is_plain`) skips the general parser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import polars as pl

from pim_platform.catalog.schema import FieldType
from pim_platform.intake import vocabulary as words


@dataclass(frozen=True)
class Rules:
    """What is known about the cells of one column."""

    decimal: Literal[".", ","] = "."
    separator: str | None = None
    currency: str | None = None
    """ISO 4217, for cells that name none; None: such cells are no price."""
    unit: str | None = None
    locale: str | None = None


@dataclass(frozen=True)
class Parsed:
    """Expressions over a batch: the value in its staged form, and whether every filled cell is one."""

    value: pl.Expr
    ok: pl.Expr


#: Error code, what was expected, and how to mend it, by field type.
PROBLEMS: dict[str, tuple[str, str, str]] = {
    "string": ("not_text", "text", "write plain text"),
    "number": ("not_a_number", "a number", "write digits with one decimal sign, as the rest of the column does"),
    "boolean": ("not_a_boolean", "yes or no", "write true or false, yes or no, 1 or 0"),
    "array": ("not_a_list", "a list of texts", "separate the entries as the column does, or write a JSON array"),
    "url": ("not_a_url", "an absolute http or https URL", "write the whole address, such as https://example.com/a.jpg"),
    "price": ("not_a_price", "an amount with a known currency", "write an amount like 12.50 EUR, or set the currency"),
    "multi_price": ("not_a_price", "amounts with currencies", "write an amount such as 12.50 EUR, or set the currency"),
}  # fmt: skip

#: A JSON number as is, without exponent: what most exports hold.
PLAIN_NUMBER = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$"
#: White space of every kind, including the no-break, thin and narrow spaces used between thousands.
_SPACES = r"[\s\u00a0\u2007\u2009\u202f]"
_POINT = r"^[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][-+]?\d{1,3})?$"
_COMMA = r"^[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+)?(?:,\d*)?(?:[eE][-+]?\d{1,3})?$"
_URL = r"^[hH][tT][tT][pP][sS]?://[^\s/?#]"
_BLANK = r"\s"
#: Everything in a price that is no currency sign.
_NOT_SIGN = r"[0-9.,'’\s\u00a0\u2007\u2009\u202f+\-\u2212–—]"
#: One number with anything but digits around it; Swiss and German shops write a dash for no cents.
_MONEY = r"^[^0-9]*[0-9][0-9.,'’\s\u00a0\u2007\u2009\u202f]*(?:[.,][-–—]+)?[^0-9\-\u2212]*$"
_BARE = r"(^[-+\u2212]?[.,][0-9]+|[-+\u2212]?\s*[0-9][0-9.,'’\s\u00a0\u2007\u2009\u202f]*)"
_AMOUNT = r'"amount"\s*:\s*"?(-?[0-9.]+(?:[eE][-+]?\d+)?)'
_CURRENCY = r'"currency"\s*:\s*"([A-Za-z]{3})"'


def is_plain(cells: pl.Series, kind: FieldType) -> bool:
    """Whether the general parser can be skipped for these trimmed cells.

    True where every filled cell of a number or price column is a JSON number already, or no cell of
    a list column can be JSON.
    """
    if kind in ("number", "price"):
        return bool(cells.str.contains(PLAIN_NUMBER).fill_null(True).all())
    return kind == "array" and not bool(cells.str.starts_with("[").any())


def clean(cell: pl.Expr) -> pl.Expr:
    """The cell trimmed; null where nothing is left."""
    text = cell.str.strip_chars()
    return pl.when(text != "").then(text)


def parse(
    cell: pl.Expr, kind: FieldType, rules: Rules, *, plain: bool = False, row_currency: pl.Expr | None = None
) -> Parsed:
    """Expressions that turn cells into values of ``kind``; see :func:`convert` for the arguments."""
    text = clean(cell)
    value = convert(text, kind, rules, plain=plain, row_currency=row_currency)
    return Parsed(value, value.is_not_null() | text.is_null())


def convert(
    text: pl.Expr, kind: FieldType, rules: Rules, *, plain: bool = False, row_currency: pl.Expr | None = None
) -> pl.Expr:
    """The values of cells that are cleaned already (:func:`clean`); null where a cell is no value of ``kind``.

    ``plain``: what :func:`is_plain` found; ``row_currency``: the currency of each row's prices where
    the file has a column for it (see :func:`row_currencies`), else the column's own is used.
    """
    currency = pl.lit(rules.currency, dtype=pl.String) if row_currency is None else row_currency
    if kind == "string":
        return text
    if kind == "number":
        return text if plain else number(text, rules)
    if kind == "boolean":
        return boolean(text)
    if kind == "array":
        return array(text, rules.separator, json_cells=not plain)
    if kind == "url":
        return pl.when(text.str.contains(_URL) & ~text.str.contains(_BLANK)).then(text)
    if kind == "price":
        return price_json(text, currency) if plain else price(text, rules, currency)
    return multi_price(text, rules, currency)


def number(text: pl.Expr, rules: Rules) -> pl.Expr:
    """The decimal digits as a JSON number, exactly; null where the text is no number in this style."""
    if rules.unit:
        text = text.str.strip_suffix(rules.unit).str.strip_chars()
    packed = text.str.replace_all(_SPACES + r"|(?:['’])", "").str.replace("^\u2212", "-")
    if rules.decimal == ",":
        fits = packed.str.contains(_COMMA)
        packed = packed.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    else:
        fits = packed.str.contains(_POINT)
        packed = packed.str.replace_all(",", "", literal=True)
    # JSON allows neither a plus, nor leading zeros, nor a bare point.
    packed = packed.str.strip_prefix("+").str.replace(r"^(-?)0+(\d)", "$1$2")
    packed = packed.str.replace(r"^(-?)\.", "${1}0.").str.replace(r"\.($|[eE])", "$1")
    return pl.when(fits & text.str.contains(r"\d") & packed.str.contains(r"^-?\d")).then(packed)


def boolean(text: pl.Expr) -> pl.Expr:
    """True or false for the words of several languages, null for any other."""
    word = text.str.to_lowercase()
    return pl.when(word.is_in(words.TRUE_WORDS)).then(True).when(word.is_in(words.FALSE_WORDS)).then(False)


def array(text: pl.Expr, separator: str | None, *, json_cells: bool = True) -> pl.Expr:
    """A JSON array of the trimmed entries; ``json_cells``: some cells may be a JSON array already."""
    entries = text.str.split(separator) if separator else pl.concat_list(text)
    entry = pl.element().str.strip_chars()
    entries = entries.list.eval(entry.filter(entry != ""))
    encoded = pl.struct(a=entries).struct.json_encode().str.strip_prefix('{"a":').str.strip_suffix("}")
    written = pl.when(text.is_not_null()).then(encoded)
    if not json_cells:
        return written
    # Only the cells that start with a bracket reach Python; null cells are skipped.
    given = pl.when(text.str.starts_with("[")).then(text).map_elements(_json_list, return_dtype=pl.String)
    return pl.coalesce(given, written)


def _json_list(cell: str) -> str | None:
    try:
        entries = json.loads(cell)
    except ValueError:
        return None
    if not isinstance(entries, list) or any(isinstance(entry, (dict, list)) for entry in entries):
        return None
    texts = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries if entry is not None]
    if any(not is_storable(text) for text in texts):
        return None
    return json.dumps([text.strip() for text in texts if text.strip()], ensure_ascii=False, separators=(",", ":"))


def is_storable(text: str) -> bool:
    """Whether a text can be stored: JSON escapes can smuggle in NULs and lone surrogates, which no engine takes."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def row_currencies(cells: pl.Series, default: str | None) -> pl.Series:
    """The currency of each row's prices, from a column of the file: signs and codes as ISO 4217.

    Empty cells give ``default``; a filled cell that is no currency gives null, because any currency
    for that row would be a guess.
    """
    signs = words.currency_codes(default)
    known: dict[str | None, str | None] = {None: default}
    for cell in cells.unique().drop_nulls():
        code = cell.strip().upper()
        known[cell] = (signs.get(code) or (code if code in words.CURRENCY_CODES else None)) if code else default
    return cells.replace_strict(list(known), list(known.values()), return_dtype=pl.String)


def price(text: pl.Expr, rules: Rules, default: pl.Expr) -> pl.Expr:
    """``{"amount": ..., "currency": ...}`` from an amount with an optional sign or code, or from such JSON."""
    sign = text.str.replace_all(_NOT_SIGN, "").str.to_uppercase()
    known = words.currency_names(rules.currency)
    code = sign.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
    currency = pl.when(sign == "").then(default).otherwise(code)
    # The shape is checked over the whole cell, so that no digit is left out unnoticed ("5-10", "12 kr 50").
    bare = pl.when(text.str.contains(_MONEY)).then(text.str.extract(_BARE))
    written = price_json(number(bare, rules), currency)
    amount = text.str.extract(_AMOUNT)
    given_code = text.str.extract(_CURRENCY).str.to_uppercase()
    given_code = (
        pl.when(given_code.is_in(words.CURRENCY_CODES)).then(given_code).when(given_code.is_null()).then(default)
    )
    given = price_json(number(amount, Rules()), given_code)
    return pl.when(text.str.starts_with("{")).then(given).otherwise(written)


def price_json(amount: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """The stored form of a price; null where amount or currency is."""
    return pl.concat_str(pl.lit('{"amount":'), amount, pl.lit(',"currency":"'), currency, pl.lit('"}'))


def multi_price(text: pl.Expr, rules: Rules, default: pl.Expr) -> pl.Expr:
    """A list of prices: JSON as given, or a single price as its only entry."""
    given = pl.when(text.str.starts_with("[")).then(text).map_elements(_json_prices, return_dtype=pl.String)
    locale = f',"locale":{json.dumps(rules.locale)}}}]' if rules.locale else "}]"
    single = pl.concat_str(pl.lit("["), price(text, rules, default).str.strip_suffix("}"), pl.lit(locale))
    return pl.when(text.str.starts_with("[")).then(given).otherwise(single)


def _json_prices(cell: str) -> str | None:
    try:
        entries = json.loads(cell, parse_float=str)
    except ValueError:
        return None
    prices = []
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not {"amount", "currency"} <= set(entry) <= {"amount", "currency", "locale"}:
            return None
        amount, currency = str(entry["amount"]), str(entry["currency"]).upper()
        if not words.JSON_NUMBER.fullmatch(amount) or currency not in words.CURRENCY_CODES:
            return None
        named = str(entry.get("locale") or "")
        if named and not words.LOCALE.fullmatch(named):
            return None
        locale = f',"locale":"{named}"' if named else ""
        prices.append(f'{{"amount":{amount},"currency":"{currency}"{locale}}}')
    return f"[{','.join(prices)}]"
