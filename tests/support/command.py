"""The commands of ``pim``, each in a process of its own, against a test's stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from pim_platform.intake.workspace import Workspace
from tests.support.stacks import environment


def pim(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    """Run a command that ends well; returns what it prints with ``--json``."""
    env = {**os.environ, **environment(workspace.settings)}
    command = [sys.executable, "-m", "pim_platform.cli", *arguments, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
