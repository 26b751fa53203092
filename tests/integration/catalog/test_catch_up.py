"""ClickHouse is gone for a while: PostgreSQL goes on, and afterwards both hold the same rows again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from pim_platform.catalog.checksum import compare_engines, publish_and_compare
from pim_platform.catalog.publisher import publish
from pim_platform.errors import EngineUnavailable
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.lease import claim
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.running import attempt, merge_job, publish_job, stage_job
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import Engine, engines, holding
from pim_platform.local.home import Home
from pim_platform.storage.postgres import dispose_engines, tenant_session
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.compare import assert_engines_hold, typed_clickhouse_rows
from tests.support.imports import ACTOR, import_bytes, land_bytes, run_job
from tests.support.stacks import throwaway_settings

FIRST = b"SKU,Name,Colour\nA-1,Alpha,red\nB-2,Beta,blue\nC-3,Gamma,green\n"
SECOND = b"SKU,Name,Colour\nA-1,Alpha,black\nD-4,Delta,white\n"


@pytest.fixture(scope="module")
def home() -> Iterator[tuple[Workspace, Engine]]:
    """A home whose ClickHouse a test may stop."""
    with throwaway_settings() as settings, engines(settings), holding(settings, Home(settings.home_path)) as parts:
        yield Workspace(settings), parts["clickhouse"]
        dispose_engines()


def tenant_of(workspace: Workspace, slug: str) -> TenantInfo:
    return create_tenant(
        workspace.app, slug, currency="EUR", locale="en-US", timezone="UTC", confirm_policy="never", actor=ACTOR
    )


def command(workspace: Workspace, *arguments: str) -> Result:
    from pim_platform.cli.publish import publish_command

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pim_platform.cli.publish.get_settings", lambda: workspace.settings)
        return CliRunner().invoke(publish_command, [*arguments, "--json"])


def test_after_an_outage_clickhouse_catches_up(home: tuple[Workspace, Engine]) -> None:
    workspace, clickhouse = home
    tenant = tenant_of(workspace, "outage")
    import_bytes(workspace, tenant.id, FIRST)
    clickhouse.stop()

    assert bulk_upsert(workspace, tenant.id, [{"sku": "B-2", "color": "pink"}], actor=ACTOR).published is False
    job_id = land_bytes(workspace, tenant.id, SECOND)
    propose_job(workspace, tenant.id, job_id)
    confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
    claim(workspace, tenant.id, job_id)

    def cut_short() -> None:
        with attempt(workspace, tenant.id, job_id) as (job, lease):
            stage_job(workspace, job, lease)
            publish_job(workspace, merge_job(workspace, job, lease), lease)

    with pytest.raises(EngineUnavailable):
        cut_short()
    with tenant_session(workspace.app, tenant.id) as session:
        job = get_job(session, job_id)
    assert (job.state, job.merged, job.reason_code) == ("importing", True, "engine_unavailable")
    clickhouse.start()
    assert not compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal

    assert publish_and_compare(workspace.app, workspace.clickhouse, tenant.id).equal
    done = run_job(workspace, tenant.id, job_id)

    assert (done.state, done.attempt) == ("done", 2)
    expected = {
        "A-1": ("Alpha", "black"),
        "B-2": ("Beta", "pink"),
        "C-3": ("Gamma", "green"),
        "D-4": ("Delta", "white"),
    }
    assert_engines_hold(workspace, tenant, expected, "color")
    assert publish(workspace.app, workspace.clickhouse, tenant.id).sent is False


def test_the_command_checks_catches_up_and_rebuilds(home: tuple[Workspace, Engine]) -> None:
    workspace, clickhouse = home
    tenant, other = tenant_of(workspace, "command"), tenant_of(workspace, "other")
    import_bytes(workspace, tenant.id, FIRST)
    import_bytes(workspace, other.id, SECOND)
    assert command(workspace, "--tenant", tenant.slug, "--check").exit_code == 0

    clickhouse.stop()
    bulk_upsert(workspace, tenant.id, [{"sku": "E-5", "name": "Epsilon", "color": "grey"}], actor=ACTOR)
    clickhouse.start()
    behind = command(workspace, "--tenant", tenant.slug, "--check")
    assert behind.exit_code == 1
    assert json.loads(behind.output) == [
        {"tenant": "command", "equal": False, "postgres_rows": 4, "clickhouse_rows": 3}
    ]
    assert command(workspace, "--tenant", tenant.slug).exit_code == 0
    assert len(typed_clickhouse_rows(workspace, tenant, "color")) == 4

    # Rows lost without the publisher's knowledge come back by a rebuild, and by nothing less.
    workspace.clickhouse.command(
        "ALTER TABLE segmentation.product_versions DELETE WHERE tenant_id = {t:String} SETTINGS mutations_sync = 2",
        parameters={"t": str(tenant.id)},
    )
    assert command(workspace, "--tenant", tenant.slug).exit_code == 1
    assert command(workspace, "--tenant", tenant.slug, "--rebuild").exit_code == 0
    every = command(workspace, "--all", "--check")
    assert every.exit_code == 0
    assert {"command", "other"} <= {answer["tenant"] for answer in json.loads(every.output)}


def test_the_command_wants_to_know_which_tenant(home: tuple[Workspace, Engine]) -> None:
    workspace, _ = home
    assert command(workspace).exit_code == 1
    assert command(workspace, "--tenant", "x", "--all").exit_code == 1
    assert command(workspace, "--tenant", "x", "--check", "--rebuild").exit_code == 1
