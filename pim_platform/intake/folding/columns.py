"""The columns that folding works on: those of the file, and behind them what only groups can tell."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pim_platform.intake.folding.cells import index_of, raw, raws, sku_index
from pim_platform.intake.mapping.grouping import MADE_BY_GROUPING, Style
from pim_platform.intake.mapping.models import ColumnMapping, Mapping

#: Stands between the images of a product in one cell; no URL and no file name holds it.
BETWEEN_IMAGES = "\x1f"

#: A row that fills none of these, nor the SKU, is no variant: it continues the product of its group.
_OWN_TARGETS = frozenset({"gtin", "price", "compare_at_price", "cost", "stock_quantity", "option_value"})
#: What a style tells of every record; the others tell all of :data:`MADE_BY_GROUPING`.
_TOLD: dict[Style, tuple[str, ...]] = {
    "handle": ("kind", "variant_group"),
    "group": ("kind", "variant_group"),
    "locale": (),
}


class Columns:
    """The columns of one file under one mapping, with those that its groupings make."""

    def __init__(self, mapping: Mapping, headers: Sequence[str], locales: Sequence[str]) -> None:
        self.headers = headers
        self.width = len(headers)
        self.sku = sku_index(mapping)
        self.name = index_of(mapping, "name")
        self.own = [column.index for column in mapping.active_columns if column.target in _OWN_TARGETS]
        """Columns of which a row that is a record of its own fills one."""
        self.by_locale: dict[tuple[int, str], int] = {}
        """The column made for a column of the file and a locale."""
        self._made: dict[str, int] = {}
        self.mapping = self._extended(mapping, locales)
        """The mapping for the columns of the file and those that are made."""

    @property
    def file(self) -> list[str]:
        """Names of the file's own columns."""
        return raws(range(self.width))

    @property
    def made(self) -> list[str]:
        """Names of the columns that groupings make."""
        return raws(self._made.values())

    def told(self, values: dict[str, pl.Expr]) -> list[pl.Expr]:
        """The made columns of some fields, with their values."""
        return [value.alias(raw(self._made[name])) for name, value in values.items()]

    def merged(self, frame: pl.DataFrame, group: pl.Expr) -> pl.DataFrame | None:
        """Rows that became part of the record ``_into``, laid out as ``Part.merged``; None where there are none."""
        if not frame.height:
            return None
        return frame.select("row", pl.col("_into").alias("into"), group.alias("variant_group"), *self.file)

    def rejected(
        self,
        bad: pl.DataFrame,
        frame: pl.DataFrame,
        *,
        column: int,
        value: pl.Expr,
        code: str,
        error: pl.Expr,
        fix: str,
    ) -> pl.DataFrame:
        """``bad`` and the rows of ``frame``, rejected for what stands in ``column``, in the order of the file."""
        if not frame.height:
            return bad
        told = {
            "column": pl.lit(self.headers[column]),
            "value": value,
            "error_code": pl.lit(code),
            "error": error,
            "suggestion": pl.lit(fix),
        }
        return pl.concat([bad, frame.with_columns(**told).select("row", *told, *self.file)]).sort("row")

    def _extended(self, mapping: Mapping, locales: Sequence[str]) -> Mapping:
        made: dict[str, ColumnMapping] = {}
        for grouping in mapping.groupings:
            for name in _TOLD.get(grouping.style, MADE_BY_GROUPING):
                made[name] = self._column(name)
            if grouping.images_field is not None and grouping.style == "handle":
                made[grouping.images_field] = self._column(grouping.images_field)
        split = self._split(mapping, locales)
        replaced = {index for index, _ in self.by_locale if index != self.name}
        yields = set(made) & set(MADE_BY_GROUPING)  # a list of images may be fed by several columns
        kept = [
            column
            for column in mapping.columns
            if column.ignored or (column.field not in yields and column.index not in replaced)
        ]
        return mapping.model_copy(update={"columns": (*kept, *made.values(), *split)})

    def _split(self, mapping: Mapping, locales: Sequence[str]) -> list[ColumnMapping]:
        """A column for every locale of every column that has values per locale."""
        split = []
        for grouping in (grouping for grouping in mapping.groupings if grouping.style == "locale"):
            for column in mapping.active_columns:
                if column.index not in grouping.localized:
                    continue
                field_name = grouping.names_field if column.field == "name" else column.field
                for locale in locales if field_name else ():
                    index = self._made.setdefault(f"{column.index} {locale}", self.width + len(self._made))
                    self.by_locale[column.index, locale] = index
                    update = {"index": index, "locale": locale, "field": field_name, "target": "attribute"}
                    split.append(column.model_copy(update=update))
        return split

    def _column(self, name: str) -> ColumnMapping:
        index = self._made.setdefault(name, self.width + len(self._made))
        return ColumnMapping(
            source=name,
            index=index,
            target="variant_group" if name == "variant_group" else "attribute",
            field=name,
            type="string" if name in MADE_BY_GROUPING else "array",
            separator=None if name in MADE_BY_GROUPING else BETWEEN_IMAGES,
        )
