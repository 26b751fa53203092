"""Rows for a profile: all rows of a small file, samples spread over a large one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.readers.delimited import batches_of_bytes
from pim_platform.intake.readers.source import HEAD_BYTES, WHOLE_BYTES

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect
    from pim_platform.intake.readers.opening import OpenFile

#: Rows of a profile, at most (a batch of a small file gives its share).
PROFILE_ROWS = 20_000
#: Gzip files above this size on disk are estimated: their content is several times larger.
WHOLE_GZIP_BYTES = WHOLE_BYTES // 4


#: Consecutive rows from the start, at most: enough to see which rows belong together.
FIRST_ROWS = 5_000


@dataclass(frozen=True)
class SampledRows:
    """``head``: the first rows; ``frame``: rows spread over the file; ``count``: records, exact or estimated."""

    headers: list[str]
    head: pl.DataFrame
    frame: pl.DataFrame
    count: int
    exact: bool


def sample_rows(file: OpenFile, dialect: Dialect) -> SampledRows:
    """Rows to profile, without holding a large file; what had to be converted is counted exactly."""
    headers = file.headers(dialect)
    if dialect.format == "csv":
        plain, dialect = file.plain(dialect)
        size = plain.stat().st_size
        if size > (WHOLE_GZIP_BYTES if dialect.compression == "gzip" else WHOLE_BYTES):
            return _estimated(file, plain, dialect, headers)
    frames: list[pl.DataFrame] = []
    count = kept = 0
    for batch in file.batches(dialect):
        frames.append(batch.frame if kept < PROFILE_ROWS else batch.frame.gather_every(20))
        count, kept = count + batch.frame.height + batch.bad.height, kept + frames[-1].height
    return _sampled(headers, frames, count - file.parts(dialect), exact=True)


def _estimated(file: OpenFile, path: Path, dialect: Dialect, headers: list[str]) -> SampledRows:
    sample = file.sample(dialect)
    head = sample.head[: sample.head.rfind(b"\n") + 1] or sample.head
    frames = [batch.frame for batch in batches_of_bytes(head, dialect, len(headers), header=True)]
    rows, size = sum(frame.height for frame in frames), len(head)
    if not dialect.encoding.startswith(("utf-16", "utf-32")):
        # A block begins anywhere: what precedes its first line end is half a record.
        parts = b"".join(block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1] for block in sample.spread)
        more = [batch.frame for batch in batches_of_bytes(parts, dialect, len(headers), header=False)]
        rows, size = rows + sum(frame.height for frame in more), size + len(parts)
        frames += more
    total = sample.size
    if sample.gzip:
        total = int(sample.size * HEAD_BYTES / max(1, _packed_head(path)))
    return _sampled(headers, frames, max(1, round(total * rows / max(size, 1))), exact=False)


def _sampled(headers: list[str], frames: list[pl.DataFrame], count: int, *, exact: bool) -> SampledRows:
    schema = {"row": pl.Int64, **{f"{RAW_PREFIX}{i}": pl.String for i in range(len(headers))}}
    frame = pl.concat([pl.DataFrame(schema=schema), *frames])
    head = (frame.sort("row") if exact else frames[0] if frames else frame).head(FIRST_ROWS)
    if frame.height > PROFILE_ROWS:
        frame = frame.gather_every(-(-frame.height // PROFILE_ROWS))
    return SampledRows(headers, head, frame, count, exact)


def _packed_head(path: Path) -> int:
    """Bytes on disk that hold the first ``HEAD_BYTES`` of a gzip file's content, to within a read buffer."""
    import zlib

    unpack = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        done = used = 0
        while done < HEAD_BYTES and (block := file.read(io.DEFAULT_BUFFER_SIZE)):
            done += len(unpack.decompress(block))
            used += len(block)
    return used * HEAD_BYTES // max(done, 1)
