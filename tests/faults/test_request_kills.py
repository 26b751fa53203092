"""A server that is killed within a request under an Idempotency-Key: nothing is done twice, or lost in silence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from pim_platform.intake.workspace import Workspace
from pim_platform.local.parts import environment
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR
from tests.support.stacks import plain_environment, wait_for

pytestmark = pytest.mark.full


@contextmanager
def api(workspace: Workspace, log: Path, *command: str) -> Iterator[str]:
    """The API in a process of its own."""
    values = plain_environment() | environment(workspace.settings)
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", *command], env=values, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{Endpoints.of(workspace.settings).ports.api}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text("utf-8", "replace")
        try:
            return httpx.get(f"{url}/health/live", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, "the API")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def upserts(workspace: Workspace, tenant: TenantInfo) -> int:
    with tenant_session(workspace.app, tenant.id) as session:
        query = "SELECT count(*) FROM pim.audit_logs WHERE action = 'products.bulk_upsert'"
        return int(session.scalar(text(query)) or 0)


@pytest.mark.parametrize(
    ("when", "done", "status", "code", "in_the_end"),
    [("before-commit", 0, 200, None, 1), ("after-commit", 1, 409, "idempotency_outcome_unknown", 1)],
)
def test_a_kill_around_the_commit_is_told_by_the_row(
    workspace: Workspace, make_tenant, tmp_path: Path, when: str, done: int, status: int, code: str, in_the_end: int
) -> None:
    tenant = make_tenant()
    key = create_key(workspace.app, tenant.id, role="editor", name="faults", actor=ACTOR)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid4())}
    request = {"json": {"products": [{"sku": "S-1", "name": "Once"}]}, "headers": headers, "timeout": 60}
    path = "/api/pim/products/bulk/"
    log = tmp_path / "api.log"

    with api(workspace, log, "tests.support.die_in_request", when) as url, pytest.raises(httpx.HTTPError):
        httpx.post(url + path, trust_env=False, **request)
    assert upserts(workspace, tenant) == done

    with api(workspace, log, "pim_platform.api.main") as url:
        answer = httpx.post(url + path, trust_env=False, **request)
        assert answer.status_code == status, answer.text
        assert answer.json().get("code") == code
        replayed = httpx.post(url + path, trust_env=False, **request)
        assert replayed.status_code == status
    assert upserts(workspace, tenant) == in_the_end
