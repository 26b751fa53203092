"""Rows of groups that do not lie together in the file: written aside, read again one bucket of whole groups a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq


class Aside:
    """Rows of scattered groups on disk, divided by ``_hash`` so that each file holds whole groups."""

    def __init__(self, folder: Path, buckets: int) -> None:
        self._paths = [folder / f"scattered-{number:02d}.parquet" for number in range(buckets)]
        self._writers: dict[int, pq.ParquetWriter] = {}

    def write(self, frame: pl.DataFrame) -> None:
        """Put rows aside."""
        if not frame.height:
            return
        bucket = (pl.col("_hash") % len(self._paths)).alias("_bucket")
        for (number,), part in frame.with_columns(bucket).partition_by("_bucket", as_dict=True).items():
            table = part.drop("_bucket").to_arrow(compat_level=pl.CompatLevel.oldest())
            if number not in self._writers:
                self._writers[number] = pq.ParquetWriter(self._paths[number], table.schema, compression="lz4")
            self._writers[number].write_table(table)

    def buckets(self) -> Iterator[pl.DataFrame]:
        """The rows of each bucket in the order of the file; its file is removed."""
        self._close()
        for path in self._paths:
            if path.exists():
                yield pl.read_parquet(path).sort("row")
                path.unlink()

    def remove(self) -> None:
        """Remove what is left."""
        self._close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
