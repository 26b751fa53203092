"""`pim up` over a narrowed table of parts: real engines and migrations, small processes beside them."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from pim_platform.cli.stack import doctor, status
from pim_platform.errors import Misconfigured
from pim_platform.local import processes
from pim_platform.local.backoff import Backoff
from pim_platform.local.engines import await_free, require_free
from pim_platform.local.home import Home, PartState
from pim_platform.local.output import Output
from pim_platform.local.parts import environment
from pim_platform.local.supervisor import up
from pim_platform.settings import Settings, get_settings
from tests.support.stacks import Stack, running, wait_for

# A web server that itself has a child, as Dagster's code server has its runs.
WEB = (
    "import http.server, subprocess, sys; subprocess.Popen(['sleep', '600']);"
    "print('hello from web', flush=True);"
    "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler)"
    ".serve_forever()"
)
UP = f"""
import sys
from pim_platform.errors import PimError
from pim_platform.local.parts import Part
from pim_platform.local.supervisor import up
from pim_platform.settings import Settings
settings = Settings()
command = (sys.executable, "-c", {WEB!r}, str(settings.port))
try:
    up(settings, parts=[Part("web", command, lambda: True, url="http://web", port=settings.port)])
except PimError as error:
    sys.exit(str(error))
"""


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}").status_code == 501
    except httpx.TransportError:
        return False


def test_a_signal_ends_every_process_and_the_key_is_shown_once(settings: Settings) -> None:
    with running(settings, UP) as stack:
        assert stack.said("admin key")
        assert stack.said("web         | hello from web")
        assert (settings.home_path / "logs" / "web.log").read_text().startswith("hello")
        assert len(processes.marked(settings.home_path)) >= 4  # two engines, web, its child
        assert stack.end(signal.SIGINT) == 0
        assert processes.marked(settings.home_path) == []
        assert stack.said("everything has ended")
    with running(settings, UP) as stack:
        assert not stack.said("admin key")
        assert stack.end(signal.SIGTERM) == 0
    assert processes.marked(settings.home_path) == []


def test_dead_parts_and_engines_are_started_again_and_said_so(settings: Settings) -> None:
    with running(settings, UP) as stack:
        for part in ("web", "postgres", "clickhouse"):
            psutil.Process(stack.pid(part)).kill()
        wait_for(lambda: stack.said("web ended (signal SIGKILL); starting it again in 1 s"), "the word on web")
        for part in ("postgres", "clickhouse"):
            wait_for(lambda part=part: stack.said(f"{part} answers again"), part)  # type: ignore[misc]
        wait_for(lambda: answers(settings.port), "web")


@pytest.mark.full
def test_after_kill_9_of_the_supervisor_the_next_start_is_clean(settings: Settings) -> None:
    first = Stack(settings, UP)
    first.wait_ready()
    old = {process.pid for process in processes.marked(settings.home_path)}
    first.end(signal.SIGKILL)
    with running(settings, UP):
        now = processes.marked(settings.home_path)
        assert old.isdisjoint(process.pid for process in now)
        assert len(now) == len([process for process in now if process.is_running()])
    assert processes.marked(settings.home_path) == []


def test_a_second_supervisor_of_one_home_is_refused(settings: Settings) -> None:
    home = Home(settings.home_path)
    lock = home.try_hold("supervisor")
    assert lock is not None
    try:
        with pytest.raises(Misconfigured, match="already runs") as caught:
            up(settings, parts=[])
    finally:
        os.close(lock)
    assert "PIM_HOME" in caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_taken_port_is_one_line_that_names_the_fix(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.port)):
        stack = Stack(settings, UP)
        assert stack.process.wait(timeout=120) == 1
    last = stack.log.read_text().splitlines()[-1]
    assert f"Port {settings.port} for web is taken." in last
    assert "PIM_PORT" in last
    assert processes.marked(settings.home_path) == []
    with socket.create_server(("127.0.0.1", settings.port)), pytest.raises(Misconfigured, match="is taken"):
        require_free(settings.port, "api")


def test_a_killed_part_may_hold_its_port_a_moment_longer(settings: Settings) -> None:
    home, port = Home(settings.home_path), settings.port
    last_thread = socket.create_server(("127.0.0.1", port))
    with pytest.raises(Misconfigured, match="is taken"):
        await_free(port, "code-server", home)  # nobody of this home ever had it
    home.remember("code-server", PartState(1, 0.0, port))
    threading.Timer(0.5, last_thread.close).start()
    await_free(port, "code-server", home)
    home.forget("code-server")
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_status_and_doctor_tell_what_is_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    try:
        idle = CliRunner().invoke(status, ["--json"])
        assert idle.exit_code == 1
        assert json.loads(idle.output)["parts"]["postgres"]["state"] == "down"
        sick = CliRunner().invoke(doctor)
        assert sick.exit_code == 1
        assert "fix:" in sick.output
        with running(settings, UP) as stack:
            found = json.loads(CliRunner().invoke(status, ["--json"]).output)
            assert found["home"] == str(settings.home_path)
            assert not found["ready"]  # the narrowed stack has no API
            assert found["parts"]["postgres"] == {
                "state": "ready",
                "pid": stack.pid("postgres"),
                "url": f"postgresql://postgres@127.0.0.1:{settings.port + 4}/pim",
            }
            assert found["parts"]["clickhouse"]["state"] == "ready"
            report = CliRunner().invoke(doctor).output
        for subject in ("PostgreSQL", "ClickHouse", "object store", "migrations", "roles", "tenant tables", "disk"):
            assert f"ok     {subject}" in report, report
    finally:
        get_settings.cache_clear()


def test_waiting_times_double_up_to_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("pim_platform.local.backoff.time.monotonic", lambda: now[0])
    backoff = Backoff()
    assert [backoff.failed() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert not backoff.due()
    now[0] += 30
    assert backoff.due()
    backoff.started()
    now[0] += 61
    assert backoff.failed() == 1


def test_a_number_that_now_means_another_process_is_not_ours(settings: Settings) -> None:
    home = Home(settings.home_path)
    home.remember("api", PartState(os.getpid(), processes.created(os.getpid()) - 100, settings.port))
    state = home.recall("api")
    assert state is not None
    assert processes.living(state.pid, state.created) is None
    assert processes.living(os.getpid(), processes.created(os.getpid())) is not None


def test_log_files_are_followed_and_rotated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pim_platform.local.output._ROTATE_BYTES", 20)
    path = tmp_path / "api.log"
    path.write_text("before\n")
    output = Output()
    output.follow("api", path)
    with path.open("a") as writer:
        writer.write("one\nhal")
        writer.flush()
        output.pump()
        writer.write("f\nthree\n")
        writer.flush()
        output.pump()
        writer.write("after\n")
        writer.flush()
        output.pump()
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [["api", "|", word] for word in ("one", "half", "three", "after")]
    assert path.read_text() == "after\n"
    assert (tmp_path / "api.log.1").read_text() == "before\none\nhalf\nthree\n"
