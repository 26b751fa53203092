"""The lease of a running attempt: who works on a job, that it is alive, and how far it is (design D19).

A run that dies leaves its lease to grow old; whoever finds an old lease takes the job over with the next
attempt number. Progress and heartbeat go through a connection of their own, beside the merge's transaction.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

import psutil
import psycopg
from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, EngineUnavailable, JobCancelled, LeaseLost
from pim_platform.intake.jobs import get_job
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.storage.scratch import clear_dead_scratch

_RUNNING = ("staging", "importing")
#: Progress is written at least this often (issue: once a second).
_PROGRESS_SECONDS = 0.5
_CANCEL_SECONDS = 5.0


def this_process() -> str:
    """Who this is, precisely enough to tell later whether it still lives: host, pid and start time."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(owner: str | None) -> bool | None:
    """Whether the process behind a lease still runs; None where it is on another host and cannot be asked."""
    if owner is None:
        return False
    host, pid, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(pid))
        same = bool(abs(process.create_time() - float(started)) < 1)  # a pid is given again to others
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def claim(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> ImportJob:
    """Take the job for a new attempt, or raise Conflict where it is not to be had.

    To be had is a confirmed job, or a running one whose lease is old or whose process on this host is gone.
    After ``max_attempts`` the job fails for good.
    """
    settings = workspace.settings
    with tenant_session(workspace.app, tenant_id) as session:
        job = get_job(session, job_id, lock=True)
        if job.state in _RUNNING:
            old = timedelta(seconds=settings.lease_timeout_seconds)
            stale = session.scalar(
                select(func.coalesce(ImportJob.lease_at, text("'-infinity'")) < func.clock_timestamp() - old).where(
                    ImportJob.tenant_id == tenant_id, ImportJob.id == job_id
                )
            )
            if not stale and is_alive(job.lease_owner) is not False:
                raise Conflict(
                    f"Attempt {job.attempt} of this import is running.", fix="Wait for it.", code="already_running"
                )
        elif job.state != "confirmed":
            raise Conflict(f"The import is in state {job.state}.", fix="Only a confirmed one can run.", code="not_due")
        tried = job.attempt - job.first_attempt + 1
        spent = tried >= settings.max_attempts
        if spent:
            job.reason_code = "too_many_attempts"
            job.reason = f"{tried} attempts did not come through. Last: {job.reason or 'the process died'}"
            job.rest("failed")
            job.finished_at = func.clock_timestamp()
        else:
            job.attempt += 1
            job.state = "importing" if job.merged else "staging"
            job.lease_owner = this_process()
            job.lease_at = func.clock_timestamp()
            job.started_at = func.coalesce(ImportJob.started_at, func.clock_timestamp())
        session.flush()
        session.refresh(job)
    clear_dead_scratch()
    if spent:
        raise Conflict(str(job.reason), fix="Upload the file again.", code="too_many_attempts")
    return job


def own_row(session: Session, job: ImportJob) -> ImportJob:
    """The job's row, locked, for the attempt ``job`` to write its result into, in the transaction of its merge.

    Raises LeaseLost where another attempt has taken the job over, JobCancelled where it is to stop.
    """
    row = get_job(session, job.id, lock=True)
    if row.attempt != job.attempt:
        raise LeaseLost(f"Attempt {job.attempt} of import {row.id} was taken over by attempt {row.attempt}.")
    if row.cancel_requested:
        raise JobCancelled(f"Import {job.id} was cancelled.", fix="Upload the file again to start over.")
    return row


class Lease:
    """Keeps an attempt's lease fresh while the block runs, and writes its progress.

    ``tell(stage, done, total)`` may be called as often as one likes; it raises JobCancelled or LeaseLost where
    the attempt has to stop.
    """

    def __init__(self, workspace: Workspace, tenant_id: UUID, job_id: UUID, attempt: int) -> None:
        self._workspace, self._tenant_id, self._job_id, self._attempt = workspace, tenant_id, job_id, attempt
        self._stop = threading.Event()
        self._progress: dict[str, object] = {}
        self._stage, self._stage_started, self._stage_first = "", time.monotonic(), 0
        self._cancelled = self._lost = False
        self._connection: psycopg.Connection[Any] | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def tell(self, stage: str, done: int, total: int | None = None) -> None:
        """Say how far the attempt is: rows ``done`` of ``total`` in a stage."""
        self._require()
        if stage != self._stage:
            # Nobody says when a stage begins: its first word may come with its first rows, in no time at all.
            self._stage, self._stage_started, self._stage_first = stage, time.monotonic(), done
        seconds = time.monotonic() - self._stage_started
        rate = (done - self._stage_first) / seconds if seconds > 0 else 0.0
        left = (total - done) / rate if total is not None and rate > 0 else None
        self._progress = {
            "stage": stage,
            "rows": done,
            "total": total,
            "rows_per_second": round(rate),
            "eta_seconds": round(left, 1) if left is not None else None,
        }

    @property
    def progress(self) -> dict[str, object]:
        """What was told last: stage, rows, total, rows_per_second, eta_seconds, and the seconds in the stage so far."""
        return {**self._progress, "seconds": round(time.monotonic() - self._stage_started, 1)}

    def _require(self) -> None:
        if self._lost:
            raise LeaseLost(f"Attempt {self._attempt} of import {self._job_id} was taken over by a later one.")
        if self._cancelled:
            raise JobCancelled(f"Import {self._job_id} was cancelled.", fix="Upload the file again to start over.")

    @contextmanager
    def interrupting(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """While the block runs, a cancellation also ends the statement that this connection is in.

        One statement over millions of rows takes its time, and says nothing meanwhile.
        """
        self._connection = connection
        try:
            yield
        except psycopg.errors.QueryCanceled:
            self._require()
            raise
        finally:
            with self._guard:  # after this the connection is somebody else's
                self._connection = None

    def _interrupt(self) -> None:
        with self._guard:
            if self._connection is not None:
                with suppress(psycopg.Error):
                    self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def _beat(self) -> None:
        pause = min(_PROGRESS_SECONDS, self._workspace.settings.lease_heartbeat_seconds)
        while not self._stop.wait(pause):
            try:
                # Also where nothing was told since: the time in the stage shows that it lives.
                self._write(self.progress if self._progress else None)
            except (SQLAlchemyError, EngineUnavailable):
                continue  # the run itself meets the same server and reports it; the lease may grow old meanwhile
            if self._cancelled or self._lost:
                self._interrupt()

    def _write(self, progress: dict[str, object] | None) -> None:
        with tenant_session(self._workspace.app, self._tenant_id) as session:
            row = session.execute(
                _HEARTBEAT,
                {"progress": progress, "tenant": self._tenant_id, "job": self._job_id, "attempt": self._attempt},
            ).first()
        self._lost = row is None and not self._stop.is_set()
        self._cancelled = row is not None and bool(row[0])


#: Where nothing is told yet, what the step before told stays.
_HEARTBEAT = text(
    "UPDATE pim.import_jobs SET lease_at = clock_timestamp(), progress = COALESCE(:progress, progress) "
    "WHERE tenant_id = :tenant AND id = :job AND attempt = :attempt AND state IN ('staging', 'importing') "
    "RETURNING cancel_requested"
).bindparams(bindparam("progress", type_=JSONB(none_as_null=True)))
