"""Opening a product file of any format: its dialect, its headers, its records in batches.

Everything above the readers goes through here. Delimited text is streamed as it lies; every other format is converted
once by a process that can be killed, and then streamed from what that left. One :class:`OpenFile` does this work at
most once, however often it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.dialect import Dialect, parse_changes
from pim_platform.intake.readers import delimited
from pim_platform.intake.readers.archive import unpack
from pim_platform.intake.readers.cells import BAD_FILE, ROWS_FILE, TOLD
from pim_platform.intake.readers.convert import Converted, convert
from pim_platform.intake.readers.delimited import Batch
from pim_platform.intake.readers.delimited_dialect import dialect_of_sample, own_dialect
from pim_platform.intake.readers.formats import Kind, recognise
from pim_platform.intake.readers.limits import Limits, limits_of_settings
from pim_platform.intake.readers.rows import empty_bad_frame
from pim_platform.intake.readers.source import Sample, take_sample
from pim_platform.intake.readers.tables import only_products
from pim_platform.storage.scratch import scratch_folder

BATCH_ROWS = 65_536


class OpenFile:
    """One product file; a context manager, because it may own a scratch folder."""

    def __init__(self, path: Path, name: str | None = None, *, limits: Limits | None = None) -> None:
        self.path, self.name = Path(path), name or Path(path).name
        self._limits = limits or limits_of_settings()
        self._stack = ExitStack()
        self._converted: dict[Dialect, Converted] = {}
        self._plain: dict[Dialect, Path] = {}
        self._sample: Sample | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kind(self, member: str | None = None) -> Kind:
        """What the file is and how it is packed. Raises :class:`UnreadableFile` where it is nothing that is read."""
        return recognise(self.path, self.name, self._limits, member=member)

    def detect(self, changes: Mapping[str, Any] | None = None) -> Dialect:
        """How the file is written; ``changes`` are fields of the dialect that a person gave.

        Raises :class:`UnreadableFile` where it is none of the formats that are read, empty or damaged, and
        :class:`InvalidRequest` (``invalid_dialect``) where a change has no meaning for it.
        """
        changes = parse_changes(changes or {})
        kind = self.kind(changes.get("member"))
        Dialect(format=kind.format, compression=kind.compression).changed(changes)
        if kind.format != "csv":
            converted = convert(self.path, self.name, kind, self._folder(), self._limits, changes=changes)
            self._converted[converted.dialect] = converted
            return converted.dialect
        plain = self._plain_path(Dialect(compression=kind.compression, member=kind.member))
        self._sample = take_sample(plain, self.name)
        found = dialect_of_sample(self._sample, self.name, changes)
        return found.model_copy(update={"compression": kind.compression, "member": kind.member}).changed(changes)

    def headers(self, dialect: Dialect) -> list[str]:
        """The header cells, trimmed; blank and repeated ones stay: the index of a column is its identity."""
        if dialect.format == "csv":
            return delimited.read_headers(self._plain_path(dialect), _as_it_lies(dialect))
        return list(dialect.columns) if dialect.columns is not None else self._cells(dialect).summary.headers

    def batches(self, dialect: Dialect, *, batch_rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """The records in order, in batches of at most ``batch_rows`` rows, in bounded memory.

        Rows of a sheet that are no products (totals, notes, another table below) are among the bad ones.
        """
        if dialect.format == "xlsx" and dialect.notation == "free":
            yield from only_products(self._batches(dialect, batch_rows), self.headers(dialect))
        else:
            yield from self._batches(dialect, batch_rows)

    def _batches(self, dialect: Dialect, batch_rows: int) -> Iterator[Batch]:
        if dialect.format == "csv":
            yield from delimited.read_batches(self._plain_path(dialect), _as_it_lies(dialect), batch_rows=batch_rows)
            return
        converted = self._cells(dialect)
        seen: int | None = None
        found, size = converted.summary.headers, self.path.stat().st_size
        places: list[int | None] = list(range(len(found)))
        if dialect.columns is not None:
            places = [found.index(name) if name in found else None for name in dialect.columns]
        for index in range(converted.summary.batches):
            frame, bad = _read_back(converted.folder, index, places)
            done = size * (index + 1) // converted.summary.batches
            for offset in range(0, max(frame.height, 1), batch_rows):
                part = frame.slice(offset, batch_rows)
                following = frame["row"][offset + batch_rows] if offset + batch_rows < frame.height else None
                here = bad if following is None else bad.filter(pl.col("row") < following)
                bad = bad.clear() if following is None else bad.filter(pl.col("row") >= following)
                gaps = _gaps(part, seen) if dialect.format == "xlsx" else ()
                seen = part["row"][-1] if part.height else seen
                yield Batch(part, here, done, gaps)

    def notes(self, dialect: Dialect) -> list[str]:
        """What a person should know of the file that is no record."""
        return [] if dialect.format == "csv" else self._cells(dialect).summary.notes

    def parts(self, dialect: Dialect) -> int:
        """Rows that belong to the record before them, as the variants of a product do."""
        return 0 if dialect.format == "csv" else self._cells(dialect).summary.parts

    def sample(self, dialect: Dialect) -> Sample:
        """Head and spread samples of delimited text."""
        if self._sample is None:
            self._sample = take_sample(self._plain_path(dialect), self.name)
        return self._sample

    def is_own(self) -> bool:
        """Whether it is delimited text in the platform's own notation."""
        kind = self.kind()
        plain = self._plain_path(Dialect(compression=kind.compression, member=kind.member))
        return own_dialect(take_sample(plain, self.name)) is not None

    def plain(self, dialect: Dialect) -> tuple[Path, Dialect]:
        """Delimited text as it lies once a ZIP archive is opened, and how to read that."""
        return self._plain_path(dialect), _as_it_lies(dialect)

    def _cells(self, dialect: Dialect) -> Converted:
        dialect = dialect.model_copy(update={"columns": None})
        if dialect not in self._converted:
            kind = Kind(dialect.format, dialect.compression, dialect.member)
            converted = convert(self.path, self.name, kind, self._folder(), self._limits, dialect=dialect)
            self._converted[dialect] = converted
        return self._converted[dialect]

    def _plain_path(self, dialect: Dialect) -> Path:
        if dialect.compression != "zip":
            return self.path
        key = Dialect(compression="zip", member=dialect.member)
        if key not in self._plain:
            out = self._folder() / "unpacked"
            self._plain[key] = unpack(self.path, "zip", dialect.member, self.name, self._limits, out)
        return self._plain[key]

    def _folder(self) -> Path:
        return self._stack.enter_context(scratch_folder("read"))


def read_headers(path: Path, dialect: Dialect, *, name: str | None = None) -> list[str]:
    """The header cells of a file (see :meth:`OpenFile.headers`)."""
    with OpenFile(path, name) as file:
        return file.headers(dialect)


def read_batches(
    path: Path, dialect: Dialect, *, batch_rows: int = BATCH_ROWS, name: str | None = None
) -> Iterator[Batch]:
    """The records of a file in order (see :meth:`OpenFile.batches`)."""
    with OpenFile(path, name) as file:
        yield from file.batches(dialect, batch_rows=batch_rows)


def _as_it_lies(dialect: Dialect) -> Dialect:
    """The dialect of a file whose ZIP archive was opened."""
    if dialect.compression != "zip":
        return dialect
    return dialect.model_copy(update={"compression": "none", "member": None})


def _gaps(frame: pl.DataFrame, before: int | None) -> tuple[int, ...]:
    """Rows of a sheet that follow a blank one; ``before``: the row above the first."""
    rows = pl.concat([pl.Series([before], dtype=pl.Int64), frame["row"]])
    return tuple(frame["row"].filter((rows.diff().slice(1) > 1).fill_null(False)).to_list())


def _read_back(folder: Path, index: int, places: list[int | None]) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = pl.read_ipc(folder / ROWS_FILE.format(index))
    frame = rows.select("row", *_raw_columns(rows, places))
    path = folder / BAD_FILE.format(index)
    empty = empty_bad_frame(len(places))
    if not path.exists():
        return frame, empty
    bad = pl.read_ipc(path)
    no_column = pl.lit(None, dtype=pl.String).alias("column")
    return frame, bad.select("row", no_column, *TOLD, *_raw_columns(bad, places)).select(empty.columns)


def _raw_columns(frame: pl.DataFrame, places: list[int | None]) -> list[pl.Expr]:
    """``raw.<n>`` of every column; null where the batch was written before the column appeared."""
    known = set(frame.columns)
    return [
        (pl.col(str(place)) if str(place) in known else pl.lit(None, dtype=pl.String)).alias(f"{RAW_PREFIX}{index}")
        for index, place in enumerate(places)
    ]


__all__ = ["Batch", "OpenFile", "read_batches", "read_headers"]
