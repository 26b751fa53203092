"""The two embedded engines of a home, shared by everybody who uses the home at the same time.

The first user starts them, later ones join, the last one to leave stops them. The count is a shared file lock per
user, so a user that dies by ``kill -9`` has left; engines without users are adopted by the next one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from pim_platform.errors import Misconfigured
from pim_platform.local.clickhouse import EmbeddedClickHouse
from pim_platform.local.home import Home
from pim_platform.local.postgres import EmbeddedPostgres
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import LOOPBACK, Endpoints

_LETTING_GO_SECONDS = 30.0  # freeing a few GB of a killed process takes seconds on a busy machine

Engine = EmbeddedPostgres | EmbeddedClickHouse
"""Either embedded engine: both know ``process()``, ``start()`` and ``stop()``."""


def embedded(settings: Settings, home: Home) -> dict[str, Engine]:
    """The engines that this installation runs itself, by part name: those without a URL."""
    endpoints = Endpoints.of(settings)
    found: dict[str, Engine] = {}
    if endpoints.postgres_embedded:
        found["postgres"] = EmbeddedPostgres(home, endpoints.ports.postgres)
    if endpoints.clickhouse_embedded:
        found["clickhouse"] = EmbeddedClickHouse(home, endpoints.ports.clickhouse, settings)
    return found


@contextmanager
def engines(settings: Settings, *, migrate: bool = True) -> Iterator[Endpoints]:
    """Have both engines answer, migrated, while the block runs; yields their endpoints.

    Joins what already runs for this home (``pim up`` or another holder) and starts the rest; the last holder
    stops them. Raises Misconfigured (port taken, version) and EngineUnavailable.
    """
    home = Home(settings.home_path)
    with holding(settings, home):
        if migrate:
            from pim_platform.storage.migrate import is_current
            from pim_platform.storage.migrate import migrate as run

            if not is_current(settings):
                run(settings)
        yield Endpoints.of(settings)


@contextmanager
def holding(settings: Settings, home: Home, *, fresh: bool = False) -> Iterator[dict[str, Engine]]:
    """Start or join the embedded engines without migrating; yields them by part name.

    ``fresh``: restart leftovers that nobody holds, so that they run with the present settings.
    """
    parts = embedded(settings, home)
    share = ExitStack()
    with home.starting_or_stopping():
        if fresh and not home.is_held("holders"):
            _together(parts, "stop")
        share.enter_context(home.hold("holders", shared=True))
        try:
            for name, engine in parts.items():
                if engine.process() is None:
                    await_free(engine.port, name, home)
            _together(parts, "start")
        except BaseException:
            _leave(home, share, parts)
            raise
    try:
        yield parts
    finally:
        with home.starting_or_stopping():
            _leave(home, share, parts)


def _leave(home: Home, share: ExitStack, parts: dict[str, Engine]) -> None:
    """Give the share back, and stop the engines if it was the last."""
    share.close()
    if not home.is_held("holders"):
        _together(parts, "stop")


def _together(parts: dict[str, Engine], action: str) -> None:
    """Start or stop all of ``parts`` at once; the first error is raised after all have been tried."""
    if not parts:
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(getattr(engine, action)) for engine in parts.values()]
    for future in futures:
        future.result()


def await_free(port: int, part: str, home: Home, *, host: str = LOOPBACK) -> None:
    """:func:`require_free`, with patience where a server of this home has just ended.

    After a ``kill -9`` the process counts as gone while its last threads still hold the port.
    """
    state = home.recall(part)
    deadline = time.monotonic() + (_LETTING_GO_SECONDS if state and state.port == port else 0.0)
    while True:
        try:
            return require_free(port, part, host=host)
        except Misconfigured:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def require_free(port: int, part: str, *, host: str = LOOPBACK) -> None:
    """Raise Misconfigured, naming the fix, when ``port`` is taken on ``host``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers themselves do, or connections in TIME_WAIT would count as a taken port after a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(
                f"Port {port} for {part} is taken.", fix="Set PIM_PORT to the first of six free ports in a row."
            ) from error
