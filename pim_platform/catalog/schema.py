"""The product schema: the field vocabulary that each tenant owns (seed 000), as plain values.

Only ``sku``, ``name``, ``active``, ``kind``, ``variant_group`` and the parent (imported as
``parent_sku``, stored as ``parent_id``) are columns of a product; every other field lives in its
``data`` under the field's name, in the shape its type names (design D16):

=============  ==========================================================
``string``     JSON string
``number``     JSON number, decimal digits kept exactly
``boolean``    ``true`` / ``false``
``array``      JSON array of strings
``url``        JSON string holding an absolute http(s) URL
``price``      ``{"amount": number, "currency": "EUR"}``  (ISO 4217)
``multi_price``  ``[{"amount": number, "currency": "EUR", "locale": "de-DE"}, ...]``
=============  ==========================================================
"""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FieldType = Literal["string", "number", "boolean", "array", "url", "price", "multi_price"]
FIELD_TYPES: tuple[str, ...] = get_args(FieldType)

#: Columns of a product; a schema may describe them but they never appear in ``data``.
PRODUCT_COLUMNS = ("sku", "name", "active", "kind", "variant_group", "parent_sku")

#: Names a schema field may not take, because reads and typed relations already use them.
RESERVED_NAMES = frozenset(
    {"id", "tenant_id", "sku_key", "data", "source", "version", "created_at", "updated_at", "parent_id", "raw_data"}
)

FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class SchemaField(BaseModel):
    """One field of a product schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: FieldType = "string"
    required: bool = False
    description: str = ""
    localizable: bool = False
    scopable: bool = False

    @field_validator("name")
    @classmethod
    def _snake_case(cls, name: str) -> str:
        if not FIELD_NAME.fullmatch(name):
            raise ValueError(
                f"field name {name!r} must be snake_case: a-z, 0-9 and _, starting with a letter, up to 63"
            )
        if name in RESERVED_NAMES:
            raise ValueError(f"field name {name!r} is reserved; choose another, such as 'product_{name}'")
        return name


class ProductSchema(BaseModel):
    """One version of a tenant's schema. ``fields`` never holds the product's own columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[SchemaField, ...] = ()
    default_currency: str = Field(pattern=r"^[A-Z]{3}$")
    default_locale: str
    version: int = 0

    @model_validator(mode="after")
    def _unique(self) -> ProductSchema:
        names = [field.name for field in self.fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"field {doubled[0]!r} is defined twice")
        own = sorted(set(names) & set(PRODUCT_COLUMNS))
        if own:
            raise ValueError(f"field {own[0]!r} is a column of every product and needs no definition")
        return self

    def field(self, name: str) -> SchemaField | None:
        """The field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    def with_fields(self, more: list[SchemaField]) -> ProductSchema:
        """This schema plus the fields it does not have yet; existing fields stay as they are."""
        known = {field.name for field in self.fields}
        added = tuple(field for field in more if field.name not in known and field.name not in PRODUCT_COLUMNS)
        return self.model_copy(update={"fields": self.fields + added})

    def fields_json(self) -> list[dict[str, Any]]:
        """The fields as JSON values, as stored."""
        return [field.model_dump() for field in self.fields]
