"""Cases of writing products: one by one, and many at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy.orm import Session

from pim_platform.catalog import choosing, editing, products, schemas, scores
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schema_changes import Step, plan_changes
from pim_platform.errors import NotFound
from pim_platform.intake import (
    bulk_jobs,
    cancelling,
    confirmations,
    converting,
    provenance,
    running,
    schema_changing,
    schema_effects,
    scoring,
    undoing,
    wanted,
    writing,
)
from pim_platform.storage.postgres import driver_connection, tenant_session
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Two, case, shown


def _made(two: Two) -> Any:
    document = {"sku": f"W-{uuid4()}", "name": "alpha written", "tone": "alpha"}
    return writing.create_product(two.workspace, two.a.id, document, actor=ACTOR).product


@case("intake.writing.create_product")
def _(two: Two) -> Any:
    return _made(two)


@case("intake.writing.replace_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.replace_product(two.workspace, two.a.id, foreign, {"name": "x"}, actor=ACTOR)
    return writing.replace_product(two.workspace, two.a.id, _made(two).id, {"name": "alpha"}, actor=ACTOR)


@case("intake.writing.patch_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.patch_product(two.workspace, two.a.id, foreign, {"name": "x"}, actor=ACTOR)
    return writing.patch_product(two.workspace, two.a.id, _made(two).id, {"tone": None}, actor=ACTOR)


@case("intake.writing.delete_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.delete_product(two.workspace, two.a.id, foreign, actor=ACTOR)
    return writing.delete_product(two.workspace, two.a.id, _made(two).id, actor=ACTOR)


@case("intake.provenance.provenance")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[0])
        session.expunge(product)
        # Both tenants' commits have the same numbers; the other tenant's job is not found.
        product.job_id = two.b.done
        return provenance.provenance(session, product)


# --- many at once --------------------------------------------------------------------------------------------------

ALL = {"all": True}
TONE = [{"op": "set", "field": "tone", "value": "alpha edited"}]


def _token(two: Two, tenant_id: UUID, kind: Literal["edit", "delete"]) -> str:
    if kind == "edit":
        return bulk_jobs.preview_edit(two.workspace, tenant_id, ALL, TONE, actor=ACTOR).confirmation.token
    return bulk_jobs.preview_delete(two.workspace, tenant_id, ALL, actor=ACTOR).confirmation.token


@case("catalog.choosing.choose")
def _(two: Two) -> Any:
    return _choose(two)[1]


@case("catalog.choosing.sample_of")
def _(two: Two) -> Any:
    return _choose(two)[0]


def _choose(two: Two) -> Any:
    with two.session() as session:
        connection = driver_connection(session)
        found = pa.record_batch({"id": pa.array([str(one) for one in (*two.a.product_ids, *two.b.product_ids)])})
        assert choosing.choose(connection, two.b.id, None).products == 0, "alpha's session sees nothing of bravo"
        connection.execute("DROP TABLE chosen")
        choice = choosing.choose(connection, two.a.id, None, [found])
        assert choice.products <= len(two.a.product_ids)
        assert choosing.sample_of(connection, two.b.id, 10) == []
        return choosing.sample_of(connection, two.a.id, 10), choice


@case("catalog.editing.edited")
def _(two: Two) -> Any:
    return _edited(two)


@case("catalog.editing.conflicts_of")
def _(two: Two) -> Any:
    return _edited(two)


def _edited(two: Two) -> Any:
    edit = editing.calculate("tone", "number", "*", Decimal(2))
    with two.session() as session:
        connection = driver_connection(session)
        choosing.choose(connection, two.a.id, None)
        assert editing.conflicts_of(connection, two.b.id, [edit]) == []
        query = editing.edited(two.b.id, [edit]).query
        assert query is not None
        assert connection.execute(query).fetchall() == []
        return editing.conflicts_of(connection, two.a.id, [edit])


@case("intake.wanted.wanted_of")
def _(two: Two) -> Any:
    with two.session() as session:
        schema = schemas.current_schema(session)
        for foreign in ({"job_id": two.b.done}, {"source": "bravo-only"}):
            with pytest.raises(NotFound):
                wanted.wanted_of(session, foreign, schema)
        return wanted.wanted_of(session, {"job_id": two.a.done}, schema)


@case("intake.wanted.choose_wanted")
def _(two: Two) -> Any:
    with two.session() as session:
        found = wanted.wanted_of(session, {"filter": {"sku": "X-1"}}, schemas.current_schema(session))
        return wanted.choose_wanted(two.workspace, session, found)


@case("intake.confirmations.ask_confirmation")
def _(two: Two) -> Any:
    with two.session() as session:
        return confirmations.ask_confirmation(session, "edit", {"alpha": 1}, "test")


@case("intake.confirmations.find_confirmation")
def _(two: Two) -> Any:
    foreign = _token(two, two.a.id, "delete")
    with tenant_session(two.workspace.app, two.b.id) as session, pytest.raises(NotFound):
        confirmations.find_confirmation(session, "delete", foreign)
    with two.session() as session:
        return confirmations.find_confirmation(session, "delete", foreign).request


@case("intake.bulk_jobs.preview_delete")
def _(two: Two) -> Any:
    found = bulk_jobs.preview_delete(two.workspace, two.a.id, ALL, actor=ACTOR)
    return found.sample, found.products


@case("intake.bulk_jobs.preview_edit")
def _(two: Two) -> Any:
    found = bulk_jobs.preview_edit(two.workspace, two.a.id, ALL, TONE, actor=ACTOR)
    return found.sample, found.changes, found.conflicts


@case("intake.bulk_jobs.confirm_bulk")
def _(two: Two) -> Any:
    token = _token(two, two.a.id, "delete")
    with pytest.raises(NotFound):
        bulk_jobs.confirm_bulk(two.workspace, two.b.id, "delete", token, actor=ACTOR)
    job = bulk_jobs.confirm_bulk(two.workspace, two.a.id, "delete", token, actor=ACTOR)
    return shown(cancelling.cancel_job(two.workspace, two.a.id, job.id, ACTOR))


@case("intake.bulk_jobs.run_bulk")
def _(two: Two) -> Any:
    return _run(two)


@case("intake.running.run_at_once")
def _(two: Two) -> Any:
    return _run(two)


@case("intake.lease.own_row")
def _(two: Two) -> Any:
    return _run(two)


def _run(two: Two) -> Any:
    job = bulk_jobs.confirm_bulk(two.workspace, two.a.id, "edit", _token(two, two.a.id, "edit"), actor=ACTOR)
    done = running.run_at_once(two.workspace, job)
    assert done.state == "done"
    return undoing.undo_job(two.workspace, two.a.id, done.id, actor=ACTOR, origin="api").counts


@case("catalog.scores.write_scores")
def _(two: Two) -> Any:
    with two.session() as session:
        foreign = [scores.Score(row, one, None, 5.0) for row, one in enumerate(two.b.product_ids)]
        found = scores.write_scores(session, foreign)
        assert found.unknown == [score.row for score in foreign]
        return found


@case("intake.scoring.score_products")
def _(two: Two) -> Any:
    given = [{"id": str(one), "score": 5} for one in two.b.product_ids] + [{"sku": "X-1", "score": 6}]
    found = scoring.score_products(two.workspace, two.a.id, given, actor=ACTOR)
    assert found.counts["rejected"] == len(two.b.product_ids)
    return found.counts


# --- the schema ----------------------------------------------------------------------------------------------------


@case("catalog.schemas.lock_schema")
def _(two: Two) -> Any:
    with two.session() as session, tenant_session(two.workspace.app, two.b.id) as other:
        schemas.lock_schema(session)
        schemas.lock_schema(other)  # bravo does not wait for alpha


@case("catalog.schemas.schema_versions")
def _(two: Two) -> Any:
    with two.session() as session:
        return [shown(one) for one in schemas.schema_versions(session)]


@case("catalog.schemas.find_schema_version")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        only = max(one.version for one in schemas.schema_versions(session))
    with two.session() as session:
        own = max(one.version for one in schemas.schema_versions(session))
        if only > own:
            with pytest.raises(NotFound):
                schemas.find_schema_version(session, only)
        return shown(schemas.find_schema_version(session, own))


def _new_field(two: Two) -> str:
    """A field of alpha's with a value."""
    name = f"alpha_{uuid4().hex[:8]}"
    changes = [{"op": "add", "field": {"name": name}}]
    schema_changing.change_schema(two.workspace, two.a.id, changes, actor=ACTOR)
    writing.patch_product(two.workspace, two.a.id, _made(two).id, {name: "alpha"}, actor=ACTOR)
    return name


@case("intake.schema_changing.change_schema")
def _(two: Two) -> Any:
    changes = [{"op": "remove", "name": _new_field(two)}]
    return schema_changing.change_schema(two.workspace, two.a.id, changes, actor=ACTOR).effects


@case("intake.schema_changing.confirm_schema_change")
def _(two: Two) -> Any:
    return _changed(two)


@case("intake.schema_changing.run_schema_change")
def _(two: Two) -> Any:
    return _changed(two)


@case("intake.schema_effects.effects_of")
def _(two: Two) -> Any:
    name = _new_field(two)
    with two.session() as session:
        after, steps = plan_changes(schemas.current_schema(session), [{"op": "remove", "name": name}])
        (effect,) = schema_effects.effects_of(session, after, steps)
        assert effect.breaks == 1
        return effect


@case("intake.converting.converted_values")
def _(two: Two) -> Any:
    name = _new_field(two)
    with two.session() as session:
        after, steps = _retyped(session, name)
        connection = driver_connection(session)
        own = pl.concat(converting.converted_values(connection, two.a.id, after, steps[0]))
        assert own.height == 1
        assert list(converting.converted_values(connection, two.b.id, after, steps[0])) == []
        return own.rows()


@case("intake.converting.edits_of")
def _(two: Two) -> Any:
    name = _new_field(two)
    with two.session() as session:
        after, steps = _retyped(session, name)
        connection = driver_connection(session)
        edits, _ = converting.edits_of(connection, two.b.id, after, steps)
        assert [edit.column.name for edit in edits] == [name]
        return connection.execute("SELECT sku_key, value FROM converted_0").fetchall()


def _retyped(session: Session, name: str) -> tuple[ProductSchema, list[Step]]:
    return plan_changes(schemas.current_schema(session), [{"op": "retype", "name": name, "type": "number"}])


def _changed(two: Two) -> Any:
    changes = [{"op": "remove", "name": _new_field(two)}]
    asked = schema_changing.change_schema(two.workspace, two.a.id, changes, actor=ACTOR).confirmation
    assert asked is not None
    with pytest.raises(NotFound):
        schema_changing.confirm_schema_change(two.workspace, two.b.id, asked.token, accept=True, actor=ACTOR)
    done = schema_changing.confirm_schema_change(two.workspace, two.a.id, asked.token, accept=True, actor=ACTOR)
    assert done.job is not None
    assert running.run_at_once(two.workspace, done.job).state == "done"
    return done.effects
