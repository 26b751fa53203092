"""A process that is told to stop in the middle of a statement says so, and leaves nothing running on the server."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.stacks import wait_for

SLEEP = "SELECT pg_sleep(600) AS interrupted_statement"


class Interruption(BaseException):
    """As Dagster raises it in a run that is to stop."""


@contextmanager
def interrupted_when(condition: Callable[[], object]) -> Iterator[None]:
    """Raise Interruption in this thread by a signal, once the condition holds."""

    def stop(_number: int, _frame: object) -> None:
        raise Interruption

    def watch() -> None:
        wait_for(condition, "the statement to run")
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("through", ["session", "driver"])
def test_an_interrupted_statement_ends_on_the_server_too(
    workspace: Workspace, make_tenant: Callable[[], TenantInfo], through: str
) -> None:
    tenant = make_tenant()
    with psycopg.connect(Endpoints.of(workspace.settings).admin_url, autocommit=True) as watching:

        def running() -> bool:
            found = watching.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE state = 'active' AND query LIKE '%interrupted_statement' AND pid <> pg_backend_pid()"
            ).fetchone()
            return found != (0,)

        def sleep() -> None:
            with tenant_session(workspace.app, tenant.id) as session:
                if through == "driver":
                    driver_connection(session).execute(SLEEP)
                else:
                    session.execute(text(SLEEP))

        with interrupted_when(running), pytest.raises(Interruption):
            sleep()
        wait_for(lambda: not running(), "the statement to end")
    with tenant_session(workspace.app, tenant.id) as session:
        assert session.scalar(text("SELECT 1")) == 1
