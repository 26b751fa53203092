"""Records that belong together: rows of one product folded into its records, products linked into groups.

A confirmed :class:`~pim_platform.intake.mapping.grouping.Grouping` says which rows of a file make one product. It is
applied to the cells before they are parsed, so that types, validation, hash and merge need not know of it: empty
cells take what the group gives, and what only the group can tell (``kind``, ``variant_group``, the parent's SKU, all
images of a product, the values per locale) stands in further columns behind those of the file, which the mapping of
:class:`Folding` names like any other. A row that carries no identity of its own is *merged*: counted, kept with the
number of the record it became part of, and never staged.

The file is read twice. The first reading notes per group only where it begins and ends; in the second, a group is
held back until it is complete. Groups whose rows lie apart are written aside and folded at the end, some buckets of
whole groups at a time. So memory depends neither on the file nor on the order of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import BadInput
from pim_platform.intake.mapping.grouping import MADE_BY_GROUPING, Grouping
from pim_platform.intake.mapping.models import ColumnMapping, Mapping
from pim_platform.intake.readers.rows import SHOWN
from pim_platform.intake.values import clean

if TYPE_CHECKING:
    from pim_platform.intake.readers.delimited import Batch

#: Rows a group may have; more belong to a column that names no product. It bounds the memory of one group.
GROUP_ROWS = 100_000
#: Locales that a file may have: each gives a column to every text.
MAX_LOCALES = 200
#: Files that scattered groups are divided into, at most.
_BUCKETS = 64
#: Noted rows after which what was noted is summed up.
_NOTED = 2_000_000

#: Stands between the images of a product in one cell; no URL and no file name holds it.
_BETWEEN_IMAGES = "\x1f"
#: Levels of products above a variant whose names are looked for: groups of groups are rare, circles are slips.
_LEVELS = 4

#: A row that fills none of these, nor the SKU, is no variant: it continues the product of its group.
_OWN_TARGETS = frozenset({"gtin", "price", "compare_at_price", "cost", "stock_quantity", "option_value"})

#: Words for product types as shops write them: WooCommerce, Magento and UnoPim, Amazon (also in German), Odoo.
_PARENT_TYPES = r"\b(variable|configurable|parent|master|vater)\b"
_BUNDLE_TYPES = r"\b(bundle|grouped|kit)\b"
#: Language, script and region of BCP 47, also with the underscores of Java and gettext.
_LOCALE = r"^(?<language>[A-Za-z]{2,3})(?:[-_](?<script>[A-Za-z]{4}))?(?:[-_](?<region>[A-Za-z]{2}|[0-9]{3}))?$"
#: WooCommerce names a parent by its id where it has no SKU (WC_Product_CSV_Importer::parse_relative_field).
_BY_ID = r"^id:\s*(\d+)$"


@dataclass(frozen=True)
class Part:
    """Some records of a file, folded: ``read`` = rows of ``frame`` + ``merged`` + ``bad``."""

    frame: pl.DataFrame
    """``row`` and cells with what the group gives; ``raw.<n>`` behind the file's own hold what only the group tells."""
    bad: pl.DataFrame
    """Records that are no rows, in the reject layout of :mod:`pim_platform.catalog.staged`."""
    bytes_read: int
    cells: pl.DataFrame | None = None
    """``row`` and the cells of ``frame`` as the file has them; None where they are the same."""
    merged: pl.DataFrame | None = None
    """``row``, ``into`` (record it became part of), ``variant_group`` and the cells; None where there are none."""

    @property
    def read(self) -> int:
        """Records of the file that it stands for."""
        return self.frame.height + self.bad.height + (self.merged.height if self.merged is not None else 0)


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
        self._width = len(headers)
        self._headers = headers
        self._survey = survey
        self._siblings = pl.Series("siblings", list(siblings), pl.String)
        # Rows become one record before that record is linked to others.
        self._groupings = sorted(mapping.groupings, key=lambda grouping: not grouping.folds)
        self._default_locale = default_locale
        self._fold = next((grouping for grouping in mapping.groupings if grouping.folds), None)
        self._sku = _sku_index(mapping)
        self._name = _index_of(mapping, "name")
        self._own = [column.index for column in mapping.active_columns if column.target in _OWN_TARGETS]
        self._made: dict[str, int] = {}
        self._by_locale: dict[tuple[int, str], int] = {}
        self.mapping = self._extended(mapping)
        """The mapping for the columns of :attr:`Part.frame`: the given one and what only groups can tell."""

    def parts(self, batches: Iterable[Batch], scratch: Path, *, batch_rows: int = 65_536) -> Generator[Part]:
        """Fold the batches of the file that was surveyed; scattered groups come last. ``scratch`` is left clean."""
        if self._fold is None:
            for batch in batches:
                yield self._part(batch.frame, batch.bad, batch.bytes_read)
            return
        spans = _spans(self._survey)
        scattered = int(spans.filter("scattered")["size"].sum())
        aside = _Aside(scratch, min(_BUCKETS, -(-scattered // batch_rows)))
        waiting: list[pl.DataFrame] = []
        until = position = bytes_read = 0
        try:
            for batch in batches:
                bytes_read = batch.bytes_read
                frame = batch.frame.with_columns(_hash=_key(self._fold).hash())
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

    def _part(self, frame: pl.DataFrame, bad: pl.DataFrame | None, bytes_read: int) -> Part:
        frame = frame.select("row", *_raw(range(self._width)))
        none = bad if bad is not None else _no_rejects(frame)
        if not frame.height:
            empty = [pl.lit(None, pl.String).alias(f"{RAW_PREFIX}{index}") for index in self._made.values()]
            return Part(frame.with_columns(empty), none, bytes_read)
        part = Part(frame, none, bytes_read)
        for grouping in self._groupings:
            if grouping.style == "handle":
                part = self._handle(part, grouping)
            elif grouping.style == "nested":
                part = self._nested(part, grouping)
            elif grouping.style == "locale":
                part = self._locale(part, grouping)
            elif grouping.style == "parent":
                part = self._parent(part, grouping)
            elif grouping.style == "group":
                part = self._group(part, grouping)
        columns = [*_raw(range(self._width)), *_raw(self._made.values())]
        return replace(part, frame=part.frame.select("row", *columns))

    def _locale(self, part: Part, grouping: Grouping) -> Part:
        assert grouping.locale is not None
        locale = _locale_of(grouping.locale, self._default_locale)
        frame = part.frame.with_columns(_locale=locale, _key=_key(grouping))
        wrong = pl.col("_locale").is_null() & pl.col("_key").is_not_null()
        bad = part.bad
        strange = frame.filter(wrong)
        if strange.height:
            bad = pl.concat([bad, self._strange(strange, grouping.locale)]).sort("row")
            frame = frame.filter(~wrong)
        frame = frame.with_columns(_id=pl.coalesce("_key", pl.concat_str(pl.lit("\x1f"), "row")))
        base = pl.col("row").sort_by(self._distance(), "row").first()
        others = [index for index in range(self._width) if index not in (grouping.locale, grouping.by)]
        per_locale = [
            _cell(index).filter(pl.col("_locale") == locale).drop_nulls().last().alias(f"{RAW_PREFIX}{made}")
            for (index, locale), made in self._by_locale.items()
        ]
        groups = frame.group_by("_id").agg(
            base.alias("_into"),
            *[_cell(index).first(ignore_nulls=True).alias(f"_given.{index}") for index in others],
            *per_locale,
        )
        frame = frame.join(groups, on="_id", how="left", maintain_order="left")
        kept = frame.filter(pl.col("row") == pl.col("_into"))
        folded = frame.filter(pl.col("row") != pl.col("_into"))
        merged = folded.select(
            "row",
            pl.col("_into").alias("into"),
            pl.lit(None, pl.String).alias("variant_group"),
            *_raw(range(self._width)),
        )
        filled_in = kept.with_columns(
            pl.coalesce(_cell(index), f"_given.{index}").alias(f"{RAW_PREFIX}{index}") for index in others
        )
        cells = kept.select("row", *_raw(range(self._width)))
        filled_in = filled_in.drop("_locale", "_key", "_id", "_into", *[f"_given.{index}" for index in others])
        return Part(filled_in, bad, part.bytes_read, cells, merged if merged.height else None)

    def _distance(self) -> pl.Expr:
        """How far a row's locale is from the one whose values stand for all: the same, its language, another."""
        wanted = self._default_locale or ""
        same, language = pl.col("_locale") == wanted, pl.col("_locale").str.starts_with(wanted.split("-")[0])
        return (
            pl.when(same).then(pl.lit(0, pl.Int8)).when(language).then(pl.lit(1, pl.Int8)).otherwise(pl.lit(2, pl.Int8))
        )

    def _strange(self, frame: pl.DataFrame, index: int) -> pl.DataFrame:
        header, value = self._headers[index], _cell(index).str.slice(0, SHOWN)
        told = {
            "column": pl.lit(header),
            "value": value,
            "error_code": pl.lit("not_a_locale"),
            "error": pl.concat_str(pl.lit(f"{header}: '"), value, pl.lit("', expected a locale such as en-US or de")),
            "suggestion": pl.lit("write language and region, or group by another column"),
        }
        return frame.with_columns(**told).select("row", *told, *_raw(range(self._width)))

    def _handle(self, part: Part, grouping: Grouping) -> Part:
        given = part.frame
        by_sku = grouping.by == self._sku
        filled = pl.any_horizontal([_cell(index).is_not_null() for index in self._own] or [pl.lit(False)])
        frame = given.with_columns(
            _group=_cell(grouping.by),
            _sku=_cell(self._sku).is_not_null(),
            _own=filled,
        ).with_columns(_id=pl.coalesce("_group", pl.concat_str(pl.lit("\x1f"), "row")))
        first = pl.col("row") == pl.col("row").min().over("_id")
        frame = frame.with_columns(
            _record=pl.col("_group").is_null() | (first if by_sku else pl.col("_sku") | pl.col("_own")),
        )
        identified = pl.col("_record") & pl.col("_sku")
        images = _cell(grouping.images) if grouping.images is not None else pl.lit(None, pl.String)
        if grouping.position is not None:  # rows come in the order of the file
            number = _cell(grouping.position).cast(pl.Float64, strict=False)
            images = images.sort_by(number, "row", nulls_last=True)
        groups = frame.group_by("_id").agg(
            *[_cell(index).first(ignore_nulls=True).alias(f"_given.{index}") for index in grouping.inherited],
            _into=pl.col("row").filter(identified).min(),
            _records=pl.col("_record").sum(),
            _images=images.drop_nulls().unique(maintain_order=True),
        )
        frame = frame.join(groups, on="_id", how="left", maintain_order="left")
        continues = ~pl.col("_record") & pl.col("_into").is_not_null()
        # A row without SKU stays what it is, a record without SKU, unless the row that lacks it stands before it.
        lost = ~pl.col("_record") & pl.col("_into").is_null() & ~first
        merged = frame.filter(continues).select(
            "row", pl.col("_into").alias("into"), pl.col("_group").alias("variant_group"), *_raw(range(self._width))
        )
        bad = part.bad
        orphans = frame.filter(lost)
        if orphans.height:
            bad = pl.concat([bad, self._orphans(orphans, grouping)]).sort("row")
        kept = frame.filter(~(continues | lost))
        several = (pl.col("_records") > 1) | pl.col("_group").is_in(self._siblings.implode())
        kind = pl.lit("simple") if by_sku else pl.when(several).then(pl.lit("variant")).otherwise(pl.lit("simple"))
        made: dict[str, pl.Expr] = {"kind": kind, "variant_group": pl.col("_group")}
        if grouping.images_field is not None:
            texts = pl.col("_images").list.join(_BETWEEN_IMAGES)
            made[grouping.images_field] = pl.when(texts != "").then(texts)
        filled_in = kept.with_columns(
            *[
                pl.coalesce(_cell(index), f"_given.{index}").alias(f"{RAW_PREFIX}{index}")
                for index in grouping.inherited
            ],
            *self._made_columns(made),
        )
        cells = kept.select("row", *_raw(range(self._width)))
        return Part(filled_in, bad, part.bytes_read, cells, merged if merged.height else None)

    def _nested(self, part: Part, grouping: Grouping) -> Part:
        variant = pl.any_horizontal([_cell(index).is_not_null() for index in grouping.variants] or [pl.lit(False)])
        sku = _cell(self._sku)
        levels = {inner: outer for outer, inner in grouping.levels}
        if self._sku in levels:  # a variant without SKU does not have its product's
            sku = pl.when("_variant").then(sku).otherwise(_cell(levels[self._sku]))
        frame = part.frame.with_columns(_group=_cell(grouping.by), _variant=variant)
        frame = frame.with_columns(
            _id=pl.coalesce("_group", pl.concat_str(pl.lit("\x1f"), "row")), _sku=sku, _key=sku_key_expr(sku)
        )
        groups = frame.group_by("_id").agg(
            _variants=pl.col("_variant").sum(),
            _into=pl.col("row").filter(pl.col("_variant") & pl.col("_key").is_not_null()).min(),
            _parent=pl.col("_sku").filter(~pl.col("_variant")).drop_nulls().first(),
            _keys=pl.col("_key").filter("_variant"),
        )
        frame = frame.join(groups, on="_id", how="left", maintain_order="left")
        # The SKU of the product is often that of its only variant: they are one then.
        own = sku_key_expr(pl.col("_parent"))
        frame = frame.with_columns(
            _parent=pl.when(~pl.col("_keys").list.contains(own).fill_null(False)).then("_parent")
        )
        continues = ~pl.col("_variant") & pl.col("_parent").is_null() & pl.col("_into").is_not_null()
        merged = frame.filter(continues).select(
            "row", pl.col("_into").alias("into"), pl.col("_group").alias("variant_group"), *_raw(range(self._width))
        )
        kept = frame.filter(~continues)
        has_parent = pl.col("_parent").is_not_null()
        several = (pl.col("_variants") > 1) | pl.col("_group").is_in(self._siblings.implode())
        kind = (
            pl.when(pl.col("_variant") & (has_parent | several))
            .then(pl.lit("variant"))
            .when(~pl.col("_variant") & has_parent & (pl.col("_variants") > 0))
            .then(pl.lit("parent"))
            .otherwise(pl.lit("simple"))
        )
        made = self._made_columns(
            {
                "kind": kind,
                "variant_group": pl.coalesce("_parent", "_group"),
                "parent_sku": pl.when("_variant").then("_parent"),
            }
        )
        taken = [
            pl.coalesce(_cell(inner), _cell(outer)).alias(f"{RAW_PREFIX}{index}")
            for outer, inner in grouping.levels
            for index in (outer, inner)
            if self._sku not in (outer, inner)
        ]
        filled_in = kept.with_columns(pl.col("_sku").alias(f"{RAW_PREFIX}{self._sku}"), *taken, *made)
        cells = kept.select("row", *_raw(range(self._width)))
        return Part(filled_in, part.bad, part.bytes_read, cells, merged if merged.height else None)

    def _orphans(self, frame: pl.DataFrame, grouping: Grouping) -> pl.DataFrame:
        header = self._headers[self._sku]
        named = pl.concat_str(
            pl.lit(f"{header}: empty, expected a SKU in some row of {self._headers[grouping.by]} '"),
            "_group",
            pl.lit("', which this row belongs to"),
        )
        told = {
            "column": pl.lit(header),
            "value": pl.lit(None, pl.String),
            "error_code": pl.lit("missing_sku"),
            "error": named,
            "suggestion": pl.lit("fill in the SKU in the first row of this product; leave this row below it"),
        }
        return frame.with_columns(**told).select("row", *told, *_raw(range(self._width)))

    def _parent(self, part: Part, grouping: Grouping) -> Part:
        survey = self._survey
        assert survey.parents is not None
        frame = part.frame.with_columns(_ref=parent_ref(grouping.by), _key=sku_key_expr(_cell(self._sku)))
        if survey.ids is not None:
            frame = frame.with_columns(_id=_id_of(pl.col("_ref"), survey.ids)).join(
                survey.ids, left_on="_id", right_on="id", how="left", maintain_order="left"
            )
            by_id = pl.col("_id").is_not_null()
            frame = frame.with_columns(_parent=pl.when(by_id).then("id_sku").otherwise("_ref"))
        else:
            frame = frame.with_columns(_parent=pl.col("_ref"))
        frame = frame.with_columns(parent_key=sku_key_expr(pl.col("_parent")))
        frame = frame.with_columns(
            _child=pl.col("_ref").is_not_null() & ~pl.col("parent_key").eq_missing(pl.col("_key"))
        ).join(survey.parents, on="parent_key", how="left", maintain_order="left")
        known = _cell(grouping.kinds).str.to_lowercase() if grouping.kinds is not None else pl.lit("", pl.String)
        named = pl.col("_key").is_in(survey.parents["parent_key"].implode())
        is_parent = (named | known.str.contains(_PARENT_TYPES)).fill_null(False)
        bundle = known.str.contains(_BUNDLE_TYPES).fill_null(False)
        kind = (
            pl.when("_child")
            .then(pl.lit("variant"))
            .when(is_parent)
            .then(pl.lit("parent"))
            .when(bundle)
            .then(pl.lit("bundle"))
            .otherwise(pl.lit("simple"))
        )
        own = pl.when(is_parent).then(_cell(self._sku))
        made = {
            "kind": kind,
            "variant_group": pl.when("_child").then(pl.coalesce("_parent", "_ref")).otherwise(own),
            "parent_sku": pl.when("_child").then("_parent"),
        }
        columns = self._made_columns(made)
        cells = part.frame if part.cells is None else part.cells
        if self._name is not None and "parent_name" in survey.parents.columns:
            name = pl.when("_child").then(pl.coalesce(_cell(self._name), "parent_name")).otherwise(_cell(self._name))
            columns.append(name.alias(f"{RAW_PREFIX}{self._name}"))
        return Part(
            frame.with_columns(columns),
            part.bad,
            part.bytes_read,
            cells.select("row", *_raw(range(self._width))),
            part.merged,
        )

    def _group(self, part: Part, grouping: Grouping) -> Part:
        assert self._survey.sizes is not None
        frame = part.frame.with_columns(_group=_cell(grouping.by), _hash=_key(grouping).hash())
        frame = frame.join(self._survey.sizes, left_on="_hash", right_on="hash", how="left", maintain_order="left")
        several = (pl.col("skus") > 1) | pl.col("_group").is_in(self._siblings.implode())
        kind = pl.when(pl.col("_group").is_not_null() & several).then(pl.lit("variant")).otherwise(pl.lit("simple"))
        made = self._made_columns({"kind": kind, "variant_group": pl.col("_group")})
        return Part(frame.with_columns(made), part.bad, part.bytes_read, part.cells, part.merged)

    def _made_columns(self, made: dict[str, pl.Expr]) -> list[pl.Expr]:
        return [value.alias(f"{RAW_PREFIX}{self._made[name]}") for name, value in made.items()]

    def _extended(self, mapping: Mapping) -> Mapping:
        made: dict[str, ColumnMapping] = {}
        for grouping in mapping.groupings:
            fields = {"handle": ("kind", "variant_group"), "group": ("kind", "variant_group"), "locale": ()}.get(
                grouping.style, MADE_BY_GROUPING
            )
            for name in fields:
                made[name] = self._column(name)
            if grouping.images_field is not None and grouping.style == "handle":
                made[grouping.images_field] = self._column(grouping.images_field)
        split = self._split(mapping)
        replaced = {index for index, _ in self._by_locale if index != self._name}
        yields = set(made) & set(MADE_BY_GROUPING)  # a list of images may be fed by several columns
        kept = [
            column
            for column in mapping.columns
            if column.ignored or (column.field not in yields and column.index not in replaced)
        ]
        return mapping.model_copy(update={"columns": (*kept, *made.values(), *split)})

    def _split(self, mapping: Mapping) -> list[ColumnMapping]:
        """A column for every locale of every column that has values per locale."""
        split = []
        for grouping in (grouping for grouping in mapping.groupings if grouping.style == "locale"):
            for column in mapping.active_columns:
                if column.index not in grouping.localized:
                    continue
                field_name = grouping.names_field if column.field == "name" else column.field
                for locale in self._survey.locales if field_name else ():
                    index = self._made.setdefault(f"{column.index} {locale}", self._width + len(self._made))
                    self._by_locale[column.index, locale] = index
                    update = {"index": index, "locale": locale, "field": field_name, "target": "attribute"}
                    split.append(column.model_copy(update=update))
        return split

    def _column(self, name: str) -> ColumnMapping:
        index = self._made.setdefault(name, self._width + len(self._made))
        return ColumnMapping(
            source=name,
            index=index,
            target="variant_group" if name == "variant_group" else "attribute",
            field=name,
            type="string" if name in MADE_BY_GROUPING else "array",
            separator=None if name in MADE_BY_GROUPING else _BETWEEN_IMAGES,
        )


def survey(read: Callable[[], Iterable[Batch]], mapping: Mapping, default_locale: str | None = None) -> Survey:
    """Read a file once and note where the groups of its records lie.

    Raises :class:`BadInput` (``group_too_large``) where a column names no products but most of the file.
    """
    found = Survey()
    noted: dict[str, list[pl.DataFrame]] = {"spans": [], "sizes": [], "parents": [], "ids": []}
    sku, name = _sku_index(mapping), _index_of(mapping, "name")
    nameless = False
    locales: set[str] = set()
    position = 0
    for batch in read():
        frame = batch.frame
        for grouping in mapping.groupings:
            if grouping.folds:
                keys = frame.select(hash=_key(grouping).hash(), at=pl.int_range(pl.len()) + position, k=_key(grouping))
                spans = keys.filter(pl.col("k").is_not_null()).group_by("hash")
                noted["spans"].append(
                    spans.agg(first=pl.col("at").min(), last=pl.col("at").max(), size=pl.len().cast(pl.Int64))
                )
            if grouping.style == "locale" and grouping.locale is not None:
                named = frame.select(_locale_of(grouping.locale, default_locale)).to_series().drop_nulls().unique()
                locales.update(named)
            if grouping.style == "group":
                pairs = frame.select(hash=_key(grouping).hash(), sku=sku_key_expr(_cell(sku)).hash(), k=_key(grouping))
                noted["sizes"].append(pairs.filter(pl.col("k").is_not_null()).select("hash", "sku").unique())
            if grouping.style == "parent":
                refs = frame.select(ref=parent_ref(grouping.by), name=_cell(name) if name is not None else pl.lit(""))
                children = refs.filter(pl.col("ref").is_not_null())
                nameless = nameless or bool(children["name"].null_count())
                noted["parents"].append(children.select("ref").unique())
                if grouping.ids is not None:
                    ids = frame.filter(parent_ref(grouping.by).is_null() & _cell(sku).is_not_null())
                    noted["ids"].append(ids.select(id=_cell(grouping.ids), id_sku=_cell(sku)).drop_nulls())
        position += frame.height
        if len(locales) > MAX_LOCALES:
            raise BadInput(
                f"A column is to name the locale of each row, but it holds more than {MAX_LOCALES} locales.",
                fix="Leave the grouping by locale out, or name another column.",
                code="too_many_locales",
            )
        if sum(part.height for part in noted["spans"]) > _NOTED:
            noted["spans"] = [_summed(noted["spans"])]
        if sum(part.height for part in noted["sizes"]) > _NOTED:
            noted["sizes"] = [pl.concat(noted["sizes"]).unique()]
        noted["parents"] = [pl.concat(noted["parents"]).unique()] if noted["parents"] else []
    found.locales = sorted(locales)
    for grouping in mapping.groupings:
        if grouping.folds:
            found.spans = _summed(noted["spans"])
            largest = int(found.spans.select(pl.col("size").max()).item() or 0)
            if largest > GROUP_ROWS:
                raise BadInput(
                    f"Column {grouping.by + 1} is to say which rows make one product, but {largest:,} rows hold the "
                    "same value.",
                    fix="Group by the column that names the product, or leave the grouping out.",
                    code="group_too_large",
                    expected=f"at most {GROUP_ROWS:,} rows per product",
                )
        if grouping.style == "group":
            sizes = pl.concat(noted["sizes"] or [pl.DataFrame(schema={"hash": pl.UInt64, "sku": pl.UInt64})])
            found.sizes = sizes.unique().group_by("hash").agg(skus=pl.len())
        if grouping.style == "parent":
            found.ids = _ids(noted["ids"], grouping)
            found.parents = _parents(noted["parents"], found.ids)
            if nameless and name is not None:
                found.parents = _with_names(read, found.parents, sku, name, grouping.by)
    return found


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
    """
    if not mapping.groupings:
        return None
    return Folding(mapping, headers, survey(read, mapping, default_locale), siblings, default_locale)


class _Aside:
    """Rows of scattered groups on disk, divided so that each file holds whole groups."""

    def __init__(self, folder: Path, buckets: int) -> None:
        self._paths = [folder / f"scattered-{number:02d}.parquet" for number in range(buckets)]
        self._writers: dict[int, pq.ParquetWriter] = {}

    def write(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        bucket = (pl.col("_hash") % len(self._paths)).alias("_bucket")
        for (number,), part in frame.with_columns(bucket).partition_by("_bucket", as_dict=True).items():
            table = part.drop("_bucket").to_arrow(compat_level=pl.CompatLevel.oldest())
            if number not in self._writers:
                self._writers[number] = pq.ParquetWriter(self._paths[number], table.schema, compression="lz4")
            self._writers[number].write_table(table)

    def buckets(self) -> Iterator[pl.DataFrame]:
        self._close()
        for path in self._paths:
            if path.exists():
                yield pl.read_parquet(path).sort("row")
                path.unlink()

    def remove(self) -> None:
        self._close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _spans(found: Survey) -> pl.DataFrame:
    assert found.spans is not None
    apart = pl.col("last") - pl.col("first") + 1 > pl.col("size")
    return found.spans.select("hash", "last", "size", scattered=apart)


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema={"hash": pl.UInt64, "first": pl.Int64, "last": pl.Int64, "size": pl.Int64})
    return (
        pl.concat(parts)
        .group_by("hash")
        .agg(first=pl.col("first").min(), last=pl.col("last").max(), size=pl.col("size").sum())
    )


def _ids(parts: list[pl.DataFrame], grouping: Grouping) -> pl.DataFrame | None:
    if grouping.ids is None:
        return None
    known = pl.concat(parts) if parts else pl.DataFrame(schema={"id": pl.String, "id_sku": pl.String})
    return known.unique("id", keep="first", maintain_order=True)


def _id_of(ref: pl.Expr, ids: pl.DataFrame) -> pl.Expr:
    """The id that a reference names: behind ``id:``, or bare where it is the id of a row (Shopware) and no SKU."""
    is_sku = sku_key_expr(ref).is_in(ids.select(sku_key_expr(pl.col("id_sku"))).to_series().implode())
    bare = pl.when(ref.is_in(ids["id"].implode()) & ~is_sku).then(ref)
    return pl.coalesce(ref.str.extract(_BY_ID, 1), bare)


def _parents(parts: list[pl.DataFrame], ids: pl.DataFrame | None) -> pl.DataFrame:
    refs = pl.concat(parts) if parts else pl.DataFrame(schema={"ref": pl.String})
    if ids is not None:
        refs = refs.with_columns(id=_id_of(pl.col("ref"), ids)).join(ids, on="id", how="left")
        refs = refs.select(ref=pl.when(pl.col("id").is_not_null()).then("id_sku").otherwise("ref"))
    return refs.select(parent_key=sku_key_expr(pl.col("ref"))).drop_nulls().unique()


def _with_names(
    read: Callable[[], Iterable[Batch]], parents: pl.DataFrame, sku: int, name: int, by: int
) -> pl.DataFrame:
    """The parents with their names; one that has none either has that of its own parent, some levels up."""
    schema = dict.fromkeys(("parent_key", "parent_name", "above"), pl.String)
    found = [pl.DataFrame(schema=schema)]
    for batch in read():
        rows = batch.frame.select(
            parent_key=sku_key_expr(_cell(sku)), parent_name=_cell(name), above=sku_key_expr(parent_ref(by))
        )
        found.append(rows.join(parents, on="parent_key", how="semi"))
    known = pl.concat(found).unique("parent_key", keep="first", maintain_order=True)
    for _ in range(_LEVELS):
        names = known.select(above="parent_key", higher="parent_name", higher_above="above")
        known = known.join(names, on="above", how="left").select(
            "parent_key",
            parent_name=pl.coalesce("parent_name", "higher"),
            above=pl.when(pl.col("parent_name").is_null() & pl.col("higher").is_null()).then("higher_above"),
        )
    return parents.join(known.select("parent_key", "parent_name"), on="parent_key", how="left")


def _key(grouping: Grouping) -> pl.Expr:
    cell = _cell(grouping.by)
    return sku_key_expr(cell) if grouping.style == "locale" else cell


def _locale_of(index: int, default: str | None) -> pl.Expr:
    """The row's locale in the spelling of BCP 47; ``default`` where the cell is empty, null where it is none."""
    cell = _cell(index)
    parts = cell.str.extract_groups(_LOCALE)
    language, script, region = (parts.struct.field(name) for name in ("language", "script", "region"))
    spelled = [language.str.to_lowercase(), script.str.to_titlecase(), region.str.to_uppercase()]
    known = pl.concat_str([pl.when(part != "").then(part) for part in spelled], separator="-", ignore_nulls=True)
    return pl.when(cell.is_null()).then(pl.lit(default, pl.String)).when(language.is_not_null()).then(known)


def parent_ref(index: int) -> pl.Expr:
    """What a cell names as a row's parent; WordPress, Magento and PrestaShop write 0 where a record has none."""
    cell = _cell(index)
    return pl.when(cell != "0").then(cell)


def _cell(index: int) -> pl.Expr:
    return clean(pl.col(f"{RAW_PREFIX}{index}"))


def _raw(indexes: Iterable[int]) -> list[str]:
    return [f"{RAW_PREFIX}{index}" for index in indexes]


def _index_of(mapping: Mapping, field_name: str) -> int | None:
    column = mapping.column_of(field_name)
    return column.index if column is not None else None


def _sku_index(mapping: Mapping) -> int:
    index = _index_of(mapping, "sku")
    assert index is not None, "a mapping without SKU is refused before"
    return index


def _no_rejects(frame: pl.DataFrame) -> pl.DataFrame:
    texts = ("column", "value", "error_code", "error", "suggestion")
    return frame.head(0).select("row", *[pl.lit(None, pl.String).alias(text) for text in texts], pl.exclude("row"))
