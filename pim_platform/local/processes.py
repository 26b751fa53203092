"""Starting and ending processes so that none is ever lost, and none of somebody else's is ever touched.

Every process of a home carries a mark in its environment, which its own children inherit: what a dead supervisor
left behind (Dagster's run workers too) is found by that mark, never by a bare pid that may mean another process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "PIM_PROCESS_OF"
"""Environment variable that holds the home a process belongs to."""
PART_MARK = "PIM_PROCESS_PART"
"""Environment variable that holds the part of the stack a process belongs to."""

_SAME_SECOND = 1.0  # seconds by which create times of one process may differ between readings of the clock
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_started: list[subprocess.Popen[bytes]] = []  # kept so that each is reaped once it has ended, by whoever ended it
_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied)


def spawn(
    command: Sequence[str],
    *,
    home: Path,
    part: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    group: int | None = None,
    dies_with_parent: bool = False,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in its own session, its output appended to the file ``log``.

    A file and not a pipe, so that a process that outlives its starter can go on writing. ``dies_with_parent``
    has Linux send SIGTERM when the starter dies, even by ``kill -9``.
    """
    environment = {**(os.environ if env is None else env), MARK: str(home), PART_MARK: part}
    before: Callable[[], None] | None = None
    if dies_with_parent and sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork

        def before() -> None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)

    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _reap()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            env=environment,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            start_new_session=True,
            preexec_fn=before,
            cwd=cwd,
        )
    finally:
        os.close(descriptor)
    _started.append(process)
    return process


def _reap() -> None:
    """Take note of children that have ended, so that they do not stay zombies."""
    _started[:] = [process for process in _started if process.poll() is None]


def living(pid: int, created: float) -> psutil.Process | None:
    """The process ``pid`` if it is alive and was created at ``created`` (seconds since 1970), else None."""
    with suppress(*_GONE):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < _SAME_SECOND and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def created(pid: int) -> float:
    """When ``pid`` was created, in seconds since 1970; 0.0 if it is gone already."""
    with suppress(*_GONE):
        return float(psutil.Process(pid).create_time())
    return 0.0


def marked(home: Path, *, but_parts: Iterable[str] = ()) -> list[psutil.Process]:
    """Every living process, except this one, that carries the mark of ``home`` and is of no part in ``but_parts``."""
    spared = set(but_parts)
    found = []
    for process in psutil.process_iter():
        with suppress(*_GONE, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            if environment.get(MARK) == str(home) and environment.get(PART_MARK) not in spared:
                found.append(process)
    return found


def part_of(process: psutil.Process) -> str:
    """The part that ``process`` was started for; empty when it carries no mark or is gone."""
    with suppress(*_GONE, OSError):
        return str(process.environ().get(PART_MARK, ""))
    return ""


def inherited() -> dict[str, str]:
    """This process's environment, for a child."""
    return dict(os.environ)


def end(processes: Iterable[psutil.Process], *, grace: float, first: int = signal.SIGTERM) -> list[psutil.Process]:
    """Send ``first``, wait ``grace`` seconds, then SIGKILL what is left; returns those that had to be killed."""
    waiting = list(processes)
    for process in waiting:
        with suppress(*_GONE):
            process.send_signal(first)
    waiting = _wait(waiting, grace)
    for process in waiting:
        with suppress(*_GONE):
            process.kill()
    _wait(waiting, 10.0)
    _reap()
    return waiting


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those of ``processes`` that still live after at most ``seconds``. A zombie counts as ended."""
    deadline = time.monotonic() + seconds
    alive = processes
    while True:
        alive = [process for process in alive if _alive(process)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.02)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
