"""The field-level diff as data: what the change log of the merge would say, in a stable order, with a stable digest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Merged, Origin, merge
from pim_platform.catalog.models import ProductChange
from pim_platform.catalog.preview import (
    LINE_COLUMNS,
    Preview,
    compare_previews,
    csv_pieces,
    read_lines,
    summarise,
    write_preview,
)
from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.catalog.schemas import save_schema
from pim_platform.intake.staging import stage_records
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR

MakeTenant = Callable[..., TenantInfo]

SCHEMA = ProductSchema(
    fields=(
        SchemaField(name="price", type="price"),
        SchemaField(name="weight", type="number"),
        SchemaField(name="tags", type="array"),
        SchemaField(name="note", type="string"),
    ),
    default_currency="EUR",
    default_locale="en-US",
)

Record = dict[str, Any]


class Catalogue:
    """A tenant whose catalogue takes records, for real or as a preview."""

    def __init__(self, workspace: Workspace, tenant: TenantInfo, folder: Path) -> None:
        self.workspace, self.tenant, self.folder = workspace, tenant, folder
        with tenant_session(workspace.app, tenant.id) as session:
            self.schema = save_schema(session, SCHEMA, ACTOR)
        self._made = 0

    def _staged(self, records: Sequence[Record]) -> list[Path]:
        staged, rejects = stage_records(list(records), self.schema)
        assert rejects.height == 0
        self._made += 1
        path = self.folder / f"staged-{self._made}.parquet"
        staged.write_parquet(path)
        return [path]

    def write(self, records: Sequence[Record], **options: Any) -> Merged:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            return merge(session, Incoming.of(self._staged(records), self.schema, **options), Origin("api", "test"))

    def preview(self, records: Sequence[Record], **options: Any) -> Preview:
        incoming = Incoming.of(self._staged(records), self.schema, **options)
        folder = self.folder / f"preview-{self._made}"
        folder.mkdir()
        made: list[Preview] = []
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            merge(
                session,
                incoming,
                Origin("api", "test"),
                dry_run=True,
                on_plan=lambda c: bool(made.append(write_preview(c, self.tenant.id, incoming, folder))),
            )
        return made[0]


@pytest.fixture
def catalogue(workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path) -> Catalogue:
    return Catalogue(workspace, make_tenant(), tmp_path)


def price(amount: float, currency: str = "EUR") -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


FIRST = [
    {"sku": "A", "name": "Alpha", "price": price(10), "weight": 1.50, "tags": ["x", "y"], "note": "old"},
    {"sku": "B", "name": "Beta", "price": price(20), "note": "same"},
    {"sku": "C", "name": "Gamma", "price": price(0)},
]
SECOND = [
    {"sku": "C", "name": "Gamma", "price": price(5)},
    {"sku": "a", "name": 'Al"pha,\n2', "price": price(9), "tags": ["x", "z"], "active": False},
    {"sku": "B", "name": "Beta", "price": price(20, "USD"), "note": "same"},
    {"sku": "D", "name": "Delta", "weight": 0.125},
    {"sku": "E", "note": "nameless"},
    {"sku": "E", "note": "nameless again"},
]


def lines(preview: Preview, **filters: Any) -> list[tuple[Any, ...]]:
    return read_lines(preview.files, **filters).drop("position", "product_id").rows()


def test_one_line_per_changed_field_in_the_order_of_the_file(catalogue: Catalogue) -> None:
    catalogue.write(FIRST)
    found = catalogue.preview(SECOND)
    assert lines(found) == [
        (1, "C", "update", "price", '{"amount": 0, "currency": "EUR"}', '{"amount": 5, "currency": "EUR"}'),
        (2, "a", "update", "name", '"Alpha"', '"Al\\"pha,\\n2"'),
        (2, "a", "update", "active", "true", "false"),
        (2, "a", "update", "price", '{"amount": 10, "currency": "EUR"}', '{"amount": 9, "currency": "EUR"}'),
        (2, "a", "update", "tags", '["x", "y"]', '["x", "z"]'),
        (3, "B", "update", "price", '{"amount": 20, "currency": "EUR"}', '{"amount": 20, "currency": "USD"}'),
        (4, "D", "create", "name", None, '"Delta"'),
        (4, "D", "create", "active", None, "true"),
        (4, "D", "create", "weight", None, "0.125"),
        (5, "E", "reject", "name", None, None),
        (6, "E", "reject", "name", None, None),
    ]
    assert read_lines(found.files)["position"].to_list() == list(range(1, found.lines + 1))
    assert read_lines(found.files).columns == list(LINE_COLUMNS)


@pytest.mark.parametrize(
    "options", [{}, {"clear": frozenset({"note", "tags"})}, {"replace": True}], ids=["patch", "clear", "replace"]
)
def test_the_lines_are_what_the_change_log_says_afterwards(catalogue: Catalogue, options: dict[str, Any]) -> None:
    catalogue.write(FIRST)
    told = catalogue.preview(SECOND, **options)
    seq = catalogue.write(SECOND, **options).commit_seq
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        logged = session.execute(
            select(ProductChange.sku_key, ProductChange.old, ProductChange.new).where(
                ProductChange.tenant_id == catalogue.tenant.id, ProductChange.commit_seq == seq
            )
        ).all()
    expected = {(key, field): (old.get(field), new.get(field)) for key, old, new in logged for field in {**old, **new}}
    shown = {
        (sku.lower(), field): (json.loads(old or "null"), json.loads(new or "null"))
        for _, sku, action, field, old, new in lines(told)
        if action == "update"
    }
    assert shown == expected


def test_the_digest_is_of_the_result_and_nothing_else(catalogue: Catalogue) -> None:
    catalogue.write(FIRST)
    first, again = catalogue.preview(SECOND), catalogue.preview(SECOND)
    assert first.digest == again.digest
    catalogue.write([{"sku": "Z", "name": "Elsewhere"}])
    assert catalogue.preview(SECOND).digest == first.digest
    catalogue.write([{"sku": "A", "note": "a field that the file does not give"}])
    assert (
        catalogue.preview([{"sku": "A", "weight": 2}]).digest == catalogue.preview([{"sku": "A", "weight": 2}]).digest
    )
    catalogue.write([{"sku": "A", "price": price(11)}])
    moved = catalogue.preview(SECOND)
    assert moved.digest != first.digest
    differ = compare_previews(first.files, moved.files)
    assert differ.count == 1
    assert [(one["side"], one["field"], json.loads(one["old"])["amount"]) for one in differ.examples] == [
        ("accepted", "price", 10),
        ("now", "price", 11),
    ]


def test_a_summary_counts_fields_price_steps_and_spellings(catalogue: Catalogue) -> None:
    catalogue.write(FIRST)
    found = summarise(catalogue.preview(SECOND), catalogue.schema)
    assert found["fields"]["name"] == {"create": 1, "reject": 2, "update": 1}
    prices = found["price_changes"]["price"]
    assert [bucket for bucket in prices["buckets"] if bucket["count"]] == [{"from": -10, "to": -5, "count": 1}]
    assert prices["not_comparable"] == 2, "another currency, and a price of nothing before"
    assert found["collisions"] == {"count": 1, "examples": [{"row": 2, "sku": "a", "stored_sku": "A"}]}


def test_csv_holds_every_line(catalogue: Catalogue) -> None:
    catalogue.write(FIRST)
    found = catalogue.preview(SECOND)
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_pieces(found.files)).decode())))
    assert [(row["sku"], row["field"]) for row in rows] == [(line[1], line[3]) for line in lines(found)]
    assert rows[1]["new"] == '"Al\\"pha,\\n2"'
    filtered = b"".join(csv_pieces(found.files, action="create")).decode()
    assert len(filtered.splitlines()) == 4


def test_what_changes_nothing_has_no_lines(catalogue: Catalogue) -> None:
    catalogue.write(FIRST)
    found = catalogue.preview(FIRST)
    assert (found.lines, found.files) == (0, [])
    assert lines(found) == []
    assert summarise(found, catalogue.schema)["price_changes"] == {}
    assert b"".join(csv_pieces(found.files)).decode().count("\n") == 1
    assert compare_previews(found.files, []).count == 0
    assert isinstance(read_lines(found.files), pl.DataFrame)
