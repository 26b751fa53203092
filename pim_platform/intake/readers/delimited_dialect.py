"""Detecting how delimited text is written, by its head and samples spread over it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pim_platform.catalog.notation import PRODUCT_ID, is_own
from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers import sniff
from pim_platform.intake.readers.headers import HeaderPlace, find_header
from pim_platform.intake.readers.source import Sample

#: What separates the columns of an export, and what spreadsheets make of it.
_OWN_DELIMITERS = (",", ";", "\t")


def dialect_of_sample(sample: Sample, name: str, given: Mapping[str, Any] | None = None) -> Dialect:
    """The dialect of a sample; the fields of ``given`` are taken as said and the others found to fit them.

    Raises :class:`UnreadableFile` with code ``empty_file``, ``header_only``, ``not_text`` or ``unsupported_format``.
    """
    given = given or {}
    if not sample.head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise UnreadableFile(
            f"{name} is empty: it holds no records.",
            fix="Upload a file with a header line and at least one product line.", code="empty_file",
            file=name, expected="a header line and product lines",
        )  # fmt: skip
    if not given and (own := own_dialect(sample)) is not None:
        return own
    sniff.refuse_binary(sample.head, name)
    encoding = given.get("encoding") or sniff.detect_encoding(sample)
    text = sniff.decode_head(sample.head, encoding, complete=sample.complete)
    sniff.refuse_other_formats(text, name)
    line_end: Literal["\n", "\r"] = given.get("line_end") or ("\r" if "\n" not in text and "\r" in text else "\n")
    shape = _shape(text, line_end, given, complete=sample.complete)
    filled = [record for record in shape.records if any(cell.strip() for cell in record)]
    if "header_row" in given:
        place = HeaderPlace(given["header_row"], given.get("header_rows", 1))
    else:
        place = find_header(filled, start=shape.instructions)
    header_row, first = place.row, 0 if place.row is None else place.row + place.rows
    if header_row is not None and 0 < len(filled) <= first and sample.complete:
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


def own_dialect(sample: Sample) -> Dialect | None:
    """The dialect of a table in the platform's own notation, which its first line tells; None for any other.

    Spreadsheets write it again with the delimiter and encoding of their country.
    """
    line, _, rest = sample.head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if PRODUCT_ID.encode() not in line or not rest.strip():
        return None
    for delimiter in _OWN_DELIMITERS:
        headers = [cell.strip().strip('"') for cell in line.decode("utf-8", "replace").strip("\r").split(delimiter)]
        if is_own(headers):
            return Dialect(
                compression="gzip" if sample.gzip else "none",
                encoding=sniff.detect_encoding(sample),
                delimiter=delimiter,
                width=len(headers),
                notation="own",
            )
    return None


def _shape(text: str, line_end: str, given: Mapping[str, Any], *, complete: bool) -> sniff.Shape:
    shape = sniff.detect_shape(text, line_end, complete=complete, delimiter=given.get("delimiter"))
    if not {"quote", "escape"} & set(given):
        return shape
    quote, escape = given.get("quote", shape.quote), given.get("escape", shape.escape)
    records = sniff.parse(text[: sniff.SHAPE_CHARS], shape.delimiter, quote, escape, whole=complete)
    return sniff.Shape(shape.delimiter, quote, escape, records, shape.instructions)


def _decimal_sign(records: list[list[str]]) -> Literal[".", ","] | None:
    """The decimal sign that the file's unambiguous numbers vote for, None where none votes.

    ``12,5``, ``0,125`` and ``1.234,56`` are votes for the comma; ``1,234`` could be either and has no vote.
    """
    comma = point = 0
    for record in records:
        for cell in record:
            if not cell or len(cell) > 24 or not any(c.isdigit() for c in cell):
                continue
            tail = re.search(r"\d([.,])(\d{1,2}|\d{4,})\D{0,4}$|(?<![\d.,])0([.,])\d{3}\D{0,4}$", cell)
            if tail and re.fullmatch(r"[^\w]*(?:[A-Za-z]{1,3}\W?)?\s*[\d.,\s'\u00a0\u202f]+\D{0,4}", cell):
                sign = tail[1] or tail[3]
                comma, point = comma + (sign == ","), point + (sign == ".")
    if comma == point:
        return None
    return "," if comma > point else "."
