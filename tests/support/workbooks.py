"""Workbooks made for tests."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]], *, hidden: Sequence[str] = ()) -> bytes:
    """A workbook with these sheets of native values; None is an empty cell. Texts stay texts, dates are dates."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            if name in hidden:
                sheet.hide()
            else:  # a workbook shows one of its sheets: by default the first, which then cannot be hidden
                sheet.set_first_sheet()
                sheet.activate()
            for row, cells in enumerate(rows):
                for column, value in enumerate(cells):
                    if isinstance(value, str):
                        sheet.write_string(row, column, value)
                    elif isinstance(value, dt.datetime):
                        sheet.write_datetime(row, column, value, time)
                    elif isinstance(value, dt.date):
                        sheet.write_datetime(row, column, value, date)
                    elif value is not None:
                        sheet.write(row, column, value)
    return out.getvalue()


def saved(folder: Path, content: bytes, name: str = "products.xlsx") -> Path:
    """The bytes as a file."""
    path = folder / name
    path.write_bytes(content)
    return path
