"""Several rows of one SKU, one per locale: one record with a column per locale."""

from __future__ import annotations

import polars as pl

from pim_platform.intake.folding.cells import cell, group_key, own_id, raw
from pim_platform.intake.folding.columns import Columns
from pim_platform.intake.folding.part import Part
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.readers.rows import SHOWN

#: Language, script and region of BCP 47, also with the underscores of Java and gettext.
_LOCALE = r"^(?<language>[A-Za-z]{2,3})(?:[-_](?<script>[A-Za-z]{4}))?(?:[-_](?<region>[A-Za-z]{2}|[0-9]{3}))?$"


def fold_locales(part: Part, grouping: Grouping, columns: Columns, default_locale: str | None) -> Part:
    """Merge the rows of a SKU into that of the default locale, or the nearest to it; reject what names no locale."""
    assert grouping.locale is not None
    named = part.frame.with_columns(_locale=locale_of(grouping.locale, default_locale), _key=group_key(grouping))
    wrong = pl.col("_locale").is_null() & pl.col("_key").is_not_null()
    frame = named.filter(~wrong).with_columns(_id=own_id("_key"))
    others = [index for index in range(columns.width) if index not in (grouping.locale, grouping.by)]
    per_locale = [
        cell(index).filter(pl.col("_locale") == locale).drop_nulls().last().alias(raw(made))
        for (index, locale), made in columns.by_locale.items()
    ]
    groups = frame.group_by("_id").agg(
        pl.col("row").sort_by(_distance(default_locale), "row").first().alias("_into"),
        *[cell(index).first(ignore_nulls=True).alias(f"_given.{index}") for index in others],
        *per_locale,
    )
    frame = frame.join(groups, on="_id", how="left", maintain_order="left")
    kept = frame.filter(pl.col("row") == pl.col("_into"))
    filled_in = kept.with_columns(pl.coalesce(cell(index), f"_given.{index}").alias(raw(index)) for index in others)
    return Part(
        filled_in.drop("_locale", "_key", "_id", "_into", *[f"_given.{index}" for index in others]),
        _with_strange(part.bad, named.filter(wrong), grouping.locale, columns),
        part.bytes_read,
        kept.select("row", *columns.file),
        columns.merged(frame.filter(pl.col("row") != pl.col("_into")), pl.lit(None, pl.String)),
    )


def locale_of(index: int, default: str | None) -> pl.Expr:
    """The row's locale in the spelling of BCP 47; ``default`` where the cell is empty, null where it is none."""
    named = cell(index)
    parts = named.str.extract_groups(_LOCALE)
    language, script, region = (parts.struct.field(name) for name in ("language", "script", "region"))
    spelled = [language.str.to_lowercase(), script.str.to_titlecase(), region.str.to_uppercase()]
    known = pl.concat_str([pl.when(part != "").then(part) for part in spelled], separator="-", ignore_nulls=True)
    return pl.when(named.is_null()).then(pl.lit(default, pl.String)).when(language.is_not_null()).then(known)


def _distance(default_locale: str | None) -> pl.Expr:
    """How far a row's locale is from the one whose values stand for all: the same, its language, another."""
    wanted = default_locale or ""
    same, language = pl.col("_locale") == wanted, pl.col("_locale").str.starts_with(wanted.split("-")[0])
    return pl.when(same).then(pl.lit(0, pl.Int8)).when(language).then(pl.lit(1, pl.Int8)).otherwise(pl.lit(2, pl.Int8))


def _with_strange(bad: pl.DataFrame, strange: pl.DataFrame, index: int, columns: Columns) -> pl.DataFrame:
    value = cell(index).str.slice(0, SHOWN)
    return columns.rejected(
        bad,
        strange,
        column=index,
        value=value,
        code="not_a_locale",
        error=pl.concat_str(
            pl.lit(f"{columns.headers[index]}: '"), value, pl.lit("', expected a locale such as en-US or de")
        ),
        fix="write language and region, or group by another column",
    )
