"""Homes and ports for tests that start real servers; parallel runs never meet."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pim_platform.local import processes
from pim_platform.local.home import Home
from pim_platform.local.parts import environment
from pim_platform.settings import Settings

WAIT_SECONDS = 180.0
"""How long a test waits for something that takes seconds here: machines twice as slow must pass too."""

_RANGE = range(21_000, 31_000, 10)  # below Linux's ephemeral ports, which begin at 32768


def wait_for(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until ``condition()`` is true; fail the test, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


@contextmanager
def free_ports() -> Iterator[int]:
    """The first of ten free ports in a row, reserved against other test runs by a file lock."""
    folder = Path(tempfile.gettempdir()) / "pim-test-ports"
    folder.mkdir(mode=0o777, exist_ok=True)
    for first in random.sample(_RANGE, len(_RANGE)):
        descriptor = os.open(folder / str(first), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if all(_free(first + step) for step in range(10)):
                yield first
                return
        finally:
            os.close(descriptor)
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def throwaway_settings(**values: object) -> Iterator[Settings]:
    """Settings of a new home on free ports; in the end no process and no file of it is left.

    The home lies beside pytest's own folders, which it closes to PostgreSQL's user at every session's start.
    """
    root = Path(tempfile.mkdtemp(prefix="pim-test-"))
    try:
        with free_ports() as port:
            # A key in the environment of whoever runs the tests is not to be spent.
            values = {"anthropic_api_key": None} | values
            settings = Settings.model_validate({"home": root / "home", "port": port, **values})
            try:
                yield settings
            finally:
                processes.end(processes.marked(settings.home_path), grace=30.0)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def plain_environment() -> dict[str, str]:
    """This process's environment without pytest's traces: NiceGUI refuses to serve where it sees them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class Stack:
    """A supervisor in a process of its own, its output in a file."""

    def __init__(self, settings: Settings, script: str) -> None:
        self.settings = settings
        self.home = Home(settings.home_path)
        self.log = settings.home_path.parent / f"up-{len(list(settings.home_path.parent.iterdir()))}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script],
                env=plain_environment() | environment(settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, text: str) -> bool:
        """Whether the supervisor printed ``text``; fails when it is gone without."""
        found = text in self.log.read_text("utf-8", "replace")
        assert found or self.process.poll() is None, self.log.read_text("utf-8", "replace")
        return found

    def wait_ready(self) -> None:
        try:
            wait_for(lambda: self.said("ready after"), "the stack")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text('utf-8', 'replace')[-6000:]}") from None

    def pid(self, part: str) -> int:
        state = self.home.recall(part)
        assert state is not None
        return state.pid

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=120)


@contextmanager
def running(settings: Settings, script: str) -> Iterator[Stack]:
    stack = Stack(settings, script)
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.end()
