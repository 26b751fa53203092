"""What our import is compared with: raw COPY, COPY + INSERT ... SELECT, and how other importers do it."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_CHUNK = 1 << 20
#: Seed 004 asks for chunks of 5,000 records.
_DJANGO_CHUNK = 5_000


def header_of(path: Path) -> list[str]:
    """The column names of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def raw_copy(connection: psycopg.Connection[Any], path: Path, table: str) -> float:
    """Seconds for COPY of the file into a bare text table: the floor for anything that lands in PostgreSQL."""
    columns = header_of(path)
    name = sql.Identifier(table)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    definition = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(column)) for column in columns)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, definition))
    connection.execute("CHECKPOINT")
    start = time.perf_counter()
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER true)").format(name)
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy, path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            copy.write(chunk)
    return time.perf_counter() - start


def copy_and_insert(connection: psycopg.Connection[Any], path: Path) -> float:
    """Seconds for COPY + one plain INSERT ... SELECT into a table with the catalogue's columns and indexes.

    No validation, no types, no second engine: what a careful script would do.
    """
    connection.execute("DROP TABLE IF EXISTS bench_products")
    connection.execute("CREATE TABLE bench_products (LIKE pim.products INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    connection.execute("ALTER TABLE bench_products ADD PRIMARY KEY (tenant_id, id)")
    connection.execute("ALTER TABLE bench_products ADD UNIQUE (tenant_id, sku_key)")
    connection.execute("CREATE INDEX ON bench_products USING brin (commit_seq)")
    columns = [column for column in header_of(path) if column not in ("sku", "name")]
    pairs = sql.SQL(", ").join(sql.SQL("{}, {}").format(sql.Literal(c), sql.Identifier(c)) for c in columns)
    seconds = raw_copy(connection, path, "bench_bare")
    start = time.perf_counter()
    connection.execute(
        sql.SQL(
            """
            INSERT INTO bench_products (tenant_id, sku, sku_key, name, data, source, commit_seq)
            SELECT '00000000-0000-7000-8000-000000000000', sku, lower(trim(sku)), name,
                   jsonb_build_object({pairs}), 'csv', 1
            FROM bench_bare
            """
        ).format(pairs=pairs)
    )
    return seconds + time.perf_counter() - start


def _chunks(path: Path) -> Iterator[list[dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        while chunk := list(itertools.islice(reader, _DJANGO_CHUNK)):
            yield chunk


def django_upsert(url: dict[str, Any], path: Path) -> float:
    """Seconds for the importer that seed 004 describes, with Django's own ORM: chunks, look up, create, update."""
    import django
    from django.conf import settings as django_settings

    if not django_settings.configured:
        django_settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **url}},
            INSTALLED_APPS=[],
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
    from django.db import connection, models, transaction

    class Product(models.Model):  # type: ignore[misc]
        """Columns and indexes as the seed lists them; attributes in one JSON column."""

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
        with transaction.atomic():
            rows = {row["sku"].strip().lower(): row for row in chunk}
            known = {product.sku: product for product in Product.objects.filter(sku__in=list(rows))}
            new, old = [], []
            for key, row in rows.items():
                data = {name: value for name, value in row.items() if name not in ("sku", "name")}
                if key in known:
                    known[key].name, known[key].data = row["name"], data
                    old.append(known[key])
                else:
                    new.append(Product(sku=key, name=row["name"], data=data))
            Product.objects.bulk_create(new)
            if old:
                Product.objects.bulk_update(old, ["name", "data"])
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def dlt_merge(url: str, path: Path, folder: Path) -> float:
    """Seconds for dlt's merge of the same records by SKU into the same server."""
    import dlt

    @dlt.resource(name="products", primary_key="sku", write_disposition="merge")  # type: ignore[untyped-decorator]
    def products() -> Iterator[list[dict[str, str]]]:
        yield from _chunks(path)

    pipeline = dlt.pipeline(
        pipeline_name=f"bench_{time.time_ns()}",
        pipelines_dir=str(folder),
        destination=dlt.destinations.postgres(url),
        dataset_name=f"bench_dlt_{time.time_ns()}",
    )
    start = time.perf_counter()
    pipeline.run(products())
    return time.perf_counter() - start
