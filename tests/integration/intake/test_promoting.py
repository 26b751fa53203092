"""A dry run, its preview, and its promotion: exactly what was shown is committed, or nothing is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from pim_platform.catalog.models import Product, ProductChange
from pim_platform.catalog.preview import LINE_COLUMNS, read_lines
from pim_platform.errors import Conflict, EngineUnavailable, NotFound
from pim_platform.intake import running
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.lease import claim
from pim_platform.intake.manifests import job_folder, merged_attempts
from pim_platform.intake.models import ImportJob
from pim_platform.intake.previews import preview_files, preview_summary
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.running import attempt, merge_job, stage_job, write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, run_job

MakeTenant = Callable[..., TenantInfo]

BASE = b"SKU,Name,Price,Colour\nA-1,Alpha,10.00,red\nB-2,Beta,20.00,blue\nC-3,Gamma,30.00,\n"
NEXT = (
    b"SKU,Name,Price,Colour\n"
    b"a-1,Alpha,12.00,red\n"  # price up by a fifth, SKU spelled otherwise
    b"B-2,Beta two,20.00,\n"  # name; an empty cell keeps
    b"C-3,Gamma,30.00,\n"  # nothing
    b"D-4,Delta,5.00,green\n"  # new
    b"E-5,,7.00,\n"  # new without a name: a reject
    b",Nobody,1.00,\n"  # no SKU: a reject of staging
)


def dry_run(workspace: Workspace, tenant_id: UUID, content: bytes = NEXT) -> ImportJob:
    return import_bytes(workspace, tenant_id, content, dry_run=True)


def lines(workspace: Workspace, job: ImportJob, **filters: Any) -> list[tuple[Any, ...]]:
    with preview_files(workspace, job) as files:
        return read_lines(files, **filters).select(LINE_COLUMNS).rows()


def state_of(workspace: Workspace, tenant_id: UUID) -> list[tuple[Any, ...]]:
    """Everything that an import could write into the catalogue."""
    with tenant_session(workspace.app, tenant_id) as session:
        columns = (Product.sku, Product.name, Product.data, Product.version, Product.commit_seq, Product.attempt)
        products = session.execute(select(*columns).where(Product.tenant_id == tenant_id).order_by(Product.sku_key))
        changes = session.execute(
            select(ProductChange.sku_key, ProductChange.old, ProductChange.new).where(
                ProductChange.tenant_id == tenant_id
            )
        )
        return [*map(tuple, products), *sorted(map(str, changes))]  # type: ignore[arg-type]


def price(amount: str) -> str:
    return f'{{"amount": {amount}, "currency": "EUR"}}'


def promoted(workspace: Workspace, job: ImportJob) -> ImportJob:
    promote_job(workspace, job.tenant_id, job.id, ACTOR)
    return run_job(workspace, job.tenant_id, job.id)


def test_a_dry_run_says_what_would_change_and_writes_nothing(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    before = state_of(workspace, tenant.id)

    job = dry_run(workspace, tenant.id)

    assert state_of(workspace, tenant.id) == before
    assert (job.state, job.merged, job.commit_seq) == ("staged", False, None)
    assert job.ledger() == {
        "read": 6, "created": 1, "updated": 2, "unchanged": 1, "rejected": 2, "superseded": 0, "merged": 0,
    }  # fmt: skip
    found = lines(workspace, job)
    ids = {line[2]: line[3] for line in found}
    assert ids["D-4"] is None
    assert [line[:3] + line[4:] for line in found] == [
        (1, 2, "a-1", "update", "price", price("10.00"), price("12.00")),
        (2, 3, "B-2", "update", "name", '"Beta"', '"Beta two"'),
        (3, 5, "D-4", "create", "name", None, '"Delta"'),
        (4, 5, "D-4", "create", "price", None, price("5.00")),
        (5, 5, "D-4", "create", "color", None, '"green"'),
        (6, 6, "E-5", "reject", "name", None, None),
    ]  # fmt: skip
    summary = preview_summary(workspace, job)
    assert summary["products"] == {"create": 1, "update": 2, "unchanged": 1}
    assert summary["rows"] == {"read": 6, "rejected": 2, "superseded": 0, "merged": 0}
    assert summary["fields"]["price"] == {"create": 1, "update": 1}
    assert summary["collisions"] == {"count": 1, "examples": [{"row": 2, "sku": "a-1", "stored_sku": "A-1"}]}
    buckets = summary["price_changes"]["price"]["buckets"]
    assert [bucket for bucket in buckets if bucket["count"]] == [{"from": 10, "to": 25, "count": 1}]
    assert summary["digest"] == job.preview_digest


def test_the_same_dry_run_twice_has_the_same_digest(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    first, second = dry_run(workspace, tenant.id), dry_run(workspace, tenant.id, NEXT + b"\n")
    assert first.id != second.id
    assert first.preview_digest == second.preview_digest


def test_lines_are_paged_and_filtered(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    job = dry_run(workspace, tenant.id)
    every = lines(workspace, job)
    paged, after = [], 0
    while page := lines(workspace, job, after=after, limit=2):
        paged += page
        after = page[-1][0]
    assert paged == every
    assert {line[2] for line in lines(workspace, job, action="update")} == {"a-1", "B-2"}
    assert [line[2] for line in lines(workspace, job, field="price")] == ["a-1", "D-4"]
    assert [line[0] for line in lines(workspace, job, sku_key="a-1")] == [1]
    assert lines(workspace, job, after=4, field="price") == []


def test_promoting_commits_what_was_shown_without_staging_again(
    workspace: Workspace, make_tenant: MakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    preview = dry_run(workspace, tenant.id)
    shown = lines(workspace, preview)
    monkeypatch.setattr(running, "stage", lambda *_, **__: pytest.fail("the file was staged again"))

    job = promoted(workspace, preview)

    assert (job.state, job.dry_run, job.merged, job.attempt) == ("done", False, True, 2)
    assert job.ledger() == preview.ledger()
    with tenant_session(workspace.app, tenant.id) as session:
        products = {p.sku: p for p in session.scalars(select(Product).where(Product.tenant_id == tenant.id))}
        logged = session.execute(
            text("SELECT sku_key, old, new FROM pim.product_changes WHERE tenant_id = :t"), {"t": tenant.id}
        ).all()
    assert {key: list(new) for key, _, new in logged} == {"a-1": ["price"], "b-2": ["name"]}
    assert products["B-2"].name == "Beta two"
    assert set(products) == {"A-1", "B-2", "C-3", "D-4"}
    assert raw_row(workspace, products["D-4"]) == {"SKU": "D-4", "Name": "Delta", "Price": "5.00", "Colour": "green"}
    assert lines(workspace, job) == shown, "what was accepted can still be read"
    kinds = [(one.kind, one.attempt, one.ledger()) for one in merged_attempts(workspace, job)]
    assert kinds == [("promote", 2, job.ledger())]


def test_rejects_of_a_promoted_import_are_there_once(
    workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    tenant = make_tenant()
    job = promoted(workspace, dry_run(workspace, tenant.id))
    assert write_rejects(workspace, job, tmp_path / "rejects.csv") == job.rows_rejected == 2
    assert job.reject_reasons == {"missing_sku": 1, "name_missing": 1}


def test_where_the_catalogue_moved_nothing_is_written_and_the_new_diff_is_shown(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    job = dry_run(workspace, tenant.id)
    first = job.preview_digest
    bulk_upsert(workspace, tenant.id, [{"sku": "B-2", "name": "Somebody's Beta"}], actor=ACTOR)
    before = state_of(workspace, tenant.id)

    moved = promoted(workspace, job)

    assert state_of(workspace, tenant.id) == before
    assert (moved.state, moved.reason_code, moved.dry_run) == ("staged", "catalogue_moved", True)
    assert "1 changes differ" in str(moved.reason)
    assert "Somebody's Beta" in str(moved.reason)
    assert moved.preview_digest != first
    assert lines(workspace, moved, sku_key="b-2")[0][6] == '"Somebody\'s Beta"'

    done = promoted(workspace, moved)
    assert (done.state, done.reason_code) == ("done", None)
    with tenant_session(workspace.app, tenant.id) as session:
        query = select(Product.name).where(Product.tenant_id == tenant.id, Product.sku_key == "b-2")
        assert session.scalar(query) == "Beta two"


def test_a_change_that_the_import_does_not_touch_moves_nothing(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    job = dry_run(workspace, tenant.id)
    bulk_upsert(workspace, tenant.id, [{"sku": "Z-9", "name": "Elsewhere"}], actor=ACTOR)
    assert promoted(workspace, job).state == "done"


def test_a_promotion_that_dies_is_taken_up(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, BASE)
    job = dry_run(workspace, tenant.id)
    promote_job(workspace, tenant.id, job.id, ACTOR)
    for merge_first in (False, True):
        claim(workspace, tenant.id, job.id)

        def broken(merging: bool = merge_first) -> None:
            with attempt(workspace, tenant.id, job.id) as (mine, lease):
                stage_job(workspace, mine, lease)
                if merging:
                    merge_job(workspace, mine, lease)
                raise EngineUnavailable("ClickHouse does not answer.")

        with pytest.raises(EngineUnavailable):
            broken()
    done = run_job(workspace, tenant.id, job.id)
    assert (done.state, done.attempt, done.ledger()) == ("done", 4, job.ledger())
    assert len(merged_attempts(workspace, done)) == 1
    folders = {found.key.split("/")[4] for found in workspace.objects.list(job_folder(tenant.id, job.id))}
    assert folders == {"1", "3"}, "the preview with what it staged, and the attempt that merged"


def test_only_a_dry_run_that_waits_can_be_promoted(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    done = import_bytes(workspace, tenant.id, BASE)
    with pytest.raises(Conflict) as caught:
        promote_job(workspace, tenant.id, done.id, ACTOR)
    assert caught.value.code == "not_staged"
    with pytest.raises(NotFound) as none:
        preview_summary(workspace, done)
    assert none.value.code == "no_preview"


def test_a_cancelled_promotion_is_cancelled(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job = dry_run(workspace, tenant.id)
    promote_job(workspace, tenant.id, job.id, ACTOR)
    assert cancel_job(workspace, tenant.id, job.id, ACTOR).state == "cancelled"
    with tenant_session(workspace.app, tenant.id) as session:
        assert get_job(session, job.id).state == "cancelled"
    assert state_of(workspace, tenant.id) == []


def test_what_a_full_feed_lacks_is_shown_and_promoted(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    feed = {"full_feed": True, "absent_rows": "delete"}
    import_bytes(workspace, tenant.id, BASE, **feed)
    job = import_bytes(workspace, tenant.id, b"SKU,Name,Price,Colour\nA-1,Alpha,10.00,red\n", dry_run=True, **feed)
    shown = [(line[1], line[2], line[4], line[5], line[6], line[7]) for line in lines(workspace, job)]
    assert shown == [
        (None, "B-2", "delete", "name", '"Beta"', None),
        (None, "C-3", "delete", "name", '"Gamma"', None),
    ]
    assert preview_summary(workspace, job)["products"]["remove"] == 2

    done = promoted(workspace, job)  # not held: a person has seen what goes

    assert (done.state, done.rows_removed, done.dry_run) == ("done", 2, False)
    with tenant_session(workspace.app, tenant.id) as session:
        assert session.scalars(select(Product.sku).where(Product.tenant_id == tenant.id)).all() == ["A-1"]


def test_correcting_rejects_of_a_full_feed_removes_nothing(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    feed = {"full_feed": True, "absent_rows": "delete"}
    job = import_bytes(workspace, tenant.id, BASE + b",Delta,1.00,\n", **feed)
    corrected = io.BytesIO(b"SKU,Name,Price,Colour,row\nD-4,Delta,1.00,,5\n")
    rework_job(workspace, tenant.id, job.id, corrected, filename="c.csv", actor=ACTOR)
    done = run_job(workspace, tenant.id, job.id)
    assert (done.rows_created, done.rows_rejected, done.rows_removed) == (4, 0, 0)
    # The next feed is measured against all that this one brought, the corrected record too.
    third = import_bytes(workspace, tenant.id, BASE, dry_run=True, **feed)
    assert [line[2] for line in lines(workspace, third, action="delete")] == ["D-4"]
