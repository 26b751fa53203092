"""Changes of a product schema as pure values: what they make of it, and which of them may lose something.

===============  ==========================================================================  ==================
``add``          ``field``: a whole definition                                               safe unless required
``describe``     ``name``, ``description``                                                   safe
``require``      ``name``, ``required``                                                      false is safe
``retype``       ``name``, ``type``                                                          widening is safe
``remove``       ``name``                                                                    narrowing
===============  ==========================================================================  ==================

A type is widened where every value has exactly one form in the new one: see :data:`WIDENS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pim_platform.catalog.schema import FIELD_TYPES, PRODUCT_COLUMNS, ProductSchema, SchemaField
from pim_platform.catalog.schemas import parse_fields
from pim_platform.errors import InvalidSchema

#: Types into which every value of a type goes without loss.
WIDENS: dict[str, frozenset[str]] = {
    "number": frozenset({"string"}),
    "boolean": frozenset({"string"}),
    "url": frozenset({"string", "array"}),
    "string": frozenset({"array"}),
    "price": frozenset({"multi_price"}),
}

#: Changes of one request.
MAXIMUM = 1000

_MEMBERS = {
    "add": {"field"},
    "describe": {"name", "description"},
    "require": {"name", "required"},
    "retype": {"name", "type"},
    "remove": {"name"},
}
OPERATIONS = tuple(_MEMBERS)


@dataclass(frozen=True)
class Step:
    """One change of one field: its definition before and after, None where there is none."""

    op: str
    name: str
    before: SchemaField | None
    after: SchemaField | None

    @property
    def narrowing(self) -> bool:
        """Whether values that products have may not fit any more."""
        if self.op == "add":
            return self.after is not None and self.after.required
        if self.op == "require":
            return self.after is not None and self.after.required and not (self.before and self.before.required)
        if self.op == "retype":
            assert self.before is not None
            assert self.after is not None
            return self.after.type not in WIDENS.get(self.before.type, ()) and self.after.type != self.before.type
        return self.op == "remove"

    @property
    def converts(self) -> bool:
        """Whether stored values get another form."""
        if self.op != "retype" or self.before is None or self.after is None:
            return False
        return self.before.type != self.after.type and (self.before.type, self.after.type) != ("url", "string")


def plan_changes(schema: ProductSchema, changes: Any) -> tuple[ProductSchema, list[Step]]:
    """The schema after the changes (its version is still the old one), and the steps that lead there.

    A field may be changed by several changes, but of one kind each once. Raises InvalidSchema naming change, field and
    what was expected.
    """
    if not isinstance(changes, Sequence) or isinstance(changes, str) or not 1 <= len(changes) <= MAXIMUM:
        raise _refused("changes", changes, f"1 to {MAXIMUM} changes", "Send a list of changes.")
    fields = {field.name: field for field in schema.fields}
    steps: list[Step] = []
    for number, change in enumerate(changes):
        step = _step(change, fields, f"changes.{number}")
        if any((step.op, step.name) == (other.op, other.name) for other in steps):
            raise _refused(f"changes.{number}", step.name, "each change of a field once", "Send one of them.")
        if any(step.name == other.name and "remove" in (step.op, other.op) for other in steps):
            raise _refused(
                f"changes.{number}", step.name, "no other change of a field that is removed", "Leave it out."
            )
        steps.append(step)
        if step.after is None:
            del fields[step.name]
        else:
            fields[step.name] = step.after
    return schema.model_copy(update={"fields": tuple(fields.values())}), steps


def _step(change: Any, fields: Mapping[str, SchemaField], place: str) -> Step:
    if not isinstance(change, Mapping) or change.get("op") not in _MEMBERS:
        given = change.get("op") if isinstance(change, Mapping) else change
        raise _refused(f"{place}.op", given, f"one of {', '.join(_MEMBERS)}", "Use one of these.")
    op = str(change["op"])
    for name in set(change) ^ ({"op"} | _MEMBERS[op]):
        wanted = ", ".join(sorted({"op"} | _MEMBERS[op]))
        raise _refused(f"{place}.{name}", change.get(name), f"the members {wanted}", "Send exactly these.")
    if op == "add":
        return _added(change["field"], fields, place)
    name = change["name"]
    before = fields.get(name) if isinstance(name, str) else None
    if before is None:
        known = ", ".join(sorted(fields)) or "none yet"
        raise _refused(f"{place}.name", name, f"a field of the schema: {known}", "Check the name.", "unknown_field")
    if op == "remove":
        return Step(op, before.name, before, None)
    member = {"describe": "description", "require": "required", "retype": "type"}[op]
    value = change[member]
    good = {"describe": isinstance(value, str), "require": isinstance(value, bool), "retype": value in FIELD_TYPES}[op]
    if not good:
        wanted = {"describe": "a text", "require": "true or false", "retype": f"one of {', '.join(FIELD_TYPES)}"}[op]
        raise _refused(f"{place}.{member}", value, wanted, "Send that.")
    return Step(op, before.name, before, before.model_copy(update={member: value}))


def _added(given: Any, fields: Mapping[str, SchemaField], place: str) -> Step:
    if not isinstance(given, Mapping):
        raise _refused(f"{place}.field", given, "the definition of a field", 'Send {"name": ..., "type": ...}.')
    (added,) = parse_fields([dict(given)])
    if added.name in fields or added.name in PRODUCT_COLUMNS:
        what = "a column of every product" if added.name in PRODUCT_COLUMNS else "there already"
        raise _refused(f"{place}.field.name", added.name, f"a new name: this is {what}", "Choose another name.")
    return Step("add", added.name, None, added)


def _refused(place: str, value: Any, expected: str, fix: str, code: str = "invalid_change") -> InvalidSchema:
    shown = value if value is None or isinstance(value, str | int | bool) else str(value)
    shown = shown[:200] if isinstance(shown, str) else shown
    return InvalidSchema(
        f"{place}: {shown!r}, expected {expected}.", fix=fix, code=code, column=place, value=shown, expected=expected
    )
