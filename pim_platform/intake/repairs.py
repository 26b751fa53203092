"""What spreadsheets do to cells on their way: undone where that is certain, told apart where it is not.

Every repair is counted by kind, so that an import can say what it changed: ``text_marker_removed`` (Excel's
apostrophe or ``="..."`` before digits that are text, and the apostrophe that careful programs put before what looks
like a formula), ``composed_characters`` (Unicode NFC), ``invisible_characters_removed`` (zero-width characters within
identifiers). Digits that a spreadsheet has rounded away (``1,76701E+15``) cannot be brought back: :func:`is_rounded`
finds them.
"""

from __future__ import annotations

from collections import Counter

import polars as pl

from pim_platform.catalog.notation import unguard_foreign

#: Targets and fields whose values are identifiers: digits, not quantities.
IDENTIFIERS = frozenset({"sku", "gtin", "mpn", "variant_group", "parent_sku"})

#: Excel keeps 15 digits (IEEE 754 double) and shows long numbers as one digit, decimals and a two-digit exponent.
_ROUNDED = r"^[0-9](?:[.,][0-9]+)?E\+[0-9]{2}$"
#: An apostrophe before digits marks text in a spreadsheet; before letters it may belong to the text ('90s, 't).
_MARKED = r"^'([0-9][0-9 ./,\-]*)$"
_FORMULA = r'^="([^"]*)"$'
#: Errors as spreadsheets write them, in English, German, French, Spanish, Italian, Portuguese and Dutch.
_ERRORS = [
    "#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#FIELD!", "#BLOCKED!",
    "#BEZUG!", "#NV", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE!", "#¡REF!", "#¡VALOR!", "#¡DIV/0!",
    "#¿NOMBRE?", "#¡NUM!", "#N/D", "#VALORE!", "#RIF!", "#NOME?", "#VALOR!", "#WAARDE!", "#NAAM?", "#VERW!", "#DEEL/0!",
]  # fmt: skip
_INVISIBLE = r"[\u200b\u200c\u200d\u2060\ufeff\u00ad]"


def repair(cells: pl.Series, *, identifier: bool, text: bool, repairs: Counter[str]) -> pl.Series:
    """The trimmed cells with certain damage undone, each change counted in ``repairs``.

    ``identifier``: the column holds identifiers; ``text``: its values are stored as text.
    """
    for sign, pattern in (("'", _MARKED), ('="', _FORMULA)):
        if cells.str.starts_with(sign).any():
            if sign == "'":
                cells = _replaced(cells, unguard_foreign(cells), "text_marker_removed", repairs)
            cells = _replaced(cells, cells.str.replace(pattern, "$1"), "text_marker_removed", repairs)
    if (text or identifier) and cells.str.len_bytes().sum() != cells.str.len_chars().sum():
        cells = _replaced(cells, cells.str.normalize("NFC"), "composed_characters", repairs)
        if identifier:
            clean = cells.str.replace_all(_INVISIBLE, "")
            cells = _replaced(cells, clean, "invisible_characters_removed", repairs)
    return cells


def is_rounded(cells: pl.Series) -> pl.Series:
    """Which cells are numbers whose last digits a spreadsheet has dropped; null counts as none."""
    return cells.str.contains(_ROUNDED).fill_null(False)


def is_error(cells: pl.Series) -> pl.Series | None:
    """Which cells are a spreadsheet's error, such as ``#REF!``, instead of a value; None where none is."""
    if not cells.str.starts_with("#").any():
        return None
    found = cells.is_in(_ERRORS).fill_null(False)
    return found if found.any() else None


def _replaced(before: pl.Series, after: pl.Series, kind: str, repairs: Counter[str]) -> pl.Series:
    changed = int((before != after).sum())
    if changed:
        repairs[kind] += changed
    return after
