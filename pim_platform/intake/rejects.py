"""The reject file: rejected records as they came in, with what was wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.intake.dialect import Dialect

#: Rows written at a time.
CHUNK_ROWS = 16_384


def write_rejects_csv(reject_paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path) -> int:
    """Write the rejects in the delimiter and encoding of their file; returns how many rows.

    The original columns come first under their own headers, then ``row, column, error_code, error,
    suggestion``; mended and without the last five, the file can be uploaded again. Where the
    encoding lacks a character the file is UTF-8 with a byte order mark instead. Streams.
    """
    try:
        return _write(reject_paths, headers, dialect, out_path, dialect.encoding)
    except UnicodeEncodeError:
        return _write(reject_paths, headers, dialect, out_path, "utf-8-sig")


def _write(paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path, encoding: str) -> int:
    quote = dialect.quote or '"'
    told = [name for name in REJECT_COLUMNS if name != "value"]
    columns = [*(f"{RAW_PREFIX}{index}" for index in range(len(headers))), *told]
    count = 0
    # The text layer writes a byte order mark once, however many pieces follow.
    with out_path.open("w", encoding=encoding, newline="") as out:
        out.write(_line([*headers, *told], dialect.delimiter, quote))
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(CHUNK_ROWS, columns=columns):
                frame = pl.DataFrame(batch).select(columns)
                count += frame.height
                out.write(frame.write_csv(include_header=False, separator=dialect.delimiter, quote_char=quote))
    return count


def _line(cells: list[str], delimiter: str, quote: str) -> str:
    special = {delimiter, quote, "\n", "\r"}
    written = [quote + c.replace(quote, quote * 2) + quote if special & set(c) else c for c in cells]
    return delimiter.join(written) + "\n"
