"""Folders, locks and state files of one home.

Two locks under ``<home>/run`` say who uses what, and the kernel drops them with their process, so ``kill -9``
leaves nothing behind: ``supervisor.lock`` belongs to the one ``pim up``; ``holders.lock`` is shared by everyone
who uses the embedded engines, and ``engines.lock`` is held for the moments in which they are started or stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pim_platform.storage.endpoints import ensure_home


@dataclass(frozen=True, slots=True)
class PartState:
    """What ``<home>/run/<part>.json`` remembers of a process; pid and create time name it for good."""

    pid: int
    created: float
    port: int
    restarts: int = 0


class Home:
    """Paths of the home ``root``, which is made when missing. Raises Misconfigured where that fails."""

    def __init__(self, root: Path) -> None:
        self.root = ensure_home(root)
        self.run = root / "run"
        self.logs = root / "logs"
        self.dagster = root / "dagster"
        self.postgres = root / "pg"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.logs / f"{part}.log"

    def remember(self, part: str, state: PartState) -> None:
        """Replace the part's state file in one step."""
        descriptor, name = tempfile.mkstemp(dir=self.run, prefix=f".{part}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
        Path(name).replace(self._state_file(part))

    def recall(self, part: str) -> PartState | None:
        """What was remembered, whether or not that process still lives; None for nothing (or a damaged file)."""
        try:
            return PartState(**json.loads(self._state_file(part).read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def forget(self, part: str) -> None:
        """Remove the part's state file."""
        self._state_file(part).unlink(missing_ok=True)

    def _state_file(self, part: str) -> Path:
        return self.run / f"{part}.json"

    @contextmanager
    def starting_or_stopping(self) -> Iterator[None]:
        """Exclusive right to start or stop this home's engines; waits for it."""
        with self.hold("engines", shared=False):
            yield

    @contextmanager
    def hold(self, name: str, *, shared: bool) -> Iterator[None]:
        """Hold the lock ``name``; waits for it."""
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def try_hold(self, name: str) -> int | None:
        """Take the lock ``name`` alone without waiting; its descriptor (close it to let go), or None."""
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the lock ``name`` at this moment."""
        descriptor = self.try_hold(name)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def _open(self, name: str) -> int:
        return os.open(self.run / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
