"""The sensor launches a run where a receiver has something to get, and that run delivers it."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

import assets.syndication
from pim_platform.definitions import build_defs
from pim_platform.intake.workspace import Workspace
from resources import WorkspaceResource
from sensors.webhooks import webhooks_sensor
from tests.integration.syndication.conftest import OUTSIDE, Shop
from tests.support.receivers import receiver

_WORKSPACES: list[Workspace] = []


class _Stores(WorkspaceResource):
    """The stores of the tests."""

    def workspace(self) -> Workspace:
        return _WORKSPACES[-1]


@pytest.fixture
def stores(calling: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Stores]:
    monkeypatch.setattr(assets.syndication, "LINGER_SECONDS", 0.0)
    _WORKSPACES.append(calling)
    yield _Stores()
    _WORKSPACES.pop()


def test_what_is_due_gets_a_run_that_delivers_it(shop: Shop, stores: _Stores) -> None:
    with dg.DagsterInstance.ephemeral() as instance, receiver(host=OUTSIDE) as server:
        shop.subscribe(server.url, ["product.created"])
        shop.merge({"sku": "A", "name": "Alpha"})
        result = webhooks_sensor(dg.build_sensor_context(instance=instance, resources={"stores": stores}))
        assert isinstance(result, dg.SensorResult)
        (request,) = result.run_requests or []
        job = build_defs({"stores": stores}).resolve_job_def("deliver_webhooks")
        assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
        assert [delivery.state for delivery in shop.outbox()] == ["delivered"]
        assert len(server.requests) == 1
