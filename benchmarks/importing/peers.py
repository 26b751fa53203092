"""How others import the same file into the same server: Django's ORM in chunks, and dlt's merge.

Both do less than we do: every cell stays text, nothing is validated, there is no change log, no undo and no second
engine. Neither folds the rows of one SKU across chunks, and dlt takes spellings of one SKU for several products.
"""

from __future__ import annotations

import csv
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

#: Records of one chunk: what seed 004 asks for, and within what Django's documentation calls a sensible batch.
CHUNK = 5_000


def _chunks(path: Path) -> Iterator[list[dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        while chunk := list(itertools.islice(reader, CHUNK)):
            yield chunk


def django_upsert(login: dict[str, Any], path: Path) -> float:
    """Seconds for ``bulk_create(update_conflicts=True)`` in chunks, each in a transaction, by SKU in lower case.

    ``login`` holds NAME, USER, PASSWORD, HOST and PORT.
    """
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **login}},
            INSTALLED_APPS=[],
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
    from django.db import connection, models, transaction
    from django.utils import timezone

    class Product(models.Model):  # type: ignore[misc]  # Django brings no types
        """Columns and indexes as seed 004 lists them; attributes in one JSON column, as in our table."""

        sku = models.CharField(max_length=255, unique=True)
        name = models.CharField(max_length=500, db_index=True)
        data = models.JSONField(default=dict)
        active = models.BooleanField(default=True, db_index=True)
        created_at = models.DateTimeField(auto_now_add=True)
        updated_at = models.DateTimeField(auto_now=True)

        class Meta:
            app_label = "bench"
            db_table = "bench_django"

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_django")
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    start = time.perf_counter()
    for chunk in _chunks(path):
        # One statement may not meet a row twice: the last record of a SKU wins.
        rows = {row["sku"].strip().lower(): row for row in chunk}
        products = [
            Product(
                sku=sku,
                name=row["name"],
                data={name: value for name, value in row.items() if name not in ("sku", "name")},
                updated_at=timezone.now(),
            )
            for sku, row in rows.items()
        ]
        with transaction.atomic():
            Product.objects.bulk_create(
                products, update_conflicts=True, unique_fields=["sku"], update_fields=["name", "data", "updated_at"]
            )
    seconds = time.perf_counter() - start
    with connection.schema_editor() as editor:
        editor.delete_model(Product)
    connection.close()
    return seconds


def dlt_merge(url: str, path: Path, folder: Path, *, arrow: bool) -> float:
    """Seconds for dlt's merge by SKU: of the records that a CSV reader gives, or with ``arrow`` of Arrow tables.

    Records are how dlt's own guide begins; Arrow spares it most of its normalising.
    """
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    from pyarrow import csv as arrow_csv

    @dlt.resource(name="products", primary_key="sku", write_disposition="merge")  # type: ignore[untyped-decorator]  # nor does dlt
    def products() -> Iterator[Any]:
        if arrow:
            yield from arrow_csv.open_csv(path)
        else:
            yield from _chunks(path)

    dataset = f"bench_dlt_{time.time_ns()}"
    pipeline = dlt.pipeline(
        pipeline_name=dataset,
        pipelines_dir=str(folder),
        destination=dlt.destinations.postgres(url),
        dataset_name=dataset,
    )
    start = time.perf_counter()
    pipeline.run(products())
    seconds = time.perf_counter() - start
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {dataset} CASCADE")
        connection.execute(f"DROP SCHEMA IF EXISTS {dataset}_staging CASCADE")
    return seconds
