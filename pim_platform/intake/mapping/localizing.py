"""Columns that hold one field in several locales (``description.en``, ``description.de``) feed one localizable field.

The product's own name is a column of the product and holds one language; its translations go to a field beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pim_platform.catalog.schema import PRODUCT_COLUMNS, ProductSchema
from pim_platform.intake.mapping.models import ColumnMapping

#: The localizable field that holds translations of the product's own name, as for rows per locale.
NAMES_FIELD = "localized_name"


def join_locales(columns: Sequence[ColumnMapping], schema: ProductSchema | None) -> list[ColumnMapping]:
    """The columns, translations sent to the field that their original writes, where the schema allows it."""
    by_field = {column.field: column for column in columns if not column.ignored}
    result = list(columns)
    for position, column in enumerate(columns):
        base = _base(column)
        original = by_field.get(base) if base else None
        if base is None or original is None or original.type != column.type or original.locale == column.locale:
            continue
        field = NAMES_FIELD if base == "name" else base
        if field in PRODUCT_COLUMNS or column.type == "multi_price":
            continue
        known = schema.field(field) if schema else None
        old = schema.field(str(column.field)) if schema else None
        if old is not None or (known is not None and (not known.localizable or known.type != column.type)):
            continue  # the schema has settled it otherwise
        reason = f"{column.reason}; its {column.locale} goes with the other locales of {field}"
        result[position] = column.model_copy(update={"field": field, "reason": reason})
    return result


def localized_fields(columns: Sequence[ColumnMapping]) -> set[str]:
    """The fields that hold a value per locale: those that columns of different locales feed, and translated names."""
    fed: dict[str, list[str | None]] = {}
    for column in columns:
        if not column.ignored and column.field is not None:
            fed.setdefault(column.field, []).append(column.locale)
    return {
        field
        for field, locales in fed.items()
        if field == NAMES_FIELD or (len(locales) > 1 and len(set(locales)) == len(locales))
    }


def _base(column: ColumnMapping) -> str | None:
    """The field without the locale that tells it apart, such as ``description`` of ``description_de``."""
    if column.ignored or column.field is None or column.locale is None:
        return None
    suffix = "_" + column.locale.replace("-", "_").lower()
    return column.field.removesuffix(suffix) if column.field.endswith(suffix) else None
