"""What a bulk edit asks for: operations on fields, read from JSON and checked against the schema.

======================  =====================================================================================
``set``                 ``field``, ``value`` as a file or document would give it; ``locale`` of a localizable field
``clear``               ``field``; ``locale`` of a localizable field
``append``, ``remove``  ``field`` of type array, ``values``; what is there already is not appended again
``multiply``, ``add``   ``field`` of type number, price or multi_price, ``by``; ``decimals`` to round to;
                        ``currency``: only amounts in it, which ``add`` to a price must name
======================  =====================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from pim_platform.catalog.editing import Edit, append, calculate, clear_field, remove, set_column, set_field
from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.catalog.staged import FIELD_PREFIX
from pim_platform.errors import InvalidRequest
from pim_platform.intake.documents import staged_document
from pim_platform.intake.vocabulary import CURRENCY_CODES, LOCALE, bcp47

#: Operations of one bulk edit.
MAXIMUM = 50
#: Entries that one operation appends or removes.
MAXIMUM_ENTRIES = 1000
#: Decimals that an amount can be rounded to.
MAXIMUM_DECIMALS = 10
#: Digits of a factor or summand.
_DIGITS = 30

_COLUMNS = ("name", "active", "kind", "variant_group")
_ALLOWED = {
    "set": {"value", "locale"},
    "clear": {"locale"},
    "append": {"values"},
    "remove": {"values"},
    "multiply": {"by", "decimals", "currency"},
    "add": {"by", "decimals", "currency"},
}
OPERATIONS = tuple(_ALLOWED)


def edits_of(operations: Any, schema: ProductSchema) -> list[Edit]:
    """The edits that a list of operations asks for, one per field.

    Raises InvalidRequest with code ``invalid_operation``, ``unknown_field``, or what a value is refused with, naming
    operation, field, value and what was expected.
    """
    if not isinstance(operations, Sequence) or isinstance(operations, str) or not 1 <= len(operations) <= MAXIMUM:
        raise _refused("operations", operations, f"1 to {MAXIMUM} operations", "Send a list of operations.")
    edits: list[Edit] = []
    for number, operation in enumerate(operations):
        place = f"operations.{number}"
        edit = _edit(operation, schema, place)
        if any(edit.column.name == other.column.name for other in edits):
            raise _refused(f"{place}.field", edit.column.name, "each field once", "Put it into one operation.")
        edits.append(edit)
    return edits


def fields_of(operations: Sequence[Mapping[str, Any]], schema: ProductSchema) -> list[dict[str, Any]]:
    """What the schema says of the edited fields: an edit that was shown holds as long as it is the same."""
    names = {operation["field"] for operation in operations}
    return [field.model_dump(include={"name", "type", "required", "localizable"}) for field in schema.fields
            if field.name in names]  # fmt: skip


def _edit(operation: Any, schema: ProductSchema, place: str) -> Edit:
    if not isinstance(operation, Mapping):
        raise _refused(place, operation, "an object", 'Send operations such as {"op": "clear", "field": "colour"}.')
    op, name = operation.get("op"), operation.get("field")
    if op not in _ALLOWED:
        raise _refused(f"{place}.op", op, f"one of {', '.join(_ALLOWED)}", "Use one of these.")
    extra = set(operation) - {"op", "field"} - _ALLOWED[op]
    if extra:
        allowed = ", ".join(sorted({"field"} | _ALLOWED[op]))
        raise _refused(
            f"{place}.{min(extra, key=str)}", operation[min(extra, key=str)], f"one of {allowed}", "Leave it out."
        )
    if name in _COLUMNS:
        return _column_edit(op, str(name), operation, schema, place)
    field = schema.field(name) if isinstance(name, str) else None
    if field is None:
        known = ", ".join([*_COLUMNS, *(entry.name for entry in schema.fields)][:50])
        raise _refused(f"{place}.field", name, f"one of {known}", "Add the field to the schema, or use one of these.",
                       code="unknown_field")  # fmt: skip
    locale = _locale(operation.get("locale"), field, place)
    if op == "set":
        return _set(field, operation, locale, schema, place)
    if op == "clear":
        if field.required:
            raise _refused(f"{place}.field", name, "a field that is not required", "Make it optional in the schema.")
        return clear_field(field.name, locale)
    if op in ("append", "remove"):
        if field.type != "array" or field.localizable:
            raise _refused(f"{place}.field", name, "a field of type array", "Use set.")
        entries = _entries(operation.get("values"), place)
        return append(field.name, entries) if op == "append" else remove(field.name, entries, required=field.required)
    return _calculation(op, field, operation, place)


def _column_edit(op: str, name: str, operation: Mapping[str, Any], schema: ProductSchema, place: str) -> Edit:
    if op == "clear" and name == "variant_group":
        return set_column(name, None)
    if op != "set":
        raise _refused(f"{place}.op", op, "set", f"{name} can only be set.")
    if operation.get("locale") is not None:
        raise _refused(f"{place}.locale", operation["locale"], "none", f"{name} has no locales.")
    staged = staged_document({"sku": "x", name: operation.get("value")}, schema)
    value = staged[name][0]
    if value is None:
        raise _refused(f"{place}.value", operation.get("value"), f"a value for {name}", "Send one.")
    return set_column(name, value)


def _set(
    field: SchemaField, operation: Mapping[str, Any], locale: str | None, schema: ProductSchema, place: str
) -> Edit:
    given = operation.get("value")
    value = {locale: given} if locale is not None and given is not None else given
    staged = staged_document({"sku": "x", field.name: value}, schema)
    found = staged[f"{FIELD_PREFIX}{field.name}"][0]
    if found is None:
        raise _refused(f"{place}.value", given, "a value", "Send one, or use clear.")
    if field.localizable:
        return set_field(field.name, str(found), into_locales=True)
    if field.type in ("string", "url"):
        return set_field(field.name, json.dumps(found, ensure_ascii=False))
    return set_field(field.name, str(found).lower() if field.type == "boolean" else str(found))


def _calculation(op: str, field: SchemaField, operation: Mapping[str, Any], place: str) -> Edit:
    if field.type not in ("number", "price", "multi_price") or field.localizable:
        raise _refused(f"{place}.field", field.name, "a field of type number, price or multi_price", "Use set.")
    currency, decimals = operation.get("currency"), operation.get("decimals")
    if field.type == "number" and currency is not None:
        raise _refused(f"{place}.currency", currency, "none", "A number has no currency.")
    if currency is not None and currency not in CURRENCY_CODES:
        raise _refused(f"{place}.currency", currency, "an ISO 4217 code such as EUR", "Name the currency by its code.")
    if op == "add" and field.type != "number" and currency is None:
        fix = "Say which amounts: 5 EUR are no 5 JPY."
        raise _refused(f"{place}.currency", None, "an ISO 4217 code such as EUR", fix)
    if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= MAXIMUM_DECIMALS):
        raise _refused(f"{place}.decimals", decimals, f"0 to {MAXIMUM_DECIMALS}", "Send a whole number.")
    by = _number(operation.get("by"), place)
    return calculate(
        field.name,
        field.type,
        "*" if op == "multiply" else "+",
        by,
        decimals=decimals,
        currency=currency,
    )


def _number(given: Any, place: str) -> Decimal:
    try:
        if given is None or isinstance(given, bool | dict | list):
            raise InvalidOperation
        by = Decimal(str(given))
    except InvalidOperation:
        by = Decimal("NaN")
    _, digits, exponent = by.as_tuple()
    if not by.is_finite() or len(digits) > _DIGITS or abs(int(exponent)) > _DIGITS:
        raise _refused(f"{place}.by", given, f"a number of at most {_DIGITS} digits", "Send one, such as 1.05.")
    return by


def _entries(given: Any, place: str) -> str:
    texts = given if isinstance(given, list) else [given]
    if not 1 <= len(texts) <= MAXIMUM_ENTRIES or any(not isinstance(text, str) or not text.strip() for text in texts):
        raise _refused(f"{place}.values", given, f"a list of 1 to {MAXIMUM_ENTRIES} texts", "Send the entries.")
    return json.dumps(list(dict.fromkeys(text.strip() for text in texts)), ensure_ascii=False)


def _locale(given: Any, field: SchemaField, place: str) -> str | None:
    if given is None:
        return None
    if not field.localizable:
        raise _refused(f"{place}.locale", given, "none", f"{field.name} is not localizable.")
    if not isinstance(given, str) or not LOCALE.fullmatch(given):
        raise _refused(f"{place}.locale", given, "a locale such as de-DE", "Name one.")
    return bcp47(given)


def _refused(place: str, value: Any, expected: str, fix: str, *, code: str = "invalid_operation") -> InvalidRequest:
    shown = value if value is None or isinstance(value, str | int | bool) else str(value)
    shown = shown[:200] if isinstance(shown, str) else shown
    return InvalidRequest(
        f"{place}: {shown!r}, expected {expected}.", fix=fix, code=code, column=place, value=shown, expected=expected
    )
