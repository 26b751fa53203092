"""``pim up``: start everything, keep it running, end everything.

One thread polls. A signal raises in it, whatever it is doing; the way out then ends every child, found by the mark
in its environment, so that one started a moment ago is not forgotten.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pim_platform.errors import Misconfigured, PimError
from pim_platform.local import processes
from pim_platform.local.backoff import Backoff
from pim_platform.local.dagster_home import storage_exists
from pim_platform.local.engines import Engine, await_free, holding
from pim_platform.local.home import Home, PartState
from pim_platform.local.output import Output
from pim_platform.local.parts import Part, child_environment, require_modules, stack
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints

SUPERVISOR = "supervisor"
"""Lock and state file of the one ``pim up`` of a home."""

_TICK = 0.2  # seconds between two looks at the children
_GRACE = 15.0  # seconds from SIGTERM to SIGKILL; the API drains, Dagster's runs note their interruption
_ENGINES = ("postgres", "clickhouse")


class _Stop(BaseException):
    """A signal asks for the end; no handler of ordinary errors may swallow it."""


@dataclass(slots=True)
class _Child:
    part: Part
    backoff: Backoff
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False


def up(settings: Settings, *, parts: Sequence[Part] | None = None) -> None:
    """Run the stack in the foreground until SIGINT or SIGTERM; returns when every child has ended.

    ``parts`` replaces the table of processes beside the engines (tests narrow it). Raises Misconfigured for a
    taken port or a second supervisor of the home, and what the engines or the migrations raise.
    """
    home = Home(settings.home_path)
    lock = home.try_hold(SUPERVISOR)
    if lock is None:
        state = home.recall(SUPERVISOR)
        raise Misconfigured(
            f"`pim up` already runs on the home {home.root}" + (f" (process {state.pid})." if state else "."),
            fix="End it, or set PIM_HOME and PIM_PORT to run a second stack.",
        )
    try:
        home.remember(SUPERVISOR, PartState(os.getpid(), processes.created(os.getpid()), settings.port))
        _Supervisor(settings, home, stack(settings) if parts is None else list(parts)).run()
    finally:
        home.forget(SUPERVISOR)
        os.close(lock)


class _Supervisor:
    def __init__(self, settings: Settings, home: Home, parts: list[Part]) -> None:
        self.settings = settings
        self.home = home
        self.output = Output()
        self.children = [_Child(part, Backoff()) for part in parts]
        self.environment = child_environment(settings, processes.inherited())
        self.engines: dict[str, Engine] = {}
        self.engine_backoff: dict[str, Backoff] = {}

    def run(self) -> None:
        with _signals():
            try:
                self._sweep("left over from an earlier run")
                require_modules([child.part for child in self.children])
                for child in self.children:
                    if child.part.port:
                        await_free(child.part.port, child.part.name, self.home, host=child.part.host)
                for name in _ENGINES:
                    self.output.follow(name, self.home.log(name))
                self.output.say(f"starting the engines of {self.home.root}")
                started = time.monotonic()
                with holding(self.settings, self.home, fresh=True) as self.engines:
                    try:
                        self.engine_backoff = {name: Backoff() for name in self.engines}
                        self._serve(started)
                    finally:
                        self._end_children()
            except _Stop:
                pass
            finally:
                self._end_children()
                self.output.pump()
        self.output.say("everything has ended")

    def _serve(self, started: float) -> None:
        self.output.pump()
        self.output.say(f"engines answer after {time.monotonic() - started:.1f} s; migrating")
        from pim_platform.storage.migrate import migrate  # Alembic is slow to import

        migrate(self.settings)
        preparing: subprocess.Popen[bytes] | None = None
        wanted = any(child.part.uses_dagster for child in self.children)
        if wanted and not storage_exists(Endpoints.of(self.settings)):
            preparing = self._spawn("dagster-init", (sys.executable, "-m", "pim_platform.local.dagster_home"))
        announced = False
        while True:
            self.output.pump()
            self._watch_engines()
            if preparing is not None and preparing.poll() is not None:
                if preparing.returncode:
                    raise PimError("Dagster's storage cannot be made.", fix=f"See {self.home.log('dagster-init')}.")
                preparing = None
            for child in self.children:
                self._watch(child, storage_ready=preparing is None)
            if not announced and all(child.ready for child in self.children) and preparing is None:
                self._announce(time.monotonic() - started)
                announced = True
            time.sleep(_TICK)

    def _watch(self, child: _Child, *, storage_ready: bool) -> None:
        name = child.part.name
        if child.process is not None and child.process.poll() is not None:
            delay = child.backoff.failed()
            code = child.process.returncode
            self.output.pump()
            self.output.say(f"{name} ended ({_reason(code)}); starting it again in {delay:.0f} s", error=True)
            child.process, child.ready = None, False
            self.home.forget(name)
        if child.process is None:
            if child.backoff.due() and self._may_start(child, storage_ready=storage_ready):
                child.process = self._spawn(name, child.part.command)
                child.backoff.started()
        elif not child.ready and child.part.ready():
            child.ready = True
            self.output.say(f"{name} is ready" + (f" at {child.part.url}" if child.part.url else ""))

    def _may_start(self, child: _Child, *, storage_ready: bool) -> bool:
        if not child.part.uses_dagster:
            return True
        others = {other.part.name: other for other in self.children}
        # Once up, a part need not wait for the other again: it looks for it by itself.
        return storage_ready and all(
            other.ready or other.backoff.failures for name in child.part.after if (other := others.get(name))
        )

    def _watch_engines(self) -> None:
        for name, engine in self.engines.items():
            if engine.process() is not None:
                continue
            backoff = self.engine_backoff[name]
            if not backoff.waiting:
                self.output.say(f"{name} ended; starting it again in {backoff.failed():.0f} s", error=True)
            if backoff.due():
                backoff.started()
                try:
                    with self.home.starting_or_stopping():
                        engine.start()
                except PimError as error:
                    self.output.say(f"{name}: {error}; trying again in {backoff.failed():.0f} s", error=True)
                else:
                    self.output.say(f"{name} answers again")

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        log = self.home.log(name)
        self.output.follow(name, log)
        process = processes.spawn(
            command, home=self.home.root, part=name, log=log, env=self.environment, dies_with_parent=True
        )
        port = next((child.part.port for child in self.children if child.part.name == name), 0)
        self.home.remember(name, PartState(process.pid, processes.created(process.pid), port))
        return process

    def _announce(self, seconds: float) -> None:
        from pim_platform.tenancy.bootstrap import first_start

        first = first_start(self.settings)
        self.output.say(f"ready after {seconds:.1f} s")
        for child in self.children:
            if child.part.url:
                self.output.say(f"  {child.part.name:<10} {child.part.url}")
        ports = Endpoints.of(self.settings).ports
        for name in self.engines:
            self.output.say(f"  {name:<10} 127.0.0.1:{getattr(ports, name)}")
        for line in first:
            self.output.say(f"  {line}")
        self.output.say("Ctrl-C ends it")

    def _end_children(self) -> None:
        """End every part but the engines, the entrance first and the code server with its runs last."""
        ends = [child.part.name for child in self.children if child.part.name != "code-server"]
        left = [process for process in processes.marked(self.home.root) if processes.part_of(process) in ends]
        if left:
            self.output.say("ending every part")
            processes.end(left, grace=_GRACE)
        self._sweep("")
        for child in self.children:
            if child.process is not None:
                child.process.wait()
                child.process = None
            self.home.forget(child.part.name)

    def _sweep(self, why: str) -> None:
        left = processes.marked(self.home.root, but_parts=_ENGINES)
        if left and why:
            self.output.say(f"ending {len(left)} processes {why}")
        processes.end(left, grace=_GRACE)


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into _Stop; further ones change nothing, the end is under way."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise _Stop

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
