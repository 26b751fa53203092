"""Absent rows of full feeds: only this source's own, never by surprise (design D6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.errors import Conflict
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.models import ImportJob
from pim_platform.intake.removing import release_job
from pim_platform.intake.undoing import undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, run_job


class Feeds:
    """Full feeds of SKUs into one tenant."""

    def __init__(self, workspace: Workspace, tenant: TenantInfo) -> None:
        self.workspace, self.tenant = workspace, tenant

    def send(self, skus: str, *, absent: str | None = "delete", extra: str = "", **options: Any) -> ImportJob:
        rows = "".join(f"{sku},Product {sku.upper()},{options.pop('note', 'n')}\n" for sku in skus)
        options = {"full_feed": True, "absent_rows": absent} | options
        return import_bytes(self.workspace, self.tenant.id, f"SKU,Name,Note\n{rows}{extra}".encode(), **options)

    def active(self) -> str:
        """SKUs there are; inactive ones in brackets."""
        query = text("SELECT sku_key, active FROM pim.products WHERE tenant_id = :tenant ORDER BY sku_key")
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            rows = session.execute(query, {"tenant": self.tenant.id}).all()
        return "".join(key if active else f"({key})" for key, active in rows)

    def engines_agree(self) -> bool:
        return compare_engines(self.workspace.app, self.workspace.clickhouse, self.tenant.id).equal


@pytest.fixture
def feeds(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> Feeds:
    return Feeds(workspace, make_tenant())


@pytest.mark.parametrize(
    ("policy", "after"),
    [("keep", "abcdefghij"), ("deactivate", "abcdefghi(j)"), ("delete", "abcdefghi"), (None, "abcdefghij")],
)
def test_what_a_full_feed_lacks_meets_the_policy(feeds: Feeds, policy: str | None, after: str) -> None:
    feeds.send("abcdefghij")
    job = feeds.send("abcdefghi", absent=policy)
    assert job.state == "done"
    assert feeds.active() == after
    assert job.rows_removed == (1 if policy in ("deactivate", "delete") else 0)
    assert job.ledger() == {
        "read": 9, "created": 0, "updated": 0, "unchanged": 9, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert feeds.engines_agree()
    feeds.send("abcdefghi", absent=policy, extra="k,Product K,n\n")
    assert feeds.engines_agree()


def test_the_sources_own_settings_hold_where_the_import_says_nothing(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    with tenant_session(feeds.workspace.app, feeds.tenant.id) as session:
        session.execute(
            text("UPDATE pim.sources SET full_feed = true, absent_rows = 'deactivate' WHERE tenant_id = :tenant"),
            {"tenant": feeds.tenant.id},
        )
    job = feeds.send("abcdefghi", absent=None, full_feed=False)
    assert job.full_feed
    assert feeds.active() == "abcdefghi(j)"


def test_only_skus_of_the_last_full_feed_of_the_same_source_go(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    feeds.send("xyz", source="other")
    feeds.send("m", full_feed=False)
    bulk_upsert(feeds.workspace, feeds.tenant.id, [{"sku": "p", "name": "by API"}], actor=ACTOR)
    feeds.send("abcdefghi")
    assert feeds.active() == "abcdefghimpxyz"


def test_a_rejected_record_and_another_spelling_are_not_absent(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    feeds.send("abcdefgH", extra=" I ,Product I,n\nJ,broken,too,many,cells,in,this,row\n")
    assert feeds.active() == "abcdefghij"


def test_too_many_absent_rows_hold_the_job_until_somebody_releases_it(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    job = feeds.send("abcdefg", note="changed")
    assert (job.state, job.reason_code, job.rows_removed) == ("held", "too_many_absent", 3)
    assert "3 of the 10 products" in str(job.reason)
    assert feeds.active() == "abcdefghij"
    released = release_job(feeds.workspace, feeds.tenant.id, job.id, ACTOR)
    assert released.state == "confirmed"
    done = run_job(feeds.workspace, feeds.tenant.id, job.id)
    assert (done.state, done.rows_removed, done.rows_read) == ("done", 3, 7)
    assert feeds.active() == "abcdefg"
    assert feeds.engines_agree()
    with pytest.raises(Conflict):
        release_job(feeds.workspace, feeds.tenant.id, job.id, ACTOR)


def test_a_held_job_can_be_cancelled(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    job = feeds.send("a")
    cancelled = cancel_job(feeds.workspace, feeds.tenant.id, job.id, ACTOR)
    assert cancelled.state == "cancelled"
    assert feeds.active() == "abcdefghij"


def test_one_in_five_is_still_let_through(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    assert feeds.send("abcdefgh").state == "done"
    assert feeds.active() == "abcdefgh"


def test_a_dry_run_counts_what_the_commit_removes(feeds: Feeds) -> None:
    feeds.send("abcdefghij")
    dry = feeds.send("abcdefgh", dry_run=True)
    assert (dry.state, dry.rows_removed) == ("staged", 2)
    assert feeds.active() == "abcdefghij"
    assert feeds.send("abcdefgh").rows_removed == 2


@pytest.mark.parametrize("policy", ["deactivate", "delete"])
def test_undoing_the_import_brings_absent_rows_back(feeds: Feeds, policy: str) -> None:
    feeds.send("abcdefghij")
    job = feeds.send("abcdefghi", absent=policy, extra="k,Product K,n\n")
    undone = undo_job(feeds.workspace, feeds.tenant.id, job.id, actor=ACTOR, origin="cli")
    assert feeds.active() == "abcdefghij"
    assert undone.published
    assert feeds.engines_agree()
    # The undone feed is not the last accepted one any more.
    feeds.send("abcdefgh", absent=policy)
    assert feeds.active().replace("(i)", "").replace("(j)", "") == "abcdefgh"


def test_a_deactivated_product_whose_row_comes_back_unchanged_takes_what_the_row_says(feeds: Feeds) -> None:
    workspace, tenant = feeds.workspace, feeds.tenant
    full = b"SKU,Name,Active\na,A,yes\nb,B,yes\nc,C,yes\nd,D,yes\ne,E,yes\n"
    options: dict[str, Any] = {"full_feed": True, "absent_rows": "deactivate"}
    import_bytes(workspace, tenant.id, full, **options)
    import_bytes(workspace, tenant.id, full.replace(b"e,E,yes\n", b""), **options)
    assert feeds.active() == "abcd(e)"
    import_bytes(workspace, tenant.id, full, **options)
    assert feeds.active() == "abcde"
