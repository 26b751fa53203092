"""How a product file is written: one frozen value, detected once, shown, overridable.

The same :class:`Dialect` drives preview and import alike, so what a person saw is what is read. Only the fields of
its format matter. Delimited text is detected by the head of the file and samples spread over it, never by reading a
large file whole; what the other formats need is found by their readers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers import sniff
from pim_platform.intake.readers.headers import find_header
from pim_platform.intake.readers.source import Sample

Format = Literal["csv", "xlsx", "json", "jsonl", "xml", "parquet"]
Compression = Literal["none", "gzip", "zip"]


class Dialect(BaseModel):
    """How to read one file. Change it with ``model_copy(update=...)``; it travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = Field("csv", description="csv: any delimited text; xlsx: any workbook; JSON-LD is json.")
    compression: Compression = "none"
    member: str | None = Field(None, description="The file inside a ZIP archive.")
    sheet: str | None = Field(None, description="The sheet of a workbook.")
    record_path: str | None = Field(
        None, description="Where the records are: `$`, `$[*]`, `$.products[*]` in JSON, `SHOP/SHOPITEM` in XML."
    )
    expand: str | None = Field(
        None, description="The nested list whose entries get rows of their own: `variants[]`, `VARIANTS/VARIANT`."
    )
    encoding: str = Field("utf-8", description="Python codec name; a byte order mark is always removed.")
    delimiter: str = Field(",", min_length=1, max_length=1, pattern=r"^[\x01-\x7f]$")
    quote: str | None = Field('"', description="None: quotes are ordinary characters.", pattern=r"^[\x01-\x7f]$")
    escape: str | None = Field(
        None, description="Escape character; None: a quote is doubled.", pattern=r"^[\x01-\x7f]$"
    )
    line_end: Literal["\n", "\r"] = Field("\n", description="What ends a record; CRLF counts as LF.")
    header_row: int | None = Field(0, ge=0, description="0-based record that holds the headers; None: no header.")
    header_rows: int = Field(1, ge=1, le=10, description="Records that the header spans, joined into one label each.")
    width: int = Field(0, ge=0, description="Columns; 0: as many as the first record has.")
    decimal: Literal[".", ","] | None = Field(None, description="Decimal sign where a column itself does not tell.")
    date_order: Literal["DMY", "MDY", "YMD"] | None = Field(
        None, description="Order of day, month and year where a date itself does not tell."
    )
    notes: tuple[str, ...] = Field((), description="What a person should know of the file: sheets that are not read.")


def detect_dialect(path: Path, *, filename: str | None = None) -> Dialect:
    """Find out how ``path`` is written; ``filename`` is the user's name for it, used in messages.

    Raises :class:`UnreadableFile` with code ``empty_file``, ``header_only``, ``not_text``,
    ``unsupported_format`` or another that names what is wrong with the file.
    """
    from pim_platform.intake.readers.opening import OpenFile  # it reads by dialects

    with OpenFile(path, filename) as file:
        return file.detect()


def dialect_of_sample(sample: Sample, name: str) -> Dialect:
    """The dialect of a sample already taken (see :func:`detect_dialect` for what it raises)."""
    if not sample.head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise UnreadableFile(
            f"{name} is empty: it holds no records.",
            fix="Upload a file with a header line and at least one product line.", code="empty_file",
            file=name, expected="a header line and product lines",
        )  # fmt: skip
    sniff.refuse_binary(sample.head, name)
    encoding = sniff.detect_encoding(sample)
    text = sniff.decode_head(sample.head, encoding, complete=sample.complete)
    sniff.refuse_other_formats(text, name)
    line_end: Literal["\n", "\r"] = "\r" if "\n" not in text and "\r" in text else "\n"
    shape = sniff.detect_shape(text, line_end, complete=sample.complete)
    filled = [record for record in shape.records if any(cell.strip() for cell in record)]
    place = find_header(filled, start=shape.instructions)
    header_row, first = place.row, 0 if place.row is None else place.row + place.rows
    if header_row is not None and len(filled) <= first and sample.complete:
        headers = ", ".join(repr(cell.strip()) for cell in filled[-1][:12]) if filled else ""
        raise UnreadableFile(
            f"{name} holds a header line ({headers}) but no records.",
            fix="Add at least one product line below the header.", code="header_only",
            file=name, expected="product lines below the header",
        )  # fmt: skip
    if header_row is not None and filled:
        width = max(map(len, filled[header_row:first]))
    else:
        width = max(map(len, filled), default=0)
    return Dialect(
        compression="gzip" if sample.gzip else "none",
        encoding=encoding,
        delimiter=shape.delimiter,
        quote=shape.quote,
        escape=shape.escape,
        line_end=line_end,
        header_row=header_row,
        header_rows=place.rows,
        width=width,
        decimal=_decimal_sign(filled[first:]),
    )


def _decimal_sign(records: list[list[str]]) -> Literal[".", ","] | None:
    """The decimal sign that the file's unambiguous numbers vote for, None where none votes.

    ``12,5`` and ``1.234,56`` are votes for the comma; ``1,234`` could be either and has no vote.
    """
    comma = point = 0
    for record in records:
        for cell in record:
            if not cell or len(cell) > 24 or not any(c.isdigit() for c in cell):
                continue
            tail = re.search(r"\d([.,])(\d{1,2}|\d{4,})\D{0,4}$", cell)
            if tail and re.fullmatch(r"[^\w]*(?:[A-Za-z]{1,3})?\s*[\d.,\s'\u00a0\u202f]+\D{0,4}", cell):
                comma, point = comma + (tail[1] == ","), point + (tail[1] == ".")
    if comma == point:
        return None
    return "," if comma > point else "."
