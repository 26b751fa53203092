"""Tenants with catalogues, made through the merge and the publisher, without files and proposals around them."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.files import write_twelve_columns
from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.catalog.schemas import current_schema, save_schema
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo, create_tenant

ACTOR = Actor("benchmark")
FIELDS = (
    SchemaField(name="description"),
    SchemaField(name="price", type="price"),
    SchemaField(name="brand"),
    SchemaField(name="category"),
    SchemaField(name="tags", type="array"),
    SchemaField(name="weight", type="number"),
    SchemaField(name="in_stock", type="boolean"),
    SchemaField(name="image_url", type="url"),
    SchemaField(name="ean"),
    SchemaField(name="colour"),
)
#: Products that one merge takes: as many as an import's slices.
_PIECE = 250_000


def staged(rows: int, folder: Path) -> list[Path]:
    """Staged files of ``rows`` products, as staging would write them of the twelve-column file."""
    csv = folder / "twelve.csv"
    write_twelve_columns(csv, rows)
    made = []
    for number, first in enumerate(range(0, rows, _PIECE)):
        frame = pl.read_csv(csv, skip_rows_after_header=first, n_rows=_PIECE, infer_schema=False)
        path = folder / f"staged-{number:05}.parquet"
        _as_staged(frame, first).write_parquet(path)
        made.append(path)
    csv.unlink()
    return made


def _as_staged(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    amount = pl.col("price").str.strip_prefix("€")
    return frame.select(
        (pl.int_range(pl.len(), dtype=pl.Int64) + first + 2).alias("row"),
        pl.col("sku"),
        sku_key_expr(pl.col("sku")).alias("sku_key"),
        pl.col("name"),
        pl.col("description").alias("f.description"),
        (pl.lit('{"amount": ') + amount + pl.lit(', "currency": "EUR"}')).alias("f.price"),
        pl.col("brand").alias("f.brand"),
        pl.col("category").alias("f.category"),
        (pl.lit('["') + pl.col("tags").str.replace_all(",", '","') + pl.lit('"]')).alias("f.tags"),
        pl.col("weight").alias("f.weight"),
        (pl.col("in_stock") == "yes").alias("f.in_stock"),
        pl.col("image_url").alias("f.image_url"),
        pl.col("ean").alias("f.ean"),
        pl.col("colour").alias("f.colour"),
        pl.struct(pl.all()).hash(0).reinterpret(signed=True).alias("row_hash"),
    )


def fill(workspace: Workspace, slug: str, files: list[Path]) -> TenantInfo:
    """A tenant that holds the products of these files, in both engines."""
    tenant = create_tenant(workspace.app, slug, currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR)
    with tenant_session(workspace.app, tenant.id) as session:
        wanted = current_schema(session)
        save_schema(session, ProductSchema(**(wanted.model_dump() | {"fields": FIELDS})), ACTOR)
    for file in files:
        with tenant_session(workspace.app, tenant.id) as session:
            merge(session, Incoming.of([file], current_schema(session)), Origin("api", ACTOR.name))
        assert publish_now(workspace, tenant.id), "ClickHouse must answer"
    return tenant


def fill_neighbours(workspace: Workspace, count: int, products: int, say: Any) -> None:
    """``count`` tenants of the same ``products`` products, two at a time."""
    with tempfile.TemporaryDirectory(prefix="pim-neighbours-") as name, ThreadPoolExecutor(2) as pool:
        files = staged(products, Path(name))
        filling = pool.map(lambda number: fill(workspace, f"n{number:05}", files), range(count))
        for made, _ in enumerate(filling, 1):
            if made % 100 == 0:
                say(f"{made:,} of {count:,} neighbours")


def compact(workspace: Workspace, tenant: TenantInfo) -> None:
    """What a minute without writes does by itself: one part, with its index of words."""
    workspace.clickhouse.command(f"OPTIMIZE TABLE `{tenant.relation}`.product_rows FINAL")
