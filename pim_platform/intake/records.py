"""Records that are already in memory (bulk upsert) become the same cells a file would hold."""

from __future__ import annotations

import json
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from pim_platform.catalog.schema import FieldType, ProductSchema
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.mapping.models import PRODUCT_COLUMN_TYPES, ColumnMapping, Mapping
from pim_platform.intake.readers.rows import SHOWN, reject_schema
from pim_platform.intake.values import PROBLEMS, is_storable
from pim_platform.intake.vocabulary import LOCALE, bcp47


@dataclass(frozen=True)
class RecordFrame:
    """Records as a reader's batch, with the mapping that fits it; ``bad`` has records no cell can hold."""

    frame: pl.DataFrame
    bad: pl.DataFrame
    mapping: Mapping
    headers: list[str]


def frame_of_records(records: Sequence[AbstractMapping[str, Any]], schema: ProductSchema) -> RecordFrame:
    """Lay records out as text cells, one column per key in order of first appearance.

    None means "not given". A localizable field takes an object keyed by locale, or the value of the
    schema's default locale. A key that is no field, or a value of a kind its field cannot hold, makes
    a bad record.
    """
    locales: dict[str, tuple[str, str]] = {}
    records = [_by_locale(record, schema, locales) for record in records]
    headers = list(dict.fromkeys(key for record in records for key in record))
    kinds: dict[str, FieldType | None] = {}
    for header in headers:
        name = locales.get(header, (header, ""))[0]
        kinds[header] = PRODUCT_COLUMN_TYPES.get(name) or (f.type if (f := schema.field(name)) else None)
    columns: list[list[str | None]] = [[] for _ in headers]
    bad: list[tuple[int, str, str, str, str, str]] = []
    for number, record in enumerate(records, start=1):
        problems = []
        for index, header in enumerate(headers):
            value = record.get(header)
            text = _cell(value)
            storable = text is None or (is_storable(text) and "\\u0000" not in text)
            columns[index].append(text if storable else None)
            kind = kinds[header]
            if kind is None and value is not None:  # null gives nothing, whatever the key
                hint = f"create the field {header!r} in the schema, or leave it out"
                problems.append((header, value, "unknown_field", "a field of the schema", hint))
            elif not storable:
                hint = "remove the NUL or broken character"
                problems.append((header, None, "not_text", "text without NULs and lone surrogates", hint))
            elif kind is not None and not _holds(value, kind):
                code, expected, hint = PROBLEMS[kind]
                problems.append((header, value, code, expected, hint))
        if problems:
            names, values, codes, expected_of, hints = zip(*problems, strict=True)
            shown = [(_cell(value) or "")[:SHOWN] for value in values]
            told = [f"{n}: {s!r}, expected {e}" for n, s, e in zip(names, shown, expected_of, strict=True)]
            bad.append(
                (number, "; ".join(names), "; ".join(shown), "; ".join(codes), "; ".join(told), "; ".join(hints))
            )
    raw = {f"{RAW_PREFIX}{i}": pl.Series(f"{RAW_PREFIX}{i}", column, pl.String) for i, column in enumerate(columns)}
    frame = pl.DataFrame({"row": pl.Series("row", range(1, len(records) + 1), pl.Int64), **raw})
    wrong = pl.DataFrame(bad, schema=dict(list(reject_schema(0).items())), orient="row")
    wrong = wrong.join(frame, on="row", how="left", maintain_order="left")
    return RecordFrame(frame, wrong, Mapping(columns=tuple(_columns(headers, kinds, locales))), headers)


def _by_locale(
    record: AbstractMapping[str, Any], schema: ProductSchema, locales: dict[str, tuple[str, str]]
) -> AbstractMapping[str, Any]:
    """The record with a key ``field.locale`` for each value of its localizable fields, noted in ``locales``."""
    several = [key for key, value in record.items() if (f := schema.field(key)) and f.localizable and value is not None]
    if not several:
        return record
    laid_out: dict[str, Any] = {}
    for key, value in record.items():
        if key not in several:
            laid_out[key] = value
            continue
        keyed = isinstance(value, dict) and all(isinstance(k, str) and LOCALE.fullmatch(k) for k in value)
        given = value if keyed and set(value) - {"amount", "currency"} else {schema.default_locale: value}
        for locale, one in given.items():
            spelled = bcp47(locale)
            locales[f"{key}.{spelled}"] = key, spelled
            laid_out[f"{key}.{spelled}"] = one
    return laid_out


def _columns(
    headers: list[str], kinds: dict[str, FieldType | None], locales: dict[str, tuple[str, str]]
) -> list[ColumnMapping]:
    columns = []
    for index, header in enumerate(headers):
        kind = kinds[header]
        if kind is None:
            columns.append(ColumnMapping(source=header, index=index, target="ignore"))
        else:
            field, locale = locales.get(header, (header, None))
            columns.append(
                ColumnMapping(
                    source=header, index=index, field=field, type=kind, locale=locale, confidence=1.0, auto=True
                )
            )
    return columns


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _holds(value: Any, kind: FieldType) -> bool:
    """Whether a native value is of a kind that this field's parser can judge from its text."""
    if value is None or isinstance(value, str):
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, (int, float, Decimal)):
        return kind in ("number", "price", "multi_price", "string", "boolean")
    if isinstance(value, dict):
        return kind == "price"
    return isinstance(value, list) and kind in ("array", "multi_price")
