"""SQL models as assets: what they are called, what they wait for, what they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import dagster as dg

from assets.models import build_model_assets, build_model_schedules
from dbt_like_sql.loader import load_models

MODELS = load_models()


class Postgres:
    def __init__(self) -> None:
        self.ran: list[str] = []

    def execute(self, statement: bytes) -> SimpleNamespace:
        self.ran.append(statement.decode())
        return SimpleNamespace(rowcount=3)

    def transaction(self) -> nullcontext[None]:
        self.ran.append("BEGIN")
        return nullcontext()

    @contextmanager
    def models_connection(self) -> Iterator[Postgres]:
        yield self


class ClickHouse:
    def __init__(self) -> None:
        self.ran: list[str] = []

    def client(self) -> ClickHouse:
        return self

    def command(self, statement: str) -> Any:
        self.ran.append(statement)
        return 7


def test_keys_groups_and_lineage() -> None:
    filled_by = dg.AssetKey(["segmentation", "products"])
    assets = build_model_assets(MODELS, upstream={"segmentation.products": filled_by})
    assert [asset.key.to_user_string() for asset in assets] == [
        "clickhouse/models/catalogue_growth",
        "clickhouse/models/completeness_by_field",
        "postgres/models/mapping_accuracy",
        "postgres/models/reject_reasons",
    ]
    assert [set(asset.asset_deps[asset.key]) for asset in assets] == [set(), {filled_by}, set(), set()]
    assert all(asset.partitions_def is None for asset in assets)


def test_one_schedule_rebuilds_them_each_hour() -> None:
    (schedule,) = build_model_schedules(MODELS)
    assert (schedule.name, schedule.cron_schedule) == ("models_hourly_schedule", "7 * * * *")
    definitions = dg.Definitions(
        assets=build_model_assets(MODELS),
        schedules=[schedule],
        resources={
            "postgres": dg.ResourceDefinition.none_resource(),
            "clickhouse": dg.ResourceDefinition.none_resource(),
        },
    )
    job = definitions.resolve_job_def("models_hourly")
    assert len(job.asset_layer.executable_asset_keys) == len(MODELS)


def test_each_engine_runs_its_statements() -> None:
    postgres, clickhouse = Postgres(), ClickHouse()
    result = dg.materialize(
        build_model_assets(MODELS, readers=["pim_app"]), resources={"postgres": postgres, "clickhouse": clickhouse}
    )
    assert result.success
    assert postgres.ran[0] == "BEGIN"
    assert postgres.ran[-1].startswith("INSERT INTO models.reject_reasons")
    assert sum(statement.startswith("CREATE OR REPLACE TABLE models.") for statement in clickhouse.ran) == 2
    rows = {
        event.asset_key.path[-1]: event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert rows == {"catalogue_growth": 7, "completeness_by_field": 7, "mapping_accuracy": 3, "reject_reasons": 3}
