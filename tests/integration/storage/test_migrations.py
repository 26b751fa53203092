"""The migrations make what the models say, once, whoever runs them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, create_engine, text

import pim_platform
from pim_platform.errors import Misconfigured
from pim_platform.intake.workspace import Workspace
from pim_platform.storage import migrate as migrating
from pim_platform.storage.base import SCHEMA, Base
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.migrate import clickhouse_versions, migrate, postgres_versions


@pytest.fixture
def owner(workspace: Workspace) -> Iterator[Engine]:
    """An engine of the administrator."""
    url = Endpoints.of(workspace.settings).admin_url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url)
    yield engine
    engine.dispose()


def _import_models() -> None:
    for package in pkgutil.iter_modules(pim_platform.__path__, "pim_platform."):
        if package.ispkg and importlib.util.find_spec(f"{package.name}.models"):
            importlib.import_module(f"{package.name}.models")


def _partitions(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))


def test_the_migrated_database_is_what_the_models_say(workspace: Workspace, owner: Engine) -> None:
    _import_models()
    assert {"pim.tenants", "pim.products", "pim.import_jobs"} <= set(Base.metadata.tables)
    partitions = _partitions(owner)

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name == SCHEMA
        return not (kind == "table" and (name in partitions or name == "migrations"))

    with owner.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": ours,
                "compare_type": True,
                "compare_server_default": False,
                "version_table_schema": SCHEMA,
                "version_table": "migrations",
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_column_defaults_and_checks_are_what_the_models_say(owner: Engine) -> None:
    _import_models()
    with owner.connect() as connection:
        columns = {
            (row.table_name, row.column_name): row.column_default
            for row in connection.execute(text("SELECT * FROM information_schema.columns WHERE table_schema = 'pim'"))
        }
        checks = set(
            connection.scalars(
                text("SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'pim'::regnamespace")
            )
        )
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if column.identity is not None:
                continue  # which the catalogue does not call a default
            made = columns[table.name, column.name]
            assert (column.server_default is None) == (made is None), f"{table.name}.{column.name}: {made}"
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                assert str(constraint.name) in checks, f"{table.name}: {constraint.name}"


def _everything(workspace: Workspace, owner: Engine) -> dict[str, Any]:
    """What there is: relations, columns, functions, policies, roles and grants; ClickHouse's tables."""
    queries = {
        "relations": "SELECT relname, relkind::text, relowner, relacl::text, reloptions::text FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname IN ('pim', 'models') ORDER BY 1, 2",
        "columns": "SELECT * FROM information_schema.columns WHERE table_schema = 'pim' ORDER BY 2, 3, 4",
        "policies": "SELECT * FROM pg_policies ORDER BY 1, 2, 3",
        "functions": "SELECT proname, prosrc, proacl::text, proowner FROM pg_proc "
        "WHERE pronamespace = 'pim'::regnamespace ORDER BY 1",
        "roles": "SELECT rolname, rolsuper, rolcanlogin, rolcreaterole, rolbypassrls FROM pg_roles "
        "WHERE rolname LIKE 'pim\\_%' AND rolname NOT LIKE 'pim\\_analyst%' ORDER BY 1",
        "databases": "SELECT datname, datdba FROM pg_database ORDER BY 1",
        "versions": "SELECT * FROM pim.migrations",
    }
    with owner.connect() as connection:
        found: dict[str, Any] = {
            name: [tuple(row) for row in connection.execute(text(query))] for name, query in queries.items()
        }
    found["clickhouse"] = workspace.clickhouse.query(
        "SELECT database, name, create_table_query FROM system.tables WHERE database = 'segmentation' ORDER BY 1, 2"
    ).result_rows
    found["applied"] = workspace.clickhouse.query("SELECT name FROM segmentation.migrations ORDER BY 1").result_rows
    return found


def test_migrating_again_changes_nothing(workspace: Workspace, owner: Engine) -> None:
    before = _everything(workspace, owner)
    migrate(workspace.settings)
    assert _everything(workspace, owner) == before
    applied, newest = postgres_versions(workspace.settings)
    assert applied == newest
    done, known = clickhouse_versions(workspace.settings)
    assert done == known
    assert known


def test_two_migrators_at_once_both_succeed(workspace: Workspace, owner: Engine) -> None:
    before = _everything(workspace, owner)
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(migrate, workspace.settings) for _ in range(3)]:
            future.result()
    assert _everything(workspace, owner) == before


def test_two_migrators_at_once_make_a_new_database(workspace: Workspace) -> None:
    """Beside the session's own: the roles are there, the database is not."""
    admin_url = Endpoints.of(workspace.settings).admin_url
    settings = workspace.settings.model_copy(
        update={"postgres_url": migrating_url(admin_url, "second"), "clickhouse_url": None}
    )
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(migrate, settings) for _ in range(2)]:
            future.result()
    assert postgres_versions(settings)[0] is not None
    with psycopg.connect(migrating_url(admin_url, "second").get_secret_value()) as connection:
        row = connection.execute("SELECT count(*) FROM pim.tenants").fetchone()
    assert row == (0,)


def migrating_url(url: str, database: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(url.rpartition("/")[0] + f"/{database}")


def test_a_server_older_than_the_minimum_is_refused_before_anything_is_made(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrating.MINIMUM_POSTGRES == 18, "uuidv7() and RETURNING old/new need it"
    admin_url = Endpoints.of(workspace.settings).admin_url
    monkeypatch.setattr(migrating, "MINIMUM_POSTGRES", 19)
    settings = workspace.settings.model_copy(update={"postgres_url": migrating_url(admin_url, "too_old")})
    with pytest.raises(Misconfigured) as caught:
        migrate(settings)
    assert "is version 18" in caught.value.message
    assert "Use version 19 or newer" in caught.value.fix
    password = admin_url.split(":")[2].split("@")[0]
    assert password not in str(caught.value)
    with psycopg.connect(admin_url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_database WHERE datname = 'too_old'").fetchone()
    assert row == (0,)


def test_the_logs_have_partitions_for_this_month_and_the_next(workspace: Workspace, owner: Engine) -> None:
    with owner.connect() as connection:
        wanted = connection.scalars(
            text(
                "SELECT parent || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => m), '_YYYYMM')"
                " FROM unnest(ARRAY['product_changes', 'audit_logs']) parent, generate_series(0, 1) m"
            )
        ).all()
        assert set(wanted) <= _partitions(owner)
        stray = connection.scalar(text("SELECT count(*) FROM pim.audit_logs_other"))
    assert stray == 0, "rows fall into this month's partition"
