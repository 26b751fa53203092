"""Parquet files written batch by batch while the next batch is parsed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pim_platform.catalog.staged import RAW_PREFIX

#: Rows after which a new file is begun, so that readers can work file by file.
BATCH_FILE_ROWS = 500_000
#: A column of a batch whose dictionary grows past this is written as it is: most columns are either short lists of
#: words or all different, and the library's 1 MB is 50,000 vain look-ups for each of those.
_DICTIONARY_BYTES = 64 * 1024


class StagedWriter:
    """Writes ``<stem>-00000.parquet`` ... in a background thread, at most one batch behind.

    Use it as a context manager; where the body raises, the open file is closed and left to the
    caller's cleanup. Arrow releases the interpreter lock, so parsing and writing overlap.
    """

    def __init__(self, folder: Path, stem: str, *, file_rows: int = BATCH_FILE_ROWS) -> None:
        self.paths: list[Path] = []
        self._folder, self._stem, self._file_rows = folder, stem, file_rows
        self._rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"write-{stem}")
        self._pending: Future[None] | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Queue a batch; waits for the one before. Raises what that one raised (OSError on a full disk)."""
        if frame.height == 0:
            return
        if self._pending is not None:
            self._pending.result()
        self._pending = self._thread.submit(self._write, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _write(self, table: pa.Table) -> None:
        if self._writer is None or self._rows >= self._file_rows:
            self._close()
            path = self._folder / f"{self._stem}-{len(self.paths):05d}.parquet"
            # lz4 costs a third of zstd here and the files live only as long as their job.
            # Of values the merge asks whether any is missing; raw cells nobody asks about.
            told = [name for name in table.column_names if not name.startswith(RAW_PREFIX)]
            self._writer = pq.ParquetWriter(
                path,
                table.schema,
                compression="lz4",
                write_statistics=told,
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
            )
            self.paths.append(path)
            self._rows = 0
        self._writer.write_table(table)
        self._rows += table.num_rows

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> StagedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._pending is not None and error is None:
                self._pending.result()
        finally:
            self._thread.shutdown(wait=True)
            self._close()
