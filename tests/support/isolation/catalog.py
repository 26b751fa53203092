"""Cases of ``pim_platform.catalog``."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from pim_platform.catalog import (
    absent,
    checksum,
    deleting,
    exporting,
    facets,
    history,
    matching,
    pages,
    parents,
    preview,
    products,
    publisher,
    relation,
    schemas,
    search,
    typed_relations,
    unchanged,
)
from pim_platform.catalog import diff as diffing
from pim_platform.catalog import lock as locks
from pim_platform.catalog import merge as merging
from pim_platform.catalog import undo as undoes
from pim_platform.catalog.diff import PLAN
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.identity import id_series
from pim_platform.catalog.incoming import Column, Incoming, load
from pim_platform.catalog.schema import SchemaField
from pim_platform.errors import NotFound, TenantBusy
from pim_platform.intake import jobs, manifests, staging
from pim_platform.storage.postgres import driver_connection, tenant_session
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Two, case


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


@case("catalog.exporting.open_export")
def _(two: Two) -> Any:
    found = []
    for form in ("csv", "jsonl"):
        request = exporting.ExportRequest(form)
        found.append(b"".join(exporting.open_export(two.workspace, two.a.tenant, request)).decode())
    with two.session() as session:
        schema = schemas.current_schema(session)
    for foreign in two.b.product_ids:
        wanted = Filter.from_json({"id": str(foreign)}, schema)
        request = exporting.ExportRequest("jsonl", wanted=wanted)
        assert list(exporting.open_export(two.workspace, two.a.tenant, request)) == []
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


@case("catalog.schemas.adopt_defaults")
def _(two: Two) -> Any:
    with two.session() as session:
        schemas.adopt_defaults(session, "SEK", "sv-SE", ACTOR)
        found = schemas.current_schema(session)
        assert (found.default_currency, found.default_locale) == ("SEK", "sv-SE")
        session.rollback()


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


@case("catalog.undo.kept_conflicts")
def _(two: Two) -> Any:
    with two.session() as session:
        assert not undoes.kept_conflicts(session, two.b.done).items
        return undoes.kept_conflicts(session, two.a.done)


def _every(two: Two) -> Filter:
    with two.session() as session:
        return Filter.from_query([], schemas.current_schema(session))


@case("catalog.relation.relation_of")
def _(two: Two) -> Any:
    found = relation.relation_of(two.workspace, two.a.id)
    assert found.database == two.a.tenant.relation
    return found


@case("catalog.relation.caught_up")
def _(two: Two) -> Any:
    return relation.caught_up(two.workspace, two.a.id)


@case("catalog.matching.matching")
def _(two: Two) -> Any:
    found = [batch.to_pylist() for batch in matching.matching(two.workspace, two.a.id, _every(two))]
    assert {row["sku_key"] for batch in found for row in batch} >= {"x-1", "x-2"}
    return found


@case("catalog.search.search")
def _(two: Two) -> Any:
    # What only bravo's products say is not even known as a word that alpha may have meant.
    assert search.search(two.workspace, two.a.id, lambda schema: Filter.from_query([], schema, q="bravo")).keys == []
    found = search.search(two.workspace, two.a.id, lambda schema: Filter.from_query([], schema, q="alpha"))
    assert set(found.keys) >= {"x-1", "x-2"}
    return found


@case("catalog.facets.facets")
def _(two: Two) -> Any:
    return facets.facets(
        two.workspace, two.a.id, lambda schema: Filter.from_query([], schema), ["tone", "price", "name"]
    )


@case("catalog.pages.key_page")
def _(two: Two) -> Any:
    page = pages.key_page(two.workspace.app, two.a.id, limit=1)
    return [page, pages.key_page(two.workspace.app, two.a.id, cursor=page.next_cursor)]


@case("catalog.pages.products_of")
def _(two: Two) -> Any:
    return pages.products_of(two.workspace.app, two.a.id, ["x-1", "x-2"])


@case("catalog.pages.product_of_sku")
def _(two: Two) -> Any:
    return pages.product_of_sku(two.workspace.app, two.a.id, "X-1")
