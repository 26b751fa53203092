"""The second reading of a file: its groupings applied, group by group."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pim_platform.intake.folding.cells import group_key
from pim_platform.intake.folding.columns import Columns
from pim_platform.intake.folding.groups import link_groups
from pim_platform.intake.folding.handles import fold_handles
from pim_platform.intake.folding.locales import fold_locales
from pim_platform.intake.folding.nested import fold_nested
from pim_platform.intake.folding.parents import link_parents
from pim_platform.intake.folding.part import Part
from pim_platform.intake.folding.scattered import Aside
from pim_platform.intake.folding.survey import Survey, survey
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.models import Mapping

if TYPE_CHECKING:
    from pim_platform.intake.readers.delimited import Batch

#: Files that scattered groups are divided into, at most.
_BUCKETS = 64


def open_folding(
    read: Callable[[], Iterable[Batch]],
    mapping: Mapping,
    headers: Sequence[str],
    *,
    siblings: Iterable[str] = (),
    default_locale: str | None = None,
) -> Folding | None:
    """The folding of a file that ``read`` opens anew at each call; None where its mapping groups nothing.

    ``siblings`` are groups known to have other variants than those of this file (corrected records of a group).
    Raises :class:`~pim_platform.errors.BadInput` as :func:`pim_platform.intake.folding.survey.survey` does.
    """
    if not mapping.groupings:
        return None
    return Folding(mapping, headers, survey(read, mapping, default_locale), siblings, default_locale)


class Folding:
    """The groupings of one mapping, applied to one file."""

    def __init__(
        self,
        mapping: Mapping,
        headers: Sequence[str],
        survey: Survey,
        siblings: Iterable[str] = (),
        default_locale: str | None = None,
    ) -> None:
        self._survey = survey
        self._siblings = pl.Series("siblings", list(siblings), pl.String)
        # Rows become one record before that record is linked to others.
        self._groupings = sorted(mapping.groupings, key=lambda grouping: not grouping.folds)
        self._default_locale = default_locale
        self._fold = next((grouping for grouping in mapping.groupings if grouping.folds), None)
        self._columns = Columns(mapping, headers, survey.locales)
        self.mapping = self._columns.mapping
        """The mapping for the columns of :attr:`Part.frame`: the given one and what only groups can tell."""

    def parts(self, batches: Iterable[Batch], scratch: Path, *, batch_rows: int = 65_536) -> Generator[Part]:
        """Fold the batches of the file that was surveyed; scattered groups come last. ``scratch`` is left clean."""
        if self._fold is None:
            for batch in batches:
                yield self._part(batch.frame, batch.bad, batch.bytes_read)
            return
        spans = self._spans()
        scattered = int(spans.filter("scattered")["size"].sum())
        aside = Aside(scratch, min(_BUCKETS, -(-scattered // batch_rows)))
        waiting: list[pl.DataFrame] = []
        until = position = bytes_read = 0
        try:
            for batch in batches:
                bytes_read = batch.bytes_read
                frame = batch.frame.with_columns(_hash=group_key(self._fold).hash())
                frame = frame.join(spans, left_on="_hash", right_on="hash", how="left", maintain_order="left")
                position += frame.height
                if scattered:
                    aside.write(frame.filter("scattered"))
                    frame = frame.filter(~pl.col("scattered").fill_null(False))
                waiting.append(frame)
                if until > position and not frame.filter(pl.col("last").is_null()).height:
                    yield self._part(frame.head(0), batch.bad, bytes_read)  # the open group goes on
                    continue
                # Only one group can be open: the others of its kind are scattered.
                known = pl.concat(waiting)
                still = pl.col("last").fill_null(-1) >= position
                waiting = [known.filter(still)]
                until = int(waiting[0]["last"][0]) + 1 if waiting[0].height else 0
                yield self._part(known.filter(~still), batch.bad, bytes_read)
            for bucket in aside.buckets():
                yield self._part(bucket, None, bytes_read)
        finally:
            aside.remove()

    def _spans(self) -> pl.DataFrame:
        """Where groups end, and whether their rows lie apart."""
        assert self._survey.spans is not None
        apart = pl.col("last") - pl.col("first") + 1 > pl.col("size")
        return self._survey.spans.select("hash", "last", "size", scattered=apart)

    def _part(self, frame: pl.DataFrame, bad: pl.DataFrame | None, bytes_read: int) -> Part:
        columns = self._columns
        frame = frame.select("row", *columns.file)
        rejects = bad if bad is not None else _no_rejects(frame)
        if not frame.height:
            nothing = [pl.lit(None, pl.String).alias(name) for name in columns.made]
            return Part(frame.with_columns(nothing), rejects, bytes_read)
        part = Part(frame, rejects, bytes_read)
        for grouping in self._groupings:
            part = self._applied(part, grouping)
        return replace(part, frame=part.frame.select("row", *columns.file, *columns.made))

    def _applied(self, part: Part, grouping: Grouping) -> Part:
        match grouping.style:
            case "handle":
                return fold_handles(part, grouping, self._columns, self._siblings)
            case "nested":
                return fold_nested(part, grouping, self._columns, self._siblings)
            case "locale":
                return fold_locales(part, grouping, self._columns, self._default_locale)
            case "parent":
                assert self._survey.parents is not None
                return link_parents(part, grouping, self._columns, self._survey.parents, self._survey.ids)
            case "group":
                assert self._survey.sizes is not None
                return link_groups(part, grouping, self._columns, self._survey.sizes, self._siblings)


def _no_rejects(frame: pl.DataFrame) -> pl.DataFrame:
    texts = ("column", "value", "error_code", "error", "suggestion")
    return frame.head(0).select("row", *[pl.lit(None, pl.String).alias(text) for text in texts], pl.exclude("row"))
