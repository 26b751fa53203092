"""No tenant sees or changes another's rows: by the catalogue's own word, and function by function."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import re
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import sql
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import pim_platform.catalog
import pim_platform.intake
import pim_platform.tenancy
from pim_platform.catalog import (
    absent,
    checksum,
    deleting,
    history,
    parents,
    preview,
    products,
    publisher,
    schemas,
    typed_relations,
    unchanged,
)
from pim_platform.catalog import diff as diffing
from pim_platform.catalog import lock as locks
from pim_platform.catalog import merge as merging
from pim_platform.catalog import undo as undoes
from pim_platform.catalog.diff import PLAN
from pim_platform.catalog.identity import id_series
from pim_platform.catalog.incoming import Column, Incoming, load
from pim_platform.catalog.schema import SchemaField
from pim_platform.errors import BadInput, Conflict, NotFound, TenantBusy
from pim_platform.intake import (
    assisting,
    bulk,
    cancelling,
    confirming,
    feedback,
    inbox,
    jobs,
    landing,
    lease,
    manifests,
    previews,
    promoting,
    proposing,
    publishing,
    raw_rows,
    removing,
    reworking,
    running,
    sources,
    staging,
    templates,
    undoing,
)
from pim_platform.intake.models import ImportJob, MappingAnswer, MappingFeedback, Source
from pim_platform.intake.proposal import Proposal, propose
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import anonymous_session, driver_connection, engine_of, tenant_session
from pim_platform.tenancy import audit, keys, tenants, usage, users
from pim_platform.tenancy.models import ApiUsage
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.claude import choosing, stand_in
from tests.support.imports import ACTOR, import_bytes, land_bytes, run_job

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

CONTENT = "SKU,Name,Colour,Price\nX-1,{0} one,{0} red,{1}.5\nX-2,{0} two,{0} blue,{1}.25\n"
CONFIRM = {
    "mapping": {"SKU": "sku", "Name": "name", "Colour": "tone", "Price": "price"},
    "fields": [{"name": "tone"}, {"name": "price", "type": "price"}],
}


@dataclass
class Side:
    """One tenant of the pair, and the ids of what it has."""

    tenant: TenantInfo
    word: str
    done: UUID
    waiting: UUID
    key: str
    user: str
    product_ids: list[UUID] = field(default_factory=list)

    @property
    def id(self) -> UUID:
        return self.tenant.id


@dataclass
class Two:
    """Alpha calls every function; bravo must neither be seen nor touched by it."""

    workspace: Workspace
    a: Side
    b: Side

    def session(self) -> Any:
        return tenant_session(self.workspace.app, self.a.id)

    def land(self, content: bytes | None = None) -> UUID:
        body = content or f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n".encode()
        return land_bytes(self.workspace, self.a.id, body)

    def proposed(self) -> UUID:
        job_id = self.land()
        proposing.propose_job(self.workspace, self.a.id, job_id)
        return job_id

    def confirmed(self) -> UUID:
        job_id = self.proposed()
        confirming.confirm_job(self.workspace, self.a.id, job_id, actor=ACTOR, mapping=CONFIRM["mapping"])  # type: ignore[arg-type]
        return job_id

    def done(self) -> ImportJob:
        with self.session() as session:
            return jobs.get_job(session, self.a.done)


def _spend_and_teach(workspace: Workspace, tenant_id: UUID) -> None:
    """Spend a tenant's budget of today, and teach it a header that nobody else has."""
    usage.reserve(workspace.app, tenant_id, Decimal(1), default_budget=1.0, endpoint="bravo")
    job_id = land_bytes(workspace, tenant_id, b"SKU,Name,only bravo's\nX-1,bravo one,bravo\n", source="bravo-only")
    proposing.propose_job(workspace, tenant_id, job_id)
    confirming.confirm_job(
        workspace,
        tenant_id,
        job_id,
        actor=ACTOR,
        mapping={"SKU": "sku", "Name": "name", "only bravo's": "bravo_field"},
        fields=[{"name": "bravo_field"}],
    )
    cancelling.cancel_job(workspace, tenant_id, job_id, ACTOR)


def _side(workspace: Workspace, word: str, price: int) -> Side:
    tenant = create_tenant(
        workspace.app, f"{word}{uuid4().hex[:10]}", currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    job = import_bytes(workspace, tenant.id, CONTENT.format(word, price).encode(), confirm=CONFIRM)
    waiting = land_bytes(workspace, tenant.id, CONTENT.format(f"{word} waiting", price).encode())
    proposing.propose_job(workspace, tenant.id, waiting)
    key = keys.create_key(workspace.app, tenant.id, role="admin", name=f"{word} key", actor=ACTOR)
    if word == "bravo":
        _spend_and_teach(workspace, tenant.id)
    user = f"{word}-{uuid4().hex[:8]}@example.com"
    users.create_user(
        workspace.app, tenant.id, email=user, name=word, password="long enough", role="editor", actor=ACTOR
    )
    side = Side(tenant, word, job.id, waiting, key, user)
    with tenant_session(workspace.app, tenant.id) as session:
        side.product_ids = [product.id for product in products.list_products(session).products]
    return side


@pytest.fixture(scope="module")
def two(workspace: Workspace) -> Two:
    return Two(workspace, _side(workspace, "alpha", 1), _side(workspace, "bravo", 9))


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


def shown(value: Any) -> str:
    """Everything a value would tell a reader."""
    if isinstance(value, ImportJob) or hasattr(value, "__table__"):
        return repr({column.name: getattr(value, column.key) for column in value.__table__.columns})
    if isinstance(value, dict):
        return repr({key: shown(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return repr([shown(entry) for entry in value])
    return repr(value)


Case = Callable[[Two], Any]
CASES: dict[str, Case] = {}
#: Functions that stand above tenants by design, and why that tells nobody anything about a tenant.
ABOVE_TENANTS = {
    "tenancy.tenants.create_tenant": "makes a tenant",
    "tenancy.tenants.list_tenants": "for operators and sensors; never behind a tenant's key",
    "tenancy.tenants.find_tenant": "the same, for one slug",
    "tenancy.keys.authenticate": "finds whose key this is; tested below",
    "tenancy.users.login": "finds whose login this is; tested below",
    "intake.collecting.collect": "the collector, for operators and a schedule; tested beside it",
    "intake.assisting.assist_without_server": "for a file without a tenant; has no database",
    "intake.mapping.claude.api_key": "reads a setting",
    "intake.mapping.claude.ask": "asks what it is given; has no database",
    "intake.mapping.claude.cost_of": "arithmetic",
    "intake.mapping.claude.worst_cost": "arithmetic",
    "tenancy.bootstrap.first_start": "makes the first tenant of an empty installation",
}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return add


@case("catalog.products.list_products")
def _(two: Two) -> Any:
    with two.session() as session:
        page = products.list_products(session, limit=1)
        rest = products.list_products(session, cursor=page.next_cursor)
        found = [products.as_json(product) for product in (*page.products, *rest.products)]
    assert {entry["sku"] for entry in found} >= {"X-1", "X-2"}
    return found


@case("catalog.products.get_product")
def _(two: Two) -> Any:
    with two.session() as session:
        for foreign in two.b.product_ids:
            with pytest.raises(NotFound):
                products.get_product(session, foreign)
        return products.as_json(products.get_product(session, two.a.product_ids[0]))


@case("catalog.products.relatives")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[0])
        session.expunge(product)
        # Both tenants may have a group of one name, and an id of the other tenant is no parent.
        product.parent_id, product.variant_group = two.b.product_ids[0], "g"
        found = products.relatives(session, product)
    assert (found.parent, list(found.variants)) == (None, [])
    return found


@case("catalog.parents.resolve_parents")
def _(two: Two) -> Any:
    with two.session() as session, TemporaryDirectory() as folder:
        valid, _ = staging.stage_records(
            [{"sku": "n-1", "name": "alpha", "parent_sku": "X-1"}], schemas.current_schema(session)
        )
        path = Path(folder) / "staged-00000.parquet"
        valid.write_parquet(path)
        incoming = Incoming.of([path], schemas.current_schema(session))
        connection = driver_connection(session)
        load(connection, incoming)
        # Even asked about bravo, a session bound to alpha does not find bravo's product of that SKU.
        found = parents.resolve_parents(connection, two.b.id, incoming, id_series())
        assert found.variants == 1
        return found


@case("catalog.parents.adopt_variants")
def _(two: Two) -> Any:
    with two.session() as session:
        connection = driver_connection(session)
        connection.execute(
            "CREATE TEMP TABLE plan ON COMMIT DROP AS "
            "SELECT 'create' AS action, 'parent' AS kind, 'g' AS variant_group, 'g' AS sku, 'x-1' AS sku_key"
        )
        made = {"kind": "text", "variant_group": "text"}
        columns = tuple(Column(name, name, kind, "column") for name, kind in made.items())
        author = {"seq": 10**9, "actor": "test", "job_id": None, "request_id": None, "source": "api"}
        linked = parents.adopt_variants(connection, two.b.id, Incoming((), columns), PLAN, author)
    assert linked == 0
    return linked


@case("catalog.products.find_product")
def _(two: Two) -> Any:
    with two.session() as session:
        found = products.find_product(session, "x-1")
        assert found is not None
        assert found.tenant_id == two.a.id
        return products.as_json(found)


@case("catalog.schemas.current_schema")
def _(two: Two) -> Any:
    with two.session() as session:
        return schemas.current_schema(session).model_dump()


@case("catalog.schemas.schema_version")
def _(two: Two) -> Any:
    with two.session() as session:
        return [schemas.schema_version(session, version).model_dump() for version in (0, 1)]


@case("catalog.schemas.save_schema")
def _(two: Two) -> Any:
    with two.session() as session:
        now = schemas.current_schema(session)
        return schemas.save_schema(session, now.with_fields([SchemaField(name="alpha_only")]), ACTOR).model_dump()


@case("catalog.publisher.publish")
def _(two: Two) -> Any:
    return publisher.publish(two.workspace.app, two.workspace.clickhouse, two.a.id, rebuild=True)


@case("catalog.checksum.compare_engines")
def _(two: Two) -> Any:
    found = checksum.compare_engines(two.workspace.app, two.workspace.clickhouse, two.a.id)
    assert found.equal
    with two.session() as session:
        assert found.postgres_rows == len(products.list_products(session).products)
    return found


@case("catalog.checksum.publish_and_compare")
def _(two: Two) -> Any:
    return checksum.publish_and_compare(two.workspace.app, two.workspace.clickhouse, two.a.id)


@case("catalog.merge.merge")
def _(two: Two) -> Any:
    with two.session() as session:
        manifest = manifests.read_manifest(two.workspace, two.done())
        with two.workspace.objects.local_copy(manifest.staged[0]) as path:
            assert pq.read_schema(path)
            incoming = Incoming.of([path], schemas.current_schema(session))
            return merging.merge(session, incoming, merging.Origin("csv", "test"))


@case("catalog.diff.diff")
def _(two: Two) -> Any:
    with two.session() as session, ExitStack() as stack:
        manifest = manifests.read_manifest(two.workspace, two.done())
        path = stack.enter_context(two.workspace.objects.local_copy(manifest.staged[0]))
        incoming = Incoming.of([path], schemas.current_schema(session))
        connection = driver_connection(session)
        load(connection, incoming)
        # Even asked about bravo, a session bound to alpha finds nothing of it: all rows would be new.
        found = diffing.diff(connection, two.b.id, None, incoming)
        assert (found.created, found.unchanged) == (2, 0)
        return found


@case("catalog.unchanged.find_unchanged")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session, ExitStack() as stack:
        job = jobs.get_job(session, two.b.done)
        manifest = manifests.read_manifest(two.workspace, job)
        path = stack.enter_context(two.workspace.objects.local_copy(manifest.staged[0]))
        asked = (two.b.id, job.source_id, [path])
        assert list(unchanged.find_unchanged(driver_connection(session), *asked)) == [2, 3]
        with two.session() as other:
            # With bravo's own file and ids in hand, alpha's session still finds nothing of bravo.
            assert len(unchanged.find_unchanged(driver_connection(other), *asked)) == 0
    return None


@case("catalog.lock.lock_catalogue")
def _(two: Two) -> Any:
    with two.session() as session:
        locks.lock_catalogue(driver_connection(session), two.a.id, wait_seconds=1)
        with tenant_session(two.workspace.app, two.b.id) as other:
            locks.lock_catalogue(driver_connection(other), two.b.id, wait_seconds=1)  # bravo does not wait for alpha
        with pytest.raises(TenantBusy), two.session() as second:
            locks.lock_catalogue(driver_connection(second), two.a.id, wait_seconds=0.05)


@case("catalog.lock.lock_publisher")
def _(two: Two) -> Any:
    with two.session() as session:
        locks.lock_publisher(driver_connection(session), two.a.id)
        with tenant_session(two.workspace.app, two.b.id) as other:
            locks.lock_publisher(driver_connection(other), two.b.id)


@case("catalog.lock.next_commit")
def _(two: Two) -> Any:
    with two.session() as session:
        with pytest.raises(AssertionError):
            locks.next_commit(driver_connection(session), two.b.id)
        return locks.next_commit(driver_connection(session), two.a.id)


@case("catalog.typed_relations.refresh_view")
def _(two: Two) -> Any:
    with two.session() as session:
        schema = schemas.current_schema(session)
    typed_relations.refresh_view(two.workspace.ddl, two.a.tenant, schema)


@case("catalog.typed_relations.refresh_typed_relations")
def _(two: Two) -> Any:
    w = two.workspace
    return typed_relations.refresh_typed_relations(w.app, w.ddl, w.clickhouse, two.a.tenant)


@case("catalog.typed_relations.allow_analyst")
def _(two: Two) -> Any:
    return typed_relations.allow_analyst(two.workspace.ddl, two.a.tenant, secrets.token_hex(8))


@case("catalog.typed_relations.analyst_role")
def _(two: Two) -> Any:
    assert typed_relations.analyst_role(two.a.tenant) != typed_relations.analyst_role(two.b.tenant)
    return typed_relations.analyst_role(two.a.tenant)


@case("catalog.typed_relations.typed_rows")
def _(two: Two) -> Any:
    with two.session() as session:
        count = len(products.list_products(session).products)
    assert typed_relations.typed_rows(two.workspace.clickhouse, two.a.tenant) == count
    rows = two.workspace.clickhouse.query(f"SELECT * FROM `{two.a.tenant.relation}`.products").result_rows
    assert rows
    return rows


@case("intake.jobs.get_job")
def _(two: Two) -> Any:
    with two.session() as session:
        for foreign in (two.b.done, two.b.waiting):
            with pytest.raises(NotFound):
                jobs.get_job(session, foreign)
        return jobs.get_job(session, two.a.done, lock=True)


@case("intake.jobs.list_jobs")
def _(two: Two) -> Any:
    with two.session() as session:
        found = jobs.list_jobs(session, limit=1000)
        assert two.a.done in {job.id for job in found}
        return found


@case("intake.jobs.job_json")
def _(two: Two) -> Any:
    with two.session() as session:
        return jobs.job_json(session, jobs.get_job(session, two.a.done))


@case("intake.landing.land")
def _(two: Two) -> Any:
    # Bravo's very bytes, under a key bravo might have used: a job and an upload of alpha's own all the same.
    body = CONTENT.format("bravo", 9).encode()
    landed = landing.land(
        two.workspace,
        two.a.id,
        io.BytesIO(body),
        filename="f.csv",
        source="test",
        origin="api",
        actor=ACTOR,
        idempotency_key=f"k-{uuid4()}",
    )
    assert (landed.new, landed.skipped) == (True, False)
    assert landed.job_id not in (two.b.done, two.b.waiting)
    cancelling.cancel_job(two.workspace, two.a.id, landed.job_id, ACTOR)
    # Bravo imported these bytes and skips what it has; alpha has not.
    fresh = landing.land(
        two.workspace,
        two.a.id,
        io.BytesIO(body),
        filename="f.csv",
        source="test",
        origin="api",
        actor=ACTOR,
        skip_unchanged=True,
        same_while_unfinished=False,
    )
    assert (fresh.new, fresh.skipped) == (True, False)
    cancelling.cancel_job(two.workspace, two.a.id, fresh.job_id, ACTOR)


@case("intake.landing.upload_key")
def _(two: Two) -> Any:
    assert str(two.a.id) in landing.upload_key(two.a.id, "0" * 64)


@case("intake.sources.ensure_source")
def _(two: Two) -> Any:
    with two.session() as session:
        found = sources.ensure_source(session, "test")
        assert found.tenant_id == two.a.id
        return found


@case("intake.proposing.propose_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.propose_job(two.workspace, two.a.id, two.b.waiting)
    return proposing.propose_job(two.workspace, two.a.id, two.land())


@case("intake.proposing.propose_again")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.propose_again(two.workspace, two.a.id, two.b.waiting, {"delimiter": ","})
    return proposing.propose_again(two.workspace, two.a.id, two.proposed(), {"delimiter": ","})


@case("intake.proposing.fail_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.fail_job(two.workspace, two.a.id, two.b.waiting, BadInput("no"))
    proposing.fail_job(two.workspace, two.a.id, two.proposed(), BadInput("no"))


@case("intake.confirming.confirm_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        confirming.confirm_job(two.workspace, two.a.id, two.b.waiting, actor=ACTOR)
    return confirming.confirm_job(two.workspace, two.a.id, two.proposed(), actor=ACTOR)


@case("intake.confirming.confirm_by_policy")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        confirming.confirm_by_policy(two.workspace, two.a.id, two.b.waiting)
    return confirming.confirm_by_policy(two.workspace, two.a.id, two.proposed())


@case("intake.cancelling.cancel_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        cancelling.cancel_job(two.workspace, two.a.id, two.b.waiting, ACTOR)
    return cancelling.cancel_job(two.workspace, two.a.id, two.proposed(), ACTOR)


@case("intake.lease.claim")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        lease.claim(two.workspace, two.a.id, two.b.waiting)
    return lease.claim(two.workspace, two.a.id, two.confirmed())


@case("intake.running.attempt")
def _(two: Two) -> Any:
    with pytest.raises(NotFound), running.attempt(two.workspace, two.a.id, two.b.waiting):
        pytest.fail("a foreign job was opened")
    return run_job(two.workspace, two.a.id, two.confirmed())


def _stage_by_stage(two: Two, last: str) -> Any:
    job_id = two.confirmed()
    lease.claim(two.workspace, two.a.id, job_id)
    with running.attempt(two.workspace, two.a.id, job_id) as (job, held):
        result: Any = running.stage_job(two.workspace, job, held)
        for step in ("merge_job", "publish_job", "finish_job"):
            if last == "stage_job":
                break
            result = getattr(running, step)(two.workspace, job, held)
            job = result if isinstance(result, ImportJob) else job
            if step == last:
                break
    return result


for _step in ("stage_job", "merge_job", "publish_job", "finish_job"):
    CASES[f"intake.running.{_step}"] = lambda two, step=_step: _stage_by_stage(two, step)


@case("intake.manifests.job_folder")
def _(two: Two) -> Any:
    assert str(two.a.id) in manifests.job_folder(two.a.id, two.a.done)


@case("intake.manifests.attempt_folder")
def _(two: Two) -> Any:
    assert str(two.a.id) in manifests.attempt_folder(two.a.id, two.a.done, 1)


@case("intake.manifests.read_manifest")
def _(two: Two) -> Any:
    return manifests.read_manifest(two.workspace, two.done())


@case("intake.manifests.write_manifest")
def _(two: Two) -> Any:
    job = two.done()
    manifests.write_manifest(two.workspace, job, manifests.read_manifest(two.workspace, job))


@case("intake.manifests.kept_by")
def _(two: Two) -> Any:
    return manifests.kept_by(two.workspace, two.done(), [1])


@case("intake.manifests.merged_attempts")
def _(two: Two) -> Any:
    found = manifests.merged_attempts(two.workspace, two.done())
    assert len(found) == 1
    return found


def _staged(two: Two) -> ImportJob:
    """A dry run of alpha's that waits with its preview."""
    content = f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n".encode()
    return import_bytes(two.workspace, two.a.id, content, dry_run=True, confirm={"mapping": CONFIRM["mapping"]})


@case("catalog.preview.write_preview")
def _(two: Two) -> Any:
    with two.session() as session, ExitStack() as stack:
        manifest = manifests.read_manifest(two.workspace, two.done())
        path = stack.enter_context(two.workspace.objects.local_copy(manifest.staged[0]))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        incoming = Incoming.of([path], schemas.current_schema(session))
        connection = driver_connection(session)
        load(connection, incoming)
        diffing.diff(connection, two.a.id, None, incoming)
        # Even where it is asked about bravo, it finds nothing of it to compare with.
        made = preview.write_preview(connection, two.b.id, incoming, folder)
        assert made.collision_count == 0
        return preview.read_lines(made.files).rows()


@case("intake.previews.store_preview")
def _(two: Two) -> Any:
    previews.store_preview(two.workspace, two.done(), preview.Preview("0", 0, [], 0, []), {"digest": "0"})


@case("intake.previews.preview_summary")
def _(two: Two) -> Any:
    return previews.preview_summary(two.workspace, _staged(two))


@case("intake.previews.preview_files")
def _(two: Two) -> Any:
    with previews.preview_files(two.workspace, _staged(two)) as files:
        return preview.read_lines(files).rows()


@case("intake.promoting.promote_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        promoting.promote_job(two.workspace, two.a.id, two.b.done, ACTOR)
    job = _staged(two)
    promoting.promote_job(two.workspace, two.a.id, job.id, ACTOR)
    return run_job(two.workspace, two.a.id, job.id)


@case("intake.promoting.adopt_staged")
def _(two: Two) -> Any:
    return promoting.adopt_staged(two.workspace, _staged(two))


@case("intake.promoting.why_moved")
def _(two: Two) -> Any:
    return promoting.why_moved(two.workspace, _staged(two), [])


def _with_a_reject(two: Two) -> ImportJob:
    content = f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n,alpha nobody,,\n".encode()
    return import_bytes(two.workspace, two.a.id, content, confirm={"mapping": CONFIRM["mapping"]})


@case("intake.reworking.rework_job")
def _(two: Two) -> Any:
    content = io.BytesIO(b"SKU,Name,Colour,Price,row\nX-3,alpha corrected,,,3\n")
    with pytest.raises(NotFound):
        reworking.rework_job(two.workspace, two.a.id, two.b.done, content, filename="a.csv", actor=ACTOR)
    job = _with_a_reject(two)
    reworking.rework_job(two.workspace, two.a.id, job.id, content, filename="a.csv", actor=ACTOR)
    done = run_job(two.workspace, two.a.id, job.id)
    assert done.rows_rejected == 0
    return done


@case("intake.reworking.still_rejected")
def _(two: Two) -> Any:
    with TemporaryDirectory() as folder:
        found = reworking.still_rejected(two.workspace, _with_a_reject(two), [], [], None, Path(folder))
    assert found.replaced == 1
    return found


@case("intake.reworking.known_groups")
def _(two: Two) -> Any:
    found = reworking.known_groups(two.workspace, _with_a_reject(two))
    assert found == []
    return found


@case("intake.landing.store_upload")
def _(two: Two) -> Any:
    with (
        landing.store_upload(two.workspace, two.a.id, io.BytesIO(b"alpha bytes")) as stored,
        two.session() as session,
    ):
        return stored.ensure(session)


@case("intake.running.write_rejects")
def _(two: Two) -> Any:
    content = b"SKU,Name,Colour,Price\n,alpha nobody,,\n"
    job = import_bytes(two.workspace, two.a.id, content, confirm={"mapping": CONFIRM["mapping"]})
    path = two.workspace.settings.home_path / f"rejects-{uuid4()}.csv"
    assert running.write_rejects(two.workspace, job, path) == 1
    return path.read_text()


@case("intake.manifests.forget_other_attempts")
def _(two: Two) -> Any:
    manifests.forget_other_attempts(two.workspace, two.done())


@case("intake.raw_rows.raw_row")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[1])
    found = raw_rows.raw_row(two.workspace, product)
    assert found is not None
    return found


@case("intake.raw_rows.merged_rows")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[1])
    found = raw_rows.merged_rows(two.workspace, product)
    assert found == []
    return found


@case("intake.bulk.bulk_upsert")
def _(two: Two) -> Any:
    given = [{"sku": "X-1", "name": "alpha bulk"}, {"sku": f"N-{uuid4()}", "name": "alpha new"}]
    result = bulk.bulk_upsert(two.workspace, two.a.id, given, actor=ACTOR)
    assert result.ledger["created"] == 1
    return result


# Both tenants' commits have the same numbers, and their products the same SKUs.

AUTHOR = deleting.Author("cli", "test")
ALL = deleting.Selection(everything=True)


@case("catalog.deleting.count_products")
def _(two: Two) -> Any:
    with two.session() as session:
        return deleting.count_products(session, ALL)


@case("catalog.deleting.delete_products")
def _(two: Two) -> Any:
    with two.session() as session:
        gone = deleting.delete_products(session, ALL, AUTHOR)
        assert gone.count >= 2
    with two.session() as session:
        assert gone.commit_seq is not None
        return undoes.undo_commits(session, [gone.commit_seq], AUTHOR)


@case("catalog.deleting.delete_rows")
def _(two: Two) -> Any:
    with two.session() as session:
        connection = driver_connection(session)
        seq = locks.next_commit(connection, two.a.id)
        condition = sql.SQL("p.sku_key = 'x-1'")
        assert deleting.delete_rows(connection, two.a.id, seq, condition, AUTHOR) == 1
    with two.session() as session:
        return undoes.undo_commits(session, [seq], AUTHOR)


@case("catalog.absent.find_absent")
def _(two: Two) -> Any:
    return _absent(two, write=False)


@case("catalog.absent.write_absent")
def _(two: Two) -> Any:
    return _absent(two, write=True)


def _absent(two: Two, *, write: bool) -> Any:
    with two.session() as session, ExitStack() as stack:
        connection = driver_connection(session)
        staged = manifests.read_manifest(two.workspace, two.done()).staged
        paths = tuple(stack.enter_context(two.workspace.objects.local_copy(key)) for key in staged)
        feed = absent.FullFeed("delete", paths, pl.Series("sku_key", ["x-2"]), None)
        found = absent.find_absent(connection, two.a.id, feed, ())
        assert found == absent.Absent(1, 2)
        if not write:
            return found
        seq = locks.next_commit(connection, two.a.id)
        assert absent.write_absent(connection, two.a.id, seq, feed, AUTHOR) == 1
    with two.session() as session:
        return undoes.undo_commits(session, [seq], AUTHOR)


@case("catalog.undo.preview_undo")
def _(two: Two) -> Any:
    with two.session() as session:
        return [undoes.preview_undo(session, [number]) for number in (1, 2)]


@case("catalog.undo.undo_commits")
def _(two: Two) -> Any:
    with two.session() as session:
        seq = deleting.delete_products(session, ALL, AUTHOR).commit_seq
        assert seq is not None
        done = undoes.undo_commits(session, [seq], AUTHOR)
        assert done.counts.recreated >= 2
        return done


@case("catalog.history.product_history")
def _(two: Two) -> Any:
    with two.session() as session:
        for foreign in two.b.product_ids:
            with pytest.raises(NotFound):
                history.product_history(session, foreign)
        return history.product_history(session, two.a.product_ids[0])


@case("catalog.history.import_changes")
def _(two: Two) -> Any:
    with two.session() as session:
        found = history.import_changes(session, [1], two.a.done)
        assert len(found.entries) >= 2
        return found


@case("intake.publishing.publish_now")
def _(two: Two) -> Any:
    return publishing.publish_now(two.workspace, two.a.id)


@case("intake.removing.delete_selection")
def _(two: Two) -> Any:
    return removing.delete_selection(
        two.workspace, two.a.id, deleting.Selection(skus=("nobody's",)), actor=ACTOR, origin="cli"
    )


@case("intake.removing.full_feed_of")
def _(two: Two) -> Any:
    with two.session() as session:
        manifest = manifests.read_manifest(two.workspace, two.done())
        with removing.full_feed_of(two.workspace, session, two.done(), manifest) as feed:
            return feed


@case("intake.removing.release_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        removing.release_job(two.workspace, two.a.id, two.b.waiting, ACTOR)
    with pytest.raises(Conflict):
        removing.release_job(two.workspace, two.a.id, two.a.waiting, ACTOR)


@case("intake.sources.find_source")
def _(two: Two) -> Any:
    with two.session() as session:
        return sources.find_source(session, "test")


@case("intake.sources.set_source")
def _(two: Two) -> Any:
    with two.session() as session:
        return sources.set_source(session, "alpha-only", full_feed=True, absent_rows="keep")


@case("intake.undoing.commits_of")
def _(two: Two) -> Any:
    with two.session() as session:
        return undoing.commits_of(session, jobs.get_job(session, two.a.done))


@case("catalog.undo.kept_conflicts")
def _(two: Two) -> Any:
    with two.session() as session:
        assert not undoes.kept_conflicts(session, two.b.done).items
        return undoes.kept_conflicts(session, two.a.done)


@case("intake.undoing.conflicts_of_undo")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.conflicts_of_undo(two.workspace, two.a.id, two.b.done)
    with pytest.raises(Conflict):
        undoing.conflicts_of_undo(two.workspace, two.a.id, two.a.done)


@case("intake.undoing.preview_undo_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.preview_undo_job(two.workspace, two.a.id, two.b.done)
    return undoing.preview_undo_job(two.workspace, two.a.id, two.a.done)


@case("intake.undoing.undo_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.undo_job(two.workspace, two.a.id, two.b.done, actor=ACTOR, origin="cli")
    gone = removing.delete_selection(two.workspace, two.a.id, ALL, actor=ACTOR, origin="cli")
    done = undoing.undo_job(two.workspace, two.a.id, gone.job.id, actor=ACTOR, origin="cli")
    assert done.counts.recreated == gone.deleted
    return done


def _open_proposal() -> Proposal:
    """A proposal with a column that nothing explains."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "open.csv"
        path.write_text("SKU,Name,zq7\nX-1,one,red\nX-2,two,blue\nX-3,three,red\n")
        return propose(path)


@case("intake.assisting.assist")
def _(two: Two) -> Any:
    with stand_in() as server:
        server.script = choosing({"zq7": {"field": "color"}})
        asking = Workspace(server.settings(two.workspace.settings))
        with two.session() as session:
            schema = schemas.current_schema(session)
        proposal = _open_proposal()
        for _ in range(2):
            found = assisting.assist(asking, two.a.id, two.a.waiting, proposal, schema, {})
        assert len(server.asked) == 1, "the second time alpha's own answer is taken"
        with two.session() as session:
            kept = list(session.scalars(select(MappingAnswer)))
            assert {row.tenant_id for row in kept} == {two.a.id}
        return found


@case("intake.feedback.remember_feedback")
def _(two: Two) -> Any:
    with two.session() as session:
        job = jobs.get_job(session, two.a.waiting)
        proposed = proposing.suggested_mapping(job)
        feedback.remember_feedback(session, job, proposed, proposed, actor="test", evidence="policy")
        session.flush()
        return [shown(row) for row in session.scalars(select(MappingFeedback))]


@case("intake.feedback.learned_columns")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        job = jobs.get_job(session, two.b.waiting)
        if not feedback.learned_columns(session, job, ["only bravo's"]):
            pytest.fail("bravo has taught it (see `two`)")
    with two.session() as session:
        found = feedback.learned_columns(session, jobs.get_job(session, two.a.waiting), ["only bravo's", "Colour"])
        assert set(found) == {"colour"}
        return found


@case("intake.feedback.mapping_accuracy")
def _(two: Two) -> Any:
    with two.session() as session:
        source = session.scalar(select(Source.id).where(Source.slug == "test"))
        found = feedback.mapping_accuracy(session, source)
        own = session.scalar(
            text("SELECT count(*) FROM pim.mapping_feedback WHERE tenant_id = :t AND evidence = 'person'"),
            {"t": two.a.id},
        )
        assert sum(one.columns for one in feedback.mapping_accuracy(session)) == own
        return found


@case("intake.templates.list_templates")
def _(two: Two) -> Any:
    with two.session() as session:
        found = templates.list_templates(session, "test")
        assert found
        return found


@case("intake.templates.delete_template")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        theirs = {one.fingerprint for one in templates.list_templates(session)}
    with two.session() as session:
        own = {one.fingerprint for one in templates.list_templates(session)}
        for fingerprint in theirs - own:
            with pytest.raises(NotFound):
                templates.delete_template(session, "test", fingerprint, actor=ACTOR)
        # The same header from a source of the same name: alpha's own goes, bravo's stays.
        templates.delete_template(session, "test", min(theirs & own), actor=ACTOR)
        session.rollback()


@case("tenancy.usage.reserve")
def _(two: Two) -> Any:
    asked = {"default_budget": 1.0, "endpoint": "/v1/messages"}
    # Bravo's budget is spent; that is no matter of alpha's.
    with tenant_session(two.workspace.app, two.b.id) as session:
        assert usage.daily_budget(session, 1.0).left == 0
    assert usage.reserve(two.workspace.app, two.b.id, Decimal("0.01"), **asked) is None  # type: ignore[arg-type]
    found = usage.reserve(two.workspace.app, two.a.id, Decimal("0.01"), **asked)  # type: ignore[arg-type]
    assert found is not None
    return found


@case("tenancy.usage.settle")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        row = session.scalars(select(ApiUsage)).first()
        assert row is not None
        theirs = usage.Reservation(row.id, row.created_at, Decimal(0))
    usage.settle(two.workspace.app, two.a.id, theirs, cost=Decimal(0), outcome="stolen")  # changes no row


@case("tenancy.usage.daily_budget")
def _(two: Two) -> Any:
    with two.session() as session:
        found = usage.daily_budget(session, 1.0)
        assert found.spent < Decimal("0.5")
        return found


@case("tenancy.usage.daily_costs")
def _(two: Two) -> Any:
    with two.session() as session:
        everyones = session.execute(text("SELECT DISTINCT tenant_id FROM pim.v_api_daily_costs")).scalars()
        assert set(everyones) <= {two.a.id}, "the view shows what its reader may see"
        return usage.daily_costs(session, date(2020, 1, 1))


@case("tenancy.usage.set_daily_budget")
def _(two: Two) -> Any:
    usage.set_daily_budget(two.workspace.app, two.a.id, Decimal("0.5"), actor=ACTOR)
    usage.set_daily_budget(two.workspace.app, two.a.id, None, actor=ACTOR)


@case("intake.inbox.take")
def _(two: Two) -> Any:
    key = f"inbox/{two.a.tenant.slug}/s/{uuid4()}.csv"
    two.workspace.objects.put_bytes(key, b"SKU,Name\nX-1,alpha dropped\n")
    return inbox.take(two.workspace, inbox.Dropped(key, str(uuid4()), two.a.tenant.slug, "s", "a.csv"))


@case("tenancy.audit.record")
def _(two: Two) -> Any:
    with two.session() as session:
        audit.record(session, ACTOR, "test.recorded", "test", None)
        session.flush()
        return [shown(row) for row in session.query(audit.AuditLog).all()]


@case("tenancy.keys.create_key")
def _(two: Two) -> Any:
    key = keys.create_key(two.workspace.app, two.a.id, role="viewer", name="n", actor=ACTOR)
    assert keys.authenticate(two.workspace.app, key).tenant_id == two.a.id


@case("tenancy.users.create_user")
def _(two: Two) -> Any:
    email = f"{uuid4().hex}@example.com"
    users.create_user(
        two.workspace.app, two.a.id, email=email, name="n", password="long enough", role="viewer", actor=ACTOR
    )
    assert users.login(two.workspace.app, email, "long enough").tenant_id == two.a.id
    with two.session() as session:
        return [shown(row) for row in session.query(users.User).all()]


@case("tenancy.tenants.get_tenant")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        tenants.get_tenant(two.workspace.app, uuid4())
    return tenants.get_tenant(two.workspace.app, two.a.id)


@case("tenancy.tenants.set_confirm_policy")
def _(two: Two) -> Any:
    tenants.set_confirm_policy(two.workspace.app, two.a.id, "all_sure", actor=ACTOR)
    tenants.set_confirm_policy(two.workspace.app, two.a.id, "never", actor=ACTOR)


#: A function that takes one of these reaches a tenant's rows.
_REACHES = {"session", "tenant_id", "tenant", "engine", "app", "workspace", "settings"}


def modules() -> Iterator[ModuleType]:
    """Every module of the domains, also one that is new."""
    for package in (pim_platform.catalog, pim_platform.intake, pim_platform.tenancy):
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
    assert public_functions() - set(CASES) - set(ABOVE_TENANTS) == set(), "write a case for them"
    assert (set(CASES) | set(ABOVE_TENANTS)) - public_functions() == set(), "cases of functions that are gone"


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_function_neither_shows_nor_touches_the_other_tenant(
    two: Two, admin: psycopg.Connection[Any], name: str
) -> None:
    before = fingerprint(admin, two.workspace, two.b.id)

    told = shown(CASES[name](two))

    for secret in ("bravo", str(two.b.id), str(two.b.done), str(two.b.waiting), *map(str, two.b.product_ids)):
        assert secret not in told, f"{name} tells {secret}"
    assert fingerprint(admin, two.workspace, two.b.id) == before


def test_a_key_and_a_login_belong_to_their_tenant_only(two: Two) -> None:
    app = two.workspace.app
    assert keys.authenticate(app, two.a.key).tenant_id == two.a.id
    assert keys.authenticate(app, two.b.key).tenant_id == two.b.id
    assert users.login(app, two.a.user, "long enough").tenant_id == two.a.id
    with pytest.raises(Exception, match="wrong"):
        users.login(app, two.a.user, "long enough", tenant_slug=two.b.tenant.slug)


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
        joined = re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8"))
        for match in re.finditer(r"(FROM|TABLE)\s+segmentation\.\w+[^\"]*", joined):
            found += 1
            assert "tenant_id = {tenant:String}" in match[0], f"{path.name}: {match[0]}"
    assert found >= 3


def test_ids_of_the_pair_differ_although_their_skus_do_not(two: Two) -> None:
    assert not set(two.a.product_ids) & set(two.b.product_ids)
    assert all(uuid.UUID(str(one)).version == 7 for one in two.a.product_ids + two.b.product_ids)
