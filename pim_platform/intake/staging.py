"""Stream a file into Parquet: read, map, validate, write, in batches, in the order of the file.

One staging function stands behind dry run and commit, another (:func:`stage_records`) behind bulk
upsert; both use the same plan and the same validation. Memory does not grow with the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.errors import BadInput
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.folding.file import Folding, open_folding
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.models import Mapping, validate
from pim_platform.intake.parquet import StagedWriter
from pim_platform.intake.plan import compile_plan
from pim_platform.intake.readers.opening import Batch, OpenFile
from pim_platform.intake.records import frame_of_records
from pim_platform.intake.reject_policies import reject_limit
from pim_platform.intake.rejects import write_rejects_csv
from pim_platform.intake.validation import Validator

T = TypeVar("T")

#: Rejects kept in the result itself, for messages and metadata.
SAMPLE_REJECTS = 10


@dataclass(frozen=True)
class StageProgress:
    """How far staging has come; rows, and bytes of the file as it lies on disk."""

    read: int
    valid: int
    rejected: int
    bytes_read: int


@dataclass(frozen=True)
class StageResult:
    """What became of a file: ``read == valid + rejected + merged``."""

    read: int
    valid: int
    rejected: int
    merged: int
    """Rows that became part of others (see :mod:`pim_platform.intake.folding`)."""
    bytes_read: int
    staged: list[Path]
    """Parquet files of valid rows, in order; none where no row is valid."""
    rejects: list[Path]
    """Parquet files of rejects, in order; none where none is rejected."""
    merged_rows: list[Path]
    """Parquet files of merged rows, in order; none where none is merged."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How often each error code came up, the commonest first; a row may have several."""
    sample_rejects: list[dict[str, Any]] = field(default_factory=list)
    """The first rejects: row, column, value, error_code, error, suggestion."""
    repairs: dict[str, int] = field(default_factory=dict)
    """Cells that were repaired, by kind (see :mod:`pim_platform.intake.repairs`)."""


def stage(
    path: Path,
    dialect: Dialect,
    mapping: Mapping,
    schema: ProductSchema,
    out_dir: Path,
    *,
    batch_rows: int = 65_536,
    default_currency: str | None = None,
    on_progress: Callable[[StageProgress], None] | None = None,
    reject_policy: str = "skip",
    filename: str | None = None,
    siblings: Iterable[str] = (),
) -> StageResult:
    """Stage ``path`` into ``out_dir`` (made if missing) in the layout of :mod:`pim_platform.catalog.staged`.

    ``default_currency`` (the source's) goes before the schema's. ``reject_policy``: ``skip``,
    ``stop_first`` or ``stop_above:N%``. ``filename`` is the user's name of the file, for messages.
    ``siblings``: see :func:`pim_platform.intake.folding.file.open_folding`.
    Raises :class:`InvalidMapping`, :class:`UnreadableFile`, :class:`InvalidRequest` (unknown policy),
    or :class:`BadInput` with code ``row_rejected`` or ``too_many_rejects`` where the policy stops.
    """
    limit = reject_limit(reject_policy)
    name = filename or path.name
    out_dir.mkdir(parents=True, exist_ok=True)
    read = valid = rejected = merged = bytes_read = 0
    reasons: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    sample: list[dict[str, Any]] = []
    writers = [StagedWriter(out_dir, stem) for stem in ("staged", "rejects", "merged")]
    with ExitStack() as stack:
        file = stack.enter_context(OpenFile(path, name))
        headers = file.headers(dialect)
        validate(mapping, schema, headers)

        def batches() -> Iterator[Batch]:
            return file.batches(dialect, batch_rows=batch_rows)

        folding = open_folding(batches, mapping, headers, siblings=siblings, default_locale=schema.default_locale)
        plan = compile_plan(folding.mapping if folding else mapping, schema, dialect, default_currency)
        validator = Validator(plan)
        good, bad, folded = (stack.enter_context(writer) for writer in writers)
        parts = stack.enter_context(closing(_ahead(_parts(folding, batches(), out_dir, batch_rows), _READING)))
        applied = ((part, plan.apply(part.frame, repairs)) for part in parts)
        mapped = stack.enter_context(closing(_ahead(applied, _MAPPING)))
        for part, frame in mapped:
            judged = validator.judge(frame)
            rejects = judged.rejects
            if folding is not None:
                rejects = rejects.select(*REJECT_COLUMNS, *(f"{RAW_PREFIX}{index}" for index in range(len(headers))))
            if part.bad.height:
                rejects = pl.concat([rejects, part.bad.select(rejects.columns)]).sort("row")
                reasons.update(part.bad["error_code"].to_list())
            reasons += judged.reasons
            good.write(_keyed(judged.valid if part.cells is None else _with_cells(judged.valid, part.cells)))
            bad.write(rejects)
            if part.merged is not None:
                folded.write(part.merged)
                merged += part.merged.height
            valid, rejected = valid + judged.valid.height, rejected + rejects.height
            read += part.read
            bytes_read = part.bytes_read
            if rejects.height and len(sample) < SAMPLE_REJECTS:
                sample += rejects.select(REJECT_COLUMNS).head(SAMPLE_REJECTS - len(sample)).to_dicts()
            if rejected and limit == 0.0:
                raise _stopped(name, sample, "row_rejected", "the policy is to stop at the first rejected row")
            if on_progress:
                on_progress(StageProgress(read, valid, rejected, bytes_read))
    if limit is not None and rejected > limit * read:
        why = f"{rejected} of {read} rows were rejected, above the {limit:.4g} share that the policy allows"
        raise _stopped(name, sample, "too_many_rejects", why)
    return StageResult(
        read, valid, rejected, merged, bytes_read, good.paths, bad.paths, folded.paths, dict(reasons.most_common()),
        sample, dict(repairs.most_common()),
    )  # fmt: skip


#: Kept from import to import: a thread that ends leaves its allocator's pages behind, which added 60 MB each time.
#: Two pools, so that whoever maps a batch never waits for a thread that waits for it.
_READING = ThreadPoolExecutor(thread_name_prefix="read")
_MAPPING = ThreadPoolExecutor(thread_name_prefix="map")


def _ahead(items: Generator[T], beside: ThreadPoolExecutor) -> Generator[T]:
    """The same items; a thread makes the next one while the caller works on this one."""
    coming = beside.submit(next, items, None)
    try:
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item
    finally:
        coming.cancel()
        wait([coming])  # what it works on is closed by the caller next
        items.close()


def _parts(folding: Folding | None, batches: Iterator[Batch], scratch: Path, batch_rows: int) -> Generator[Part]:
    if folding is None:
        return (Part(batch.frame, batch.bad, batch.bytes_read) for batch in batches)
    return folding.parts(batches, scratch, batch_rows=batch_rows)


def _keyed(staged: pl.DataFrame) -> pl.DataFrame:
    """Staged rows whose parents are named by their SKU keys (design D2)."""
    if "parent_sku" not in staged.columns:
        return staged
    return staged.with_columns(sku_key_expr(pl.col("parent_sku")).alias("parent_sku"))


def _with_cells(staged: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Staged rows with the cells as the file has them, instead of those that the group filled in."""
    values = [name for name in staged.columns if not name.startswith(RAW_PREFIX)]
    return staged.select(values).join(cells, on="row", how="left", maintain_order="left")


def stage_records(
    records: Sequence[AbstractMapping[str, Any]], schema: ProductSchema, *, default_currency: str | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records in memory (keys are field names, values native JSON) as staged rows and rejects.

    ``row`` counts records from 1; ``raw.<n>`` is the text of the n-th key in order of first
    appearance. Unknown fields and values of a wrong kind reject their record. Raises
    :class:`InvalidMapping` (``no_sku_column``) where no record has a ``sku``.
    """
    given = frame_of_records(records, schema)
    validate(given.mapping, schema, given.headers)
    plan = compile_plan(given.mapping, schema, None, default_currency)
    judged = Validator(plan).judge(plan.apply(given.frame))
    valid = _keyed(judged.valid)
    if given.bad.height == 0:
        return valid, judged.rejects
    wrong = given.bad.select(judged.rejects.columns)
    rejects = pl.concat([wrong, judged.rejects.join(wrong.select("row"), on="row", how="anti")]).sort("row")
    return valid.join(wrong.select("row"), on="row", how="anti", maintain_order="left"), rejects


def _stopped(name: str, sample: list[dict[str, Any]], code: str, why: str) -> BadInput:
    first = sample[0]
    return BadInput(
        f"{name} was not staged: {why}. Row {first['row']}: {first['error']}.",
        fix=f"{str(first['suggestion']).capitalize()}, or choose another reject policy.", code=code,
        file=name, row=first["row"], column=first["column"], value=first["value"],
    )  # fmt: skip


__all__ = ["StageProgress", "StageResult", "stage", "stage_records", "write_rejects_csv"]
