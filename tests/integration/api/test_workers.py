"""The API as it is run: two processes behind one port share limits and figures, and log without secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import text

from pim_platform.intake.workspace import Workspace
from pim_platform.local.parts import environment
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import create_tenant
from tests.integration.api.conftest import ACTOR
from tests.support.stacks import plain_environment, wait_for

QUOTA = 25
METRICS_TOKEN = "figures-for-monitoring-only"
PRODUCTS = "/api/pim/products/"


@dataclass(frozen=True)
class Served:
    """The running API: where it is, what it logs, and the processes that serve."""

    url: str
    log: Path
    workers: set[int]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

    def requests(self, request_id: str) -> list[dict[str, Any]]:
        return [one for one in self.lines() if one.get("request_id") == request_id and one["event"] == "request"]


@pytest.fixture(scope="module")
def served(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("workers")
    log = folder / "api.log"
    with log.open("wb") as out:
        settings = workspace.settings.model_copy(
            update={
                "api_workers": 2,
                "rate_limit_requests": QUOTA,
                "rate_limit_seconds": 3_600,
                "rate_limit_address_requests": 10_000,
                "metrics_token": SecretStr(METRICS_TOKEN),
            }
        )
        values = plain_environment() | environment(settings)
        process = subprocess.Popen(
            [sys.executable, "-m", "pim_platform.api.main"],
            env=values,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{Endpoints.of(settings).ports.api}"
        try:
            wait_for(lambda: _started(process, log), "the API's workers")
            workers = {
                int(line["event"].split("[")[1].rstrip("]"))
                for line in map(json.loads, log.read_text("utf-8").splitlines())
                if line["event"].startswith("Started server process")
            }
            yield Served(url, log, workers)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def _started(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8", "replace")
    return log.read_text("utf-8").count("Application startup complete") == 2


@pytest.fixture
def key(workspace: Workspace) -> tuple[Any, str]:
    tenant = create_tenant(
        workspace.app, f"w{uuid4().hex[:12]}", currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    return tenant, create_key(workspace.app, tenant.id, role="editor", name="workers", actor=ACTOR)


def call(url: str, path: str, key: str, method: str = "GET", **options: Any) -> httpx.Response:
    """A call over a connection of its own, so that either process may get it."""
    headers = {"Authorization": f"Bearer {key}"} | options.pop("headers", {})
    return httpx.request(method, url + path, headers=headers, timeout=60, trust_env=False, **options)


def test_a_limit_is_one_for_all_processes(served: Served, key: tuple[Any, str]) -> None:
    assert len(served.workers) == 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(served.url, PRODUCTS, key[1]), range(QUOTA + 15)))
    assert Counter(answer.status_code for answer in answers) == {200: QUOTA, 429: 15}
    left = sorted(int(one.headers["ratelimit"].split(";r=")[1].split(";")[0]) for one in answers)
    assert left == [0] * 16 + list(range(1, QUOTA)), "each request was counted once"


def test_figures_of_all_processes_are_answered_by_either(served: Served, key: tuple[Any, str]) -> None:
    tenant, secret = key
    path = f"/api/pim/import/{uuid4()}/"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: call(served.url, path, secret), range(20)))
    for _ in range(4):
        answer = call(served.url, "/metrics", METRICS_TOKEN)
        assert answer.headers["content-type"].startswith("text/plain; version=")
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        labels = (("method", "GET"), ("route", "/api/pim/import/{job_id}/"))
        assert found["pim_http_requests_total", *labels, ("status", "404")] == 20
        assert found["pim_http_request_seconds_count", *labels] == 20
        assert found["pim_import_queue_depth",] >= 0
        assert found["pim_database_up",] == 1
        assert not any(told in answer.text for told in (tenant.slug, str(tenant.id), secret, METRICS_TOKEN))
    assert call(served.url, "/metrics", "wrong").status_code == 401


def test_log_lines_carry_what_is_asked_for_and_the_id_of_the_audit_trail(
    served: Served, workspace: Workspace, key: tuple[Any, str]
) -> None:
    tenant, secret = key
    number = f"client-{uuid4().hex}"
    body = {"products": [{"sku": "S-1", "name": "Tent"}]}
    answer = call(served.url, "/api/pim/products/bulk/", secret, "POST", json=body, headers={"X-Request-ID": number})
    assert answer.status_code == 200, answer.text
    wait_for(lambda: served.requests(number), "the line, which is written once the answer is out")
    (line,) = served.requests(number)
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/pim/products/bulk/", 200)
    assert line["tenant_id"] == str(tenant.id)
    assert line["ms"] > 0
    assert line["level"] == "info"
    with tenant_session(workspace.app, tenant.id) as session:
        query = text("SELECT count(*) FROM pim.audit_logs WHERE trace_id = :number AND actor = :actor")
        assert session.scalar(query, {"number": number, "actor": line["actor"]}) == 1


def test_secrets_and_bodies_never_reach_the_log(served: Served, workspace: Workspace, key: tuple[Any, str]) -> None:
    _, secret = key
    planted = {name: f"zz{name}{uuid4().hex}" for name in ("query", "body", "path", "password", "header", "wrong")}
    call(served.url, f"{PRODUCTS}?sku={planted['query']}&cursor={planted['query']}", secret)
    body = {"products": [{"sku": "S-2", "name": planted["body"], "price": planted["body"]}]}
    call(served.url, "/api/pim/products/bulk/", secret, "POST", json=body, headers={"X-Other": planted["header"]})
    call(served.url, f"/api/pim/import/{planted['path']}/", secret)
    call(served.url, f"/nothing/{planted['path']}", secret)
    call(served.url, PRODUCTS, f"pim_{planted['wrong']}")
    login = {"grant_type": "password", "email": "nobody@example.com", "password": planted["password"]}
    httpx.post(f"{served.url}/auth/token", json=login, timeout=60, trust_env=False)
    httpx.get(served.url + PRODUCTS, auth=("user", planted["password"]), timeout=60, trust_env=False)
    last = uuid4().hex
    call(served.url, PRODUCTS, secret, headers={"X-Request-ID": last})
    wait_for(lambda: served.requests(last), "the last line")

    endpoints = Endpoints.of(workspace.settings)
    passwords = {httpx.URL(url).password for url in (endpoints.app_url, endpoints.admin_url, endpoints.clickhouse_url)}
    log = served.log.read_text("utf-8")
    assert len(served.lines()) > 8
    for told in {secret, METRICS_TOKEN, *planted.values(), *passwords} - {""}:
        assert told not in log
