"""``/metrics`` in the Prometheus text format: requests by route, and what waits to be done.

No label names a tenant, and none comes from a request's text: a route is its template, a method one of HTTP's own.
With several API processes each writes its counters into a shared folder (``PROMETHEUS_MULTIPROC_DIR``, which
:mod:`pim_platform.api.main` makes), and whichever is asked answers for all.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.values import ValueClass
from sqlalchemy import Engine

import pim_platform
from pim_platform.api.request_ids import from_this_machine
from pim_platform.errors import EngineUnavailable, Forbidden, Unauthorized
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import call_definer

router = APIRouter(include_in_schema=False)

#: Seconds; dense where the design's targets lie (20, 80, 200 ms).
_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

_REQUESTS = Counter("pim_http_requests", "Requests answered.", ("method", "route", "status"))
_SECONDS = Histogram("pim_http_request_seconds", "Time to answer a request.", ("method", "route"), buckets=_BUCKETS)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request of a route's template."""
    method = method if method in _METHODS else "other"
    _REQUESTS.labels(method, route, str(status)).inc()
    _SECONDS.labels(method, route).observe(seconds)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """All figures, for a monitoring that shows the token, or that runs on this machine where there is none."""
    workspace: Workspace = request.app.state.workspace
    _require_monitoring(request, workspace)
    registry = CollectorRegistry()
    if ValueClass._multiprocess:  # decided when the library was loaded
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no annotations
    else:
        registry.register(REGISTRY)
    registry.register(_Work(workspace.app))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _require_monitoring(request: Request, workspace: Workspace) -> None:
    token = workspace.settings.metrics_token
    if token is None:
        if not from_this_machine(request):
            raise Forbidden(
                "/metrics answers callers on this machine only.",
                fix="Set PIM_METRICS_TOKEN and send it as `Authorization: Bearer ...`.",
            )
        return
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise Unauthorized("This is not the token of /metrics.", fix="Send PIM_METRICS_TOKEN as a bearer token.")


class _Work(Collector):
    """What waits and what runs, asked of the database when somebody wants to know."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("pim_build", f"PIM Platform {pim_platform.__version__}.", value=1)
        up = GaugeMetricFamily("pim_database_up", "Whether PostgreSQL answered this scrape.")
        try:
            states = {row["state"]: row["jobs"] for row in call_definer(self._engine, "SELECT * FROM pim.job_states()")}
            (due,) = call_definer(self._engine, "SELECT pim.oldest_due_seconds() AS seconds")
            (webhooks,) = call_definer(self._engine, "SELECT * FROM pim.waiting_deliveries()")
        except EngineUnavailable:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        jobs = GaugeMetricFamily("pim_import_jobs", "Import jobs of all tenants.", labels=["state"])
        for state, count in states.items():
            jobs.add_metric([state], count)
        yield jobs
        yield GaugeMetricFamily(
            "pim_import_queue_depth", "Confirmed imports that wait for a run.", value=states.get("confirmed", 0)
        )
        yield GaugeMetricFamily(
            "pim_import_queue_oldest_seconds", "How long the oldest of them has waited.", value=due["seconds"]
        )
        yield GaugeMetricFamily(
            "pim_webhook_queue_depth", "Deliveries to webhooks that wait.", value=webhooks["deliveries"]
        )
        yield GaugeMetricFamily(
            "pim_webhook_queue_oldest_seconds",
            "How long the longest due of them has been.",
            value=webhooks["oldest_seconds"],
        )
