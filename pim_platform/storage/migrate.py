"""The one migrator: roles, databases and the versioned schema of both engines, under one lock.

PostgreSQL's versions are Alembic's; ClickHouse's are numbered files applied in order and noted in
``segmentation.migrations``. Two migrators at once wait for each other; running twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy import create_engine

from pim_platform.errors import EngineUnavailable, Misconfigured
from pim_platform.settings import Settings
from pim_platform.storage.clickhouse import clickhouse_client
from pim_platform.storage.endpoints import (
    APP_ROLE,
    DAGSTER_DATABASE,
    DAGSTER_ROLE,
    DDL_ROLE,
    DEFINER_ROLE,
    OWNER_ROLE,
    Endpoints,
    database_of,
    password_of,
    without_password,
)

if TYPE_CHECKING:
    from alembic.config import Config

#: uuidv7(), MERGE and UPDATE ... RETURNING old/new need it (design D22).
MINIMUM_POSTGRES = 18

_LOCK = 0x50494D01  # any constant: the advisory lock of all migrators
_SCRIPTS = Path(str(files("pim_platform.storage") / "migrations"))


def migrate(settings: Settings) -> None:
    """Bring both engines to the newest version; make roles and databases where they are missing.

    Raises Misconfigured for a server older than PostgreSQL 18 or an administrator without the rights,
    EngineUnavailable where a server does not answer.
    """
    endpoints = Endpoints.of(settings)
    _ensure_database(endpoints.admin_url)
    with _admin(endpoints.admin_url) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _ensure_roles(admin, endpoints, settings)
        _upgrade_postgres(endpoints.admin_url)
        admin.execute(f"GRANT SELECT ON pim.migrations TO {APP_ROLE}")
        admin.execute("SELECT pim.ensure_month_partitions()")
        _upgrade_clickhouse(settings)


def is_current(settings: Settings) -> bool:
    """Whether both engines are at the newest version and the application role can log in: a quick look.

    Raises EngineUnavailable where ClickHouse does not answer.
    """
    newest = max(path.stem.partition("_")[0] for path in (_SCRIPTS / "postgres" / "versions").glob("[0-9]*.py"))
    endpoints = Endpoints.of(settings)
    try:
        with (
            psycopg.connect(endpoints.ddl_url, connect_timeout=10),
            psycopg.connect(endpoints.app_url, connect_timeout=10) as app,
        ):
            row = app.execute("SELECT version_num FROM pim.migrations").fetchone()
    except psycopg.Error:  # no role, no database, no table yet: the migrator finds out and says what is wrong
        return False
    if row is None or row[0] != newest:
        return False
    applied, known = clickhouse_versions(settings)
    return applied == known


def postgres_versions(settings: Settings) -> tuple[str | None, str | None]:
    """(version the database is at, newest version known); the first is None before the first migration."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    with _admin(Endpoints.of(settings).admin_url) as admin:
        if admin.execute("SELECT to_regclass('pim.migrations')").fetchone() == (None,):
            return None, head
        row = admin.execute("SELECT version_num FROM pim.migrations").fetchone()
    return (row[0] if row else None), head


def clickhouse_versions(settings: Settings) -> tuple[list[str], list[str]]:
    """(names applied, names known) of ClickHouse's migrations."""
    client = clickhouse_client(settings)
    tables = client.query("SELECT name FROM system.tables WHERE database = 'segmentation' AND name = 'migrations'")
    applied: list[str] = []
    if tables.result_rows:
        rows = client.query("SELECT name FROM segmentation.migrations ORDER BY name").result_rows
        applied = [str(row[0]) for row in rows]
    return applied, [path.stem for path in _clickhouse_files()]


@contextmanager
def _admin(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise EngineUnavailable(
            f"PostgreSQL does not answer at {without_password(url)}: {str(error).splitlines()[0]}",
            fix="Start it (`pim up`) or correct PIM_POSTGRES_URL.",
        ) from error
    with connection:
        if connection.info.server_version < MINIMUM_POSTGRES * 10_000:
            raise Misconfigured(
                f"PostgreSQL at {without_password(url)} is version {connection.info.server_version // 10_000}.",
                fix=f"Use version {MINIMUM_POSTGRES} or newer.",
            )
        yield connection


def _ensure_database(admin_url: str) -> None:
    """Make the application database by way of `postgres` where it does not exist yet."""
    name = database_of(admin_url)
    head, _, _ = admin_url.rpartition("/")
    try:
        psycopg.connect(admin_url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            return  # _admin tells what is wrong
        with _admin(f"{head}/postgres") as admin:
            admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _ensure_roles(admin: psycopg.Connection[tuple[Any, ...]], endpoints: Endpoints, settings: Settings) -> None:
    logins = {APP_ROLE: endpoints.app_url, DDL_ROLE: endpoints.ddl_url, DAGSTER_ROLE: endpoints.dagster_url}
    given = {
        APP_ROLE: settings.postgres_app_url,
        DDL_ROLE: settings.postgres_ddl_url,
        DAGSTER_ROLE: settings.dagster_postgres_url,
    }
    known = {str(row[0]) for row in admin.execute("SELECT rolname FROM pg_roles")}
    for role in (OWNER_ROLE, DEFINER_ROLE, APP_ROLE, DDL_ROLE, DAGSTER_ROLE):
        name = sql.Identifier(role)
        if role not in known:
            admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOBYPASSRLS").format(name))
        if role in logins and given[role] is None:
            # The ddl role makes each tenant's analyst role, hence CREATEROLE; it can touch only roles it made.
            more = sql.SQL("CREATEROLE") if role == DDL_ROLE else sql.SQL("NOCREATEROLE")
            admin.execute(
                sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(name, more, sql.Literal(password_of(logins[role])))
            )
    database = sql.Identifier(database_of(endpoints.admin_url))
    identifiers = {
        "database": database,
        "owner": sql.Identifier(OWNER_ROLE),
        "definer": sql.Identifier(DEFINER_ROLE),
        "app": sql.Identifier(APP_ROLE),
        "ddl": sql.Identifier(DDL_ROLE),
        "dagster": sql.Identifier(DAGSTER_ROLE),
    }
    for statement in (
        "GRANT {owner}, {dagster} TO CURRENT_USER",
        "GRANT {definer} TO {owner}",
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}",
        "GRANT CREATE ON DATABASE {database} TO {ddl}",
        # It lets the analysts that it makes connect: without the option its own grant to them does nothing.
        "GRANT CONNECT ON DATABASE {database} TO {ddl} WITH GRANT OPTION",
        "GRANT CREATE ON DATABASE {database} TO {owner}",
        "CREATE SCHEMA IF NOT EXISTS pim AUTHORIZATION {owner}",
        "CREATE SCHEMA IF NOT EXISTS models AUTHORIZATION {ddl}",
        "GRANT USAGE, CREATE ON SCHEMA pim TO {definer}",
    ):
        admin.execute(sql.SQL(statement).format(**identifiers))
    if (
        settings.dagster_postgres_url is None
        and not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DAGSTER_DATABASE,)).fetchone()
    ):
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {dagster}").format(sql.Identifier(DAGSTER_DATABASE), **identifiers)
        )


def _alembic() -> Config:
    from alembic.config import Config  # Alembic is slow to import, and rarely there is anything to migrate

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS / "postgres").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade_postgres(admin_url: str) -> None:
    from alembic import command

    engine = create_engine(admin_url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET ROLE {OWNER_ROLE}")
            connection.commit()
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()


def _clickhouse_files() -> list[Path]:
    return sorted((_SCRIPTS / "clickhouse").glob("*.sql"))


def _upgrade_clickhouse(settings: Settings) -> None:
    applied, _ = clickhouse_versions(settings)
    client = clickhouse_client(settings)
    client.command("CREATE DATABASE IF NOT EXISTS segmentation")
    client.command(
        "CREATE TABLE IF NOT EXISTS segmentation.migrations (name String, applied_at DateTime DEFAULT now()) "
        "ENGINE = MergeTree ORDER BY name"
    )
    for path in _clickhouse_files():
        if path.stem in applied:
            continue
        for statement in path.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                client.command(statement)
        # Every statement above can run twice, so a kill between it and this line does no harm.
        client.insert("segmentation.migrations", [[path.stem]], column_names=["name"])
