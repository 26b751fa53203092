"""What runs of a home at this moment: the facts behind ``pim status``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import psycopg

from pim_platform.errors import PimError
from pim_platform.local import processes
from pim_platform.local.engines import embedded
from pim_platform.local.home import Home
from pim_platform.local.parts import Part, stack
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints, without_password

READY, STARTING, DOWN, EXTERNAL, UNREACHABLE = "ready", "starting", "down", "external", "unreachable"
"""States of a part; ``external`` is somebody else's server that answers, ``unreachable`` one that does not."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part. ``pid`` is None where there is no process of ours."""

    state: str
    pid: int | None
    url: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The whole stack; ``ready`` when every part is ready or external."""

    ready: bool
    home: str
    parts: dict[str, PartStatus]

    def as_json(self) -> dict[str, Any]:
        """The object that ``pim status --json`` prints."""
        return asdict(self)


def stack_status(settings: Settings) -> StackStatus:
    """Ask every part. Takes at most a few seconds, also when nothing answers."""
    home = Home(settings.home_path)
    endpoints = Endpoints.of(settings)
    own = embedded(settings, home)
    urls = {"postgres": endpoints.admin_url, "clickhouse": endpoints.clickhouse_url}
    checks = {"postgres": postgres_error, "clickhouse": clickhouse_error}
    parts = stack(settings)
    with ThreadPoolExecutor(len(parts) + len(urls)) as pool:
        engine_errors = {name: pool.submit(checks[name], url) for name, url in urls.items()}
        others = {part.name: pool.submit(_part, home, part) for part in parts}
    found: dict[str, PartStatus] = {}
    for name, url in urls.items():
        answers = not engine_errors[name].result()
        process = own[name].process() if name in own else None
        if name not in own:
            state = EXTERNAL if answers else UNREACHABLE
        elif process is None:
            state = DOWN
        else:
            state = READY if answers else STARTING
        found[name] = PartStatus(state, process.pid if process else None, without_password(url))
    found |= {name: future.result() for name, future in others.items()}
    ready = all(part.state in (READY, EXTERNAL) for part in found.values())
    return StackStatus(ready, str(home.root), found)


def _part(home: Home, part: Part) -> PartStatus:
    state = home.recall(part.name)
    process = processes.living(state.pid, state.created) if state else None
    if process is None:
        return PartStatus(DOWN, None, part.url)
    return PartStatus(READY if part.ready() else STARTING, process.pid, part.url)


def postgres_error(url: str) -> str:
    """Why PostgreSQL at ``url`` (any of our spellings) cannot be used; empty when it answers."""
    try:
        with psycopg.connect(url.replace("postgresql+psycopg2", "postgresql", 1), connect_timeout=5) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        return str(error).strip().splitlines()[0]
    return ""


def clickhouse_error(url: str) -> str:
    """Why ClickHouse at ``url`` cannot be used; empty when it answers, password included."""
    try:
        answer = httpx.post(url, content="SELECT 1", timeout=10.0, trust_env=False)
    except (httpx.HTTPError, PimError) as error:
        return str(error) or type(error).__name__
    return "" if answer.is_success else answer.text.strip()[:300]
