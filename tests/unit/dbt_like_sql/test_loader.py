"""A model's header is read strictly, and its statements rebuild one table atomically."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_like_sql.loader import Model, load_model, load_models
from pim_platform.errors import Misconfigured

GOOD = """-- name: stock
-- description: Products in stock, by tenant's source.
-- engine: postgres
-- cadence: hourly
-- depends on: pim.products, pim.sources
-- key: tenant_id, source
-- columns:
--   tenant_id uuid: the tenant
--   source text: slug of the source
--   as_of timestamp with time zone: when it was counted: now

SELECT tenant_id, source, now() AS as_of FROM pim.products;
"""


def write(folder: Path, text: str, *, engine: str = "postgres", name: str = "stock") -> Path:
    path = folder / engine / f"{name}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_own_models_load() -> None:
    models = load_models()
    assert [(model.engine, model.name) for model in models] == [
        ("clickhouse", "catalogue_growth"),
        ("clickhouse", "completeness_by_field"),
        ("postgres", "mapping_accuracy"),
        ("postgres", "reject_reasons"),
    ]
    assert {model.cadence for model in models} == {"hourly"}


def test_a_header_becomes_a_model(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, GOOD))
    assert (model.name, model.engine, model.cadence, model.table) == ("stock", "postgres", "hourly", "models.stock")
    assert model.depends_on == ("pim.products", "pim.sources")
    assert model.key == ("tenant_id", "source")
    assert [(column.name, column.type) for column in model.columns] == [
        ("tenant_id", "uuid"),
        ("source", "text"),
        ("as_of", "timestamp with time zone"),
    ]
    assert model.columns[-1].description == "when it was counted: now"
    assert model.sql == "SELECT tenant_id, source, now() AS as_of FROM pim.products"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("-- cadence: hourly\n", "", 1, "no `cadence`"),
        ("-- name: stock", "-- name: stocks", 1, "not the file's"),
        ("Products in stock, by tenant's source.", "", 2, "description is empty"),
        ("-- engine: postgres", "-- engine: oracle", 3, "'oracle' is unknown"),
        ("-- engine: postgres", "-- engine: clickhouse", 3, "not the folder's"),
        ("-- cadence: hourly", "-- cadence: weekly", 4, "'weekly' is unknown"),
        ("-- cadence: hourly", "-- cadance: hourly", 4, "no header line"),
        ("-- cadence: hourly", "-- name: stock", 4, "stands twice"),
        ("pim.products, pim.sources", "products", 5, "'products' is no relation"),
        ("pim.products, pim.sources", "", 5, "depends on nothing"),
        ("-- key: tenant_id, source", "-- key: source", 6, "does not begin with tenant_id"),
        ("-- key: tenant_id, source", "-- key: tenant_id, day", 6, "'day' is not among"),
        ("--   tenant_id uuid: the tenant", "--   tenant_id text: the tenant", 7, "without their tenant"),
        ("--   source text: slug of the source", "--   source: slug", 9, "is no column"),
        ("--   source text: slug of the source", "--   tenant_id uuid: again", 9, "stands twice"),
        ("SELECT tenant_id, source", "DELETE FROM x", 11, "not followed by a SELECT"),
        ("pim.products;", "pim.products;\nSELECT 1", 12, "one statement"),
    ],
)
def test_a_fault_is_named_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(Misconfigured, match=message) as caught:
        load_models(tmp_path)
    assert caught.value.code == "invalid_model"
    assert caught.value.place == {"file": str(path), "row": line}
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert caught.value.fix


def test_a_file_without_header_or_without_anything_is_refused(tmp_path: Path) -> None:
    for text in ("", "SELECT 1"):
        with pytest.raises(Misconfigured, match="no `name`"):
            load_model(write(tmp_path, text))


def test_models_may_depend_on_models_of_their_engine_only(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    other = GOOD.replace("pim.products, pim.sources", "models.stock").replace("name: stock", "name: later")
    write(tmp_path, other, name="later")
    assert [model.name for model in load_models(tmp_path)] == ["later", "stock"]
    write(tmp_path, other.replace("models.stock", "models.nothing"), name="later")
    with pytest.raises(Misconfigured, match=r"models\.nothing, which is no other postgres model"):
        load_models(tmp_path)


def by_name(name: str) -> Model:
    return next(model for model in load_models() if model.name == name)


def test_clickhouse_replaces_the_table_in_one_statement() -> None:
    (statement,) = by_name("catalogue_growth").materialisation()
    assert statement.startswith("CREATE OR REPLACE TABLE models.catalogue_growth\n")
    assert 'ORDER BY ("tenant_id", "day")' in statement
    assert 'AS SELECT "tenant_id", "day", "created", "products" FROM\n(' in statement


def test_postgres_locks_prepares_empties_and_fills() -> None:
    lock, prepare, usage, select, delete, insert = by_name("reject_reasons").materialisation(["analyst"])
    assert "pg_advisory_xact_lock" in lock
    assert "FORCE ROW LEVEL SECURITY" in prepare
    assert "WITH CHECK (tenant_id =" in prepare
    assert usage == 'GRANT USAGE ON SCHEMA models TO "analyst"'
    assert select == 'GRANT SELECT ON models.reject_reasons TO "analyst"'
    assert delete == "DELETE FROM models.reject_reasons"
    assert insert.startswith('INSERT INTO models.reject_reasons ("tenant_id", "source", "day"')
    assert len(by_name("reject_reasons").materialisation()) == 4


def test_text_of_headers_cannot_leave_its_literal(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, GOOD.replace("stock, by", "stock\\', by")))
    assert "'Products in stock/'', by tenant''s source." in model.materialisation()[1]
