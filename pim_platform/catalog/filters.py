"""Filters: which products of a tenant are meant, said field by field and checked against its schema.

Belongs here: what may be asked of a field, and reading it from query parameters or JSON. Does not belong here:
how ClickHouse answers it (:mod:`pim_platform.catalog.conditions`, :mod:`pim_platform.catalog.matching`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args
from uuid import UUID

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import InvalidRequest
from pim_platform.tenancy.tenants import normalise_locale

Operator = Literal["eq", "in", "gt", "gte", "lt", "lte", "contains", "has", "missing"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

#: What a value is compared as.
Kind = Literal["key", "text", "number", "boolean", "list", "numbers", "id", "time", "choice", "localized"]

_RANGE: tuple[Operator, ...] = ("gt", "gte", "lt", "lte")
_PRESENCE: tuple[Operator, ...] = ("has", "missing")
_ALLOWED: dict[Kind, tuple[Operator, ...]] = {
    "key": ("eq", "in", "contains"),
    "text": ("eq", "in", "contains", *_PRESENCE),
    "number": ("eq", "in", *_RANGE, *_PRESENCE),
    "boolean": ("eq", *_PRESENCE),
    "list": ("eq", "in", "contains", *_PRESENCE),
    "numbers": ("eq", "in", *_RANGE, *_PRESENCE),
    "id": ("eq", "in", *_PRESENCE),
    "time": ("eq", *_RANGE),
    "choice": ("eq", "in"),
    "localized": _PRESENCE,
}
_EXPECTED: dict[Kind, str] = {
    "key": "a SKU",
    "text": "text",
    "number": "a number, such as 12.5",
    "boolean": "true or false",
    "list": "text: one entry of the list",
    "numbers": "a number, such as 12.5",
    "id": "a UUID",
    "time": "a time in ISO 8601, such as 2026-01-31T08:00:00Z",
    "choice": "one of",
    "localized": "true or false",
}

#: Conditions one filter may have, and values one of them may list: more is a mistake or an attack.
MAXIMUM_CONDITIONS = 50
MAXIMUM_VALUES = 1000
#: Characters of one value.
MAXIMUM_TEXT = 1000
#: Largest magnitude of binary64, as which ClickHouse compares numbers.
_LARGEST = Decimal("1e308")

_PARAMETER = re.compile(r"filter\[([^\[\]]*)\](?:\[([^\[\]]*)\])?")
_DATA = "data."
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class Target:
    """What a condition looks at: a product's own column, or a field of the schema and the way into its value.

    ``path`` holds the keys into a localizable or scopable value (channel, then locale); ``part`` is ``currency``
    for the currency of a price, ``currency_of`` narrows a multi-price to one currency.
    """

    name: str
    kind: Kind
    field: SchemaField | None = None
    path: tuple[str, ...] = ()
    currency: bool = False
    only_currency: str | None = None
    choices: tuple[str, ...] = ()


#: The product's own columns that can be filtered. ``import`` and ``source_id`` are those that wrote it last.
COLUMNS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("id", "id"),
        Target("sku", "key"),
        Target("name", "text"),
        Target("active", "boolean"),
        Target("kind", "choice", choices=("simple", "parent", "variant", "bundle")),
        Target("source", "choice", choices=("csv", "api", "ui")),
        Target("parent_id", "id"),
        Target("variant_group", "text"),
        Target("import", "id"),
        Target("source_id", "id"),
        Target("created_at", "time"),
        Target("updated_at", "time"),
    )
}


@dataclass(frozen=True)
class Condition:
    """One test, its value of the Python type that the target's kind has: str, Decimal, bool, UUID, datetime.

    ``in`` holds a tuple of these; ``has`` and ``missing`` a bool.
    """

    name: str
    operator: Operator
    value: Any
    target: Target = field(compare=False, repr=False)


@dataclass(frozen=True)
class Filter:
    """Products that meet every condition, and the search text ``q`` where there is one. Empty: all products."""

    conditions: tuple[Condition, ...] = ()
    q: str = ""

    def __bool__(self) -> bool:
        return bool(self.conditions or self.q)

    @classmethod
    def from_query(cls, parameters: Iterable[tuple[str, str]], schema: ProductSchema, *, q: str = "") -> Filter:
        """From the pairs of a query string: ``filter[price][gte]=10``, ``filter[colour]=red``; others are ignored.

        ``in`` takes values separated by commas, quoted as in CSV where one holds a comma; it may be repeated.
        Raises InvalidRequest naming parameter, value and what was expected.
        """
        found: list[Condition] = []
        listed: dict[str, list[str]] = {}
        for name, text in parameters:
            if not name.startswith("filter"):
                continue
            match = _PARAMETER.fullmatch(name)
            if match is None:
                raise _wrong(
                    name, text, f"{name!r} is no filter.", "a parameter such as filter[price][gte]", "Write it so."
                )
            path, operator = match[1], match[2] or "eq"
            if operator == "in":
                listed.setdefault(path, []).extend(_values(text))
            else:
                found.append(_condition(path, operator, text, schema, name))
        found += [_condition(path, "in", values, schema, f"filter[{path}][in]") for path, values in listed.items()]
        return cls(_bounded(found), _searched(q))

    @classmethod
    def from_json(cls, value: Any, schema: ProductSchema, *, q: str = "") -> Filter:
        """From JSON: ``{"price": {"gte": 10}, "colour": {"in": ["red", "blue"]}, "brand": "Acme"}``.

        Raises InvalidRequest naming the place, the value and what was expected.
        """
        if not isinstance(value, Mapping):
            raise _wrong("filter", value, "The filter is no object.", 'an object such as {"price": {"gte": 10}}', "")
        found: list[Condition] = []
        for path, tests in value.items():
            if not isinstance(tests, Mapping):
                tests = {"in" if isinstance(tests, list) else "eq": tests}
            found += [
                _condition(str(path), str(operator), wanted, schema, f"filter.{path}.{operator}")
                for operator, wanted in tests.items()
            ]
        return cls(_bounded(found), _searched(q))

    def as_json(self) -> dict[str, Any]:
        """The conditions as :meth:`from_json` reads them, in one fixed order; a Decimal stays one."""
        found: dict[str, Any] = {}
        for condition in self.conditions:
            value = condition.value
            shown = [_plain(entry) for entry in value] if isinstance(value, tuple) else _plain(value)
            found.setdefault(condition.name, {})[condition.operator] = shown
        return found


def target_of(path: str, schema: ProductSchema, *, parameter: str = "filter") -> Target:
    """What ``path`` names: ``price``, ``price.currency``, ``title.de-DE``, ``data.id`` for a field called as a column.

    Raises InvalidRequest.
    """
    if not path.startswith(_DATA) and path in COLUMNS:
        return COLUMNS[path]
    name, *rest = path.removeprefix(_DATA).split(".")
    found = schema.field(name)
    if found is None:
        known = [*COLUMNS, *(entry.name for entry in schema.fields)]
        raise _wrong(
            parameter, path, f"There is no field {path!r}.", f"one of {', '.join(known[:30])}", "See the schema."
        )
    return _in_field(found, path, rest, parameter)


def _in_field(found: SchemaField, path: str, rest: list[str], parameter: str) -> Target:
    keys: list[str] = []
    for wanted, label in ((found.scopable, "channel"), (found.localizable, "locale")):
        if wanted and rest:
            keys.append(_locale(rest.pop(0), parameter) if label == "locale" else rest.pop(0))
    complete = len(keys) == found.scopable + found.localizable
    if not complete and not rest:
        return Target(path, "localized", found, tuple(keys))
    if rest and complete:
        part = rest.pop(0)
        if not rest and found.type in ("price", "multi_price") and part == "currency":
            return Target(path, "text" if found.type == "price" else "list", found, tuple(keys), currency=True)
        if not rest and found.type == "multi_price" and _CURRENCY.fullmatch(part):
            return Target(path, "numbers", found, tuple(keys), only_currency=part)
    elif complete:
        return Target(path, _KINDS[found.type], found, tuple(keys))
    more = ".currency" if found.type in ("price", "multi_price") else ""
    raise _wrong(
        parameter, path, f"{path!r} leads to nothing.", f"{found.name} or {found.name}{more}", "See the schema."
    )


_KINDS: dict[str, Kind] = {
    "string": "text",
    "url": "text",
    "number": "number",
    "price": "number",
    "boolean": "boolean",
    "array": "list",
    "multi_price": "numbers",
}


def _locale(text: str, parameter: str) -> str:
    try:
        return normalise_locale(text)
    except InvalidRequest as error:
        raise _wrong(parameter, text, f"{text!r} is no locale.", "a locale such as de-DE", "") from error


def _condition(path: str, operator: str, value: Any, schema: ProductSchema, place: str) -> Condition:
    target = target_of(path, schema, parameter=place)
    allowed = _ALLOWED[target.kind]
    if operator not in allowed:
        if target.kind == "localized":
            raise _wrong(
                place, operator, f"{path} has a value per locale.", f"{path}.<locale>, or has or missing", "Name one."
            )
        raise _wrong(
            place,
            operator,
            f"{path} cannot be asked for {operator!r}.",
            f"one of {', '.join(allowed)}",
            "Use one of these.",
        )
    known: Operator = next(entry for entry in OPERATORS if entry == operator)
    if known in _PRESENCE:
        return Condition(path, known, _boolean(value, place, path), target)
    if known == "in":
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise _wrong(place, value, f"{path} needs a list.", "at least one value", "Separate values with commas.")
        if len(value) > MAXIMUM_VALUES:
            raise _wrong(place, len(value), f"{path} lists too many values.", f"at most {MAXIMUM_VALUES:,}", "")
        return Condition(path, known, tuple(_value(entry, target, place) for entry in value), target)
    return Condition(path, known, _value(value, target, place), target)


def _value(value: Any, target: Target, place: str) -> Any:
    if target.kind in ("number", "numbers"):
        return _number(value, target, place)
    if target.kind == "boolean":
        return _boolean(value, place, target.name)
    if not isinstance(value, str) or len(value) > MAXIMUM_TEXT or "\x00" in value:
        raise _not_of(value, target, place)
    if target.kind == "choice" and value not in target.choices:
        raise _wrong(
            place, value, f"{target.name} is never {value!r}.", f"one of {', '.join(target.choices)}", "Use one."
        )
    if target.kind == "id":
        try:
            return UUID(value)
        except ValueError as error:
            raise _not_of(value, target, place) from error
    if target.kind == "time":
        return _time(value, target, place)
    return value


def _number(value: Any, target: Target, place: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _not_of(value, target, place)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation as error:
        raise _not_of(value, target, place) from error
    if not number.is_finite() or abs(number) > _LARGEST:
        raise _not_of(value, target, place)
    return number


def _boolean(value: Any, place: str, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong(place, value, f"{value!r} says neither yes nor no.", "true or false", f"Correct the value of {path}.")


def _time(value: str, target: Target, place: str) -> datetime:
    """The instant; without an offset it is UTC, without a time midnight."""
    try:
        # A plus sign that was not encoded arrives as a space.
        found = datetime.fromisoformat(re.sub(r"[ ](?=\d\d:?\d\d$)", "+", value.strip()))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _not_of(value, target, place) from error
    if not 1900 <= found.year < 2262:  # what DateTime64(6) holds
        raise _not_of(value, target, place)
    return found


def _values(text: str) -> list[str]:
    return next(csv.reader([text], skipinitialspace=True), [])


def _bounded(found: list[Condition]) -> tuple[Condition, ...]:
    if len(found) > MAXIMUM_CONDITIONS:
        raise _wrong("filter", len(found), "The filter is too long.", f"at most {MAXIMUM_CONDITIONS} conditions", "")
    asked = [(condition.name, condition.operator) for condition in found]
    for name, operator in asked:
        if asked.count((name, operator)) > 1:
            raise _wrong(f"filter[{name}][{operator}]", name, f"{name} is asked for {operator} twice.", "it once", "")
    return tuple(sorted(found, key=lambda condition: (condition.name, condition.operator)))


def _searched(q: str) -> str:
    if len(q) > MAXIMUM_TEXT:
        raise _wrong("q", f"{q[:20]}...", "The search text is too long.", f"at most {MAXIMUM_TEXT:,} characters", "")
    return " ".join(q.split())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _not_of(value: Any, target: Target, place: str) -> InvalidRequest:
    return _wrong(place, value, f"{target.name} cannot be {value!r}.", _EXPECTED[target.kind], "Correct the value.")


def _wrong(place: str, value: Any, message: str, expected: str, fix: str) -> InvalidRequest:
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return InvalidRequest(
        message if len(message) <= 300 else f"{message[:300]}...",
        fix=fix or f"Give {expected}.",
        code="invalid_filter",
        column=place,
        value=shown[:200],
        expected=expected,
    )
