"""What ClickHouse finds for a filter is what the words of the filter say, for any schema, values and operators."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pim_platform.catalog.conditions import Clause, where
from pim_platform.catalog.filters import Condition, Filter
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.relation import ask, caught_up
from pim_platform.catalog.schema import FIELD_TYPES, ProductSchema, SchemaField
from pim_platform.catalog.schemas import save_schema
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import create_tenant
from tests.support.catalogues import products

ACTOR = Actor("test")
LOCALES = ("de-DE", "en-US")

TEXTS = st.text("aAbBäÄ éЖ'\"\\%_,{}[]:\n\t0", max_size=5).map(str.strip)
#: As many digits as binary64 holds: the relation's numbers are such (design D13).
NUMBERS = st.decimals(-1000, 1000, places=2, allow_nan=False) | st.sampled_from([Decimal(0), Decimal("1e15")])
PRICES = st.fixed_dictionaries({"amount": NUMBERS, "currency": st.sampled_from(["EUR", "USD"])})
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "url": st.sampled_from(["https://example.com/a", "http://example.com/B?x='"]),
    "number": NUMBERS,
    "boolean": st.booleans(),
    "array": st.lists(TEXTS.filter(bool), max_size=3),
    "price": PRICES,
    "multi_price": st.lists(PRICES, min_size=1, max_size=3),
}


@st.composite
def schemas(draw: st.DrawFn) -> list[SchemaField]:
    kinds = draw(st.lists(st.sampled_from(FIELD_TYPES), min_size=2, max_size=6))
    # Names of ClickHouse's own columns and functions among them.
    names = ["is_deleted", "version_2", "import", "count", "texts", "folded_name"]
    return [
        SchemaField(name=name, type=kind, localizable=kind == "string" and draw(st.booleans()))
        for name, kind in zip(names, kinds, strict=False)
    ]


def records(fields: list[SchemaField]) -> st.SearchStrategy[list[dict[str, Any]]]:
    def value(field: SchemaField) -> st.SearchStrategy[Any]:
        if field.localizable:
            return st.dictionaries(st.sampled_from(LOCALES), TEXTS.filter(bool), max_size=2)
        return VALUES[field.type]

    one = st.fixed_dictionaries(
        {"name": TEXTS.filter(bool), "active": st.booleans()},
        optional={field.name: value(field) for field in fields},
    )
    return st.lists(one, min_size=3, max_size=8).map(
        lambda found: [{"sku": f"S-{number}", **record} for number, record in enumerate(found)]
    )


@st.composite
def conditions(draw: st.DrawFn, fields: list[SchemaField]) -> tuple[str, str, Any]:
    """Path, operator and value, as JSON would say it."""
    field = draw(st.sampled_from([None, *fields]))
    if field is None:
        path, kind = draw(st.sampled_from([("name", "string"), ("sku", "sku"), ("active", "boolean")]))
    else:
        path, kind = f"data.{field.name}", field.type
        if field.localizable:
            path += f".{draw(st.sampled_from(LOCALES))}"
        elif kind in ("price", "multi_price") and draw(st.booleans()):
            path, kind = f"{path}.currency", "string" if kind == "price" else "array"
    if kind != "sku" and draw(st.integers(0, 4)) == 0:
        return path, draw(st.sampled_from(["has", "missing"])), draw(st.booleans())
    if kind in ("number", "price", "multi_price"):
        operator = draw(st.sampled_from(["eq", "in", "gt", "gte", "lt", "lte"]))
        values: st.SearchStrategy[Any] = NUMBERS
    elif kind == "boolean":
        return path, "eq", draw(st.booleans())
    else:
        operator = draw(st.sampled_from(["eq", "in", "contains"]))
        values = st.sampled_from(["EUR", "USD"]) if path.endswith("currency") else TEXTS
        if kind == "sku":
            values = st.sampled_from(["s-1", " S-2", "-", "s"])
    return path, operator, draw(st.lists(values, min_size=1, max_size=3) if operator == "in" else values)


def held(condition: Condition, row: dict[str, Any]) -> Any:
    """What the product has there: a scalar, a list, or None."""
    target = condition.target
    if target.field is None:
        return row[target.name]
    value = row["data"].get(target.field.name)
    for key in target.path:
        value = None if value is None else value.get(key)
    if target.field.type == "price" and value is not None:
        return value["currency" if target.currency else "amount"]
    if target.field.type == "multi_price":
        return [entry["currency" if target.currency else "amount"] for entry in value or []]
    return (value or []) if target.field.type == "array" else value


def meets(condition: Condition, row: dict[str, Any]) -> bool:
    """The condition in plain Python."""
    value, wanted, operator = held(condition, row), condition.value, condition.operator
    if operator in ("has", "missing"):
        return (value not in (None, "", [])) is (wanted is (operator == "has"))
    if isinstance(value, list):
        if condition.target.kind == "list":
            return any(entry in value for entry in (wanted if operator == "in" else [wanted]))
        return any(compared(entry, operator, wanted) for entry in value)
    if value is None:
        return False
    if condition.target.kind == "key" and operator != "contains":
        wanted = tuple(map(sku_key, wanted)) if operator == "in" else sku_key(wanted)
        value = sku_key(value)
    return compared(value, operator, wanted)


def compared(value: Any, operator: str, wanted: Any) -> bool:
    if operator == "contains":
        return bool(wanted.lower() in value.lower())
    if operator == "in":
        return value in wanted
    tests = {"eq": value == wanted, "gt": None, "gte": None, "lt": None, "lte": None}
    if operator == "eq":
        return bool(tests["eq"])
    return {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}[operator]


def check(workspace: Workspace, data: st.DataObject) -> None:
    fields = data.draw(schemas())
    tenant = create_tenant(
        workspace.app, "f" + uuid.uuid4().hex[:12], currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    with tenant_session(workspace.app, tenant.id) as session:
        wanted = ProductSchema(fields=tuple(fields), default_currency="EUR", default_locale="en-US")
        schema = save_schema(session, wanted, ACTOR)
    bulk_upsert(workspace, tenant.id, data.draw(records(fields)), actor=ACTOR)
    relation = caught_up(workspace, tenant.id)
    rows = products(workspace, tenant.id)
    asked = data.draw(st.lists(conditions(fields), min_size=20, max_size=20))
    read = [Filter.from_json({path: {operator: value}}, schema).conditions[0] for path, operator, value in asked]
    clause = Clause()
    columns = [f"ifNull({where(Filter((one,)), schema, clause)}, 0)" for one in read]
    found = ask(workspace, relation, f"SELECT sku_key, {', '.join(columns)} FROM {{rows}}", clause)
    assert {row[0] for row in found} == set(rows)
    for key, *answers in found:
        for condition, answer in zip(read, answers, strict=True):
            assert bool(answer) == meets(condition, rows[key]), (condition, rows[key])


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_filter_means_the_same_to_clickhouse_and_to_plain_python(workspace: Workspace, data: st.DataObject) -> None:
    check(workspace, data)


@pytest.mark.full
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_filters_mean_the_same_to_clickhouse_and_to_plain_python(
    workspace: Workspace, data: st.DataObject
) -> None:
    check(workspace, data)
