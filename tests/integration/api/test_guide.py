"""docs/guides/api.md is true: every command of it is run, in its order, in one shell, against a real API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pim_platform.api.app import create_app
from pim_platform.errors import NotFound
from pim_platform.intake.workspace import Workspace
from pim_platform.local.parts import environment
from pim_platform.syndication.delivering import deliver
from pim_platform.tenancy.tenants import find_tenant
from tests.support.served import served
from tests.support.stacks import free_ports
from tests.support.worker import worker

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "api.md"
TENANT, ADDRESS, RECEIVER = "outdoor", "http://127.0.0.1:8420", "8430"


def commands(text: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def stack(workspace: Workspace) -> Iterator[str]:
    """An API that may call this machine, and what runs imports and deliveries beside it."""
    local = Workspace(workspace.settings.model_copy(update={"outbound_allow_private": True}))

    def tenant() -> UUID | None:
        try:
            return find_tenant(local.app, TENANT).id
        except NotFound:
            return None

    with served(create_app(local.settings)) as url, worker(local, tenant, lambda: deliver(local, seconds=1.0)):
        yield url


def test_every_command_of_the_guide_does_what_it_says(stack: str, workspace: Workspace, tmp_path: Path) -> None:
    blocks = commands(GUIDE.read_text())
    assert sum(block.count("call ") + block.count("curl ") for block in blocks) > 25
    with free_ports() as port:
        script = "\n".join(f"echo '--- block {number}'\n{block}" for number, block in enumerate(blocks, 1))
        assert ADDRESS in script
        assert RECEIVER in script
        script = script.replace(ADDRESS, stack).replace(RECEIVER, str(port))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIM_", "PYTEST_"))}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        shell = ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"]
        done = subprocess.run(
            shell,
            cwd=tmp_path,
            env=kept | environment(workspace.settings),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    said = dict(re.findall(r"--- block (\d+)\n(.*?)(?=--- block|\Z)", done.stdout, re.DOTALL))

    def block_of(text: str) -> str:
        (number,) = [str(n) for n, block in enumerate(blocks, 1) if text in block]
        return said[number]

    assert json.loads(block_of("/api/pim/me/")) == {"role": "admin", "tenant": TENANT}
    assert json.loads(block_of("upload.json"))["state"] == "mapping"
    imported = block_of("jq '{state, ledger, reject_reasons}'")
    assert '"created": 3' in imported
    assert '"rejected": 1' in imported
    assert '"rejected": 0' in block_of("rejects.csv")
    found = block_of("PRODUCT=$(call")
    assert re.findall(r'"T-\d"', found) == ['"T-4"', '"T-3"', '"T-2"']
    assert json.loads(block_of("/test/")) == {"delivered": True, "status": 204}
    changed = block_of("If-Match")
    assert "Tent for two people" in changed
    assert "v1," in changed
    assert '"state": "delivered"' in changed
    summary = block_of("diff/summary")
    assert re.search(r'"create": 0,\s+"update": 0', summary), "an export imported again changes nothing"
    assert '"unchanged": 4' in summary
    assert len((tmp_path / "expensive.jsonl").read_text().splitlines()) == 2
    assert len((tmp_path / "cheap.jsonl").read_text().splitlines()) == 1
    assert '"state": "staged"' in block_of("--dry-run --json")
    assert "T-9 Tarp" in block_of("follow.py")
    assert '"unauthorized"' in block_of("jq .code")
