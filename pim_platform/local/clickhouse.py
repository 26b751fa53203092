"""The embedded ClickHouse as a process: start, adoption after an accident, stop.

The process itself is :mod:`pim_platform.local.clickhouse_server`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import httpx
import psutil

from pim_platform.errors import EngineUnavailable
from pim_platform.local import processes
from pim_platform.local.home import Home, PartState
from pim_platform.local.parts import environment
from pim_platform.local.postgres import last_line
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import LOOPBACK

PART = "clickhouse"
"""Name of this part in logs, state files and ``pim status``."""

READY_SECONDS = 300.0
"""How long loading may take: 1.5 s here with a small catalogue; parts of big tables are read at start."""
_STOP_SECONDS = 30.0  # the front gives running requests 5 s


class EmbeddedClickHouse:
    """The ClickHouse of one home. Call under ``home.starting_or_stopping()``."""

    def __init__(self, home: Home, port: int, settings: Settings) -> None:
        self.home = home
        self.port = port
        self._settings = settings

    def process(self) -> psutil.Process | None:
        """The living server of this home, whoever started it; None for none."""
        state = self.home.recall(PART)
        return processes.living(state.pid, state.created) if state else None

    def start(self) -> None:
        """Have a server answer on the port: adopt a living one, or start one.

        Raises EngineUnavailable when it did not answer within READY_SECONDS.
        """
        state = self.home.recall(PART)
        if state and state.port == self.port and processes.living(state.pid, state.created):
            try:
                self._wait_ready(None)
            except EngineUnavailable:
                if processes.living(state.pid, state.created):
                    raise
                # It was on its way out when it was found, as right after a kill -9: start another.
            else:
                return
        self.stop()
        command = [sys.executable, "-m", "pim_platform.local.clickhouse_server"]
        command += ["--home", str(self.home.root), "--port", str(self.port)]
        server = processes.spawn(
            command,
            home=self.home.root,
            part=PART,
            log=self.home.log(PART),
            env=processes.inherited() | environment(self._settings),
        )
        # Remembered before it is ready: if we are killed while it loads, the next start must find it.
        self.home.remember(PART, PartState(server.pid, processes.created(server.pid), self.port))
        self._wait_ready(server)

    def stop(self) -> None:
        """End the server; requests under way get 5 s. Unfinished inserts leave nothing behind."""
        left = [process for process in processes.marked(self.home.root) if processes.part_of(process) == PART]
        processes.end(left, grace=_STOP_SECONDS, first=signal.SIGTERM)
        self.home.forget(PART)

    def _wait_ready(self, server: subprocess.Popen[bytes] | None) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not answers(self.port):
            ended = server.poll() is not None if server is not None else self.process() is None
            if ended or time.monotonic() > deadline:
                raise EngineUnavailable(
                    f"ClickHouse did not start: {last_line(self.home.log(PART))}", fix=f"See {self.home.log(PART)}."
                )
            time.sleep(0.03)


def answers(port: int) -> bool:
    """Whether a ClickHouse answers ``/ping`` on the loopback's ``port``."""
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/ping", timeout=5.0, trust_env=False).text.startswith("Ok.")
    except httpx.TransportError:
        return False
