"""schemathesis calls every operation of the OpenAPI document, on the real engines, with right and with wrong data.

It is run as a program of its own, against a real port: its pytest plugin stays off, and neither its hooks nor its
warnings reach the other tests. A failure prints what was wrong and a curl command that shows it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from tests.integration.api.conftest import TENTS, Api
from tests.support.imports import import_bytes
from tests.support.served import served

HERE = Path(__file__).parent
#: What an answer must not be, whatever was asked. Which data are accepted is the business of the other tests: most
#: rules of the body live in the catalogue, not in the document.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "ensure_resource_availability",
)

LONG_SECONDS = 300


@pytest.fixture
def url(workspace: Workspace) -> Iterator[str]:
    """An API without rate limits: thousands of requests come from here in a minute, most of them without a key."""
    unlimited = {"rate_limit_requests": 0, "rate_limit_address_requests": 0}
    with served(create_app(workspace.settings.model_copy(update=unlimited))) as found:
        yield found


def _run(url: str, api: Api, folder: Path, *options: str) -> None:
    import_bytes(api.workspace, api.tenant.id, TENTS.encode())
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {api.key}", "--checks", ",".join(CHECKS),
        "--no-color", *options,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


def test_every_answer_is_one_that_the_document_promises(url: str, make_api: Callable[..., Api], tmp_path: Path) -> None:
    _run(
        url,
        make_api("admin"),
        tmp_path,
        "--phases",
        "examples,coverage",
        "--mode",
        "positive",
        "--generation-deterministic",
    )


@pytest.mark.full
@pytest.mark.timeout(900)
def test_every_answer_is_one_that_the_document_promises_for_minutes(
    url: str, make_api: Callable[..., Api], tmp_path: Path
) -> None:
    _run(url, make_api("admin"), tmp_path, "--max-time", str(LONG_SECONDS), "--continue-on-failure")
