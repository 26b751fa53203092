"""No tenant sees or changes another's rows: by the catalogue's own word, and function by function."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import pim_platform.catalog
import pim_platform.intake
import pim_platform.syndication
import pim_platform.tenancy
from pim_platform.catalog import typed_relations
from pim_platform.errors import Forbidden
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import anonymous_session, engine_of, tenant_session
from pim_platform.tenancy import keys, logins
from pim_platform.tenancy.audit import Actor
from tests.support.isolation import catalog, intake, limits, products, syndication, tenancy  # noqa: F401  # their cases
from tests.support.isolation.pair import ABOVE_TENANTS, CASES, Two, make_side, shown

# --- the catalogue's own word ------------------------------------------------------------------------------------

OUR_SCHEMAS = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"

#: Every table that holds tenants' rows: (relation, tenant column, enabled, forced).
TENANT_TABLES = f"""
SELECT c.oid::regclass::text, CASE WHEN c.oid = 'pim.tenants'::regclass THEN 'id' ELSE 'tenant_id' END,
       c.relrowsecurity, c.relforcerowsecurity
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND {OUR_SCHEMAS}
  AND (c.oid = 'pim.tenants'::regclass OR EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
ORDER BY 1
"""


@pytest.fixture(scope="module")
def admin(workspace: Workspace) -> Iterator[psycopg.Connection[Any]]:
    """The server's administrator, who sees everything."""
    with psycopg.connect(
        Endpoints.of(workspace.settings).admin_url, autocommit=True, options="-c search_path=pg_catalog -c timezone=UTC"
    ) as connection:
        yield connection


def tenant_tables(admin: psycopg.Connection[Any]) -> list[tuple[str, str, bool, bool]]:
    found = admin.execute(TENANT_TABLES).fetchall()
    assert {"pim.tenants", "pim.products", "pim.import_jobs", "pim.api_keys", "pim.audit_logs"} <= {r[0] for r in found}
    return found


def test_every_tenant_table_has_row_level_security_enabled_and_forced(admin: psycopg.Connection[Any]) -> None:
    open_tables = [name for name, _, enabled, forced in tenant_tables(admin) if not (enabled and forced)]
    assert open_tables == []


def test_every_tenant_table_has_a_policy_that_binds_reads_and_writes_to_the_tenant(
    admin: psycopg.Connection[Any],
) -> None:
    for name, column, _, _ in tenant_tables(admin):
        policies = admin.execute(
            "SELECT polcmd::text, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), "
            "polroles::regrole[]::text[], polpermissive FROM pg_policy WHERE polrelid = %s::regclass",
            (name,),
        ).fetchall()
        # A policy for everybody ('-') and every command; both of its halves compare the tenant's column.
        own = re.compile(rf"\(*{column} = \( ?SELECT .*current_tenant.*", re.DOTALL)
        guards = [
            p for p in policies if p[0] == "*" and p[3] == ["-"] and own.match(p[1] or "") and own.match(p[2] or "")
        ]
        assert guards, f"{name} has no policy with USING and WITH CHECK for the tenant: {policies}"
        for _, using, check, roles, _ in [p for p in policies if p not in guards]:
            assert set(roles) <= {"pim_definer", "pim_ddl"}, f"{name}: another policy opens it to {roles}"
            assert (using, check) == ("true", None), f"{name}: {roles} may do more than read"


def test_users_are_guarded_too(admin: psycopg.Connection[Any]) -> None:
    row = admin.execute(
        "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'pim.users'::regclass"
    ).fetchone()
    assert row == (True, True)


def test_nobody_holds_a_grant_on_a_partition(admin: psycopg.Connection[Any]) -> None:
    found = admin.execute(
        f"""
        SELECT c.oid::regclass::text, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.relispartition AND c.relkind IN ('r', 'p') AND {OUR_SCHEMAS} AND a.grantee <> c.relowner
        UNION ALL
        SELECT c.oid::regclass::text, a.grantee::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute t ON t.attrelid = c.oid
        CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE c.relispartition AND {OUR_SCHEMAS}
        """
    ).fetchall()
    assert found == []
    partitions = admin.execute(
        f"SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relispartition AND c.relkind = 'r' AND {OUR_SCHEMAS}"
    ).fetchone()
    assert partitions is not None
    assert partitions[0] >= 16 + 2
    for role in ("pim_app", "pim_ddl"):
        reachable = admin.execute(
            f"""
            SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relispartition AND c.relkind = 'r' AND {OUR_SCHEMAS}
              AND has_table_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            """,
            (role,),
        ).fetchall()
        assert reachable == []


def test_the_application_role_is_nobody_special(workspace: Workspace, admin: psycopg.Connection[Any]) -> None:
    with anonymous_session(workspace.app) as session:
        role = session.execute(text("SELECT session_user, current_user")).one()
    assert role[0] == role[1]
    row = admin.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = %s",
        (role[0],),
    ).fetchone()
    assert row == (False, False, False, False, False)
    owned = admin.execute(
        "SELECT (SELECT count(*) FROM pg_class WHERE relowner = r.oid), "
        "(SELECT count(*) FROM pg_namespace WHERE nspowner = r.oid), "
        "(SELECT count(*) FROM pg_proc WHERE proowner = r.oid), "
        "(SELECT count(*) FROM pg_database WHERE datdba = r.oid) FROM pg_roles r WHERE rolname = %s",
        (role[0],),
    ).fetchone()
    assert owned == (0, 0, 0, 0)
    member_of = admin.execute(
        "SELECT other.rolname FROM pg_roles other WHERE other.rolname <> %s AND pg_has_role(%s, other.oid, 'MEMBER')",
        (role[0], role[0]),
    ).fetchall()
    assert member_of == []
    truncating = admin.execute(
        f"SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p') AND {OUR_SCHEMAS} AND has_table_privilege(%s, c.oid, 'TRUNCATE')",
        (role[0],),
    ).fetchall()
    assert truncating == [], "TRUNCATE knows no policies"


def test_the_ddl_role_only_reads_what_it_shows(admin: psycopg.Connection[Any]) -> None:
    row = admin.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'pim_ddl'").fetchone()
    assert row == (False, False)
    writable = admin.execute(
        f"SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p') AND n.nspname = 'pim' AND {OUR_SCHEMAS} "
        "AND has_table_privilege('pim_ddl', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
    ).fetchall()
    assert writable == []


def test_definer_functions_have_a_fixed_search_path_and_are_not_everybodys(admin: psycopg.Connection[Any]) -> None:
    rows = admin.execute(
        f"SELECT p.oid::regprocedure::text, p.proconfig::text, has_function_privilege('public', p.oid, 'EXECUTE') "
        f"FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef AND {OUR_SCHEMAS}"
    ).fetchall()
    assert rows
    assert [row for row in rows if row[2] or "search_path" not in (row[1] or "")] == []


# --- two tenants with the same SKUs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(workspace: Workspace) -> Two:
    return Two(workspace, make_side(workspace, "alpha", 1), make_side(workspace, "bravo", 9))


def fingerprint(admin: psycopg.Connection[Any], workspace: Workspace, tenant_id: UUID) -> dict[str, Any]:
    """Everything a tenant has, in both engines and in the object store."""
    found: dict[str, Any] = {}
    for name, column, _, _ in tenant_tables(admin):
        found[name] = admin.execute(
            f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t WHERE {column} = %s",
            (tenant_id,),
        ).fetchone()
    found["clickhouse"] = workspace.clickhouse.query(
        "SELECT count(), groupBitXor(cityHash64(*)) FROM segmentation.product_versions FINAL "
        "WHERE tenant_id = {t:String}",
        parameters={"t": str(tenant_id)},
    ).result_rows[0]
    found["objects"] = sorted((o.key, o.size) for o in workspace.objects.list(f"tenants/{tenant_id}/"))
    return found


#: A function that takes one of these reaches a tenant's rows.
_REACHES = {"session", "tenant_id", "tenant", "engine", "app", "workspace", "settings"}


def modules() -> Iterator[ModuleType]:
    """Every module of the domains, also one that is new."""
    for package in (pim_platform.catalog, pim_platform.intake, pim_platform.syndication, pim_platform.tenancy):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def public_functions() -> set[str]:
    found = set()
    for module in modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and _REACHES & set(inspect.signature(function).parameters):
                found.add(f"{module.__name__.removeprefix('pim_platform.')}.{name}")
    return found


def test_every_public_function_that_reaches_a_tenants_rows_has_a_case() -> None:
    missing = public_functions() - set(CASES) - set(ABOVE_TENANTS)
    assert missing == set(), "write a case for them in tests/support/isolation"
    assert (set(CASES) | set(ABOVE_TENANTS)) - public_functions() == set(), "cases of functions that are gone"


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_function_neither_shows_nor_touches_the_other_tenant(
    two: Two, admin: psycopg.Connection[Any], name: str
) -> None:
    before = fingerprint(admin, two.workspace, two.b.id)

    told = shown(CASES[name](two))

    hooks = (str(two.b.webhook), str(two.b.delivery))
    for secret in ("bravo", str(two.b.id), str(two.b.done), str(two.b.waiting), *hooks, *map(str, two.b.product_ids)):
        assert secret not in told, f"{name} tells {secret}"
    assert fingerprint(admin, two.workspace, two.b.id) == before


def test_a_key_and_a_login_belong_to_their_tenant_only(two: Two) -> None:
    app = two.workspace.app
    assert keys.authenticate(app, two.a.key).tenant_id == two.a.id
    assert keys.authenticate(app, two.b.key).tenant_id == two.b.id
    person = logins.check_login(app, two.a.user, "long enough", Actor("test"))
    assert person.caller(None).tenant_id == two.a.id
    with pytest.raises(Forbidden) as foreign:
        person.caller(two.b.tenant.slug)
    with pytest.raises(Forbidden) as unknown:
        person.caller("there-is-none")
    assert str(foreign.value) == str(unknown.value)


# --- the session's binding ---------------------------------------------------------------------------------------


def _visible(session: Session, admin: psycopg.Connection[Any]) -> dict[str, int]:
    counts = {}
    for name, _, _, _ in tenant_tables(admin):
        if session.scalar(text("SELECT has_table_privilege(current_user, :t, 'SELECT')"), {"t": name}):
            counts[name] = int(session.scalar(text(f"SELECT count(*) FROM {name}")) or 0)
    return counts


def test_a_session_bound_to_no_tenant_sees_no_row_of_any_table(two: Two, admin: psycopg.Connection[Any]) -> None:
    with anonymous_session(two.workspace.app) as session:
        counts = _visible(session, admin)
        assert session.scalar(text("SELECT count(*) FROM pim.users")) == 0
    assert len(counts) >= 13
    assert set(counts.values()) == {0}
    with two.session() as session:
        assert _visible(session, admin)["pim.products"] > 0, "a bound one sees its own"


def test_a_session_bound_to_a_tenant_sees_only_that_tenants_rows(two: Two, admin: psycopg.Connection[Any]) -> None:
    with two.session() as session:
        for name, column, _, _ in tenant_tables(admin):
            if session.scalar(text("SELECT has_table_privilege(current_user, :t, 'SELECT')"), {"t": name}):
                seen = set(session.scalars(text(f"SELECT DISTINCT {column} FROM {name}")))
                assert seen <= {two.a.id}, name


@pytest.fixture
def one_connection(two: Two) -> Iterator[Engine]:
    """The application's engine with a pool of its own, in which one connection goes round."""
    engine = engine_of(Endpoints.of(two.workspace.settings).app_url + "?application_name=one_connection")
    yield engine
    engine.dispose()


def _backend(session: Session) -> int:
    return int(session.scalar(text("SELECT pg_backend_pid()")) or 0)


def test_a_session_level_setting_does_not_survive_the_pool(two: Two, one_connection: Engine) -> None:
    with one_connection.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(text("SELECT set_config('app.current_tenant_id', :t, false)"), {"t": str(two.b.id)})
        connection.commit()
    with tenant_session(one_connection, two.a.id) as session:
        assert _backend(session) == pid, "the same connection came back"
        assert set(session.scalars(text("SELECT tenant_id FROM pim.products"))) == {two.a.id}
    with anonymous_session(one_connection) as session:
        assert _backend(session) == pid
        assert session.scalar(text("SELECT count(*) FROM pim.products")) == 0


def test_the_binding_ends_with_the_transaction(two: Two, one_connection: Engine) -> None:
    with tenant_session(one_connection, two.a.id) as session:
        pid = _backend(session)
        assert session.scalar(text("SELECT pim.current_tenant()")) == two.a.id
    with one_connection.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == pid
        assert connection.scalar(text("SELECT pim.current_tenant()")) is None
        assert connection.scalar(text("SELECT count(*) FROM pim.products")) == 0


INSERTS = {
    "pim.products": "INSERT INTO pim.products (tenant_id, sku, sku_key, name, source, commit_seq) "
    "VALUES (:t, 'Z', 'z', 'planted', 'api', 1)",
    "pim.sources": "INSERT INTO pim.sources (tenant_id, slug, name) VALUES (:t, 'planted', 'planted')",
    "pim.api_keys": "INSERT INTO pim.api_keys (tenant_id, name, prefix, key_hash, role) "
    "VALUES (:t, 'planted', 'p', decode(md5(random()::text), 'hex'), 'admin')",
    "pim.audit_logs": "INSERT INTO pim.audit_logs (tenant_id, actor, action, object_kind) VALUES (:t, 'x', 'x', 'x')",
    "pim.product_schemas": "INSERT INTO pim.product_schemas (tenant_id, version, fields, default_currency, "
    "default_locale, actor) VALUES (:t, 99, '[]', 'EUR', 'en-US', 'x')",
    "pim.webhooks": "INSERT INTO pim.webhooks (tenant_id, url, events, secret) "
    "VALUES (:t, 'https://planted.invalid/', ARRAY['product.created'], 'x')",
    "pim.uploads": "INSERT INTO pim.uploads (tenant_id, sha256, size_bytes, object_key) "
    "VALUES (:t, repeat('0', 64), 1, 'k')",
}


@pytest.mark.parametrize("table", sorted(INSERTS))
def test_a_row_of_another_tenant_cannot_be_written(two: Two, table: str) -> None:
    with pytest.raises(DBAPIError, match="row-level security"), two.session() as session:
        session.execute(text(INSERTS[table]), {"t": two.b.id})
    with tenant_session(two.workspace.app, two.b.id) as session:
        session.execute(text(INSERTS[table]), {"t": two.b.id})  # the same statement is good for bravo itself
        session.rollback()


def test_a_row_cannot_be_moved_to_another_tenant_nor_a_foreign_one_changed(two: Two) -> None:
    with pytest.raises(DBAPIError, match="row-level security"), two.session() as session:
        session.execute(text("UPDATE pim.sources SET tenant_id = :t"), {"t": two.b.id})
    with two.session() as session:
        changed = session.execute(text("UPDATE pim.products SET name = 'x' WHERE tenant_id = :t"), {"t": two.b.id})
        assert changed.rowcount == 0  # type: ignore[attr-defined]
        gone = session.execute(text("DELETE FROM pim.products WHERE tenant_id = :t"), {"t": two.b.id})
        assert gone.rowcount == 0  # type: ignore[attr-defined]


# --- analysts ----------------------------------------------------------------------------------------------------


def _analyst_url(settings: Settings, role: str, password: str) -> str:
    parts = Endpoints.of(settings).app_url.rpartition("@")
    return f"postgresql://{role}:{password}@{parts[2]}"


@pytest.fixture(scope="module")
def analyst(two: Two) -> Iterator[psycopg.Connection[Any]]:
    """Alpha's analyst, logged in over TCP with a password; bravo has one as well."""
    password = secrets.token_hex(16)
    typed_relations.allow_analyst(two.workspace.ddl, two.b.tenant, secrets.token_hex(16))
    role = typed_relations.allow_analyst(two.workspace.ddl, two.a.tenant, password)
    with psycopg.connect(_analyst_url(two.workspace.settings, role, password), autocommit=True) as connection:
        yield connection


def test_an_analyst_reads_the_typed_view_of_its_tenant(two: Two, analyst: psycopg.Connection[Any]) -> None:
    rows = analyst.execute(f"SELECT sku, name, tone, price, price_currency FROM {two.a.tenant.relation}.products")
    found = {row[0]: row[1:] for row in rows}
    assert {"X-1", "X-2"} <= set(found)
    assert found["X-2"][1] == "alpha blue"
    assert "bravo" not in repr(found)


def test_an_analyst_who_sets_another_tenants_id_sees_nothing_more(two: Two, analyst: psycopg.Connection[Any]) -> None:
    query = f"SELECT * FROM {two.a.tenant.relation}.products ORDER BY sku"
    before = analyst.execute(query).fetchall()
    analyst.execute("SELECT set_config('app.current_tenant_id', %s, false)", (str(two.b.id),))
    assert analyst.execute(query).fetchall() == before
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("SELECT * FROM pim.products")
    analyst.execute("RESET app.current_tenant_id")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM pim.products",
        "SELECT * FROM pim.tenants",
        "SELECT * FROM pim.import_jobs",
        "SELECT * FROM pim.products_p00",
        "SELECT * FROM {other}.products",
        "SELECT * FROM pim.tenant_directory()",
        "SELECT * FROM pim.jobs_due(interval '0')",
        "DELETE FROM {own}.products",
        "UPDATE {own}.products SET name = 'x'",
        "CREATE TABLE {own}.t (a int)",
        "CREATE TABLE pim.t (a int)",
        "CREATE SCHEMA mine",
        "CREATE TEMP TABLE t (a int)",
        "SET ROLE pim_ddl",
        "SET ROLE pim_app",
        "CREATE OR REPLACE VIEW {own}.products AS SELECT 1 AS a",
    ],
)
def test_an_analyst_may_do_nothing_else(two: Two, analyst: psycopg.Connection[Any], statement: str) -> None:
    filled = statement.format(own=two.a.tenant.relation, other=two.b.tenant.relation)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute(filled)


def test_a_leaking_function_in_an_analysts_condition_sees_only_its_tenants_rows(
    two: Two, analyst: psycopg.Connection[Any]
) -> None:
    # Were the view no security barrier, the cast below would meet bravo's names and tell one in its error.
    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught:
        analyst.execute(f"SELECT * FROM {two.a.tenant.relation}.products WHERE name::int > 0").fetchall()
    assert "alpha" in str(caught.value)
    options = analyst.execute(
        "SELECT reloptions FROM pg_class WHERE oid = %s::regclass", (f"{two.a.tenant.relation}.products",)
    ).fetchone()
    assert options is not None
    assert "security_barrier=true" in str(options[0])


def test_no_analyst_role_holds_a_grant_outside_its_typed_schema(two: Two, admin: psycopg.Connection[Any]) -> None:
    rows = admin.execute(
        f"""
        SELECT r.rolname, c.oid::regclass::text, a.privilege_type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a
        JOIN pg_roles r ON r.oid = a.grantee WHERE r.rolname LIKE 'pim\\_analyst\\_%' AND {OUR_SCHEMAS}
        """
    ).fetchall()
    assert {row[0] for row in rows} >= {typed_relations.analyst_role(side.tenant) for side in (two.a, two.b)}
    for role, relation, privilege in rows:
        schema = relation.strip('"').split(".")[0].strip('"')
        typed = schema == "tenant_" + role.removeprefix("pim_analyst_")
        assert privilege == "SELECT"
        assert typed or schema == "models", (role, relation)
    members = admin.execute(
        "SELECT r.rolname, o.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member "
        "JOIN pg_roles o ON o.oid = m.roleid WHERE r.rolname LIKE 'pim\\_analyst\\_%'"
    ).fetchall()
    assert members == []


# --- ClickHouse --------------------------------------------------------------------------------------------------


def test_the_typed_database_in_clickhouse_holds_one_tenants_rows_only(two: Two) -> None:
    for mine, other in ((two.a, two.b), (two.b, two.a)):
        rows = two.workspace.clickhouse.query(f"SELECT * FROM `{mine.tenant.relation}`.product_rows").result_rows
        assert rows
        assert mine.word in repr(rows)
        assert other.word not in repr(rows)


def test_every_statement_about_shared_tables_in_clickhouse_names_the_tenant() -> None:
    # chDB knows neither users nor row policies, so the predicate in the text is what separates tenants there.
    root = Path(importlib.import_module("pim_platform").__file__ or "").parent
    found = 0
    for path in [*root.glob("catalog/*.py"), *root.glob("intake/*.py"), *root.glob("api/*.py")]:
        joined = re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8")).replace("{{", "{").replace("}}", "}")
        for match in re.finditer(r"(FROM|TABLE)\s+segmentation\.\w+[^\"]*", joined):
            found += 1
            assert "tenant_id = {tenant:String}" in match[0], f"{path.name}: {match[0]}"
    assert found >= 3


def test_ids_of_the_pair_differ_although_their_skus_do_not(two: Two) -> None:
    assert not set(two.a.product_ids) & set(two.b.product_ids)
    assert all(uuid.UUID(str(one)).version == 7 for one in two.a.product_ids + two.b.product_ids)
