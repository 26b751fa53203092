"""Engines shared by several processes, and engines that are somebody else's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import psycopg
import pytest

from pim_platform.errors import Misconfigured
from pim_platform.local import processes
from pim_platform.local.doctor import examine
from pim_platform.local.engines import embedded, engines
from pim_platform.local.home import Home, PartState
from pim_platform.local.parts import environment
from pim_platform.local.status import stack_status
from pim_platform.settings import Settings
from pim_platform.storage.clickhouse import clickhouse_client
from pim_platform.storage.endpoints import Endpoints
from tests.support.stacks import throwaway_settings, wait_for

INLINE = """
import time
from pim_platform.local.engines import engines
from pim_platform.settings import Settings
from pim_platform.storage.clickhouse import clickhouse_client
import psycopg
with engines(Settings()) as endpoints:
    psycopg.connect(endpoints.app_url).close()
    clickhouse_client(Settings()).query("SELECT 1")
    time.sleep(0.2)
"""


def test_processes_that_come_and_go_at_once_share_the_engines_of_a_new_home(settings: Settings) -> None:
    env = {**os.environ, **environment(settings)}
    users = [
        subprocess.Popen([sys.executable, "-c", INLINE], env=env, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = [user.communicate(timeout=240)[1] for user in users]
    assert [user.returncode for user in users] == [0] * 4, answers
    wait_for(lambda: not processes.marked(settings.home_path), "the last engine process")
    with engines(settings) as endpoints, psycopg.connect(endpoints.app_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_killed_server_may_hold_its_port_a_moment_longer(settings: Settings) -> None:
    home, port = Home(settings.home_path), Endpoints.of(settings).ports.clickhouse
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    home.remember("clickhouse", PartState(ended.pid, 0.0, port))
    last_thread = socket.create_server(("127.0.0.1", port))
    threading.Timer(1.0, last_thread.close).start()
    with engines(settings):
        assert clickhouse_client(settings).query("SELECT 1").result_rows == [(1,)]


def test_a_port_held_by_a_stranger_is_refused_at_once(settings: Settings) -> None:
    port = Endpoints.of(settings).ports.clickhouse
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(Misconfigured, match=f"Port {port} for clickhouse is taken"),
        engines(settings),
    ):
        pytest.fail("it joined a stranger")


def test_engines_end_when_the_block_fails(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), engines(settings, migrate=False):
        raise ZeroDivisionError
    parts = embedded(settings, Home(settings.home_path))
    assert [part.process() for part in parts.values()] == [None, None]


def test_servers_given_by_url_are_used_and_left_alone(settings: Settings) -> None:
    with throwaway_settings() as theirs, engines(theirs, migrate=False) as foreign:
        own = Settings.model_validate(
            {
                "home": settings.home,
                "port": settings.port,
                "postgres_url": foreign.admin_url.replace("/pim", "/catalogue"),
                "clickhouse_url": foreign.clickhouse_url,
            }
        )
        assert embedded(own, Home(own.home_path)) == {}
        with engines(own):
            with psycopg.connect(Endpoints.of(own).app_url) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("catalogue",)
            assert clickhouse_client(own).command("SELECT 1") == 1
            states = {name: part.state for name, part in stack_status(own).parts.items()}
            assert (states["postgres"], states["clickhouse"]) == ("external", "external")
            found = examine(own)
            assert [finding for finding in found if not finding.ok and finding.subject != "ports"] == []
            assert {"PostgreSQL", "ClickHouse"} == {f.subject for f in found if f.text.startswith("server version")}
        assert not (own.home_path / "pg").exists()
        assert all(part.process() for part in embedded(theirs, Home(theirs.home_path)).values())


def test_a_server_given_by_url_that_is_away_is_told_and_not_replaced(settings: Settings) -> None:
    url = f"postgresql://a:hush@127.0.0.1:{settings.port}/d"
    gone = Settings.model_validate({"home": settings.home, "port": settings.port, "postgres_url": url})
    assert stack_status(gone).parts["postgres"].state == "unreachable"
    wrong = [finding for finding in examine(gone) if finding.subject == "PostgreSQL" and not finding.ok]
    assert wrong
    assert all(finding.fix for finding in wrong)
    assert not any("hush" in finding.text for finding in wrong)
