"""Small changes to a column's cells before they are parsed: part of the confirmed mapping, travelling as JSON.

A column has a list of steps, applied in order to its trimmed cells. Each is an object that names its ``op``. What a
step cannot do with a cell rejects the record; it never guesses.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Constant(_Step):
    """Every record has this value, whatever the cell holds."""

    op: Literal["constant"] = "constant"
    value: str = Field(min_length=1)


class Default(_Step):
    """Records whose cell is empty have this value."""

    op: Literal["default"] = "default"
    value: str = Field(min_length=1)


class Trim(_Step):
    """Takes characters off both ends; without ``characters`` white space, also repeated white space within."""

    op: Literal["trim"] = "trim"
    characters: str | None = Field(None, min_length=1)


class Replace(_Step):
    """Replaces every occurrence of ``find``; with ``regex`` (no look-around) ``replacement`` may use ``$1``."""

    op: Literal["replace"] = "replace"
    find: str = Field(min_length=1)
    replacement: str = ""
    regex: bool = False


class Split(_Step):
    """Keeps one part of the cell; ``part`` counts from 1, from the end where negative. No such part: empty."""

    op: Literal["split"] = "split"
    separator: str = Field(min_length=1)
    part: int = 1

    @model_validator(mode="after")
    def _counts(self) -> Split:
        if self.part == 0:
            raise ValueError("part counts from 1, or from the end with -1")
        return self


class Join(_Step):
    """Puts cells of other columns (0-based) behind this column's, empty ones left out."""

    op: Literal["join"] = "join"
    columns: tuple[int, ...] = Field(min_length=1)
    separator: str = " "


class ValueMap(_Step):
    """Replaces whole cells, compared without case; ``otherwise`` says what becomes of cells it does not name."""

    op: Literal["map"] = "map"
    values: dict[str, str] = Field(min_length=1)
    otherwise: Literal["keep", "empty", "reject"] = "keep"


class Prefix(_Step):
    """Puts text before every filled cell."""

    op: Literal["prefix"] = "prefix"
    text: str = Field(min_length=1)


class Suffix(_Step):
    """Puts text behind every filled cell."""

    op: Literal["suffix"] = "suffix"
    text: str = Field(min_length=1)


class Case(_Step):
    """Writes cells in lower case, upper case, or with every word's first letter large."""

    op: Literal["case"] = "case"
    to: Literal["lower", "upper", "title"]


class Date(_Step):
    """Writes dates as ISO 8601 (``2024-12-31``); ``order`` says how the file writes them. Others are rejected."""

    op: Literal["date"] = "date"
    order: Literal["DMY", "MDY", "YMD"]


Transform = Annotated[
    Constant | Default | Trim | Replace | Split | Join | ValueMap | Prefix | Suffix | Case | Date,
    Field(discriminator="op"),
]


def problem_of(step: Transform, width: int) -> tuple[str, str] | None:
    """Why a step cannot be applied to a file of ``width`` columns, and the fix; None where it can."""
    if isinstance(step, Join) and any(not 0 <= index < width for index in step.columns):
        return f"joins a column that does not exist: the file has {width}", f"Use numbers from 0 to {width - 1}."
    if isinstance(step, Replace) and step.regex:
        import polars as pl

        try:
            pl.select(pl.lit("").str.replace_all(step.find, step.replacement))
        except pl.exceptions.PolarsError as error:
            return f"has no valid regular expression: {str(error).splitlines()[0]}", "Correct it, or leave `regex` out."
    return None
