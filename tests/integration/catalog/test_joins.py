"""Joins of many rows with a catalogue that the planner's statistics do not know yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.deleting import Author, Selection, delete_products
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.publisher import publish
from pim_platform.catalog.schemas import current_schema, parse_fields, save_schema
from pim_platform.catalog.undo import undo_commits
from pim_platform.intake.staging import stage_records
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import create_tenant
from tests.support.imports import ACTOR

ROWS = 3_000
READ_WHOLE = tuple(f"righttree {{{node}" for node in ("SEQSCAN", "MATERIAL", "SORT", "HASHJOIN", "TIDRANGESCAN"))
AUTHOR = Author("api", "tester")


def write(workspace: Workspace, tenant_id: UUID, folder: Path, colour: str) -> int:
    """One import of ROWS products; returns its commit."""
    with tenant_session(workspace.app, tenant_id) as session:
        schema = current_schema(session)
        records = [{"sku": f"S-{n:05}", "name": f"Product {n}", "colour": colour} for n in range(ROWS)]
        staged, _ = stage_records(records, schema)
        path = folder / f"{uuid4()}.parquet"
        staged.write_parquet(path)
        done = merge(session, Incoming.of([path], schema), Origin("api", "tester"))
        assert done.commit_seq is not None
        return done.commit_seq


def new_tenant(workspace: Workspace) -> UUID:
    made = create_tenant(
        workspace.app, "t" + uuid4().hex[:12], currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    return made.id


@pytest.fixture
def newcomer(workspace: Workspace, tmp_path: Path) -> UUID:
    """A tenant that shares its partition with one that alone is in the statistics."""
    old = new_tenant(workspace)
    with psycopg.connect(Endpoints.of(workspace.settings).admin_url, autocommit=True) as admin:

        def partition(tenant_id: UUID) -> int:
            query = (
                "SELECT r FROM generate_series(0, 15) r "
                "WHERE satisfies_hash_partition('pim.products'::regclass, 16, r, %s)"
            )
            row = admin.execute(query, (tenant_id,)).fetchone()
            assert row is not None
            return int(row[0])

        wanted = partition(old)
        with tenant_session(workspace.app, old) as session:
            save_schema(session, current_schema(session).with_fields(parse_fields([{"name": "colour"}])), ACTOR)
        write(workspace, old, tmp_path, "red")
        admin.execute("ANALYZE pim.products")
        new = next(made for made in iter(lambda: new_tenant(workspace), None) if partition(made) == wanted)
    with tenant_session(workspace.app, new) as session:
        save_schema(session, current_schema(session).with_fields(parse_fields([{"name": "colour"}])), ACTOR)
    write(workspace, new, tmp_path, "red")
    return new


@contextmanager
def plans_of(connection: psycopg.Connection[object]) -> Iterator[list[str]]:
    """The plan trees of the statements in the block, as the server prints them."""
    plans: list[str] = []

    def note(told: psycopg.errors.Diagnostic) -> None:
        if told.message_primary == "plan:":
            plans.append(told.message_detail or "")

    connection.add_notice_handler(note)
    connection.execute("SET LOCAL client_min_messages = log")
    connection.execute("SET LOCAL debug_pretty_print = off")
    connection.execute("SET LOCAL debug_print_plan = on")
    yield plans
    connection.execute("SET LOCAL debug_print_plan = off")
    connection.remove_notice_handler(note)


def quadratic(plans: list[str]) -> list[str]:
    """Joins that read all of one side again for each row of the other."""
    found = []
    for plan in plans:
        path: list[str] = []
        for opened, closed in re.findall(r"((?:righttree )?\{[A-Z]+)|(\})", plan):
            if closed:
                path.pop()
                continue
            if opened in READ_WHOLE and path[-1].endswith("{NESTLOOP"):
                found.append(plan)
            path.append(opened)
    return found


def test_no_import_undo_or_delete_loops_over_a_catalogue_that_has_no_statistics_yet(
    workspace: Workspace, newcomer: UUID, tmp_path: Path
) -> None:
    with tenant_session(workspace.app, newcomer) as session:
        schema = current_schema(session)
        records = [{"sku": f"S-{n:05}", "name": f"Product {n}", "colour": "blue"} for n in range(ROWS)]
        staged, _ = stage_records(records, schema)
        staged.write_parquet(tmp_path / "blue.parquet")
        with plans_of(driver_connection(session)) as seen:
            done = merge(session, Incoming.of([tmp_path / "blue.parquet"], schema), Origin("api", "tester"))
        assert any("{HASHJOIN" in plan or "{MERGEJOIN" in plan for plan in seen)
        assert quadratic(seen) == []
        assert done.counts.updated == ROWS
    assert done.commit_seq is not None
    with tenant_session(workspace.app, newcomer) as session, plans_of(driver_connection(session)) as seen:
        assert undo_commits(session, [done.commit_seq], AUTHOR).counts.restored == ROWS
    assert seen
    assert quadratic(seen) == []
    with tenant_session(workspace.app, newcomer) as session, plans_of(driver_connection(session)) as seen:
        assert delete_products(session, Selection(skus=[f"S-{n:05}" for n in range(1, ROWS)]), AUTHOR).count == ROWS - 1
    assert seen
    assert quadratic(seen) == []
    publish(workspace.app, workspace.clickhouse, newcomer)
    found = compare_engines(workspace.app, workspace.clickhouse, newcomer)
    assert found.equal
    assert found.postgres_rows == 1
