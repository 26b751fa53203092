"""Deleting by selection: exactly what is meant, logged whole, gone from both engines."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from pim_platform.catalog.deleting import IMAGE, Selection, count_products, delete_products
from pim_platform.catalog.joins import MANY
from pim_platform.catalog.typed_relations import refresh_typed_relations, typed_rows
from pim_platform.errors import InvalidRequest, TenantBusy
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.integration.catalog.test_undo import AUTHOR, Catalogue


@pytest.fixture
def catalogue(workspace: Workspace, make_tenant: Callable[..., TenantInfo], tmp_path: Any) -> Catalogue:
    made = Catalogue(workspace, make_tenant(), tmp_path)
    made.write(
        {"sku": "A-1", "name": "one", "colour": "red", "price": {"amount": Decimal("1.50"), "currency": "EUR"}},
        {"sku": "A-2", "name": "two", "colour": "blue", "active": False},
        {"sku": "B%s'", "name": "three", "weight": 2},
    )
    return made


def left_after(catalogue: Catalogue, selection: Selection) -> set[str]:
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        counted = count_products(session, selection)
        gone = delete_products(session, selection, AUTHOR)
        assert gone.count == counted
        assert (gone.commit_seq is None) == (counted == 0)
    catalogue.assert_engines_agree()
    return set(catalogue.rows())


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(everything=True), set()),
        (Selection(skus=(" a-1 ", "b%S'", "nothing")), {"A-2"}),
        (Selection(skus=()), {"A-1", "A-2", "B%s'"}),
        (Selection(fields={"colour": "red"}), {"A-2", "B%s'"}),
        (Selection(fields={"colour": None}), {"A-1", "A-2"}),
        (Selection(fields={"active": False}), {"A-1", "B%s'"}),
        (Selection(fields={"name": "two", "colour": "red"}), {"A-1", "A-2", "B%s'"}),
        (Selection(fields={"variant_group": None, "weight": 2}), {"A-1", "A-2"}),
        (Selection(fields={"weight": Decimal("2.0")}), {"A-1", "A-2"}),
        (Selection(fields={"price": {"amount": Decimal("1.5"), "currency": "EUR"}}), {"A-2", "B%s'"}),
        (Selection(source_id=uuid4()), {"A-1", "A-2", "B%s'"}),
        (Selection(job_id=uuid4()), {"A-1", "A-2", "B%s'"}),
    ],
    ids=count(),  # texts of sets and random ids would differ between processes
)
def test_exactly_what_is_selected_goes(catalogue: Catalogue, selection: Selection, left: set[str]) -> None:
    assert left_after(catalogue, selection) == left


@pytest.mark.parametrize("selection", [Selection(), Selection(everything=True, skus=("A-1",))], ids=str)
def test_a_catalogue_is_never_deleted_by_leaving_something_out(catalogue: Catalogue, selection: Selection) -> None:
    with (
        pytest.raises(InvalidRequest) as caught,
        tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session,
    ):
        delete_products(session, selection, AUTHOR)
    assert caught.value.code == "invalid_selection"
    assert len(catalogue.rows()) == 3


def test_the_log_holds_the_whole_image(catalogue: Catalogue) -> None:
    found = text("SELECT * FROM pim.products WHERE tenant_id = :tenant AND sku = 'A-1'")
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        before = session.execute(found, {"tenant": catalogue.tenant.id}).one()._mapping
    seq = catalogue.delete("A-1")
    query = text("SELECT * FROM pim.product_changes WHERE tenant_id = :tenant AND commit_seq = :seq")
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        row = session.execute(query, {"tenant": catalogue.tenant.id, "seq": seq}).one()
    assert {name: row._mapping[kept] for name, kept in IMAGE.items()} == {name: before[name] for name in IMAGE}
    assert (row.action, row.product_id, row.version, row.sku_key) == ("delete", before["id"], 2, "a-1")
    assert (row.actor, row.source, row.new) == ("tester", "api", {})


def test_the_typed_relation_loses_the_products_too(catalogue: Catalogue) -> None:
    workspace, tenant = catalogue.workspace, catalogue.tenant

    def typed() -> int:
        catalogue.assert_engines_agree()
        refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
        return typed_rows(workspace.clickhouse, tenant)

    assert typed() == 3
    seq = catalogue.delete("A-1", "A-2")
    assert typed() == 1
    catalogue.undo(seq, recreated=2)
    assert typed() == 3


def test_a_busy_catalogue_is_told_after_the_wait(catalogue: Catalogue) -> None:
    workspace, tenant = catalogue.workspace, catalogue.tenant
    with tenant_session(workspace.app, tenant.id) as holder:
        driver_connection(holder).execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (str(tenant.id),))
        with pytest.raises(TenantBusy), tenant_session(workspace.app, tenant.id) as session:
            delete_products(session, Selection(everything=True), AUTHOR, wait_seconds=0.05)
    assert len(catalogue.rows()) == 3


def test_a_catalogue_that_is_deleted_whole_leaves_both_relations_and_nobody_elses(
    catalogue: Catalogue, make_tenant: Callable[..., TenantInfo], tmp_path: Any
) -> None:
    workspace = catalogue.workspace
    other = Catalogue(workspace, make_tenant(), tmp_path)
    other.write({"sku": "A-1", "name": "another tenant's"})
    catalogue.write(*({"sku": f"N-{n}", "name": f"product {n}"} for n in range(MANY)))

    def typed(one: Catalogue) -> int:
        one.assert_engines_agree()
        refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, one.tenant)
        return typed_rows(workspace.clickhouse, one.tenant)

    assert (typed(catalogue), typed(other)) == (MANY + 3, 1)
    before = catalogue.values()
    with tenant_session(workspace.app, catalogue.tenant.id) as session:
        seq = delete_products(session, Selection(everything=True), AUTHOR).commit_seq
    assert seq is not None
    assert (typed(catalogue), typed(other)) == (0, 1)
    kept = workspace.clickhouse.query(f"SELECT count() FROM `{catalogue.tenant.relation}`.product_rows").result_rows
    assert [tuple(row) for row in kept] == [(0,)]
    catalogue.write({"sku": "N-1", "name": "new"})
    assert (typed(catalogue), typed(other)) == (1, 1)
    catalogue.undo(seq, recreated=MANY + 2, kept=1, conflicts=1)
    assert (typed(catalogue), typed(other)) == (MANY + 3, 1)
    assert catalogue.values() == before | {"N-1": {"name": "new"}}


def test_a_whole_catalogue_that_goes_and_partly_comes_back_before_it_is_published(catalogue: Catalogue) -> None:
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        delete_products(session, Selection(everything=True), AUTHOR)
    catalogue.write({"sku": "A-1", "name": "again"})
    catalogue.assert_engines_agree()
    assert set(catalogue.rows()) == {"A-1"}


def test_one_product_and_then_all_others_deleted_between_two_publications_are_gone(catalogue: Catalogue) -> None:
    catalogue.assert_engines_agree()
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        delete_products(session, Selection(skus=("A-1",)), AUTHOR)
    with tenant_session(catalogue.workspace.app, catalogue.tenant.id) as session:
        delete_products(session, Selection(everything=True), AUTHOR)
    catalogue.assert_engines_agree()
    assert catalogue.rows() == {}
