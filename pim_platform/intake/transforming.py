"""The steps of :mod:`pim_platform.intake.mapping.transforms` as Polars expressions."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.mapping import transforms as steps
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.values import clean

#: Day, month and year of a date; a time of day behind it is left out.
_DATES = {
    "DMY": r"^(?<d>\d{1,2})[./\- ](?<m>\d{1,2})[./\- ](?<y>\d{4}|\d{2})(?:[ T]\d.*)?$",
    "MDY": r"^(?<m>\d{1,2})[./\- ](?<d>\d{1,2})[./\- ](?<y>\d{4}|\d{2})(?:[ T]\d.*)?$",
    "YMD": r"^(?<y>\d{4})[./\- ]?(?<m>\d{1,2})[./\- ]?(?<d>\d{1,2})(?:[ T]\d.*)?$",
}
_ISO = r"^(?<y>\d{4})-(?<m>\d{1,2})-(?<d>\d{1,2})(?:[ T]\d.*)?$"


def transformed(column: ColumnMapping, text: pl.Expr) -> pl.Expr:
    """The column's trimmed cells after its steps, trimmed again; null where a step failed or nothing is left."""
    for step in column.transform:
        text = clean(_EXPRESSIONS[step.op](text, step))
    return text


def failed(column: ColumnMapping, text: pl.Expr) -> pl.Expr | None:
    """Where a step that can fail did so; None where no step of the column can."""
    bad: pl.Expr | None = None
    for step in column.transform:
        after = clean(_EXPRESSIONS[step.op](text, step))
        if isinstance(step, steps.Date) or (isinstance(step, steps.ValueMap) and step.otherwise == "reject"):
            this = text.is_not_null() & after.is_null()
            bad = this if bad is None else bad | this
        text = after
    return bad


def can_fail(column: ColumnMapping) -> bool:
    """Whether a step of the column rejects cells that it cannot change."""
    return any(
        isinstance(step, steps.Date) or (isinstance(step, steps.ValueMap) and step.otherwise == "reject")
        for step in column.transform
    )


def expected(column: ColumnMapping) -> str:
    """What a cell must be for the column's steps, in words."""
    for step in column.transform:
        if isinstance(step, steps.Date):
            return f"a date in the order {step.order}"
        if isinstance(step, steps.ValueMap) and step.otherwise == "reject":
            return "one of " + ", ".join(repr(value) for value in list(step.values)[:12])
    return "a value"


def _constant(text: pl.Expr, step: steps.Constant) -> pl.Expr:
    return pl.lit(step.value)


def _default(text: pl.Expr, step: steps.Default) -> pl.Expr:
    return text.fill_null(step.value)


def _trim(text: pl.Expr, step: steps.Trim) -> pl.Expr:
    return text.str.strip_chars(step.characters) if step.characters else text.str.replace_all(r"\s+", " ")


def _replace(text: pl.Expr, step: steps.Replace) -> pl.Expr:
    return text.str.replace_all(step.find, step.replacement, literal=not step.regex)


def _split(text: pl.Expr, step: steps.Split) -> pl.Expr:
    parts = text.str.split(step.separator)
    return parts.list.get(step.part - 1 if step.part > 0 else step.part, null_on_oob=True)


def _join(text: pl.Expr, step: steps.Join) -> pl.Expr:
    others = [clean(pl.col(f"{RAW_PREFIX}{index}")) for index in step.columns]
    joined = pl.concat_str([text, *others], separator=step.separator, ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _map(text: pl.Expr, step: steps.ValueMap) -> pl.Expr:
    known = {key.strip().lower(): value for key, value in step.values.items()}
    keep = text if step.otherwise == "keep" else pl.lit(None, dtype=pl.String)
    lower = text.str.to_lowercase()
    found = lower.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
    return pl.when(lower.is_in(list(known))).then(found).otherwise(keep)


def _prefix(text: pl.Expr, step: steps.Prefix) -> pl.Expr:
    return pl.concat_str(pl.lit(step.text), text)


def _suffix(text: pl.Expr, step: steps.Suffix) -> pl.Expr:
    return pl.concat_str(text, pl.lit(step.text))


def _case(text: pl.Expr, step: steps.Case) -> pl.Expr:
    if step.to == "title":
        return text.str.to_titlecase()
    return text.str.to_lowercase() if step.to == "lower" else text.str.to_uppercase()


def _date(text: pl.Expr, step: steps.Date) -> pl.Expr:
    found = [text.str.extract_groups(pattern) for pattern in (_DATES[step.order], _ISO)]
    year, month, day = (pl.coalesce(groups.struct.field(part) for groups in found) for part in "ymd")
    # Two digits are a year of this century up to 68, as POSIX strptime reads them.
    number = year.cast(pl.Int32)
    century = pl.when(number < 69).then(2000).otherwise(1900)
    full = pl.when(year.str.len_chars() == 4).then(number).otherwise(number + century)
    iso = pl.concat_str(full, month.str.zfill(2), day.str.zfill(2), separator="-")
    return iso.str.to_date("%Y-%m-%d", strict=False).dt.to_string("%Y-%m-%d")


_EXPRESSIONS: dict[str, Callable[..., pl.Expr]] = {
    "constant": _constant, "default": _default, "trim": _trim, "replace": _replace, "split": _split, "join": _join,
    "map": _map, "prefix": _prefix, "suffix": _suffix, "case": _case, "date": _date,
}  # fmt: skip
