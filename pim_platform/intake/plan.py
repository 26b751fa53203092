"""A mapping and a schema compiled into what is done to every batch: parse, combine, hash.

Pure expressions over the ``raw.<n>`` columns of a reader's batch; nothing here judges a row, that
is :mod:`pim_platform.intake.validation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import polars_hash as plh

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.schema import FieldType, ProductSchema
from pim_platform.catalog.staged import FIELD_PREFIX, RAW_PREFIX
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping.models import PRODUCT_COLUMN_TYPES, ColumnMapping, Mapping
from pim_platform.intake.values import Rules, clean, convert, is_plain, row_currencies

#: Prefix of the boolean columns that say whether a filled cell is a value of its field's type.
OK_PREFIX = "ok."
#: Separates values in the hash, and stands for "not given": neither occurs in text cells.
_BETWEEN, _ABSENT = "\x1f", "\x1e"


@dataclass(frozen=True)
class Output:
    """One field and the columns that feed it, in file order."""

    field: str
    type: FieldType
    required: bool
    columns: tuple[ColumnMapping, ...]

    @property
    def name(self) -> str:
        """Its column in the staged layout."""
        return self.field if self.field in PRODUCT_COLUMN_TYPES else f"{FIELD_PREFIX}{self.field}"


@dataclass(frozen=True)
class Plan:
    """What to do to every batch of one file."""

    outputs: tuple[Output, ...]
    rules: dict[int, Rules]
    currency_column: int | None
    salt: str

    @property
    def headers(self) -> dict[int, str]:
        """Header by column index, of the mapped columns."""
        return {column.index: column.source for output in self.outputs for column in output.columns}

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``row``, the staged values, one ``ok.<n>`` per mapped column, and the cells; no row is left out."""
        columns = [(output, column) for output in self.outputs for column in output.columns]
        # Step by step, so that no expression is computed twice: trimmed texts, values, verdicts.
        texts = frame.with_columns([clean(pl.col(f"{RAW_PREFIX}{c.index}")).alias(f"t.{c.index}") for _, c in columns])
        money: dict[str | None, pl.Series] = {}
        values: list[pl.Expr] = []
        verdicts: list[pl.Expr] = []
        for output, column in columns:
            rules = self.rules[column.index]
            currency = None
            if self.currency_column is not None and output.type in ("price", "multi_price"):
                if rules.currency not in money:
                    named = frame[f"{RAW_PREFIX}{self.currency_column}"]
                    money[rules.currency] = row_currencies(named, rules.currency)
                currency = pl.lit(money[rules.currency])
            text, value = pl.col(f"t.{column.index}"), f"v.{column.index}"
            plain = is_plain(texts[f"t.{column.index}"], output.type)
            parsed = convert(text, output.type, rules, plain=plain, row_currency=currency)
            values.append(parsed.alias(value))
            verdicts.append((pl.col(value).is_not_null() | text.is_null()).alias(f"{OK_PREFIX}{column.index}"))
        # Lazily, because only then Polars computes what expressions share once.
        parsed_frame = texts.lazy().with_columns(values).with_columns(verdicts).collect()
        combined = parsed_frame.with_columns([_combined(output) for output in self.outputs])
        combined = combined.with_columns(sku_key_expr(pl.col("sku")).alias("sku_key"))
        return combined.with_columns(self._hash()).drop(pl.selectors.starts_with("v.", "t."))

    def staged_columns(self, frame: pl.DataFrame) -> list[str]:
        """The columns of the staged layout, in its order."""
        values = [output.name for output in self.outputs if output.field != "sku"]
        raw = [name for name in frame.columns if name.startswith(RAW_PREFIX)]
        return ["row", "sku", "sku_key", *sorted(values, key=lambda n: n.startswith(FIELD_PREFIX)), "row_hash", *raw]

    def _hash(self) -> pl.Expr:
        values = [pl.col(output.name).cast(pl.String).fill_null(_ABSENT) for output in self.outputs]
        joined = plh.concat_str(pl.lit(self.salt), *values, separator=_BETWEEN)
        hashed: pl.Expr = joined.nchash.xxhash64().reinterpret(signed=True).alias("row_hash")
        return hashed


def compile_plan(
    mapping: Mapping, schema: ProductSchema, dialect: Dialect | None = None, default_currency: str | None = None
) -> Plan:
    """The plan for a mapping that was validated. The schema's type of a field wins over the column's."""
    feeders: dict[str, list[ColumnMapping]] = {}
    for column in mapping.active_columns:
        feeders.setdefault(str(column.field), []).append(column)
    outputs = []
    for name, columns in feeders.items():
        known = schema.field(name)
        kind = PRODUCT_COLUMN_TYPES.get(name) or (known.type if known else columns[0].type)
        outputs.append(Output(name, kind, bool(known and known.required), tuple(columns)))
    currency = default_currency or schema.default_currency
    decimal = (dialect.decimal if dialect else None) or "."
    rules = {
        column.index: Rules(
            decimal=column.decimal or decimal,
            separator=column.separator,
            currency=column.currency or currency,
            unit=column.unit,
            locale=column.locale,
        )
        for column in mapping.active_columns
    }
    money = next((column.index for column in mapping.active_columns if column.target == "currency"), None)
    salt = f"{mapping.digest(f'{decimal}{currency}')}:{schema.version}"
    return Plan(tuple(outputs), rules, money, salt)


def _combined(output: Output) -> pl.Expr:
    if len(output.columns) == 1:
        return pl.col(f"v.{output.columns[0].index}").alias(output.name)
    # Lists are JSON text here, so joining them is joining what stands between the brackets.
    inner = [pl.col(f"v.{column.index}").str.slice(1).str.strip_suffix("]") for column in output.columns]
    inner = [pl.when(part != "").then(part) for part in inner]
    given = pl.any_horizontal(pl.col(f"v.{column.index}").is_not_null() for column in output.columns)
    joined = pl.concat_str(pl.lit("["), pl.concat_str(inner, separator=",", ignore_nulls=True), pl.lit("]"))
    return pl.when(given).then(joined).alias(output.name)
