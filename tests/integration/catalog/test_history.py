"""History of a product and of an import, from the change log (design D9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from pim_platform.catalog.history import HistoryPage, import_changes, product_history
from pim_platform.errors import InvalidRequest, NotFound
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.integration.catalog.test_undo import Catalogue

JOB = uuid4()


@pytest.fixture
def catalogue(workspace: Workspace, make_tenant: Callable[..., TenantInfo], tmp_path: Any) -> Catalogue:
    return Catalogue(workspace, make_tenant(), tmp_path)


def session_of(catalogue: Catalogue) -> Any:
    return tenant_session(catalogue.workspace.app, catalogue.tenant.id)


def all_pages(read: Callable[..., HistoryPage], limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = read(cursor=cursor, limit=limit)
        assert len(page.entries) <= limit
        found += page.entries
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_a_product_tells_its_whole_life_newest_first(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one", "colour": "red"})
    product_id = catalogue.rows()["A"]["id"]
    catalogue.write({"sku": "A", "colour": "blue"}, actor="eve")
    seq = catalogue.delete("a")
    catalogue.undo(seq, recreated=1)
    for limit in (1, 2, 3, 50):
        with session_of(catalogue) as session:
            found = all_pages(lambda session=session, **page: product_history(session, product_id, **page), limit)
        assert [entry.action for entry in found] == ["create", "delete", "update", "create"]
        assert [entry.version for entry in found] == [4, 3, 2, 1]
        assert found[2].changes == {"colour": ("red", "blue")}
        assert found[2].actor == "eve"
        assert found[1].changes == {"name": ("one", None), "active": (True, None), "kind": ("simple", None),
                                    "colour": ("blue", None)}  # fmt: skip
        assert {entry.sku for entry in found} == {"A"}


def test_a_deleted_product_keeps_its_history_with_its_creation(catalogue: Catalogue) -> None:
    catalogue.write({"sku": "A", "name": "one"})
    row = catalogue.rows()["A"]
    catalogue.delete("a")
    with session_of(catalogue) as session:
        found = product_history(session, row["id"]).entries
    assert [entry.action for entry in found] == ["delete", "create"]
    assert found[1].at == row["created_at"]
    assert found[1].commit_seq == row["created_seq"]


def test_an_import_tells_what_it_changed_by_field(catalogue: Catalogue) -> None:
    catalogue.write(*[{"sku": f"S-{n}", "name": f"n{n}", "weight": 1} for n in range(5)])
    seq = catalogue.write(
        *[{"sku": f"S-{n}", "weight": 2} for n in range(5)], {"sku": "N", "name": "new"}, {"sku": "M", "name": "more"}
    )
    ids = {row["id"]: sku for sku, row in catalogue.rows().items()}

    def read(session: Session, **page: Any) -> HistoryPage:
        return import_changes(session, [seq], JOB, **page)

    for limit in (1, 2, 100):
        with session_of(catalogue) as session:
            found = all_pages(lambda session=session, **page: read(session, **page), limit)
        assert [entry.product_id for entry in found] == sorted(ids)
        by_sku = {entry.sku: entry for entry in found}
        assert by_sku["S-3"].changes == {"weight": (1, 2)}
        assert (by_sku["N"].action, by_sku["N"].changes, by_sku["N"].job_id) == ("create", {}, JOB)


def test_nothing_of_another_tenant(catalogue: Catalogue, make_tenant: Callable[..., TenantInfo], tmp_path: Any) -> None:
    seq = catalogue.write({"sku": "A", "name": "one"})
    product_id = catalogue.rows()["A"]["id"]
    other = make_tenant()
    with tenant_session(catalogue.workspace.app, other.id) as session:
        with pytest.raises(NotFound):
            product_history(session, product_id)
        assert import_changes(session, [seq], JOB).entries == []


@pytest.mark.parametrize("cursor", ["!", "YWJj", "LTE"])
def test_a_bad_cursor_is_refused(catalogue: Catalogue, cursor: str) -> None:
    catalogue.write({"sku": "A", "name": "one"})
    product_id = catalogue.rows()["A"]["id"]
    with session_of(catalogue) as session:
        with pytest.raises(InvalidRequest):
            product_history(session, product_id, cursor=cursor)
        with pytest.raises(InvalidRequest):
            import_changes(session, [1], JOB, cursor=cursor)
        with pytest.raises(InvalidRequest):
            product_history(session, product_id, limit=0)
