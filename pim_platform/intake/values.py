"""Cells become values: one vectorised parser per field type (design D16).

``parse(cell, type, rules)`` gives a value expression and an ok expression. The value is null for an
empty cell; ``ok`` is false where a filled cell is no value of the type. The column's rules (decimal
sign, separator, currency) are decided once, never per row, so ``1,234`` means the same on every line.

A column whose filled cells are all written in one simple form (:func:`form_of`) skips the general parser.
"""

from __future__ import annotations

import json
import re
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
PLAIN_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_PLAIN_COMMA = r"^-?(?:0|[1-9][0-9]*)(?:,[0-9]+)?$"
#: White space of every kind, including the no-break, thin and narrow spaces used between thousands.
_SPACES = r"[\s\u00a0\u2007\u2009\u202f]"
#: Digits and signs of other scripts, which mean the same: full-width, Arabic and Persian.
_FOREIGN_DIGITS = {
    **{chr(first + digit): str(digit) for first in (0xFF10, 0x0660, 0x06F0) for digit in range(10)},
    "\uff0e": ".", "\uff0c": ",", "\uff0d": "-",
}  # fmt: skip
#: Arabic signs of decimals and thousands.
_ARABIC_POINT, _ARABIC_GROUP = "\u066b", "\u066c"
_FOREIGN = r"[\u0660-\u0669\u066b\u066c\u06f0-\u06f9\uff0c-\uff0e\uff10-\uff19]"
#: Accountants write what is owed in brackets; SAP writes the minus behind.
_OWED = r"^\((.*[0-9].*)\)$"
_OWED_MONEY = r"^([^0-9()]*)\(([^()]*[0-9][^()]*)\)([^0-9()]*)$"
_MINUS_BEHIND = r"^([^-\u2212]*[0-9])\s*[-\u2212]$"
#: Swiss and German shops write a dash for no cents.
_CENTLESS = r"[.,][-–—]+$"
#: No group of thousands begins with a zero: ``0,650`` read with a point is no 650.
_POINT = r"^[-+]?(?:[0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?$"
_COMMA = r"^[-+]?(?:[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3})+)?(?:,[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?$"
_URL = r"^[hH][tT][tT][pP][sS]?://[^\s/?#]"
_BLANK = r"\s"
#: Everything in a price that is no currency sign.
_NOT_SIGN = r"[0-9.,'’\s\u00a0\u2007\u2009\u202f+\-\u2212–—]"
#: One number with anything but digits around it; Swiss and German shops write a dash for no cents.
_MONEY = r"^[^0-9]*[0-9][0-9.,'’\s\u00a0\u2007\u2009\u202f]*(?:[.,][-–—]+)?[^0-9\-\u2212]*$"
_BARE = r"(^[-+\u2212]?[.,][0-9]+|[-+\u2212]?\s*[0-9][0-9.,'’\s\u00a0\u2007\u2009\u202f]*)"
#: More than one amount in a cell, or one with more beside it than a currency.
_SEVERAL = r"[|;\n#]|[0-9]\s*,\s*[^0-9\s]|[0-9]\s*,\s+[0-9]|[A-Z]{2}-[A-Z]{3}|[0-9]\s+[A-Za-z]"
_BETWEEN_PRICES = r"[|;\n]|(?<=[0-9])\s*,\s*(?=[^0-9\s.,\-])|(?<=[A-Za-z€$£])\s*,\s*(?=[0-9])"
_PACKED = re.compile(
    r"(?:(?P<country>[A-Z]{2})-)?(?P<before>[^\d\s#+\-:=]{1,4})?[:=\s]*(?P<amount>-?\d[\d.,'’\u00a0\u202f]*)"
    r"\s*(?P<behind>[A-Z]{3}|[^\d\s\w#]{1,3})?(?:\s+(?P<group>[\w][\w .-]*?))?(?:#(?P<channel>[\w.-]+))?"
)
_OF_A_PRICE = frozenset({"amount", "currency", "locale", "group", "channel"})
_AMOUNT = r'"amount"\s*:\s*"?(-?[0-9.]+(?:[eE][-+]?\d+)?)'
_CURRENCY = r'"currency"\s*:\s*"([A-Za-z]{3})"'


@dataclass(frozen=True)
class Form:
    """How every filled cell of a column is written: a number between the same signs, or a list without JSON."""

    prefix: str = ""
    suffix: str = ""
    comma: bool = False
    """Whether the decimal sign is a comma."""


def form_of(cells: pl.Series, kind: FieldType, rules: Rules) -> Form | None:
    """The one simple form of these trimmed cells; None where they need the general parser.

    Of numbers and prices without separators of thousands, and of lists none of which can be JSON.
    """
    if kind == "array":
        return None if bool(cells.str.starts_with("[").any()) else Form()
    if kind not in ("number", "price"):
        return None
    comma = rules.decimal == ","
    pattern = _PLAIN_COMMA if comma else PLAIN_NUMBER
    if _all(cells.str.contains(pattern)):
        return Form(comma=comma)
    first = next(iter(cells.drop_nulls().head(1)), None)
    if first is None or kind != "price":
        return None
    prefix, suffix = re.match(r"[^0-9.,+\-\u2212(]*", first), re.search(r"[^0-9]*$", first)
    assert prefix is not None
    assert suffix is not None
    form = Form(prefix[0], suffix[0], comma)
    if _currency_of(form, rules) is None or not _all(
        cells.str.starts_with(form.prefix) & cells.str.ends_with(form.suffix)
    ):
        return None
    inner = cells.str.strip_prefix(form.prefix).str.strip_suffix(form.suffix)
    return form if _all(inner.str.contains(pattern)) else None


def _all(fits: pl.Series) -> bool:
    return bool(fits.fill_null(True).all())


def _currency_of(form: Form, rules: Rules) -> str | None:
    """The currency that is written around every number of a form."""
    sign = re.sub(_NOT_SIGN, "", form.prefix + form.suffix).upper()
    return words.currency_names(rules.currency).get(sign) if "-" not in form.prefix else None


def clean(cell: pl.Expr) -> pl.Expr:
    """The cell trimmed; null where nothing is left."""
    text = cell.str.strip_chars()
    return pl.when(text != "").then(text)


def parse(
    cell: pl.Expr, kind: FieldType, rules: Rules, *, form: Form | None = None, row_currency: pl.Expr | None = None
) -> Parsed:
    """Expressions that turn cells into values of ``kind``; see :func:`convert` for the arguments."""
    text = clean(cell)
    value = convert(text, kind, rules, form=form, row_currency=row_currency)
    return Parsed(value, value.is_not_null() | text.is_null())


def convert(
    text: pl.Expr, kind: FieldType, rules: Rules, *, form: Form | None = None, row_currency: pl.Expr | None = None
) -> pl.Expr:
    """The values of cells that are cleaned already (:func:`clean`); null where a cell is no value of ``kind``.

    ``form``: what :func:`form_of` found; ``row_currency``: the currency of each row's prices where
    the file has a column for it (see :func:`row_currencies`), else the column's own is used.
    """
    currency = pl.lit(rules.currency, dtype=pl.String) if row_currency is None else row_currency
    if kind == "string":
        return text
    if kind in ("number", "price", "multi_price") and form is None:
        text = text.map_batches(lambda cells: _western_digits(cells, rules.decimal), return_dtype=pl.String)
    if kind == "number":
        return _formed(text, form) if form else number(text, rules)
    if kind == "boolean":
        return boolean(text)
    if kind == "array":
        return array(text, rules.separator, json_cells=form is None)
    if kind == "url":
        return pl.when(text.str.contains(_URL) & ~text.str.contains(_BLANK)).then(text)
    if kind == "price":
        if form is None:
            return price(text, rules, currency)
        written = _currency_of(form, rules) if form.prefix or form.suffix else None
        if written is not None:
            sign = re.sub(_NOT_SIGN, "", form.prefix + form.suffix).upper()
            currency = _shared(pl.lit(sign), currency, pl.lit(written))
        return price_json(_formed(text, form), currency)
    return multi_price(text, rules, currency)


def _western_digits(cells: pl.Series, decimal: str) -> pl.Series:
    """The cells with their numbers in the digits of JSON."""
    if not cells.str.contains(_FOREIGN).any():
        return cells
    signs = {_ARABIC_POINT: decimal, _ARABIC_GROUP: ""} | _FOREIGN_DIGITS
    return cells.str.replace_many(list(signs), list(signs.values()))


def _formed(text: pl.Expr, form: Form) -> pl.Expr:
    inner = text.str.strip_prefix(form.prefix).str.strip_suffix(form.suffix) if form.prefix or form.suffix else text
    return inner.str.replace(",", ".", literal=True) if form.comma else inner


def number(text: pl.Expr, rules: Rules) -> pl.Expr:
    """The decimal digits as a JSON number, exactly; null where the text is no number in this style."""
    if rules.unit:
        text = text.str.replace(_unit_behind(rules.unit), "")
    packed = text.str.replace(_OWED, "-$1").str.replace(_MINUS_BEHIND, "-$1").str.replace(_CENTLESS, "")
    packed = packed.str.replace_all(_SPACES + r"|(?:['’])", "").str.replace("^\u2212", "-")
    if rules.decimal == ",":
        fits = packed.str.contains(_COMMA)
        packed = packed.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    else:
        fits = packed.str.contains(_POINT)
        packed = packed.str.replace_all(",", "", literal=True)
    # JSON allows neither a plus, nor leading zeros, nor a bare point.
    packed = packed.str.strip_prefix("+").str.replace(r"^(-?)0+(\d)", "$1$2")
    packed = packed.str.replace(r"^(-?)\.", "${1}0.").str.replace(r"\.($|[eE])", "$1")
    return pl.when(fits & text.str.contains(r"[0-9]") & packed.str.contains(r"^-?[0-9]")).then(packed)


def _unit_behind(unit: str) -> str:
    """A pattern for the unit at the end of a cell, however it is spelled."""
    symbol = words.UNITS.get(unit.casefold())
    spelled = {unit, *(name for name, known in words.UNITS.items() if symbol is not None and known == symbol)}
    return r"(?i)\s*(?:" + "|".join(re.escape(name) for name in sorted(spelled, key=len, reverse=True)) + r")\.?$"


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
    text = text.map_batches(_bare_amounts, return_dtype=pl.String)
    sign = text.str.replace_all(_NOT_SIGN, "").str.to_uppercase()
    known = words.currency_names(rules.currency)
    code = sign.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
    currency = pl.when(sign == "").then(default).otherwise(_shared(sign, default, code))
    # The shape is checked over the whole cell, so that no digit is left out unnoticed ("5-10", "12 kr 50").
    bare = pl.when(text.str.contains(_MONEY)).then(text.str.extract(_BARE))
    amount = number(bare, rules)
    # A minus before the sign ("-€ 5") is not beside the digits.
    owed = text.str.contains(r"^[^0-9]*[-\u2212][^0-9\-\u2212]+[0-9]") & ~amount.str.starts_with("-")
    written = price_json(pl.when(owed).then("-" + amount).otherwise(amount), currency)
    amount = text.str.extract(_AMOUNT)
    given_code = text.str.extract(_CURRENCY).str.to_uppercase()
    given_code = (
        pl.when(given_code.is_in(words.CURRENCY_CODES)).then(given_code).when(given_code.is_null()).then(default)
    )
    given = price_json(number(amount, Rules()), given_code)
    return pl.when(text.str.starts_with("{")).then(given).otherwise(written)


def _shared(sign: pl.Expr, told: pl.Expr, code: pl.Expr) -> pl.Expr:
    """The currency of a sign: of one that several share the ``told`` one where it is among them, else ``code``."""
    for shared, (_, few) in words.SHARED_SIGNS.items():
        code = pl.when((sign == shared.replace(".", "")) & told.is_in(few)).then(told).otherwise(code)
    return code


def _bare_amounts(cells: pl.Series) -> pl.Series:
    """The cells without what an amount is for, and with a minus in front; most columns need neither."""
    if cells.str.contains(r"/|[A-Za-z]{2} ?[0-9]* ?[a-z]").any():
        cells = cells.str.replace(words.PER_UNIT, "")
    if cells.str.contains(r"[(]|[0-9]\s*[-\u2212]$").any():
        cells = cells.str.replace(_OWED_MONEY, "-$2$1$3").str.replace(_MINUS_BEHIND, "-$1")
    return cells


def price_json(amount: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """The stored form of a price; null where amount or currency is."""
    return pl.concat_str(pl.lit('{"amount":'), amount, pl.lit(',"currency":"'), currency, pl.lit('"}'))


def multi_price(text: pl.Expr, rules: Rules, default: pl.Expr) -> pl.Expr:
    """A list of prices: JSON as given, a single price as its only entry, or a packed list such as ``EUR 10|USD 12``."""
    given = pl.when(text.str.starts_with("[")).then(text).map_elements(_json_prices, return_dtype=pl.String)
    locale = f',"locale":{json.dumps(rules.locale)}}}]' if rules.locale else "}]"
    single = pl.concat_str(pl.lit("["), price(text, rules, default).str.strip_suffix("}"), pl.lit(locale))
    several = pl.when(single.is_null() & text.str.contains(_SEVERAL)).then(text)
    packed = several.map_elements(lambda cell: _packed_prices(cell, rules), return_dtype=pl.String)
    return pl.when(text.str.starts_with("[")).then(given).otherwise(pl.coalesce(single, packed))


def _packed_prices(cell: str, rules: Rules) -> str | None:
    """Prices in one cell, each with its currency; commercetools adds country, customer group and channel."""
    names = words.currency_names(rules.currency)
    prices = []
    for part in re.split(_BETWEEN_PRICES, cell.strip().strip(";|")):
        match = _PACKED.fullmatch(part.strip())
        if match is None:
            return None
        sign = (match["before"] or match["behind"] or "").strip().replace(".", "").upper()
        code = names.get(sign)
        digits = _digits(match["amount"], rules.decimal)
        if code is None or digits is None or (match["before"] and match["behind"]):
            return None
        entry = f'{{"amount":{digits},"currency":"{code}"'
        # A country without a language is a locale of its own (BCP 47: und).
        entry += f',"locale":"und-{match["country"]}"' if match["country"] else ""
        entry += "".join(
            f',"{name}":{json.dumps(match[name], ensure_ascii=False)}' for name in ("group", "channel") if match[name]
        )
        prices.append(entry + "}")
    return f"[{','.join(prices)}]" if len(prices) > 1 or (prices and "|" not in cell) else None


def _digits(amount: str, decimal: str) -> str | None:
    packed = re.sub(_SPACES + r"|['’]", "", amount)
    if not re.fullmatch(_COMMA if decimal == "," else _POINT, packed):
        return None
    packed = packed.replace("." if decimal == "," else ",", "").replace(",", ".")
    written = re.sub(r"^(-?)0+(?=\d)", r"\1", packed.removeprefix("+"))
    written = re.sub(r"^(-?)\.", r"\g<1>0.", written).removesuffix(".")
    return written if words.JSON_NUMBER.fullmatch(written) else None


def _json_prices(cell: str) -> str | None:
    try:
        entries = json.loads(cell, parse_float=str, parse_int=str)
    except ValueError:
        return None
    prices = []
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not {"amount", "currency"} <= set(entry) <= _OF_A_PRICE:
            return None
        amount, currency = str(entry["amount"]), str(entry["currency"]).upper()
        if not words.JSON_NUMBER.fullmatch(amount) or currency not in words.CURRENCY_CODES:
            return None
        named = str(entry.get("locale") or "")
        if named and not words.LOCALE.fullmatch(named):
            return None
        locale = f',"locale":"{named}"' if named else ""
        # What a packed list of prices may tell as well, see _packed_prices.
        more = [(name, entry[name]) for name in ("group", "channel") if entry.get(name)]
        if any(not isinstance(text, str) or not is_storable(text) for _, text in more):
            return None
        told = "".join(f',"{name}":{json.dumps(text, ensure_ascii=False)}' for name, text in more)
        prices.append(f'{{"amount":{amount},"currency":"{currency}"{locale}{told}}}')
    return f"[{','.join(prices)}]"
