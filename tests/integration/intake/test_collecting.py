"""The collector removes what nothing refers to, and never what something does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import select, text

from pim_platform.catalog.models import Product
from pim_platform.errors import NotFound
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.collecting import collect
from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.landing import upload_key
from pim_platform.intake.lease import claim
from pim_platform.intake.manifests import attempt_folder, job_folder, read_manifest
from pim_platform.intake.models import ImportJob, Upload
from pim_platform.intake.previews import preview_summary
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import anonymous_session, dispose_engines, tenant_session
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.imports import ACTOR, import_bytes, land_bytes, run_job
from tests.support.stacks import throwaway_settings

MakeTenant = Callable[..., TenantInfo]

LATER = datetime.now(UTC) + timedelta(days=3650)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """Engines of its own: the collector goes through every tenant, and those of all other tests are many."""
    with throwaway_settings() as settings, engines(settings):
        yield Workspace(settings)
        dispose_engines()


@pytest.fixture(scope="module")
def make_tenant(workspace: Workspace) -> MakeTenant:
    """Makes a tenant on these engines: the session's own fixture knows the session's engines only."""

    def make() -> TenantInfo:
        slug = "t" + uuid4().hex[:12]
        return create_tenant(workspace.app, slug, currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR)

    return make


def keys(workspace: Workspace, prefix: str) -> set[str]:
    return {found.key for found in workspace.objects.list(prefix)}


def file(label: str, count: int = 4) -> bytes:
    return ("SKU,Name,Colour\n" + "".join(f"P-{n},Product {n},{label}\n" for n in range(count))).encode()


def of_tenant(workspace: Workspace, tenant_id: UUID) -> set[str]:
    return keys(workspace, f"tenants/{tenant_id}/")


def products(workspace: Workspace, tenant_id: UUID) -> list[Product]:
    with tenant_session(workspace.app, tenant_id) as session:
        return list(session.scalars(select(Product).where(Product.tenant_id == tenant_id)))


def test_nothing_young_goes(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, file("red"))
    import_bytes(workspace, tenant.id, file("blue"), dry_run=True)
    before = of_tenant(workspace, tenant.id)
    collect(workspace)
    assert of_tenant(workspace, tenant.id) == before


def test_past_retention_only_what_products_need_is_left(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, file("red"))
    second = import_bytes(workspace, tenant.id, file("blue", 3))  # P-3 stays of the first
    third = import_bytes(workspace, tenant.id, file("blue", 3) + b",Nobody,green\n")  # changes nothing
    before = of_tenant(workspace, tenant.id)
    told = collect(workspace, dry_run=True, now=LATER)
    assert of_tenant(workspace, tenant.id) == before, "a dry run removes nothing"
    assert told.staged_objects > 0

    collect(workspace, now=LATER)

    for product in products(workspace, tenant.id):
        assert raw_row(workspace, product) is not None
    assert {found.job_id for found in products(workspace, tenant.id)} == {first.id, second.id}
    assert keys(workspace, job_folder(tenant.id, third.id)) == set()
    # The newest import's mapping is the source's template: its file is kept, those of the others are not.
    uploads = {key.split("/")[3] for key in keys(workspace, f"tenants/{tenant.id}/uploads/")}
    with tenant_session(workspace.app, tenant.id) as session:
        kept = session.get_one(Upload, (tenant.id, third.upload_id)).sha256
    assert uploads == {kept}
    assert collect(workspace, now=LATER).staged_objects == 0, "running it again finds nothing"


def test_an_unfinished_job_keeps_all_it_needs_for_ever(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job = import_bytes(workspace, tenant.id, file("red"), dry_run=True)
    orphan = attempt_folder(tenant.id, job.id, 0) + "staged-00000.parquet"
    workspace.objects.put_bytes(orphan, b"of a dead attempt")

    collect(workspace, now=LATER)

    assert not workspace.objects.exists(orphan)
    assert preview_summary(workspace, job)["lines"] > 0
    promote_job(workspace, tenant.id, job.id, ACTOR)
    assert run_job(workspace, tenant.id, job.id).state == "done"
    waiting = land_bytes(workspace, tenant.id, file("green"))
    propose_job(workspace, tenant.id, waiting)
    confirm_job(workspace, tenant.id, waiting, actor=ACTOR)
    claim(workspace, tenant.id, waiting)
    at_work = attempt_folder(tenant.id, waiting, 1) + "staged-00000.parquet"
    workspace.objects.put_bytes(at_work, b"being written")
    collect(workspace, now=LATER)
    assert workspace.objects.exists(at_work)


def test_a_promoted_import_keeps_the_rows_that_its_dry_run_staged(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job = import_bytes(workspace, tenant.id, file("red"), dry_run=True)
    promote_job(workspace, tenant.id, job.id, ACTOR)
    done = run_job(workspace, tenant.id, job.id)
    collect(workspace, now=LATER)
    for product in products(workspace, tenant.id):
        assert raw_row(workspace, product)
    with pytest.raises(NotFound):
        preview_summary(workspace, done)


def test_a_file_that_comes_again_after_its_bytes_went_is_stored_again(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, file("red"))
    import_bytes(workspace, tenant.id, file("blue"))
    collect(workspace, now=LATER)
    assert import_bytes(workspace, tenant.id, file("red")).rows_updated == 4


def test_objects_of_nobody_go_when_they_are_a_day_old(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    stray = [upload_key(tenant.id, "0" * 64), f"tenants/{tenant.id}/jobs/{tenant.id}/1/staged-00000.parquet"]
    for key in stray:
        workspace.objects.put_bytes(key, b"x")
    collect(workspace)
    assert of_tenant(workspace, tenant.id) == set(stray), "somebody may be about to make their rows"
    collect(workspace, now=datetime.now(UTC) + timedelta(days=2))
    assert of_tenant(workspace, tenant.id) == set()


@pytest.mark.parametrize("seed", range(4))
def test_what_anything_refers_to_is_never_removed(workspace: Workspace, make_tenant: MakeTenant, seed: int) -> None:
    """Random imports, dry runs, promotions and edits; then everything that is referred to is still there."""
    chance = random.Random(seed)
    tenant = make_tenant()
    jobs: list[ImportJob] = []
    for step in range(8):
        what = chance.choice(["import", "import", "dry", "promote", "edit", "age", "collect"])
        content = file(f"c{seed}{step}", chance.randint(1, 6))
        if what == "import":
            jobs.append(import_bytes(workspace, tenant.id, content, source=chance.choice(["a", "b"])))
        elif what == "dry":
            jobs.append(import_bytes(workspace, tenant.id, content, dry_run=True))
        elif what == "promote" and (staged := [job for job in jobs if job.state == "staged"]):
            promote_job(workspace, tenant.id, staged[0].id, ACTOR)
            jobs[jobs.index(staged[0])] = run_job(workspace, tenant.id, staged[0].id)
        elif what == "edit":
            bulk_upsert(workspace, tenant.id, [{"sku": f"P-{chance.randint(0, 5)}", "name": "Edited"}], actor=ACTOR)
        elif what == "age":
            with tenant_session(workspace.app, tenant.id) as session:
                session.execute(
                    text("UPDATE pim.import_jobs SET finished_at = finished_at - :d WHERE tenant_id = :t"),
                    {"d": timedelta(days=chance.choice([100, 400])), "t": tenant.id},
                )
        else:
            collect(workspace)
    collect(workspace)

    with tenant_session(workspace.app, tenant.id) as session:
        every = list(session.scalars(select(ImportJob).where(ImportJob.tenant_id == tenant.id)))
        uploads = {one.id: one for one in session.scalars(select(Upload).where(Upload.tenant_id == tenant.id))}
    for product in products(workspace, tenant.id):
        assert product.job_id is None or product.attempt is None or raw_row(workspace, product) is not None
    now = datetime.now(UTC)
    for job in every:
        young = job.finished_at is None or job.finished_at > now - timedelta(days=90)
        if job.state == "staged":
            assert preview_summary(workspace, job)
            assert workspace.objects.exists(uploads[job.upload_id].object_key)  # type: ignore[index]
        if job.state == "staged" or young:
            for key in read_manifest(workspace, job).keys:
                assert workspace.objects.exists(key)
    referred = {key for job in every for key in keys(workspace, job_folder(tenant.id, job.id))}
    collect(workspace, now=now)
    assert {key for job in every for key in keys(workspace, job_folder(tenant.id, job.id))} == referred


# --- the change log --------------------------------------------------------------------------------------------


@pytest.fixture
def admin(workspace: Workspace) -> Any:
    with psycopg.connect(Endpoints.of(workspace.settings).admin_url, autocommit=True) as connection:
        yield connection


def test_months_of_the_change_log_past_retention_go(
    workspace: Workspace, make_tenant: MakeTenant, admin: psycopg.Connection[Any]
) -> None:
    tenant = make_tenant()
    admin.execute("SET ROLE pim_owner")
    for month, following in (("202401", "202402"), ("202402", "202403")):
        first, last = (f"{name[:4]}-{name[4:]}-01 00:00+00" for name in (month, following))
        admin.execute(
            f"CREATE TABLE pim.product_changes_{month} PARTITION OF pim.product_changes "  # type: ignore[arg-type]
            f"FOR VALUES FROM ('{first}') TO ('{last}')"
        )
    admin.execute("RESET ROLE")
    import_bytes(workspace, tenant.id, file("red"))
    import_bytes(workspace, tenant.id, file("blue"))

    told = collect(workspace, dry_run=True).change_partitions
    assert {"product_changes_202401", "product_changes_202402"} <= set(told)
    assert collect(workspace).change_partitions == told
    assert collect(workspace).change_partitions == []
    with tenant_session(workspace.app, tenant.id) as session:
        query = text("SELECT count(*) FROM pim.product_changes WHERE tenant_id = :t")
        assert session.scalar(query, {"t": tenant.id}) == 4


def test_the_application_cannot_drop_the_last_month(workspace: Workspace) -> None:
    with anonymous_session(workspace.app) as session:
        query = text("SELECT relation FROM pim.drop_old_changes(interval '-10 years', true)")
        month = datetime.now(UTC).strftime("%Y%m")
        assert f"product_changes_{month}" not in list(session.scalars(query))


def test_the_command_says_what_would_go(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from pim_platform.cli.gc import gc_command
    from pim_platform.settings import get_settings

    get_settings.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pim_platform.cli.gc.get_settings", lambda: workspace.settings)
        result = CliRunner().invoke(gc_command, ["--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["dry_run"] is True
