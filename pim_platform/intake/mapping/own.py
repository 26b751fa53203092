"""What the columns of a table in the platform's own notation mean: their headers say it, nothing is guessed.

A header that is no name of the notation, such as a column somebody added to an export, means what it would mean in
any other file, as long as no column of the notation means it already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pim_platform.catalog.notation import PRODUCT_ID, parse_header
from pim_platform.catalog.schema import RESERVED_NAMES, FieldType, ProductSchema, SchemaField
from pim_platform.intake.mapping.models import PRODUCT_COLUMN_TYPES, ColumnMapping
from pim_platform.intake.mapping.propose import propose_mapping
from pim_platform.intake.profile import ColumnProfile

_PRICE = re.compile(r"[A-Z]{3} -?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMERIC = frozenset({"number", "price", "multi_price"})


def propose_own(
    headers: Sequence[str],
    profiles: Sequence[ColumnProfile],
    schema: ProductSchema | None,
    *,
    default_locale: str | None = None,
) -> list[ColumnMapping]:
    """One :class:`ColumnMapping` per column, in order; what the notation names is certain."""
    foreign: list[ColumnMapping] | None = None
    columns: list[ColumnMapping | None] = [
        _column(header, profile, schema) for header, profile in zip(headers, profiles, strict=True)
    ]
    taken = {(column.field, column.locale) for column in columns if column is not None}
    result: list[ColumnMapping] = []
    for index, column in enumerate(columns):
        if column is None:
            foreign = foreign or propose_mapping(headers, profiles, schema, default_locale=default_locale)
            column = foreign[index]
            if not column.ignored and any(column.field == field for field, _ in taken):
                names = {field for field, _ in taken} | {other.field for other in foreign}
                name = next(n for n in (f"{column.field}_{i}" for i in range(2, 10_000)) if n not in names)
                column = column.model_copy(update={"field": name, "target": "attribute", "auto": False})
            taken.add((column.field, column.locale))
        result.append(column)
    return result


def localizable_fields(columns: Sequence[ColumnMapping], fields: Sequence[SchemaField]) -> list[SchemaField]:
    """The fields, those that a header gives a locale made localizable; what the schema has stays as confirming does."""
    by_locale = {column.field for column in columns if column.locale is not None and not column.ignored}
    return [field.model_copy(update={"localizable": True}) if field.name in by_locale else field for field in fields]


def _column(header: str, profile: ColumnProfile, schema: ProductSchema | None) -> ColumnMapping | None:
    """The meaning of a header of the notation; None for any other, or the second of its name."""
    certain = {"source": header, "index": profile.index, "confidence": 1.0, "auto": True, "tier": "alias"}
    named = parse_header(header)
    field, locale = named or (header, None)
    if header == PRODUCT_ID or (field in RESERVED_NAMES and locale is None):
        why = "told by an export about the product, never imported"
        return ColumnMapping.model_validate({**certain, "target": "ignore", "reason": why})
    if named is None:
        return None
    known = schema.field(field) if schema else None
    kind = PRODUCT_COLUMN_TYPES.get(field) or (known.type if known else _type(profile))
    return ColumnMapping.model_validate(
        {
            **certain,
            "field": field,
            "target": field if field in ("sku", "name") else "attribute",
            "type": kind,
            "locale": locale,
            "decimal": _decimal(profile) if kind in _NUMERIC else None,
            "reason": "the name of a field in the platform's own notation",
        }
    )


def _decimal(profile: ColumnProfile) -> Literal[".", ","]:
    """The notation's point, unless a spreadsheet has written the column again in its country's way."""
    own = all(_NUMBER.fullmatch(text) or _PRICE.fullmatch(text) or text[:1] == "[" for text in profile.examples)
    return "." if own else profile.decimal or "."


def _type(profile: ColumnProfile) -> FieldType:
    """The type of a field that this tenant does not have, by its cells: an export of another one."""
    examples = [text for text in profile.examples if text != "[]"] or profile.examples
    if not examples:
        return "string"
    if all(_PRICE.fullmatch(text) for text in examples):
        return "price"
    if all(text.startswith("[{") for text in examples):
        return "multi_price"
    if all(text.startswith("[") for text in examples):
        return "array"
    if all(text in ("true", "false") for text in examples):
        return "boolean"
    return "number" if profile.type == "number" else "url" if profile.type == "url" else "string"
