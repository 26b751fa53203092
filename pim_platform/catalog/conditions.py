"""A filter as ClickHouse's SQL over the tenant's typed relation; values go as parameters, never into the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pim_platform.catalog.filters import Condition, Filter, Target
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.typed_relations import currency_column, extracted_type
from pim_platform.storage.clickhouse import quote_identifier

_SIGNS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
#: Columns of the relation that are called otherwise, because fields may have these names.
_RENAMED = {"import": "_job_id", "source_id": "_source_id"}
_MONEY = "Array(Tuple(amount Nullable(Float64), currency String))"


@dataclass
class Clause:
    """SQL with named parameters, and their values."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, kind: str) -> str:
        """A placeholder of the ClickHouse type ``kind`` for ``value``."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"


def where(wanted: Filter, schema: ProductSchema, clause: Clause) -> str:
    """SQL that is true for the rows that meet every condition; ``schema`` is that of the typed relation.

    A field that the relation does not have yet has no value in it. The search text is not part of it.
    """
    return " AND ".join(f"({_test(condition, schema, clause)})" for condition in wanted.conditions) or "true"


def _test(condition: Condition, schema: ProductSchema, clause: Clause) -> str:
    target, operator, value = condition.target, condition.operator, condition.value
    if not is_loaded(target, schema):
        return "true" if (operator, value) in (("missing", True), ("has", False)) else "false"
    if operator in ("has", "missing"):
        held = has_value(target, schema)
        return held if value is (operator == "has") else f"NOT ({held})"
    column = value_of(target, schema)
    if target.kind in ("list", "numbers"):
        inner = "Array(String)" if target.kind == "list" else "Array(Float64)"
        if operator in ("eq", "in", "contains"):
            values = list(value) if operator == "in" else [value]
            return f"hasAny({column}, {clause.bind([_bound(entry) for entry in values], inner)})"
        return f"arrayExists(x -> x {_SIGNS[operator]} {clause.bind(_bound(value), 'Float64')}, {column})"
    kind = _PARAMETER[target.kind]
    if operator == "contains":
        return f"positionCaseInsensitiveUTF8({column}, {clause.bind(value, 'String')}) > 0"
    if target.kind == "key":
        column, value = "sku_key", tuple(map(sku_key, value)) if operator == "in" else sku_key(value)
    if operator == "in":
        return f"{column} IN {clause.bind([_bound(entry) for entry in value], f'Array({kind})')}"
    return f"{column} {_SIGNS[operator]} {clause.bind(_bound(value), kind)}"


_PARAMETER = {
    "key": "String",
    "text": "String",
    "choice": "String",
    "number": "Float64",
    "boolean": "Bool",
    "id": "UUID",
    "time": "DateTime64(6, 'UTC')",
}


def _bound(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    return value


def is_loaded(target: Target, schema: ProductSchema) -> bool:
    """Whether the relation, whose ``schema`` may be older than the one in force, has the target as that knows it."""
    if target.field is None:
        return True
    found = schema.field(target.field.name)
    shape = ("type", "localizable", "scopable")
    return found is not None and all(getattr(found, name) == getattr(target.field, name) for name in shape)


def value_of(target: Target, schema: ProductSchema) -> str:
    """The target's value as SQL: a scalar that may be null, or an array for lists and several prices."""
    found = target.field
    if found is None:
        return quote_identifier(_RENAMED.get(target.name, target.name))
    column = quote_identifier(found.name)
    if found.localizable or found.scopable:
        keys = ", ".join(_text(key) for key in target.path)
        kind = _MONEY if found.type == "multi_price" else extracted_type(found.type)
        column = f"JSONExtract({column}, {keys}, {_text(kind)})"
        if found.type == "price":
            return f"tupleElement({column}, '{'currency' if target.currency else 'amount'}')"
    elif found.type == "multi_price":
        column = f"JSONExtract({column}, {_text(_MONEY)})"
    elif found.type == "price" and target.currency:
        return quote_identifier(currency_column(schema, found.name))
    if found.type == "multi_price":
        if target.currency:
            return f"arrayMap(x -> x.currency, {column})"
        of = f" AND x.currency = {_text(target.only_currency)}" if target.only_currency else ""
        kept = f"arrayFilter(x -> isNotNull(x.amount){of}, {column})"
        return f"arrayMap(x -> assumeNotNull(x.amount), {kept})"
    return column


def has_value(target: Target, schema: ProductSchema) -> str:
    """SQL that is true where the target has a value: null, an empty text and an empty list are none."""
    if target.kind == "localized":
        assert target.field is not None
        column = quote_identifier(target.field.name)
        if target.path:
            column = f"JSONExtractRaw({column}, {', '.join(_text(key) for key in target.path)})"
        return f"{column} NOT IN ('', '{{}}', '[]', 'null')"
    column = value_of(target, schema)
    if target.kind in ("list", "numbers"):
        return f"notEmpty({column})"
    if target.kind == "text":
        return f"ifNull({column}, '') != ''"
    return f"isNotNull({column})"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
