"""Parquet: typed columns, one row group per batch, handed on as soon as it is written.

Numbers are decimals of as many digits as the values need; a column that needs more than 38, or holds something else,
is text. Prices are structs of amount and currency, arrays lists of text; lists of prices and values per channel are
JSON text, because their members differ from product to product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pim_platform.catalog.exporting.layout import ExportColumn

#: Digits of Parquet's widest common decimal (16 bytes).
_MOST_DIGITS = 38

_MAGIC = b"PAR1"

Digits = Mapping[str, tuple[int, int] | None]


class _Sink:
    """A file that is only written to; what was written is taken piece by piece."""

    def __init__(self) -> None:
        self.closed = False
        self._pieces: list[bytes] = []
        self._at = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def parquet_pieces(
    columns: Sequence[ExportColumn],
    frames: Iterator[pl.DataFrame],
    digits_of: Callable[[Sequence[ExportColumn]], Digits],
) -> Iterator[bytes]:
    """The file; ``digits_of`` as :meth:`pim_platform.catalog.exporting.reading.Products.digits` tells them."""
    yield _MAGIC  # every file begins so: who waits for the answer has it while the digits are counted
    digits = digits_of(columns)
    schema = pa.schema([pa.field(column.header, _type(column, digits)) for column in columns])
    sink = _Sink()
    begun = False
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd", compression_level=1) as writer:
        for frame in frames:
            typed = frame.select(_expression(column, digits) for column in columns)
            writer.write_table(typed.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema))
            piece = sink.take()
            yield piece if begun else piece.removeprefix(_MAGIC)
            begun = True
    piece = sink.take()
    yield piece if begun else piece.removeprefix(_MAGIC)


def _decimal(column: ExportColumn, digits: Digits) -> tuple[int, int] | None:
    """Precision and scale of a column's numbers; None: they are text."""
    if column.own:  # the product's version
        return (18, 0)
    found = digits.get(column.header)
    if found is None or sum(found) > _MOST_DIGITS:
        return None
    return sum(found), found[1]


def _type(column: ExportColumn, digits: Digits) -> pa.DataType:
    if column.kind == "boolean":
        return pa.bool_()
    if column.kind == "array":
        return pa.list_(pa.large_string())
    if column.kind in ("number", "price"):
        found = _decimal(column, digits)
        number = pa.large_string() if found is None else pa.decimal128(*found)
        if column.kind == "number":
            return number
        return pa.struct([("amount", number), ("currency", pa.large_string())])
    return pa.large_string()


def _expression(column: ExportColumn, digits: Digits) -> pl.Expr:
    value = pl.col(column.header)
    if column.kind == "boolean":
        return (value == "true").alias(column.header)
    if column.kind == "array":
        return value.str.json_decode(pl.List(pl.String))
    if column.kind == "number":
        return _number(value, _decimal(column, digits))
    if column.kind == "price":
        parts = value.str.splitn(" ", 2).struct
        number = _number(parts.field("field_1"), _decimal(column, digits))
        both = pl.struct(amount=number, currency=parts.field("field_0"))
        return pl.when(value.is_not_null()).then(both).alias(column.header)
    return value


def _number(text: pl.Expr, digits: tuple[int, int] | None) -> pl.Expr:
    return text if digits is None else text.cast(pl.Decimal(*digits))
