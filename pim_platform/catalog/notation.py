"""The platform's own notation: how an exported table spells fields and values, so that it reads back exactly.

A table is in this notation where it has a column ``pim:id`` (no schema field can be called so). Then a header is the
name of a field, ``field[locale]`` where the field is localizable, and a cell is

=============================  ====================================================================================
``string``, ``url``            the text itself, guarded
``number``                     a JSON number
``boolean``                    ``true`` or ``false``
``price``                      currency and amount, such as ``EUR 12.50``
``array``, ``multi_price``     the JSON array
a value per channel            the JSON object (scopable fields)
=============================  ====================================================================================

An empty cell is no value. **The guard** is an apostrophe in front, which keeps spreadsheets from taking a text for a
formula (OWASP, "CSV Injection": texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a line end, also in full
width). The same apostrophe keeps white space at the ends of a text, stands alone for the empty text, and stands before
a text that would itself look guarded. So each text has one spelling, and taking it back needs nothing but the cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

#: Header of the column that holds a product's id and says that the table is in this notation.
PRODUCT_ID = "pim:id"

_FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BLANK = "\\t-\\r\\x1c-\\x1f \\x85\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
#: A text that is written with an apostrophe in front; in the syntax that Python and Rust share.
_GUARDED = f"^'*(?:[{_FORMULA}{_BLANK}]|$)|[{_BLANK}]$"
#: The same, where formulas are not guarded against: only what could not be told apart otherwise.
_AMBIGUOUS = f"^'+(?:[{_FORMULA}{_BLANK}]|$)|^[{_BLANK}]|^$|[{_BLANK}]$"
#: A cell that some spreadsheet may take for a formula, however many apostrophes are in front. One of nothing but blanks
#: is none, and its guard could not be taken off once it is trimmed.
_FOREIGN = f"^'*(?:[{_BLANK}]*[{_FORMULA}]|[\\t\\r\\n][{_BLANK}]*[^{_BLANK}])"
#: A number as people type it: no formula, whatever sign is in front.
_NUMBER = r"^[+\-]?[0-9][0-9.,' ]*$"

_guarded = re.compile(_GUARDED.replace("$", r"\Z"))
_HEADER = re.compile(r"(?P<field>[a-z][a-z0-9_]{0,62})(?:\[(?P<locale>[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*)\])?")


def header(field: str, locale: str | None = None) -> str:
    """The header of a field, or of its values in one locale.

    >>> header("title", "de-DE")
    'title[de-DE]'
    """
    return field if locale is None else f"{field}[{locale}]"


def parse_header(text: str) -> tuple[str, str | None] | None:
    """Field and locale of a header in this notation; None for any other.

    >>> parse_header("title[de-DE]"), parse_header("price"), parse_header("Net price")
    (('title', 'de-DE'), ('price', None), None)
    """
    match = _HEADER.fullmatch(text)
    return (match["field"], match["locale"]) if match else None


def is_own(headers: list[str]) -> bool:
    """Whether these are the headers of a table in this notation: the mark and the SKU, each once."""
    return headers.count(PRODUCT_ID) == 1 and headers.count("sku") == 1


def guarded(text: str) -> str:
    """The text as a cell of this notation.

    >>> guarded("=1+1"), guarded("'s-Hertogenbosch"), guarded(" x"), guarded("")
    ("'=1+1", "'s-Hertogenbosch", "' x", "'")
    """
    return f"'{text}" if _guarded.search(text) else text


def guard(text: pl.Expr, *, formulas: bool = True) -> pl.Expr:
    """The same as an expression; ``formulas`` False: texts that look like formulas stay as they are.

    What :func:`unguard` takes back is the same in both cases.
    """
    import polars as pl

    unsafe = text.str.contains(_GUARDED if formulas else _AMBIGUOUS)
    return pl.when(unsafe.not_()).then(text).otherwise(pl.concat_str(pl.lit("'"), text))


def unguard(cell: pl.Expr) -> pl.Expr:
    """The text of a cell, exactly as it was guarded."""
    import polars as pl

    inner = cell.str.strip_prefix("'")
    return pl.when(cell.str.starts_with("'") & inner.str.contains(_GUARDED)).then(inner).otherwise(cell)


def guard_foreign(cell: pl.Expr) -> pl.Expr:
    """Cells of somebody else's file, of unknown type, guarded against formulas; plain numbers stay as they are."""
    import polars as pl

    unsafe = cell.str.contains(_FOREIGN) & ~cell.str.contains(_NUMBER)
    return pl.when(unsafe.not_()).then(cell).otherwise(pl.concat_str(pl.lit("'"), cell))


def guarded_foreign(cell: str) -> str:
    """The same for one text.

    >>> guarded_foreign("=1+1"), guarded_foreign("-5"), guarded_foreign("-5 EUR")
    ("'=1+1", '-5', "'-5 EUR")
    """
    return f"'{cell}" if re.search(_FOREIGN, cell) and not re.search(_NUMBER, cell) else cell


def unguard_foreign(cells: pl.Series) -> pl.Series:
    """Trimmed cells of any file without the guard that many programs write (and :func:`guard_foreign`)."""
    return cells.str.replace(f"^'({_FOREIGN[1:]})", "$1").str.strip_chars()
