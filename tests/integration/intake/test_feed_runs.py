"""A due feed in Dagster: the sensor asks for a run, the run fetches the file, the import it makes is due."""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from pim_platform.definitions import build_defs
from pim_platform.intake import fetching
from pim_platform.intake.feeds import FeedSettings, find_feed, set_feed
from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.sources import find_source
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from resources import WorkspaceResource
from sensors.feeds import FEED_TAG, feeds_sensor
from tests.support.feeds import Shop, allow, fetching_workspace, shop
from tests.support.imports import ACTOR
from tests.support.receivers import Reply

_WORKSPACES: list[Workspace] = []


class _Stores(WorkspaceResource):
    """The stores of the tests."""

    def workspace(self) -> Workspace:
        return _WORKSPACES[-1]


@pytest.fixture
def outbound(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(fetching, "_FIRST_PAUSE_SECONDS", 0.0)
    _WORKSPACES.append(fetching_workspace(workspace))
    yield _WORKSPACES[-1]
    _WORKSPACES.pop()


@pytest.fixture
def supplier() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def tick(instance: dg.DagsterInstance, tenant: TenantInfo) -> list[dg.RunRequest]:
    """The runs that the sensor asks for; those of other tests' tenants left out."""
    context = dg.build_sensor_context(instance=instance, resources={"stores": _Stores()})
    result = feeds_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return [one for one in result.run_requests or [] if one.partition_key == tenant.slug]


def run(instance: dg.DagsterInstance, request: dg.RunRequest) -> Any:
    instance.add_dynamic_partitions("tenants", [str(request.partition_key)])
    job = build_defs({"stores": _Stores()}).resolve_job_def("fetch_feed")
    return job.execute_in_process(
        partition_key=request.partition_key,
        instance=instance,
        run_config=dict(request.run_config),
        tags=dict(request.tags),
        raise_on_error=False,
    )


def test_a_due_feed_is_fetched_by_one_run_and_its_import_is_confirmed(
    outbound: Workspace, make_tenant: Callable[..., TenantInfo], supplier: Shop, instance: dg.DagsterInstance
) -> None:
    tenant = make_tenant("all_sure")
    allow(outbound, tenant)
    feed = FeedSettings(url=supplier.url, interval_seconds=60)
    set_feed(outbound, tenant.id, "acme", feed, actor=ACTOR)
    (request,) = tick(instance, tenant)
    assert request.tags[FEED_TAG]
    assert run(instance, request).success
    with tenant_session(outbound.app, tenant.id) as session:
        (job,) = list_jobs(session)
    assert (job.state, job.origin, job.actor) == ("confirmed", "feed", "sensor:feeds")
    assert tick(instance, tenant) == [], "it is due again in a minute"


def test_a_feed_that_fails_fails_its_run_and_says_why(
    outbound: Workspace, make_tenant: Callable[..., TenantInfo], supplier: Shop, instance: dg.DagsterInstance
) -> None:
    tenant = make_tenant()
    allow(outbound, tenant)
    supplier.replies["/feeds/products.csv"] = [Reply(410)]
    set_feed(outbound, tenant.id, "acme", FeedSettings(url=supplier.url, interval_seconds=60), actor=ACTOR)
    (request,) = tick(instance, tenant)
    done = run(instance, request)
    assert not done.success
    (failure,) = done.get_step_failure_events()
    assert "410" in str(failure.event_specific_data.user_failure_data.description)
    with tenant_session(outbound.app, tenant.id) as session:
        told = find_feed(session, find_source(session, "acme"))
    assert (told.outcome, told.http_status, told.failures) == ("failed", 410, 1)
