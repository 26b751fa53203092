"""What Dagster does for a running stack, done by a thread for one tenant of a test: confirmed jobs are run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from tests.support.imports import run_job

_LOOK_SECONDS = 0.1


@contextmanager
def worker(
    workspace: Workspace, tenant_id: UUID | Callable[[], UUID | None], *also: Callable[[], object]
) -> Iterator[None]:
    """Run a tenant's confirmed jobs, and call each of ``also`` as often, while the block runs.

    ``tenant_id`` may be asked for again and again: None where the tenant is not there yet.
    """
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.wait(_LOOK_SECONDS):
                tenant = tenant_id() if callable(tenant_id) else tenant_id
                if tenant is not None:
                    _run_due(workspace, tenant)
                for step in also:
                    step()
        except BaseException as error:  # noqa: BLE001  # told to the test, which would wait for ever otherwise
            failed.append(error)

    thread = threading.Thread(target=work, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not failed, failed


def _run_due(workspace: Workspace, tenant_id: UUID) -> None:
    with tenant_session(workspace.app, tenant_id) as session:
        due = [job.id for job in list_jobs(session, limit=200) if job.state == "confirmed"]
    for job_id in due:
        run_job(workspace, tenant_id, job_id)
