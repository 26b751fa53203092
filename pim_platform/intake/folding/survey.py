"""The first reading of a file: what has to be known of its groups before the first of them can be folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.errors import BadInput
from pim_platform.intake.folding.cells import cell, group_key, index_of, sku_index
from pim_platform.intake.folding.locales import locale_of
from pim_platform.intake.folding.parents import parent_keys, parent_ref, with_names
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.models import Mapping

if TYPE_CHECKING:
    from pim_platform.intake.readers.delimited import Batch

    Read = Callable[[], Iterable[Batch]]

#: Rows a group may have; more belong to a column that names no product. It bounds the memory of one group.
GROUP_ROWS = 100_000
#: Locales that a file may have: each gives a column to every text.
MAX_LOCALES = 200
#: Noted rows after which what was noted is summed up.
_NOTED = 2_000_000


@dataclass
class Survey:
    """What the first reading noted of a file's groups."""

    spans: pl.DataFrame | None = None
    """``hash``, ``first``, ``last``, ``size``: where a group lies, counted in rows, where groups are folded."""
    sizes: pl.DataFrame | None = None
    """``hash``, ``skus``: how many SKUs a group has, where groups are only counted."""
    parents: pl.DataFrame | None = None
    """``parent_key`` of every parent that a row names, with its ``parent_name`` where some variation needs one."""
    ids: pl.DataFrame | None = None
    """``id`` to ``id_sku`` of rows that have no parent, where parents are named by id."""
    locales: list[str] = field(default_factory=list)
    """The file's locales, BCP 47."""


def survey(read: Read, mapping: Mapping, default_locale: str | None = None) -> Survey:
    """Read a file once and note where the groups of its records lie.

    Raises :class:`BadInput` (``group_too_large``) where a column names no products but most of the file, and
    (``too_many_locales``) where one is to name locales and does not.
    """
    notes = [note for grouping in mapping.groupings for note in _notes(grouping, mapping, default_locale)]
    position = 0
    for batch in read():
        for note in notes:
            note.take(batch.frame, position)
        position += batch.frame.height
    found = Survey()
    for note in notes:
        note.tell(found, read)
    return found


class _Notes(Protocol):
    """What one grouping has to know of the whole file."""

    def take(self, frame: pl.DataFrame, position: int) -> None:
        """Note what rows say; ``position``: rows before them."""

    def tell(self, found: Survey, read: Read) -> None:
        """Write down what was noted, once all rows were seen."""


def _notes(grouping: Grouping, mapping: Mapping, default_locale: str | None) -> list[_Notes]:
    notes: list[_Notes] = []
    if grouping.folds:
        notes.append(_Spans(grouping))
    if grouping.style == "locale" and grouping.locale is not None:
        notes.append(_Locales(grouping.locale, default_locale))
    if grouping.style == "group":
        notes.append(_Sizes(grouping, sku_index(mapping)))
    if grouping.style == "parent":
        notes.append(_Parents(grouping, sku_index(mapping), index_of(mapping, "name")))
    return notes


class _Spans:
    """Where each group lies."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._noted = [pl.DataFrame(schema={"hash": pl.UInt64, "first": pl.Int64, "last": pl.Int64, "size": pl.Int64})]

    def take(self, frame: pl.DataFrame, position: int) -> None:
        key = group_key(self._grouping)
        keys = frame.select(hash=key.hash(), at=pl.int_range(pl.len()) + position, key=key)
        spans = keys.filter(pl.col("key").is_not_null()).group_by("hash")
        self._noted.append(spans.agg(first=pl.col("at").min(), last=pl.col("at").max(), size=pl.len().cast(pl.Int64)))
        if sum(part.height for part in self._noted) > _NOTED:
            self._noted = [self._summed()]

    def tell(self, found: Survey, read: Read) -> None:
        found.spans = self._summed()
        largest = int(found.spans.select(pl.col("size").max()).item() or 0)
        if largest > GROUP_ROWS:
            raise BadInput(
                f"Column {self._grouping.by + 1} is to say which rows make one product, but {largest:,} rows hold the "
                "same value.",
                fix="Group by the column that names the product, or leave the grouping out.",
                code="group_too_large",
                expected=f"at most {GROUP_ROWS:,} rows per product",
            )

    def _summed(self) -> pl.DataFrame:
        spans = pl.concat(self._noted).group_by("hash")
        return spans.agg(first=pl.col("first").min(), last=pl.col("last").max(), size=pl.col("size").sum())


class _Locales:
    """The locales that rows name."""

    def __init__(self, column: int, default_locale: str | None) -> None:
        self._locale = locale_of(column, default_locale)
        self._found: set[str] = set()

    def take(self, frame: pl.DataFrame, position: int) -> None:
        self._found.update(frame.select(self._locale).to_series().drop_nulls().unique())
        if len(self._found) > MAX_LOCALES:
            raise BadInput(
                f"A column is to name the locale of each row, but it holds more than {MAX_LOCALES} locales.",
                fix="Leave the grouping by locale out, or name another column.",
                code="too_many_locales",
            )

    def tell(self, found: Survey, read: Read) -> None:
        found.locales = sorted(self._found)


class _Sizes:
    """How many SKUs each group has."""

    def __init__(self, grouping: Grouping, sku: int) -> None:
        self._key, self._sku = group_key(grouping), sku_key_expr(cell(sku))
        self._noted = [pl.DataFrame(schema={"hash": pl.UInt64, "sku": pl.UInt64})]

    def take(self, frame: pl.DataFrame, position: int) -> None:
        pairs = frame.select(hash=self._key.hash(), sku=self._sku.hash(), key=self._key)
        self._noted.append(pairs.filter(pl.col("key").is_not_null()).select("hash", "sku").unique())
        if sum(part.height for part in self._noted) > _NOTED:
            self._noted = [pl.concat(self._noted).unique()]

    def tell(self, found: Survey, read: Read) -> None:
        found.sizes = pl.concat(self._noted).unique().group_by("hash").agg(skus=pl.len())


class _Parents:
    """The parents that rows name, and the ids they may be named by."""

    def __init__(self, grouping: Grouping, sku: int, name: int | None) -> None:
        self._grouping, self._sku, self._name = grouping, sku, name
        self._refs = pl.DataFrame(schema={"ref": pl.String})
        self._ids = [pl.DataFrame(schema={"id": pl.String, "id_sku": pl.String})]
        self._nameless = False

    def take(self, frame: pl.DataFrame, position: int) -> None:
        ref = parent_ref(self._grouping.by)
        refs = frame.select(ref=ref, name=cell(self._name) if self._name is not None else pl.lit(""))
        children = refs.filter(pl.col("ref").is_not_null())
        self._nameless = self._nameless or bool(children["name"].null_count())
        self._refs = pl.concat([self._refs, children.select("ref")]).unique()
        if self._grouping.ids is not None:
            tops = frame.filter(ref.is_null() & cell(self._sku).is_not_null())
            self._ids.append(tops.select(id=cell(self._grouping.ids), id_sku=cell(self._sku)).drop_nulls())

    def tell(self, found: Survey, read: Read) -> None:
        if self._grouping.ids is not None:
            found.ids = pl.concat(self._ids).unique("id", keep="first", maintain_order=True)
        found.parents = parent_keys(self._refs, found.ids)
        if self._nameless and self._name is not None:
            found.parents = with_names(read, found.parents, self._sku, self._name, self._grouping.by)
