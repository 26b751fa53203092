"""The same code against a PostgreSQL over TCP with a password and an S3-compatible store, given by URL alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.products import find_product
from pim_platform.catalog.typed_relations import typed_rows
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.running import write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.local.home import Home
from pim_platform.local.postgres import EmbeddedPostgres
from pim_platform.storage.endpoints import ADMIN_ROLE, Endpoints, secret
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import create_tenant
from tests.integration.storage.s3 import s3_settings
from tests.support.imports import ACTOR, import_bytes
from tests.support.stacks import throwaway_settings


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """The administrator's URL of a PostgreSQL 18 that belongs to somebody else: another home, another port."""
    with throwaway_settings() as other:
        home = Home(other.home_path)
        server = EmbeddedPostgres(home, other.port)
        with home.starting_or_stopping():
            server.start()
        try:
            yield f"postgresql://{ADMIN_ROLE}:{secret(home.root, ADMIN_ROLE)}@127.0.0.1:{other.port}/catalogue"
        finally:
            with home.starting_or_stopping():
                server.stop()


@pytest.fixture(scope="module")
def elsewhere(postgres_url: str, s3_endpoint: str) -> Iterator[Workspace]:
    """A workspace whose home has neither a PostgreSQL nor objects."""
    with (
        throwaway_settings(postgres_url=SecretStr(postgres_url), **s3_settings(s3_endpoint)) as settings,
        engines(settings),
    ):
        workspace = Workspace(settings)
        yield workspace
        workspace.app.dispose()
        workspace.ddl.dispose()


def test_an_import_goes_through_from_landing_to_typed_relations(elsewhere: Workspace, tmp_path: Path) -> None:
    tenant = create_tenant(elsewhere.app, "far", currency="EUR", locale="de-DE", timezone="UTC", actor=ACTOR)
    content = b"SKU,Name,Price\n" + b"".join(b"S-%d,Product %d,%d.50\n" % (n, n, n) for n in range(1, 501))
    content += b",Nobody,1\nNEW,,1\n"

    job = import_bytes(elsewhere, tenant.id, content)

    assert job.state == "done"
    assert job.ledger() == {
        "read": 502, "created": 500, "updated": 0, "unchanged": 0, "rejected": 2, "superseded": 0, "merged": 0,
    }  # fmt: skip
    found = compare_engines(elsewhere.app, elsewhere.clickhouse, tenant.id)
    assert found.equal
    assert found.postgres_rows == 500 == typed_rows(elsewhere.clickhouse, tenant)
    path = tmp_path / "rejects.csv"
    assert write_rejects(elsewhere, job, path) == 2
    assert set(pl.read_csv(path)["error_code"]) == {"missing_sku", "name_missing"}
    with tenant_session(elsewhere.app, tenant.id) as session:
        product = find_product(session, "s-7")
    assert product is not None
    assert raw_row(elsewhere, product) == {"SKU": "S-7", "Name": "Product 7", "Price": "7.50"}

    again = import_bytes(elsewhere, tenant.id, content.replace(b"Product 9,", b"Product nine,"))
    assert (again.rows_updated, again.rows_unchanged) == (1, 499)
    assert compare_engines(elsewhere.app, elsewhere.clickhouse, tenant.id).equal


def test_everything_lies_where_the_urls_say(elsewhere: Workspace) -> None:
    endpoints = Endpoints.of(elsewhere.settings)
    assert not endpoints.postgres_embedded
    assert endpoints.clickhouse_embedded
    home = elsewhere.settings.home_path
    assert not (home / "pg").exists(), "no PostgreSQL was made in the home"
    assert [path for path in (home / "objects").rglob("*") if path.is_file()] == []
    tenant = create_tenant(elsewhere.app, "where", currency="EUR", locale="de-DE", timezone="UTC", actor=ACTOR)
    job = import_bytes(elsewhere, tenant.id, b"SKU,Name\nA,Alpha\n")
    keys = {entry.key for entry in elsewhere.objects.list(f"tenants/{tenant.id}/")}
    assert set(read_manifest(elsewhere, job).staged) <= keys
    assert any(key.endswith("/original") for key in keys)


def test_the_application_connects_as_its_own_role_with_its_own_password(elsewhere: Workspace) -> None:
    from sqlalchemy import text

    with elsewhere.app.connect() as connection:
        row = connection.execute(text("SELECT session_user, current_database(), inet_server_addr() IS NOT NULL")).one()
    assert tuple(row) == ("pim_app", "catalogue", True)
    import psycopg

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(Endpoints.of(elsewhere.settings).app_url.replace(":" + _password(elsewhere), ":wrong", 1))


def _password(workspace: Workspace) -> str:
    return secret(workspace.settings.home_path, "pim_app")
