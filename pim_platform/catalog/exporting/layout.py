"""The columns of an export: which of a product's columns and fields, in which order, spelled how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pim_platform.catalog.notation import PRODUCT_ID, header
from pim_platform.catalog.schema import PRODUCT_COLUMNS, FieldType, ProductSchema
from pim_platform.errors import InvalidRequest

Kind = FieldType | Literal["json", "time"]

#: Columns of every product in the order of an export; ``pim:id`` comes last.
OWN: dict[str, Kind] = {
    "sku": "string",
    "name": "string",
    "active": "boolean",
    "kind": "string",
    "parent_sku": "string",
    "variant_group": "string",
}
#: Columns that tell about a product and are not imported: exported where they are asked for.
TOLD: dict[str, Kind] = {"source": "string", "version": "number", "created_at": "time", "updated_at": "time"}

assert set(OWN) == set(PRODUCT_COLUMNS)


@dataclass(frozen=True)
class ExportColumn:
    """One column: its header, where its values come from, and what they are.

    ``kind`` is the type of one value; ``json`` is a value per channel (scopable fields), ``time`` an instant.
    ``plain``: values that were stored before the field became localizable belong into this locale's column.
    """

    header: str
    name: str
    kind: Kind
    own: bool = False
    locale: str | None = None
    plain: bool = False


def chosen_fields(schema: ProductSchema, fields: Sequence[str] | None) -> tuple[str, ...]:
    """The names to export: all, or those asked for with the SKU in front.

    Raises InvalidRequest where one is unknown or asked for twice.
    """
    if fields is None:
        return (*OWN, *(field.name for field in schema.fields))
    known = {*OWN, *TOLD, *(field.name for field in schema.fields)}
    for name in fields:
        if name not in known:
            raise InvalidRequest(
                f"There is no field {name!r}.",
                fix=f"Fields that can be exported: {', '.join([*OWN, *(f.name for f in schema.fields), *TOLD][:60])}.",
                code="unknown_field",
                column="fields",
                value=name,
            )
        if fields.count(name) > 1:
            raise InvalidRequest(
                f"The field {name!r} is asked for twice.",
                fix="Name each field once.",
                code="duplicate_field",
                column="fields",
                value=name,
            )
    return ("sku", *(name for name in fields if name != "sku"))


def columns_of(
    schema: ProductSchema, names: Sequence[str], locales: Mapping[str, Sequence[str]] | None
) -> tuple[ExportColumn, ...]:
    """The columns for these names; ``locales``: those of each localizable field, None: a field stays one column."""
    columns: list[ExportColumn] = []
    for name in names:
        if (kind := OWN.get(name) or TOLD.get(name)) is not None:
            columns.append(ExportColumn(name, name, kind, own=True))
            continue
        field = schema.field(name)
        assert field is not None, f"{name} was checked against the schema"
        if field.scopable or (field.localizable and locales is None):
            columns.append(ExportColumn(name, name, "json"))
        elif field.localizable:
            assert locales is not None
            for locale in locales[name]:
                plain = locale == schema.default_locale
                columns.append(ExportColumn(header(name, locale), name, field.type, locale=locale, plain=plain))
        else:
            columns.append(ExportColumn(name, name, field.type))
    return (*columns, ExportColumn(PRODUCT_ID, "id", "string", own=True))
