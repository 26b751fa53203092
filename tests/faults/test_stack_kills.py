"""``kill -9`` of every process of the real stack, and of the supervisor at every step of its start.

Whatever is killed: what was committed stays, the stack becomes ready again, and no process piles up.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from pim_platform.local import processes
from pim_platform.local.status import stack_status
from pim_platform.settings import Settings
from pim_platform.storage.clickhouse import clickhouse_client
from pim_platform.storage.endpoints import Endpoints
from tests.support.stacks import Stack, running, throwaway_settings, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

UP = "from pim_platform.settings import Settings; from pim_platform.local.supervisor import up; up(Settings())"
PARTS = ("postgres", "clickhouse", "code-server", "api", "ui", "dagster", "daemon")
STEPS = ("starting the engines", "migrating", "api is ready", "code-server is ready", "ready after")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with throwaway_settings() as settings, running(settings, UP) as started:
        commit(settings)
        yield started


def commit(settings: Settings) -> None:
    """Leave a mark in both engines."""
    with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.kill_mark AS SELECT generate_series(1, 10000) AS n")
    client = clickhouse_client(settings)
    client.command("CREATE TABLE default.kill_mark (n UInt64) ENGINE = MergeTree ORDER BY n")
    client.command("INSERT INTO default.kill_mark SELECT number FROM numbers(10000)")


def assert_nothing_lost(settings: Settings) -> None:
    with psycopg.connect(Endpoints.of(settings).admin_url) as connection:
        assert connection.execute("SELECT count(*) FROM public.kill_mark").fetchone() == (10_000,)
    assert clickhouse_client(settings).command("SELECT count() FROM default.kill_mark") == 10_000


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_comes_back_and_nothing_is_lost(stack: Stack, part: str) -> None:
    wait_for(lambda: stack_status(stack.settings).ready, "the stack before the kill")
    before = stack.pid(part)
    psutil.Process(before).kill()
    wait_for(lambda: stack.said(f"{part} ended"), f"the word on {part}")
    wait_for(lambda: stack_status(stack.settings).ready, f"the stack without the old {part}")
    assert stack.pid(part) != before
    assert_nothing_lost(stack.settings)


@pytest.mark.parametrize("step", STEPS)
def test_after_kill_9_of_the_supervisor_the_next_start_is_clean(step: str) -> None:
    with throwaway_settings() as settings:
        with running(settings, UP):
            commit(settings)
        assert processes.marked(settings.home_path) == []
        broken = Stack(settings, UP)
        wait_for(lambda: broken.said(step), step)
        broken.end(signal.SIGKILL)
        with running(settings, UP):
            assert stack_status(settings).ready
            assert_nothing_lost(settings)
            assert len({part.pid for part in stack_status(settings).parts.values()}) == len(PARTS)
        assert processes.marked(settings.home_path) == []
