"""The reject file: rejected records as they came in, with what was wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.intake.dialect import Dialect


def write_rejects_csv(reject_paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path) -> int:
    """Write the rejects in the delimiter and encoding of their file; returns how many rows.

    The original columns come first under their own headers, then ``row, column, error_code, error,
    suggestion``; mended and without the last five, the file can be uploaded again. Where the
    encoding lacks a character the file is UTF-8 with a byte order mark instead.
    """
    quote = dialect.quote or '"'
    told = [name for name in REJECT_COLUMNS if name != "value"]
    head = _line([*headers, *told], dialect.delimiter, quote)
    parts: list[str] = [head]
    count = 0
    for path in reject_paths:
        frame = pl.read_parquet(path).select([f"{RAW_PREFIX}{i}" for i in range(len(headers))] + told)
        count += frame.height
        parts.append(
            frame.write_csv(include_header=False, separator=dialect.delimiter, quote_char=quote, line_terminator="\n")
        )
    text = "".join(parts)
    try:
        data = text.encode(dialect.encoding)
    except UnicodeEncodeError:
        data = text.encode("utf-8-sig")
    out_path.write_bytes(data)
    return count


def _line(cells: list[str], delimiter: str, quote: str) -> str:
    special = {delimiter, quote, "\n", "\r"}
    written = [quote + c.replace(quote, quote * 2) + quote if special & set(c) else c for c in cells]
    return delimiter.join(written) + "\n"
