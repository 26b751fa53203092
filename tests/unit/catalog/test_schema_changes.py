"""Which changes of a schema are safe is decided without a server."""

from __future__ import annotations

import pytest

from pim_platform.catalog.schema import FIELD_TYPES, ProductSchema, SchemaField
from pim_platform.catalog.schema_changes import WIDENS, plan_changes
from pim_platform.errors import InvalidSchema

SCHEMA = ProductSchema(
    fields=(SchemaField(name="size"), SchemaField(name="brand", required=True)),
    default_currency="EUR",
    default_locale="en-US",
)


def narrowing(*changes: dict[str, object]) -> list[bool]:
    return [step.narrowing for step in plan_changes(SCHEMA, changes)[1]]


def test_what_takes_nothing_away_is_safe() -> None:
    assert (
        narrowing(
            {"op": "add", "field": {"name": "season"}},
            {"op": "describe", "name": "size", "description": "As printed"},
            {"op": "require", "name": "brand", "required": False},
            {"op": "require", "name": "size", "required": False},
            {"op": "retype", "name": "size", "type": "array"},
            {"op": "retype", "name": "brand", "type": "string"},
        )
        == [False] * 6
    )


def test_what_may_take_something_away_is_narrowing() -> None:
    assert (
        narrowing(
            {"op": "add", "field": {"name": "season", "required": True}},
            {"op": "require", "name": "size", "required": True},
            {"op": "retype", "name": "size", "type": "number"},
            {"op": "remove", "name": "brand"},
        )
        == [True] * 4
    )
    assert narrowing({"op": "require", "name": "brand", "required": True}) == [False], "it is required already"


def test_widening_goes_to_types_that_there_are_and_never_back() -> None:
    assert set(WIDENS) <= set(FIELD_TYPES)
    for kind, wider in WIDENS.items():
        assert wider <= set(FIELD_TYPES)
        assert not any(kind in WIDENS.get(other, ()) for other in wider)


def test_changes_are_made_together() -> None:
    after, steps = plan_changes(
        SCHEMA,
        [
            {"op": "describe", "name": "size", "description": "d"},
            {"op": "retype", "name": "size", "type": "array"},
            {"op": "add", "field": {"name": "season"}},
            {"op": "remove", "name": "brand"},
        ],
    )
    assert [(field.name, field.type, field.description) for field in after.fields] == [
        ("size", "array", "d"), ("season", "string", ""),
    ]  # fmt: skip
    assert [step.op for step in steps] == ["describe", "retype", "add", "remove"]


@pytest.mark.parametrize(
    "changes",
    [
        [{"op": "remove", "name": "size"}, {"op": "describe", "name": "size", "description": "d"}],
        [{"op": "describe", "name": "size", "description": "d"}, {"op": "remove", "name": "size"}],
        [{"op": "retype", "name": "size", "type": "url"}, {"op": "retype", "name": "size", "type": "number"}],
        [{"op": "remove", "name": "size"}, {"op": "add", "field": {"name": "size"}}],
        [],
    ],
    ids=str,
)
def test_changes_that_contradict_each_other_are_refused(changes: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidSchema):
        plan_changes(SCHEMA, changes)
