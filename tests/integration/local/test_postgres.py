"""The embedded PostgreSQL: private, durable, adopted or restarted after any accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping

import psycopg
import pytest

from pim_platform.local import processes
from pim_platform.local.engines import Engine, embedded, engines
from pim_platform.local.home import Home
from pim_platform.local.postgres import EmbeddedPostgres, tuning
from pim_platform.local.reach import let_pass, postgres_user
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from tests.support.stacks import wait_for

GIB = 1024**3


@pytest.fixture
def server(settings: Settings) -> Iterator[EmbeddedPostgres]:
    found = embedded(settings, Home(settings.home_path))["postgres"]
    assert isinstance(found, EmbeddedPostgres)
    found.start()
    yield found
    found.stop()


def admin(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    url = Endpoints.of(settings).admin_url.removesuffix("/pim") + "/postgres"
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def pids(parts: Mapping[str, Engine]) -> dict[str, int]:
    return {name: process.pid for name, part in parts.items() if (process := part.process())}


def test_it_listens_on_the_loopback_with_passwords_and_full_durability(
    settings: Settings, server: EmbeddedPostgres
) -> None:
    with admin(settings) as connection:
        shown = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "max_connections")
        }
        version = connection.info.server_version
    assert list(shown.values()) == [("on",), ("on",), ("on",), ("127.0.0.1",), ("200",)]
    assert version >= 180_000
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")


def test_nobody_else_can_look_into_the_home(settings: Settings, server: EmbeddedPostgres) -> None:
    for entry in settings.home_path.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0, entry
    assert stat.S_IMODE(settings.home_path.stat().st_mode) in (0o700, 0o711)
    assert not (server.folder / "password").exists()


def test_committed_rows_outlive_kill_9_of_the_server(settings: Settings, server: EmbeddedPostgres) -> None:
    with admin(settings) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100000) AS n")
        busy = admin(settings)  # a backend that needs a moment to leave
        process = server.process()
        assert process is not None
        process.kill()
    server.start()
    busy.close()
    with admin(settings) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (100_000,)


def test_a_living_server_is_adopted(settings: Settings, server: EmbeddedPostgres) -> None:
    before = server.process()
    again = EmbeddedPostgres(Home(settings.home_path), server.port)
    again.start()
    after = again.process()
    assert before is not None
    assert after is not None
    assert before.pid == after.pid
    again.stop()
    assert again.process() is None


def test_a_pid_file_that_names_somebody_else_is_no_obstacle(settings: Settings, server: EmbeddedPostgres) -> None:
    """After a power cut the number in postmaster.pid may belong to any process, and PostgreSQL refuses to start."""
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        assert server.process() is None
        server.start()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_made_cluster_is_made_again(settings: Settings) -> None:
    home = Home(settings.home_path)
    (home.postgres / "data.new" / "base").mkdir(parents=True)
    server = EmbeddedPostgres(home, Endpoints.of(settings).ports.postgres)
    server.start()
    server.stop()
    assert not (home.postgres / "data.new").exists()


def test_a_holder_that_dies_leaves_engines_that_the_next_one_takes_over(settings: Settings) -> None:
    script = (
        "import sys, time; from pim_platform.settings import Settings; from pim_platform.local.engines import engines\n"
        "with engines(Settings(), migrate=False): print('held', flush=True); time.sleep(600)"
    )
    env = {**os.environ, "PIM_HOME": str(settings.home_path), "PIM_PORT": str(settings.port)}
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with engines(settings, migrate=False):
            pass  # not the last to leave: the other one still holds them
        parts = embedded(settings, Home(settings.home_path))
        before = pids(parts)
        assert set(before) == {"postgres", "clickhouse"}
        holder.kill()
    with engines(settings, migrate=False), admin(settings) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert pids(parts) == before
    assert [part.process() for part in parts.values()] == [None, None]
    wait_for(lambda: not processes.marked(settings.home_path), "the last engine process")


def test_tuning_fits_small_and_large_machines() -> None:
    small, large = tuning(2 * GIB, 64 * 1024**2), tuning(256 * GIB, 8 * GIB)
    assert small["shared_buffers"] == "256MB"
    assert large["shared_buffers"] == "1024MB"
    assert small["dynamic_shared_memory_type"] == "mmap"
    assert "dynamic_shared_memory_type" not in large


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_under_root_a_closed_parent_is_opened_for_postgres_alone(settings: Settings) -> None:
    closed = settings.home_path.parent / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    user = postgres_user()
    assert user is not None
    let_pass(user, closed / "inner" / "data")
    assert stat.S_IMODE(closed.stat().st_mode) & 0o007 == 0
    listing = subprocess.run(["ls", closed], user=user.pw_uid, group=user.pw_gid, extra_groups=[], capture_output=True)
    passing = subprocess.run(
        ["ls", "-d", closed / "inner"], user=user.pw_uid, group=user.pw_gid, extra_groups=[], capture_output=True
    )
    assert (listing.returncode != 0, passing.returncode) == (True, 0)
