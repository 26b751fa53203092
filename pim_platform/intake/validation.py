"""Rows are judged by Pandera, against a schema compiled from the tenant's fields and the mapping.

Every failure of every row is collected (lazy), then told in words: which column, which value, what
was expected, how to mend it. Pandera takes a second to import; only staging imports this module.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from pim_platform.catalog.staged import RAW_PREFIX, REJECT_COLUMNS
from pim_platform.intake.mapping.models import MULTI_VALUED_TYPES, ColumnMapping
from pim_platform.intake.plan import (
    FAILED_PREFIX,
    OK_PREFIX,
    ROUNDED_PREFIX,
    SEVERAL_PREFIX,
    Output,
    Plan,
    is_identifier,
)
from pim_platform.intake.readers.rows import SHOWN
from pim_platform.intake.transforming import can_fail, expected
from pim_platform.intake.values import PROBLEMS

#: Longest SKU in characters: it is part of a B-tree key, whose rows PostgreSQL limits to a third of a page.
MAX_SKU_LENGTH = 255

#: Columns that Pandera looks at together: it asks for the types of all columns once per column, so that a frame with
#: a column for each of a thousand fields took half a minute.
_TOGETHER = 50

#: What a product may be; the database holds the same.
KINDS = ("simple", "parent", "variant", "bundle")


@dataclass(frozen=True)
class Rule:
    """One check of one column, and the words for its failures."""

    column: str
    """Column of the batch that Pandera looks at."""
    check: str
    """Name of the check in Pandera's failure cases."""
    index: int
    """Source column."""
    code: str
    expected: str
    fix: str


@dataclass(frozen=True)
class Judged:
    """A batch after judgement: staged rows, rejects in their layout, and how often each code came up."""

    valid: pl.DataFrame
    rejects: pl.DataFrame
    reasons: Counter[str]


class Validator:
    """The compiled schema of one plan; make one per file."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rules: list[Rule] = []
        columns: dict[str, pa.Column] = {}
        for output in plan.outputs:
            first = output.columns[0]
            for column in output.columns:
                columns |= self._of_cells(output, column)
            if output.field == "sku":
                columns["sku"] = pa.Column(pl.String, pa.Check.str_length(max_value=MAX_SKU_LENGTH), nullable=False)
                self._add("sku", "not_nullable", first.index, "missing_sku", "a SKU", "fill in the SKU of this product")
                self._add(
                    "sku", "str_length", first.index, "sku_too_long", f"a SKU of at most {MAX_SKU_LENGTH} characters",
                    "shorten it, or map another column to sku",
                )  # fmt: skip
                continue
            if output.field == "kind":
                columns["kind"] = pa.Column(pl.String, pa.Check.isin(KINDS), nullable=True)
                self._add(
                    "kind", "isin", first.index, "unknown_kind", f"one of {', '.join(KINDS)}", "write one of these"
                )
                continue
            if output.required:
                columns[output.name] = pa.Column(None, nullable=False)
                fix = f"fill in the cell, or make {output.field!r} optional in the schema"
                self._add(output.name, "not_nullable", first.index, "missing_value", f"a value for {output.field}", fix)
            if output.type == "string":
                continue
            code, expected, fix = PROBLEMS[output.type]
            for column in output.columns:
                name = f"{OK_PREFIX}{column.index}"
                columns[name] = pa.Column(pl.Boolean, pa.Check.eq(True), nullable=False)
                self._add(
                    name, "equal_to", column.index, code, self._expected(column.index, expected, output.type), fix
                )
        names = list(columns)
        self._schemas = [
            pa.DataFrameSchema({name: columns[name] for name in names[at : at + _TOGETHER]}, strict=False)
            for at in range(0, len(names), _TOGETHER)
        ]

    def judge(self, frame: pl.DataFrame) -> Judged:
        """Split a parsed batch (see :meth:`Plan.apply`) into staged rows and rejects, in file order."""
        staged = self._plan.staged_columns(frame)
        raw = [name for name in frame.columns if name.startswith(RAW_PREFIX)]
        cases = self._failures(frame)
        if cases is None:
            empty = frame.head(0).select("row", *[pl.lit(None, pl.String).alias(n) for n in REJECT_COLUMNS[1:]], *raw)
            return Judged(frame.select(staged), empty, Counter())
        parts: list[pl.DataFrame] = []
        reasons: Counter[str] = Counter()
        for order, rule in enumerate(self._rules):
            at = cases.filter((pl.col("column") == rule.column) & (pl.col("check") == rule.check))["index"]
            if at.len() == 0:
                continue
            failed = frame[at.cast(pl.Int64)]
            if rule.check == "not_nullable" and rule.code == "missing_value":
                # A cell that is filled but wrong has been told by its own rule already.
                failed = failed.filter(pl.col(f"{OK_PREFIX}{rule.index}"))
            reasons[rule.code] += failed.height
            parts.append(self._told(failed, rule).with_columns(order=pl.lit(order)))
        told = parts[0].drop("order")
        if len(parts) > 1:
            told = pl.concat(parts).sort("row", "order")
            again = pl.col("row").is_duplicated()
            texts = [pl.col(name).str.join("; ") for name in REJECT_COLUMNS[1:]]
            several = told.filter(again).group_by("row", maintain_order=True).agg(texts)
            told = pl.concat([told.filter(~again).drop("order"), several]).sort("row")
        rejects = told.join(frame.select("row", *raw), on="row", how="left", maintain_order="left")
        valid = frame.join(told.select("row"), on="row", how="anti", maintain_order="left").select(staged)
        return Judged(valid, rejects.select(*REJECT_COLUMNS, *raw), reasons)

    def _of_cells(self, output: Output, column: ColumnMapping) -> dict[str, pa.Column]:
        """Checks of cells before they are values."""
        columns: dict[str, pa.Column] = {}
        if output.type == "string":  # of the other types an error is no value anyhow
            name = f"{OK_PREFIX}{column.index}"
            columns[name] = pa.Column(pl.Boolean, pa.Check.eq(True), nullable=False)
            fix = "correct the formula in the spreadsheet, or empty the cell"
            self._add(name, "equal_to", column.index, "cell_error", "a text, not the error of a spreadsheet", fix)
        if self._plan.lists and output.type not in MULTI_VALUED_TYPES:
            name = f"{SEVERAL_PREFIX}{column.index}"
            columns[name] = pa.Column(pl.Boolean, pa.Check.eq(False), nullable=False)
            fix = "map the column to a field that holds a list, or keep one value"
            self._add(name, "equal_to", column.index, "several_values", "one value", fix)
        if can_fail(column):
            name = f"{FAILED_PREFIX}{column.index}"
            columns[name] = pa.Column(pl.Boolean, pa.Check.eq(False), nullable=True)
            fix = "correct the cell, or the column's transform"
            self._add(name, "equal_to", column.index, "transform_failed", expected(column), fix)
        if is_identifier(output, column):
            name = f"{ROUNDED_PREFIX}{column.index}"
            columns[name] = pa.Column(pl.Boolean, pa.Check.eq(False), nullable=False)
            self._add(
                name, "equal_to", column.index, "rounded_identifier", "all digits of the identifier",
                "format the column as text in the spreadsheet, enter the digits that it has rounded away, and export "
                "again",
            )  # fmt: skip
        return columns

    def _add(self, column: str, check: str, index: int, code: str, expected: str, fix: str) -> None:
        self._rules.append(Rule(column, check, index, code, expected, fix))

    def _expected(self, index: int, expected: str, kind: str) -> str:
        rules = self._plan.rules[index]
        if kind in ("number", "price", "multi_price"):
            expected += f" with decimal sign {rules.decimal!r}"
        return expected

    def _failures(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        found: list[pl.DataFrame] = []
        for schema in self._schemas:
            if _keeps_all(frame, schema):
                continue
            try:
                schema.validate(frame.select(list(schema.columns)), lazy=True)
            except SchemaErrors as error:
                cases = pl.DataFrame(error.failure_cases).select("column", "check", "index")
                # Pandera shows a check as a call, such as equal_to(True).
                found.append(cases.with_columns(pl.col("check").str.extract(r"^(\w+)")))
        return pl.concat(found, how="vertical_relaxed") if found else None

    def _told(self, failed: pl.DataFrame, rule: Rule) -> pl.DataFrame:
        header = self._plan.headers[rule.index] or f"column {rule.index + 1}"
        value = pl.col(f"{RAW_PREFIX}{rule.index}").fill_null("").str.slice(0, SHOWN)
        shown = pl.concat_str(pl.lit(f"{header}: "), pl.when(value == "").then(pl.lit("empty")).otherwise(
            pl.concat_str(pl.lit("'"), value, pl.lit("'"))), pl.lit(f", expected {rule.expected}"))  # fmt: skip
        return failed.select(
            "row", column=pl.lit(header), value=value, error_code=pl.lit(rule.code), error=shown,
            suggestion=pl.lit(rule.fix),
        )  # fmt: skip


def _keeps_all(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> bool:
    """Whether no cell breaks any check of ``schema``: asked in one query, where Pandera needs one per check.

    False for a check that is not known here, so that Pandera judges; who breaks what is always Pandera's to say.
    """
    broken: list[pl.Expr] = []
    for name, column in schema.columns.items():
        cell = pl.col(name)
        if column.dtype is not None and column.dtype.type != frame.schema[name]:
            return False
        if not column.nullable:
            broken.append(cell.is_null().any().alias(f"{name} is null"))
        for check in column.checks:
            wrong = _breaks(cell, check)
            if wrong is None:
                return False
            broken.append(wrong.any().alias(f"{name} {check.name}"))  # null breaks no check, as in Pandera
    return not any(frame.select(broken).row(0)) if broken else True


def _breaks(cell: pl.Expr, check: pa.Check) -> pl.Expr | None:
    """Which cells break a check; None where the check is none of those that :class:`Validator` makes."""
    given = check.statistics or {}
    wrong: pl.Expr | None = None
    if check.name == "equal_to":
        wrong = cell != given["value"]
    elif check.name == "isin":
        wrong = ~cell.is_in(list(given["allowed_values"]))
    elif check.name == "str_length" and given.get("min_value") is None and given.get("exact_value") is None:
        wrong = cell.str.len_chars() > given["max_value"]
    return wrong
