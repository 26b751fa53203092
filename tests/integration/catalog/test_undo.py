"""Undo: field by field, nothing of what came later, and undone itself (design D15)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.deleting import Author, Selection, delete_products
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.publisher import publish
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.catalog.undo import UndoCounts, preview_undo, undo_commits
from pim_platform.errors import InvalidRequest
from pim_platform.intake.staging import stage_records
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR

AUTHOR = Author("api", "tester")
FIELDS = [{"name": "colour"}, {"name": "price", "type": "price"}, {"name": "weight", "type": "number"}]


class Catalogue:
    """One tenant's catalogue, written and undone commit by commit."""

    def __init__(self, workspace: Workspace, tenant: TenantInfo, folder: Any) -> None:
        self.workspace, self.tenant, self.folder = workspace, tenant, folder
        self._files = 0
        with tenant_session(workspace.app, tenant.id) as session:
            save_schema(session, current_schema(session).with_fields(parse_fields(FIELDS)), ACTOR)

    def write(self, *records: dict[str, Any], actor: str = "tester", clear: frozenset[str] = frozenset()) -> int:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            schema = current_schema(session)
            staged, rejects = stage_records(records, schema, default_currency="EUR")
            assert rejects.height == 0, rejects
            self._files += 1
            path = self.folder / f"{self._files}.parquet"
            staged.write_parquet(path)
            done = merge(session, Incoming.of([path], schema, clear=clear), Origin("api", actor))
            assert done.commit_seq is not None
            return done.commit_seq

    def delete(self, *skus: str) -> int:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            seq = delete_products(session, Selection(skus=skus), AUTHOR).commit_seq
            assert seq is not None
            return seq

    def undo(self, *commits: int, **counts: int) -> int:
        """Undo, and hold preview and counts to what is expected."""
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            shown = preview_undo(session, commits)
            done = undo_commits(session, commits, AUTHOR)
        assert shown.counts == done.counts == UndoCounts(**counts)
        return done.commit_seq or 0

    def preview(self, *commits: int, **options: Any) -> Any:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            return preview_undo(session, commits, **options)

    def rows(self) -> dict[str, dict[str, Any]]:
        query = text(
            "SELECT sku, name, active, variant_group, data, id, version, commit_seq, created_seq, created_at, row_hash "
            "FROM pim.products WHERE tenant_id = :tenant"
        )
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            return {row.sku: dict(row._mapping) for row in session.execute(query, {"tenant": self.tenant.id})}

    def values(self) -> dict[str, dict[str, Any]]:
        return {sku: {"name": row["name"], **row["data"]} for sku, row in self.rows().items()}

    def assert_engines_agree(self) -> None:
        publish(self.workspace.app, self.workspace.clickhouse, self.tenant.id)
        found = compare_engines(self.workspace.app, self.workspace.clickhouse, self.tenant.id)
        assert found.equal, found


@pytest.fixture
def catalogue(workspace: Workspace, make_tenant: Callable[..., TenantInfo], tmp_path: Any) -> Catalogue:
    return Catalogue(workspace, make_tenant(), tmp_path)


def test_updated_fields_get_back_what_they_had(catalogue: Catalogue) -> None:
    catalogue.write(
        {"sku": "A", "name": "one", "colour": "red", "price": {"amount": 1.5, "currency": "EUR"}},
        {"sku": "B", "name": "two", "weight": 2.50},
    )
    before = catalogue.rows()
    seq = catalogue.write(
        {"sku": "a", "name": "uno", "colour": "blue", "weight": 7},
        {"sku": "B", "price": {"amount": 9, "currency": "USD"}},
    )
    catalogue.undo(seq, restored=2)
    after = catalogue.rows()
    for sku in "AB":
        assert json.dumps(after[sku]["data"]) == json.dumps(before[sku]["data"]), "digits and all"
        assert (after[sku]["name"], after[sku]["id"]) == (before[sku]["name"], before[sku]["id"])
        assert after[sku]["version"] == before[sku]["version"] + 2
        assert after[sku]["row_hash"] is None
    catalogue.assert_engines_agree()


def test_a_later_change_of_a_field_is_kept_even_where_it_came_back_to_the_same_value(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red", "weight": 1})
    seq = catalogue.write({"sku": "A", "colour": "blue", "weight": 2})
    away = catalogue.write({"sku": "A", "colour": "green"}, actor="eve")
    back = catalogue.write({"sku": "A", "colour": "blue"}, actor="bob")
    assert away < back
    item = catalogue.preview(seq).items[0]
    assert [(change.field, change.now, change.becomes) for change in item.changes] == [("weight", 2, 1)]
    assert [(conflict.field, conflict.later.actor) for conflict in item.conflicts] == [("colour", "bob")]
    catalogue.undo(seq, restored=1, conflicts=1)
    assert catalogue.values() == {"A": {"name": "one", "colour": "blue", "weight": 1}}


def test_a_later_import_that_repeats_the_value_is_no_touch(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red"})
    seq = catalogue.write({"sku": "A", "colour": "blue"})
    catalogue.write({"sku": "A", "colour": "blue", "weight": 3})
    catalogue.undo(seq, restored=1)
    assert catalogue.values() == {"A": {"name": "one", "colour": "red", "weight": 3}}


def test_a_product_all_of_whose_fields_changed_later_is_kept(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red"})
    seq = catalogue.write({"sku": "A", "colour": "blue"})
    catalogue.write({"sku": "A", "colour": "green"})
    item = catalogue.preview(seq).items[0]
    assert (item.outcome, item.reason, item.changes) == ("keep", "changed_since", [])
    assert catalogue.undo(seq, kept=1, conflicts=1) == 0, "nothing to write, no commit"
    assert catalogue.values() == {"A": {"name": "one", "colour": "green"}}


def test_created_products_go_unless_somebody_touched_them(catalogue: Catalogue) -> None:
    seq = catalogue.write({"sku": "A", "name": "one"}, {"sku": "B", "name": "two"}, {"sku": "C", "name": "three"})
    catalogue.write({"sku": "B", "weight": 1})
    catalogue.delete("C")
    shown = catalogue.preview(seq)
    assert [(item.sku, item.outcome, item.reason) for item in shown.items] == [
        ("A", "remove", None),
        ("B", "keep", "changed_since"),
    ]
    assert shown.items[1].later.actor == "tester"
    catalogue.undo(seq, removed=1, kept=1, conflicts=1)
    assert catalogue.values() == {"B": {"name": "two", "weight": 1}}
    catalogue.assert_engines_agree()


def test_deleted_products_come_back_under_their_ids_whole(catalogue: Catalogue) -> None:
    catalogue.write(
        {"sku": "a-1", "name": "one", "active": False, "weight": 2.50, "price": {"amount": 3, "currency": "EUR"}},
        {"sku": "A-2", "name": "two"},
    )
    before = catalogue.rows()
    seq = catalogue.delete("A-1", "A-2")
    assert catalogue.rows() == {}
    catalogue.undo(seq, recreated=2)
    after = catalogue.rows()
    for sku in before:
        for name in ("id", "sku", "name", "active", "data", "variant_group", "created_seq", "created_at"):
            assert after[sku][name] == before[sku][name], name
        assert after[sku]["version"] == before[sku]["version"] + 2
    catalogue.assert_engines_agree()


def test_a_deleted_product_stays_gone_where_its_sku_is_taken(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one"}, {"sku": "B", "name": "two"})
    seq = catalogue.delete("A", "B")
    catalogue.write({"sku": "a", "name": "another"})
    taken = catalogue.rows()["a"]["id"]
    item = catalogue.preview(seq, only="conflict").items[0]
    assert (item.outcome, item.reason, item.other_product_id) == ("keep", "sku_taken", taken)
    catalogue.undo(seq, recreated=1, kept=1, conflicts=1)
    assert catalogue.values() == {"a": {"name": "another"}, "B": {"name": "two"}}


def test_updates_of_a_product_that_is_gone_or_came_back_are_conflicts(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "weight": 1}, {"sku": "B", "name": "two", "weight": 1})
    seq = catalogue.write({"sku": "A", "weight": 2}, {"sku": "B", "weight": 2})
    catalogue.delete("A")
    catalogue.undo(catalogue.delete("B"), recreated=1)
    shown = catalogue.preview(seq)
    assert [(item.sku, item.reason) for item in shown.items] == [("a", "deleted_since"), ("B", "changed_since")]
    catalogue.undo(seq, kept=2, conflicts=2)
    assert catalogue.values() == {"B": {"name": "two", "weight": 2}}


def test_an_undo_of_an_undo_brings_everything_back(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red"})
    seq = catalogue.write({"sku": "A", "colour": "blue", "weight": 5}, {"sku": "B", "name": "two"})
    after_import = catalogue.rows()
    undone = catalogue.undo(seq, restored=1, removed=1)
    assert catalogue.values() == {"A": {"name": "one", "colour": "red"}}
    redone = catalogue.undo(undone, restored=1, recreated=1)
    assert {sku: row["id"] for sku, row in catalogue.rows().items()} == {
        sku: row["id"] for sku, row in after_import.items()
    }
    assert catalogue.values() == {"A": {"name": "one", "colour": "blue", "weight": 5}, "B": {"name": "two"}}
    catalogue.undo(redone, restored=1, removed=1)
    assert catalogue.values() == {"A": {"name": "one", "colour": "red"}}
    catalogue.assert_engines_agree()


def test_a_cleared_value_and_a_variant_group_come_back(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red"}, {"sku": "B", "name": "two", "colour": "red"})
    catalogue.write({"sku": "B", "variant_group": "g"})
    seq = catalogue.write({"sku": "A", "colour": None, "variant_group": "g", "weight": 1}, clear=frozenset({"colour"}))
    assert catalogue.values()["A"] == {"name": "one", "weight": 1}
    catalogue.undo(seq, restored=1)
    assert catalogue.rows()["A"]["variant_group"] is None
    assert catalogue.values()["A"] == {"name": "one", "colour": "red"}


def test_several_commits_of_one_import_are_undone_as_one(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red", "weight": 1}, {"sku": "B", "name": "b", "weight": 1})
    first = catalogue.write({"sku": "A", "colour": "blue", "weight": 2}, {"sku": "C", "name": "three"})
    second = catalogue.write({"sku": "A", "colour": "green"}, {"sku": "C", "weight": 4}, {"sku": "B", "weight": 2})
    third = catalogue.write({"sku": "B", "weight": 3})
    catalogue.undo(first, second, restored=1, removed=1, kept=1, conflicts=1)
    assert catalogue.values() == {
        "A": {"name": "one", "colour": "red", "weight": 1},
        "B": {"name": "b", "weight": 3},
    }
    assert third > second
    catalogue.assert_engines_agree()


def test_a_preview_pages_in_key_order_and_writes_nothing(catalogue: Catalogue) -> None:
    catalogue.write(*[{"sku": f"S-{n:02}", "name": f"n{n}", "weight": 1} for n in range(7)])
    seq = catalogue.write(*[{"sku": f"S-{n:02}", "weight": 2} for n in range(7)])
    before = catalogue.rows()
    seen: list[str] = []
    cursor = None
    while True:
        page = catalogue.preview(seq, cursor=cursor, limit=3)
        assert page.counts == UndoCounts(restored=7)
        seen += [item.sku for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"S-{n:02}" for n in range(7)]
    assert catalogue.rows() == before
    assert catalogue.preview(seq, only="remove").items == []
    with pytest.raises(InvalidRequest):
        catalogue.preview(seq, cursor="???")
    with pytest.raises(InvalidRequest):
        catalogue.preview(seq, limit=0)


def test_another_tenants_commit_of_the_same_number_is_left_alone(
    catalogue: Catalogue, make_tenant: Callable[..., TenantInfo], tmp_path: Any
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Catalogue(catalogue.workspace, make_tenant(), folder)
    for one in (catalogue, other):
        one.write({"sku": "A", "name": "one", "weight": 1})
    seqs = [one.write({"sku": "A", "weight": 2}) for one in (catalogue, other)]
    assert seqs[0] == seqs[1]
    catalogue.undo(seqs[0], restored=1)
    assert catalogue.values()["A"]["weight"] == 1
    assert other.values()["A"]["weight"] == 2
    assert isinstance(other.rows()["A"]["id"], UUID)
