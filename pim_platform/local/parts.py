"""The table of the stack's processes beside the engines: command, address, and what "ready" means for each."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from pydantic import SecretStr

from pim_platform.errors import Misconfigured
from pim_platform.local.dagster_home import LOCATION, dagster_home
from pim_platform.local.home import Home
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import LOOPBACK, Endpoints

_PROBE_SECONDS = 5.0  # a probe that takes longer counts as "not ready yet"
_DAEMONS = ("QUEUED_RUN_COORDINATOR", "SENSOR")  # daemon types of Dagster whose heartbeat the stack needs


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack. ``ready`` asks it from outside; ``after`` names parts that must be ready first.

    ``uses_dagster``: waits for the tables of Dagster's storage. ``module`` is checked to exist before any start.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    url: str = ""
    host: str = LOOPBACK
    port: int = 0
    after: tuple[str, ...] = ()
    uses_dagster: bool = False
    module: str = ""


def environment(settings: Settings) -> dict[str, str]:
    """``settings`` as the ``PIM_*`` variables that make the same ones in a child process, home made absolute."""
    values: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None:
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        values[f"PIM_{name.upper()}"] = plain
    return values | {"PIM_HOME": str(settings.home_path)}


def stack(settings: Settings) -> list[Part]:
    """Every part but the engines, in order of start."""
    endpoints = Endpoints.of(settings)
    ports = endpoints.ports
    home = Home(settings.home_path)
    host, shown = settings.host, _shown(settings.host)
    python = sys.executable
    workspace = ("-w", str(home.dagster / "workspace.yaml"))
    api, ui, dagster = (f"http://{shown}:{port}" for port in (ports.api, ports.ui, ports.dagster))
    code = ("-m", "pim_platform.definitions", "--location-name", LOCATION)
    return [
        Part(
            "code-server",
            (python, "-m", "dagster", "api", "grpc", *code, "--host", LOOPBACK, "--port", str(ports.code_server)),
            lambda: _listens(ports.code_server),
            port=ports.code_server,
            uses_dagster=True,
            module="pim_platform.definitions",
        ),
        Part(
            "api",
            (python, "-m", "pim_platform.api.main"),
            lambda: _answers(f"{api}/health/ready"),
            url=api,
            host=host,
            port=ports.api,
            module="pim_platform.api.main",
        ),
        Part(
            "ui",
            (python, "-m", "pim_platform.ui.main"),
            lambda: _answers(f"{ui}/"),
            url=ui,
            host=host,
            port=ports.ui,
            module="pim_platform.ui.main",
        ),
        Part(
            "dagster",
            (python, "-m", "dagster_webserver", "--host", host, "--port", str(ports.dagster), *workspace),
            lambda: _answers(f"{dagster}/server_info"),
            url=dagster,
            host=host,
            port=ports.dagster,
            after=("code-server",),
            uses_dagster=True,
        ),
        Part(
            "daemon",
            (python, "-m", "dagster._daemon", "run", *workspace),
            lambda: daemon_beats(home, endpoints.dagster_url),
            after=("code-server",),
            uses_dagster=True,
        ),
    ]


def require_modules(parts: list[Part]) -> None:
    """Raise Misconfigured when a part's code is not installed: restarting it would never help."""
    for part in parts:
        if part.module and importlib.util.find_spec(part.module) is None:
            raise Misconfigured(
                f"The module {part.module} of {part.name} is missing.", fix="Install the package again."
            )


def daemon_beats(home: Home, dagster_url: str) -> bool:
    """Whether the present daemon process has sent its heartbeats to Dagster's storage."""
    state = home.recall("daemon")
    if state is None:
        return False
    plain = dagster_url.replace("postgresql+psycopg2", "postgresql", 1)
    try:
        with psycopg.connect(plain, connect_timeout=int(_PROBE_SECONDS)) as connection:
            row = connection.execute(
                "SELECT count(*) FROM daemon_heartbeats WHERE daemon_type = ANY (%s)"
                " AND timestamp >= to_timestamp(%s) AT TIME ZONE 'UTC'",
                (list(_DAEMONS), state.created),
            ).fetchone()
    except psycopg.Error:  # no server, or no table yet
        return False
    return row is not None and row[0] == len(_DAEMONS)


def _shown(host: str) -> str:
    """An address a browser can open: a wildcard is no destination."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- compared, not bound
        return LOOPBACK
    return f"[{host}]" if ":" in host else host


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_PROBE_SECONDS, trust_env=False, follow_redirects=True).is_success
    except httpx.HTTPError:
        return False


def child_environment(settings: Settings, inherited: dict[str, str]) -> dict[str, str]:
    """What every part sees: the caller's environment, these settings, Dagster's home."""
    folder: Path = dagster_home(settings)
    return {
        **inherited,
        **environment(settings),
        "DAGSTER_HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",  # colours are the supervisor's
    }
