"""A mapping and a schema compiled into what is done to every batch: parse, combine, hash.

Pure expressions over the ``raw.<n>`` columns of a reader's batch; nothing here judges a row, that
is :mod:`pim_platform.intake.validation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import polars_hash as plh

from pim_platform.catalog.identity import sku_keys
from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.catalog.staged import FIELD_PREFIX, RAW_PREFIX
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.listed import holds_lists, joined, one_gtin, one_value, priced
from pim_platform.intake.mapping.models import PRODUCT_COLUMN_TYPES, ColumnMapping, Mapping
from pim_platform.intake.own_values import convert_own, text_of
from pim_platform.intake.repairs import IDENTIFIERS, is_error, is_rounded, repair
from pim_platform.intake.transforming import failed, transformed
from pim_platform.intake.values import Rules, clean, convert, form_of, row_currencies
from pim_platform.intake.vocabulary import bcp47

#: Prefix of the boolean columns that say whether a filled cell is a value of its field's type.
OK_PREFIX = "ok."
#: Prefix of the boolean columns that say where a step of a column's transform failed.
FAILED_PREFIX = "failed."
#: Prefix of the boolean columns that say where an identifier's digits are lost.
ROUNDED_PREFIX = "rounded."
#: Prefix of the boolean columns that say where a cell is a list of several values for a field that holds one.
SEVERAL_PREFIX = "several."
#: Types whose cells may carry a spreadsheet's mark for text.
_MARKED_TYPES = frozenset({"string", "number", "price"})
#: Separates values in the hash, and stands for "not given": neither occurs in text cells.
_BETWEEN, _ABSENT = "\x1f", "\x1e"


@dataclass(frozen=True)
class Output:
    """One field and the columns that feed it, in file order."""

    field: str
    type: FieldType
    required: bool
    columns: tuple[ColumnMapping, ...]
    locales: tuple[str, ...] = ()
    """Of a localizable field: the BCP 47 locale of each column."""
    nested: bool = False
    """Whether its only column holds the JSON object of its values per locale or channel."""

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
    lists: bool = False
    """Whether cells may be lists (:mod:`pim_platform.intake.listed`)."""
    own: bool = False
    """Whether cells are in the platform's own notation (:mod:`pim_platform.intake.own_values`)."""

    @property
    def headers(self) -> dict[int, str]:
        """Header by column index, of the mapped columns."""
        return {column.index: column.source for output in self.outputs for column in output.columns}

    def apply(self, frame: pl.DataFrame, repairs: Counter[str] | None = None) -> pl.DataFrame:
        """``row``, the staged values, one ``ok.<n>`` per mapped column, and the cells; no row is left out.

        What is repaired is counted in ``repairs`` by its kind (see :mod:`pim_platform.intake.repairs`).
        """
        columns = [(output, column) for output in self.outputs for column in output.columns]
        if self.own:
            return self._finished(self._own_values(frame, columns))
        # Step by step, so that no expression is computed twice: trimmed texts, values, verdicts.
        texts = frame.with_columns([clean(pl.col(f"{RAW_PREFIX}{c.index}")).alias(f"t.{c.index}") for _, c in columns])
        texts = self._mended(texts, Counter() if repairs is None else repairs)
        money: dict[str | None, pl.Series] = {}
        values: list[pl.Expr] = []
        verdicts: list[pl.Expr] = []
        for output, column in columns:
            rules = self.rules[column.index]
            currency = None
            if self.currency_column is not None and output.type in ("price", "multi_price"):
                if rules.currency not in money:
                    named = frame[f"{RAW_PREFIX}{self.currency_column}"]
                    named = one_value(named)[0] if self.lists else named
                    money[rules.currency] = row_currencies(named, rules.currency)
                currency = pl.lit(money[rules.currency])
            text, value = pl.col(f"t.{column.index}"), f"v.{column.index}"
            form = form_of(texts[f"t.{column.index}"], output.type, rules)
            parsed = convert(text, output.type, rules, form=form, row_currency=currency)
            values.append(parsed.alias(value))
            verdict = pl.col(value).is_not_null() | text.is_null()
            if (errors := is_error(texts[f"t.{column.index}"])) is not None:
                verdict &= ~pl.lit(errors)  # no text either, whatever type the field has
            verdicts.append(verdict.alias(f"{OK_PREFIX}{column.index}"))
        # Lazily, because only then Polars computes what expressions share once.
        return self._finished(texts.lazy().with_columns(values).with_columns(verdicts).collect())

    def _own_values(self, frame: pl.DataFrame, columns: Sequence[tuple[Output, ColumnMapping]]) -> pl.DataFrame:
        """Values and verdicts of cells in the platform's own notation; nothing is trimmed, mended or unwrapped."""
        texts = frame.with_columns(text_of(pl.col(f"{RAW_PREFIX}{c.index}")).alias(f"t.{c.index}") for _, c in columns)
        texts = texts.with_columns(
            pl.when(pl.col(f"t.{c.index}").str.strip_chars() != "").then(f"t.{c.index}").alias(f"t.{c.index}")
            for output, c in columns
            if output.field == "sku"  # blanks identify nothing
        )
        changed: list[pl.Expr] = []
        for _, column in columns:
            name = f"t.{column.index}"
            if column.transform:
                changed.append(transformed(column, pl.col(name)).alias(name))
                if (bad := failed(column, pl.col(name))) is not None:
                    changed.append(bad.alias(f"{FAILED_PREFIX}{column.index}"))
        texts = texts.with_columns(changed)
        values = [
            convert_own(pl.col(f"t.{c.index}"), o.type, self.rules[c.index], nested=o.nested).alias(f"v.{c.index}")
            for o, c in columns
        ]
        verdicts = [
            (pl.col(f"v.{c.index}").is_not_null() | pl.col(f"t.{c.index}").is_null()).alias(f"{OK_PREFIX}{c.index}")
            for _, c in columns
        ]
        whole = [pl.lit(False).alias(f"{ROUNDED_PREFIX}{c.index}") for o, c in columns if is_identifier(o, c)]
        return texts.lazy().with_columns(values).with_columns(verdicts).with_columns(whole).collect()

    def _finished(self, parsed_frame: pl.DataFrame) -> pl.DataFrame:
        """The parsed batch with the fields' values, the SKU's key and the row's hash."""
        combined = parsed_frame.with_columns([_combined(output) for output in self.outputs])
        keyed = combined.with_columns(sku_keys(combined["sku"]).alias("sku_key"), self._hash())
        return keyed.drop(pl.selectors.starts_with("v.", "t."))

    def _mended(self, texts: pl.DataFrame, repairs: Counter[str]) -> pl.DataFrame:
        """The trimmed texts with damage undone and transforms applied, and where either could not be."""
        mended: list[pl.Series] = []
        changed: list[pl.Expr] = []
        for output in self.outputs:
            for column in output.columns:
                name = f"t.{column.index}"
                identifier = is_identifier(output, column)
                cells = before = texts[name]
                if self.lists and output.type != "array":
                    cells = self._unlisted(texts, output, column, mended)
                if output.type in _MARKED_TYPES:
                    text = output.type == "string"
                    cells = repair(cells, identifier=identifier, text=text, repairs=repairs)
                if cells is not before:
                    mended.append(cells.alias(name))
                if identifier:
                    mended.append(is_rounded(cells).alias(f"{ROUNDED_PREFIX}{column.index}"))
                if column.transform:
                    changed.append(transformed(column, pl.col(name)).alias(name))
                    if (bad := failed(column, pl.col(name))) is not None:
                        changed.append(bad.alias(f"{FAILED_PREFIX}{column.index}"))
        texts = texts.with_columns(mended) if mended else texts
        return texts.with_columns(changed) if changed else texts

    def _unlisted(
        self, texts: pl.DataFrame, output: Output, column: ColumnMapping, mended: list[pl.Series]
    ) -> pl.Series:
        """The cells of a column without lists; adds to ``mended`` which of them hold too much for the field."""
        cells = texts[f"t.{column.index}"]
        if output.type == "multi_price":
            rules = self.rules[column.index]
            named = None if self.currency_column is None else texts[f"{RAW_PREFIX}{self.currency_column}"]
            changed = priced(cells, named, rules.currency, rules.decimal)
        else:
            if output.type == "string" and not is_identifier(output, column):
                cells = joined(cells)
            gtin = "gtin" in (output.field, column.target)
            changed, several = one_gtin(cells) if gtin else one_value(cells)
            mended.append(several.alias(f"{SEVERAL_PREFIX}{column.index}"))
            if several.any():
                changed = changed.set(several, None)
        return changed

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
    own = dialect is not None and dialect.notation == "own"
    feeders: dict[str, list[ColumnMapping]] = {}
    for column in mapping.active_columns:
        feeders.setdefault(str(column.field), []).append(column)
    outputs = []
    for name, columns in feeders.items():
        known = schema.field(name)
        kind = PRODUCT_COLUMN_TYPES.get(name) or (known.type if known else columns[0].type)
        locales: tuple[str, ...] = ()
        nested = own and known is not None and _is_nested(known, columns)
        if known is not None and known.localizable and not nested:
            locales = tuple(bcp47(column.locale or schema.default_locale) for column in columns)
        outputs.append(Output(name, kind, bool(known and known.required), tuple(columns), locales, nested))
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
    return Plan(tuple(outputs), rules, None if own else money, salt, holds_lists(dialect) and not own, own)


def _is_nested(field: SchemaField, columns: Sequence[ColumnMapping]) -> bool:
    """Whether the field's cells are objects: of channels, or of locales where no column names one."""
    return len(columns) == 1 and columns[0].locale is None and (field.scopable or field.localizable)


def is_identifier(output: Output, column: ColumnMapping) -> bool:
    """Whether the column's cells are identifiers, whose digits are no quantity."""
    return output.type == "string" and (output.field in IDENTIFIERS or column.target in IDENTIFIERS)


def _by_locale(output: Output) -> pl.Expr:
    """A JSON object of the given values by locale; null where there is none."""
    parts = []
    for column, locale in zip(output.columns, output.locales, strict=True):
        value = pl.col(f"v.{column.index}")
        if output.type in ("string", "url"):
            written = pl.struct(a=value).struct.json_encode().str.strip_prefix('{"a":').str.strip_suffix("}")
            value = pl.when(value.is_not_null()).then(written)
        elif output.type == "boolean":
            value = value.cast(pl.String)
        parts.append(pl.concat_str(pl.lit(f'"{locale}":'), value))
    joined = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}"))).alias(output.name)


def _combined(output: Output) -> pl.Expr:
    if output.locales:
        return _by_locale(output)
    if len(output.columns) == 1:
        return pl.col(f"v.{output.columns[0].index}").alias(output.name)
    # Lists are JSON text here, so joining them is joining what stands between the brackets.
    inner = [pl.col(f"v.{column.index}").str.slice(1).str.strip_suffix("]") for column in output.columns]
    inner = [pl.when(part != "").then(part) for part in inner]
    given = pl.any_horizontal(pl.col(f"v.{column.index}").is_not_null() for column in output.columns)
    joined = pl.concat_str(pl.lit("["), pl.concat_str(inner, separator=",", ignore_nulls=True), pl.lit("]"))
    return pl.when(given).then(joined).alias(output.name)
