"""The checks of ``pim doctor``: each finds one thing that would stop the platform, and names the fix.

A check that cannot run because a server is away says so itself; no check hides another.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import httpx
import psycopg

from pim_platform.errors import PimError
from pim_platform.local.engines import require_free
from pim_platform.local.home import Home
from pim_platform.local.parts import stack
from pim_platform.local.status import DOWN, clickhouse_error, postgres_error, stack_status
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import APP_ROLE, Endpoints, user_of, without_password

_MINIMUM_POSTGRES = 18  # D22
_MINIMUM_CLICKHOUSE = (26, 2)  # since then the text index is there without an experimental setting
_LEAST_FREE = 2 * 1024**3  # bytes: half of PostgreSQL's WAL limit; below it the next large import may fail
_PROBE_KEY = "doctor/probe"  # written and removed again
_PACKAGES = ("pim-platform", "dagster", "dagster-postgres", "chdb", "clickhouse-connect", "polars", "pandera")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; ``fix`` is empty where nothing is wrong."""

    subject: str
    ok: bool
    text: str
    fix: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of the table. Never raises for what a check finds."""
    checks: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("settings", _settings),
        ("versions", _versions),
        ("disk", _disk),
        ("ports", _ports),
        ("PostgreSQL", _postgres),
        ("ClickHouse", _clickhouse),
        ("object store", _object_store),
        ("migrations", _migrations),
        ("roles", _roles),
        ("tenant tables", _row_security),
    ]
    found: list[Finding] = []
    for subject, check in checks:
        try:
            found.extend(check(settings))
        except PimError as error:
            found.append(Finding(subject, False, error.message, error.fix or "See the message."))
        except psycopg.Error as error:
            text = str(error).strip().splitlines()[0]
            found.append(Finding(subject, False, text, "Start the stack (`pim up`) or correct PIM_POSTGRES_URL."))
    return found


def _settings(settings: Settings) -> Iterator[Finding]:
    given = sorted(name for name in os.environ if name.startswith("PIM_") and name[4:].lower() in _fields(settings))
    unknown = sorted(
        name for name in os.environ if name.startswith("PIM_") and name[4:].lower() not in _fields(settings)
    )
    yield Finding("settings", True, f"home {settings.home_path}; from the environment: {', '.join(given) or 'nothing'}")
    for name in unknown:
        if not name.startswith("PIM_PROCESS_"):  # the supervisor's own marks
            yield Finding("settings", False, f"{name} is no setting of the platform.", f"Unset {name} or correct it.")


def _fields(settings: Settings) -> set[str]:
    return set(type(settings).model_fields)


def _versions(settings: Settings) -> Iterator[Finding]:
    known = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Finding("versions", True, f"Python {platform.python_version()}, {known}")


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(Home(settings.home_path).root).free
    text = f"{free / 1024**3:.1f} GB free in {settings.home_path}"
    yield Finding("disk", free >= _LEAST_FREE, text, "Free disk space, or move the home (PIM_HOME).")


def _ports(settings: Settings) -> Iterator[Finding]:
    status = stack_status(settings)
    ports = Endpoints.of(settings).ports
    wanted = {part.name: (part.port, part.host) for part in stack(settings) if part.port}
    wanted |= {"postgres": (ports.postgres, "127.0.0.1"), "clickhouse": (ports.clickhouse, "127.0.0.1")}
    taken = []
    for name, (port, host) in wanted.items():
        if status.parts[name].state == DOWN:
            try:
                require_free(port, name, host=host)
            except PimError as error:
                taken.append(Finding("ports", False, error.message, error.fix))
    yield from taken or [Finding("ports", True, f"{ports.api} to {ports.code_server} are free or ours")]


def _postgres(settings: Settings) -> Iterator[Finding]:
    endpoints = Endpoints.of(settings)
    names = ("admin", "app", "ddl", "dagster")
    for name in names:
        url = getattr(endpoints, f"{name}_url")
        error = postgres_error(url)
        text = f"{name}: {without_password(url)}"
        fix = "Start the stack (`pim up`), run `pim migrate`, or correct the URL."
        yield Finding("PostgreSQL", not error, f"{text}: {error}" if error else text, fix)
    with psycopg.connect(endpoints.admin_url, connect_timeout=5) as connection:
        number = connection.info.server_version
    yield Finding(
        "PostgreSQL",
        number >= _MINIMUM_POSTGRES * 10_000,
        f"server version {number // 10_000}.{number % 10_000}",
        f"Use PostgreSQL {_MINIMUM_POSTGRES} or newer.",
    )


def _clickhouse(settings: Settings) -> Iterator[Finding]:
    url = Endpoints.of(settings).clickhouse_url
    error = clickhouse_error(url)
    text = without_password(url)
    fix = "Start the stack (`pim up`) or correct PIM_CLICKHOUSE_URL."
    yield Finding("ClickHouse", not error, f"{text}: {error}" if error else text, fix)
    if not error:
        number = httpx.post(url, content="SELECT version()", timeout=10.0, trust_env=False).text.strip()
        yield Finding(
            "ClickHouse",
            tuple(int(part) for part in number.split(".")[:2]) >= _MINIMUM_CLICKHOUSE,
            f"server version {number}",
            "Use ClickHouse {}.{} or newer: search needs its text index.".format(*_MINIMUM_CLICKHOUSE),
        )


def _object_store(settings: Settings) -> Iterator[Finding]:
    from obstore.exceptions import BaseError

    from pim_platform.storage.object_store import ObjectStore

    url = Endpoints.of(settings).object_store_url
    fix = "Correct PIM_OBJECT_STORE_URL and the keys of the object store."
    try:
        store = ObjectStore.of(settings)
        store.put_bytes(_PROBE_KEY, b"")  # reading alone would not show missing rights
        store.delete(_PROBE_KEY)
    except (BaseError, OSError) as error:
        yield Finding("object store", False, f"{without_password(url)}: {str(error).splitlines()[0]}", fix)
    else:
        yield Finding("object store", True, without_password(url))


def _migrations(settings: Settings) -> Iterator[Finding]:
    from pim_platform.storage.migrate import clickhouse_versions, postgres_versions

    at, newest = postgres_versions(settings)
    yield Finding("migrations", at == newest, f"PostgreSQL at {at}, newest {newest}", "Run `pim migrate`.")
    applied, known = clickhouse_versions(settings)
    missing = [name for name in known if name not in applied]
    text = f"ClickHouse: {len(applied)} applied" + (f", missing {', '.join(missing)}" if missing else "")
    yield Finding("migrations", not missing, text, "Run `pim migrate`.")


def _roles(settings: Settings) -> Iterator[Finding]:
    endpoints = Endpoints.of(settings)
    with psycopg.connect(endpoints.app_url, connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relowner = r.oid AND relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%')"
            " FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
    is_super, bypasses, owns = row or (True, True, True)
    role = user_of(endpoints.app_url)
    wrong = [
        text for text, bad in (("is a superuser", is_super), ("has BYPASSRLS", bypasses), ("owns tables", owns)) if bad
    ]
    fix = f"Connect the application as {APP_ROLE} (PIM_POSTGRES_APP_URL)."
    yield Finding("roles", not wrong, f"{role} {' and '.join(wrong) or 'is bound by row level security'}", fix)


def _row_security(settings: Settings) -> Iterator[Finding]:
    with psycopg.connect(Endpoints.of(settings).admin_url, connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT format('%I.%I', nspname, relname), relrowsecurity AND relforcerowsecurity"
            " AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " JOIN pg_attribute a ON attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped"
            " WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'"
        ).fetchall()
    open_tables = [name for name, forced in rows if not forced]
    text = f"{len(rows)} tables with forced row level security"
    if open_tables:
        text = f"without forced row level security: {', '.join(open_tables)}"
    elif not rows:
        text = "there are none"
    yield Finding("tenant tables", bool(rows) and not open_tables, text, "Run `pim migrate`.")
