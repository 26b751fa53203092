"""/metrics: who may see it, and that neither tenants nor texts of requests become labels."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from tests.integration.api.conftest import Api, assert_problem


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 403),
    ],
)
def test_without_a_token_only_this_machine_sees_it(
    workspace: Workspace, host: str, headers: dict[str, str], status: int
) -> None:
    with TestClient(create_app(workspace.settings), client=(host, 50_000)) as client:
        answer = client.get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert_problem(answer, 403, "forbidden")


def test_with_a_token_who_sends_it(workspace: Workspace) -> None:
    settings = workspace.settings.model_copy(update={"metrics_token": SecretStr("of-monitoring")})
    with TestClient(create_app(settings), client=("127.0.0.1", 50_000)) as client:
        assert_problem(client.get("/metrics"), 401, "unauthorized")
        assert_problem(client.get("/metrics", headers={"Authorization": "Bearer of"}), 401, "unauthorized")
        assert client.get("/metrics", headers={"Authorization": "Bearer of-monitoring"}).status_code == 200


def test_labels_are_templates_and_never_a_clients_text(api: Api) -> None:
    planted = f"zz{uuid4().hex}"
    api.get(f"/api/pim/import/{planted}/")
    api.get(f"/nothing/{planted}")
    api.request(planted.upper(), "/api/pim/products/")
    with TestClient(create_app(api.workspace.settings), client=("127.0.0.1", 50_000)) as client:
        text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {
        "pim_http_requests",
        "pim_http_request_seconds",
        "pim_import_queue_depth",
        "pim_webhook_queue_depth",
    } <= set(families)
    routes = {sample.labels["route"] for sample in families["pim_http_requests"].samples}
    assert {"/api/pim/import/{job_id}/", "(none)"} <= routes
    assert planted not in text.lower()
    assert api.tenant.slug not in text
    assert str(api.tenant.id) not in text
