"""SQL models as assets: one per file of ``dbt_like_sql``, rebuilt on the cadence its header names.

They are unpartitioned and carry ``tenant_id`` as a column: one build serves all tenants. What a model is
and which statements build it is decided in :mod:`dbt_like_sql.loader`; here they are only run.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at run time.
import time
from collections.abc import Mapping, Sequence

import dagster as dg

from dbt_like_sql.loader import Cadence, Model

GROUP = "models"

#: Off the full hour, when everyone else's schedules start.
CRON: dict[Cadence, str] = {"hourly": "7 * * * *", "daily": "23 3 * * *"}


def model_key(model: Model) -> dg.AssetKey:
    """The asset key of a model: its engine, then the path of its table."""
    return dg.AssetKey([model.engine, "models", model.name])


def build_model_assets(
    models: Sequence[Model],
    *,
    upstream: Mapping[str, dg.AssetKey] | None = None,
    readers: Sequence[str] = (),
) -> list[dg.AssetsDefinition]:
    """One asset per model.

    ``upstream`` says which asset fills a relation (``segmentation.products``) that models depend on; a
    relation without one stays in the metadata. ``readers`` are PostgreSQL roles that may read the tables.
    """
    known = dict(upstream or {})
    return [_asset(model, known | _tables(models, model), readers) for model in models]


def build_model_schedules(models: Sequence[Model]) -> list[dg.ScheduleDefinition]:
    """One schedule, with its job, for each cadence that models ask for."""
    schedules = []
    for cadence, cron in CRON.items():
        keys = [model_key(model) for model in models if model.cadence == cadence]
        if keys:
            job = dg.define_asset_job(
                f"models_{cadence}",
                selection=dg.AssetSelection.assets(*keys),
                executor_def=dg.in_process_executor,
                description=f"Rebuilds the {cadence} SQL models of all tenants.",
            )
            schedules.append(
                dg.ScheduleDefinition(
                    name=f"models_{cadence}_schedule",
                    job=job,
                    cron_schedule=cron,
                    execution_timezone="UTC",
                    default_status=dg.DefaultScheduleStatus.RUNNING,
                )
            )
    return schedules


def _tables(models: Sequence[Model], reader: Model) -> dict[str, dg.AssetKey]:
    return {model.table: model_key(model) for model in models if model.engine == reader.engine}


def _asset(model: Model, upstream: Mapping[str, dg.AssetKey], readers: Sequence[str]) -> dg.AssetsDefinition:
    statements = model.materialisation(readers)

    @dg.asset(
        key=model_key(model),
        deps=[upstream[relation] for relation in model.depends_on if relation in upstream],
        required_resource_keys={model.engine},
        group_name=GROUP,
        kinds={model.engine, "sql"},
        description=f"{model.description}\n\n```sql\n{model.sql}\n```",
        metadata={
            "table": model.table,
            "cadence": model.cadence,
            "depends_on": list(model.depends_on),
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(column.name, column.type, column.description) for column in model.columns]
            ),
        },
    )
    def build(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        start = time.perf_counter()
        run = _build_postgres if model.engine == "postgres" else _build_clickhouse
        rows = run(context, model, statements)
        seconds = round(time.perf_counter() - start, 3)
        return dg.MaterializeResult(metadata={"dagster/row_count": rows, "seconds": seconds})

    return build


def _build_postgres(context: dg.AssetExecutionContext, model: Model, statements: Sequence[str]) -> int:
    inserted = 0
    with context.resources.postgres.models_connection() as connection, connection.transaction():
        for statement in statements:
            inserted = connection.execute(statement.encode()).rowcount
    return inserted


def _build_clickhouse(context: dg.AssetExecutionContext, model: Model, statements: Sequence[str]) -> int:
    client = context.resources.clickhouse.client()
    for statement in statements:
        client.command(statement)
    return int(client.command(f"SELECT count() FROM {model.table}"))
