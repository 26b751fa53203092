"""Parquet: row groups streamed, nested columns flattened by the naming rule of JSON (``a.b``, ``tags[]``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pim_platform.catalog.notation import guarded, is_own
from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers.cells import CellsWriter
from pim_platform.intake.readers.own_cells import own_cell
from pim_platform.intake.readers.plain_text import plain_text

#: Rows turned into text at a time.
_ROWS = 8_192

_AS_THEY_ARE: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date,
)  # fmt: skip


def detect(path: Path, name: str) -> Dialect:
    """The dialect of a Parquet file. Raises :class:`UnreadableFile` (``not_parquet``, ``header_only``)."""
    with _opened(path, name) as file:
        if file.metadata.num_rows == 0:
            columns = ", ".join(repr(column) for column in file.schema_arrow.names[:12])
            raise UnreadableFile(
                f"{name} has columns ({columns}) but no records.", fix="Export it with at least one product.",
                code="header_only", file=name, expected="at least one product",
            )  # fmt: skip
        own = is_own(file.schema_arrow.names)
    return Dialect(format="parquet", header_row=None, notation="own" if own else "free")


def convert(path: Path, dialect: Dialect, out: CellsWriter) -> None:
    """Write the records of a Parquet file. Raises :class:`UnreadableFile` (``not_parquet``)."""
    with _opened(path, out.name) as file:
        schema = file.schema_arrow
        if dialect.notation == "own":
            out.columns(schema.names)
            for batch in file.iter_batches(_ROWS):
                for row in zip(*(_own_cells(column) for column in batch.columns), strict=True):
                    out.row(row)
            return
        flat = not any(pa.types.is_nested(field.type) for field in schema)
        if flat:
            out.columns(schema.names)
        for batch in file.iter_batches(_ROWS):
            columns = [_texts(column) for column in batch.columns]
            if flat:
                for row in zip(*columns, strict=True):
                    out.row(row)
            else:
                for record in _records(schema.names, columns):
                    out.record(record)


def _own_cells(column: pa.Array) -> list[str]:
    """The cells of a column in the platform's own notation; "" where there is no value."""
    if pa.types.is_nested(column.type):
        return [own_cell(value) for value in column.to_pylist()]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return ["" if text is None else guarded(text) for text in column.to_pylist()]
    return _texts(column)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            f"{name} is a damaged Parquet file: {str(error).strip().splitlines()[0][:200]}.",
            fix="Write it again and upload it once more.", code="not_parquet", file=name,
            expected="an intact Parquet file",
        ) from error  # fmt: skip


def _texts(column: pa.Array) -> list[Any]:
    """The cells of a column: texts, or the values of a nested one as they are."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    if any(kind(column.type) for kind in _AS_THEY_ARE):
        return list(pc.fill_null(column.cast(pa.string()), "").to_pylist())
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        # A number of 24 bits in the fewest digits that tell it apart, not those of its widened form.
        return [plain_text(None if value is None else float(value)) for value in column.cast(pa.string()).to_pylist()]
    return [plain_text(value) for value in column.to_pylist()]


def _records(names: list[str], columns: list[list[Any]]) -> Iterator[dict[str, str]]:
    from pim_platform.intake.readers.flattening import flatten

    for values in zip(*columns, strict=True):
        yield dict(flatten(dict(zip(names, map(_told, values), strict=True))).texts())


def _told(value: Any) -> Any:
    """A nested value with its scalars as texts."""
    if isinstance(value, dict):
        return {str(key): _told(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_told(inner) for inner in value]
    return plain_text(value)
