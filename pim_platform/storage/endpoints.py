"""Where every server of one installation is, and the passwords to reach it.

Belongs here: turning :class:`~pim_platform.settings.Settings` into complete URLs, the ports that follow
``PIM_PORT``, and the home's generated passwords. Does not belong here: opening a connection.

A part whose ``PIM_*_URL`` is set is somebody else's server; a part without one is embedded in the home.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets as random_source
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from pim_platform.errors import Misconfigured
from pim_platform.settings import Settings

OWNER_ROLE = "pim_owner"
"""Owns every object of the application database; cannot log in."""
APP_ROLE = "pim_app"
"""What API, UI and Dagster runs connect as; neither owner nor BYPASSRLS."""
DDL_ROLE = "pim_ddl"
"""Owns the typed relations of the tenants, and nothing else."""
DEFINER_ROLE = "pim_definer"
"""Owns the few SECURITY DEFINER functions that cross tenants; cannot log in."""
DAGSTER_ROLE = "pim_dagster"
"""Owns Dagster's database."""
ADMIN_ROLE = "postgres"
"""Superuser of the embedded server."""

APP_DATABASE = "pim"
"""Application database of the embedded server; with ``PIM_POSTGRES_URL`` it is the one named there."""
DAGSTER_DATABASE = "dagster"
"""Database of Dagster's storage on the same server."""
CLICKHOUSE_USER = "pim"
"""The one user that the embedded ClickHouse's front knows."""

LOOPBACK = "127.0.0.1"
"""Embedded engines listen here and nowhere else."""

_PASSWORD_BYTES = 32  # 256 random bits, as for API keys (D22)
_PRIVATE_FOLDERS = ("clickhouse", "dagster", "logs", "objects", "run")
_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of the one-machine stack, all derived from ``PIM_PORT``."""

    api: int
    ui: int
    dagster: int
    clickhouse: int
    postgres: int
    code_server: int

    @classmethod
    def of(cls, first: int) -> Ports:
        """The six ports from ``first`` (the API's) upwards."""
        return cls(*range(first, first + 6))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Complete URLs, passwords included: never log or print one (see :func:`without_password`)."""

    admin_url: str
    app_url: str
    ddl_url: str
    dagster_url: str
    """With driver ``postgresql+psycopg2``: under psycopg 3 dagster-postgres's NOTIFY fails and runs hang."""
    clickhouse_url: str
    object_store_url: str
    ports: Ports
    postgres_embedded: bool
    clickhouse_embedded: bool

    @classmethod
    def of(cls, settings: Settings) -> Endpoints:
        """The endpoints of ``settings``; makes the home and its passwords where they are needed.

        Raises Misconfigured for a URL that cannot be one.
        """
        home = settings.home_path
        ports = Ports.of(settings.port)
        admin = _postgres(settings.postgres_url, "PIM_POSTGRES_URL")
        if admin is None:
            netloc = _netloc(ADMIN_ROLE, secret(home, ADMIN_ROLE), f"{LOOPBACK}:{ports.postgres}")
            base = SplitResult("postgresql", netloc, f"/{APP_DATABASE}", "", "")
        else:
            base = admin
        app = _postgres(settings.postgres_app_url, "PIM_POSTGRES_APP_URL") or _as_role(base, home, APP_ROLE)
        ddl = _postgres(settings.postgres_ddl_url, "PIM_POSTGRES_DDL_URL") or _as_role(base, home, DDL_ROLE)
        dagster = _postgres(settings.dagster_postgres_url, "PIM_DAGSTER_POSTGRES_URL") or _as_role(
            base, home, DAGSTER_ROLE, DAGSTER_DATABASE
        )
        return cls(
            admin_url=urlunsplit(base),
            app_url=urlunsplit(app),
            ddl_url=urlunsplit(ddl),
            dagster_url=urlunsplit(dagster._replace(scheme="postgresql+psycopg2")),
            clickhouse_url=_clickhouse(settings, home, ports),
            object_store_url=settings.object_store_url or (home / "objects").as_uri(),
            ports=ports,
            postgres_embedded=admin is None,
            clickhouse_embedded=settings.clickhouse_url is None,
        )


def _clickhouse(settings: Settings, home: Path, ports: Ports) -> str:
    if settings.clickhouse_url is None:
        netloc = _netloc(CLICKHOUSE_USER, secret(home, "clickhouse"), f"{LOOPBACK}:{ports.clickhouse}")
        return urlunsplit(("http", netloc, "", "", ""))
    url = settings.clickhouse_url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(
            "PIM_CLICKHOUSE_URL is not an HTTP address.", fix="Write http(s)://user:password@host:port."
        )
    return url


def _postgres(value: SecretStr | None, name: str) -> SplitResult | None:
    """The parts of a PostgreSQL URL given by the setting ``name``, scheme made plain."""
    if value is None:
        return None
    parts = urlsplit(value.get_secret_value())
    try:
        complete = parts.scheme in _POSTGRES_SCHEMES and parts.hostname and parts.username
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        complete = None
    if not complete or not parts.path.strip("/"):
        # The value itself stays out of the message: it holds a password.
        raise Misconfigured(
            f"{name} lacks a scheme, user, host or database.",
            fix="Write postgresql://user:password@host:port/database.",
        )
    return parts._replace(scheme="postgresql")


def _as_role(base: SplitResult, home: Path, role: str, database: str | None = None) -> SplitResult:
    """``base`` with another login role (its password from the home) and perhaps another database."""
    address = base.netloc.rpartition("@")[2]
    path = base.path if database is None else f"/{database}"
    return base._replace(netloc=_netloc(role, secret(home, role), address), path=path)


def _netloc(user: str, password: str, address: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}@{address}"


def password_of(url: str) -> str:
    """The decoded password in ``url``; empty where it has none."""
    return unquote(urlsplit(url).password or "")


def user_of(url: str) -> str:
    """The decoded user name in ``url``; empty where it has none."""
    return unquote(urlsplit(url).username or "")


def database_of(url: str) -> str:
    """The decoded database name in ``url``; empty where it has none."""
    return unquote(urlsplit(url).path.strip("/"))


def without_password(url: str) -> str:
    """``url`` as it may be shown: user kept, password left out, query (which may hold keys) left out."""
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{address}" if at else address
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def ensure_home(home: Path) -> Path:
    """Make the home and its private folders; returns ``home``.

    As root the home itself can be traversed by others, because PostgreSQL refuses to run as root and its own
    user must reach ``<home>/pg``; everything else in it is closed. Raises Misconfigured where it cannot be made.
    """
    try:
        home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        for name in _PRIVATE_FOLDERS:
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"The home {home} cannot be made: {error.strerror}.", fix="Set PIM_HOME to a folder you may write to."
        ) from error
    return home


def secret(home: Path, name: str, *, group: str | None = None) -> str:
    """The home's password called ``name``, generated at first use and kept in ``<home>/secrets.json``.

    ``group="analysts"`` looks into the object of that name instead of the top level. Safe under several
    processes: one file lock, atomic replace, mode 0600 from the first byte on.
    """
    path = ensure_home(home) / "secrets.json"
    found = _lookup(_read(path), name, group)
    if found is not None:
        return found
    with _locked(home / "secrets.lock"):
        known = _read(path)  # again: another process may have been faster
        found = _lookup(known, name, group)
        if found is None:
            found = random_source.token_urlsafe(_PASSWORD_BYTES)
            (known if group is None else known.setdefault(group, {}))[name] = found
            _write(path, known)
    return found


def _lookup(known: dict[str, Any], name: str, group: str | None) -> str | None:
    table = known if group is None else known.get(group, {})
    value = table.get(name)
    return value if isinstance(value, str) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Misconfigured(
            f"{path} is not JSON.", fix="Restore it from a backup: without it the databases of the home stay locked."
        ) from error
    if not isinstance(known, dict):
        raise Misconfigured(f"{path} is not a JSON object.", fix="Restore it from a backup.")
    return known


def _write(path: Path, known: dict[str, Any]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
