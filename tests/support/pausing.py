"""Holding an import at a point of its way, as if it took for ever, while a test does other things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from pim_platform.intake.lease import Lease
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from tests.support.imports import run_job
from tests.support.stacks import WAIT_SECONDS


@dataclass
class Held:
    """An import that stands still until :meth:`go`."""

    there: threading.Event = field(default_factory=threading.Event)
    _free: threading.Event = field(default_factory=threading.Event)
    _run: Future[ImportJob] | None = None

    def go(self) -> ImportJob:
        """Let it run to its end and return its job."""
        assert self._run is not None
        self._free.set()
        return self._run.result(WAIT_SECONDS)


@contextmanager
def held_at(workspace: Workspace, tenant_id: UUID, job_id: UUID, stage: str) -> Iterator[Held]:
    """Run a confirmed job in a thread; the block runs while it stands at ``stage``, with all its locks.

    ``stage`` is what the attempt tells its lease; ``writing``: inside the merge's transaction, rows written.
    """
    held = Held()
    tell = Lease.tell

    def tell_and_stand(self: Lease, name: str, done: int, total: int | None = None) -> None:
        tell(self, name, done, total)
        if self._job_id == job_id and name == stage and not held.there.is_set():
            held.there.set()
            assert held._free.wait(WAIT_SECONDS), "nobody let the import go on"

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(Lease, "tell", tell_and_stand)
        held._run = pool.submit(run_job, workspace, tenant_id, job_id)
        try:
            assert held.there.wait(WAIT_SECONDS), f"the import never came to {stage}"
            yield held
        finally:
            held._free.set()
