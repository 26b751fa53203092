"""How fast are exports, and in how much memory? Each format in a process of its own, beside a raw COPY TO.

::

    uv run python benchmarks/exports.py [--rows 1000000] [--formats csv,jsonl,parquet,xlsx] [--json]

The raw COPY reads the same rows as PostgreSQL holds them, ``data`` as one JSON text, unsorted, in the same process just
before; the ratio to it is what counts, machines differ. Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import text

from pim_platform.catalog.exporting import ExportFormat, ExportRequest, open_export
from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.catalog.schemas import save_schema
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.settings import Settings
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import create_tenant, find_tenant

FORMATS = ("csv", "csv.gz", "jsonl", "parquet", "xlsx")
TENANT = "bench"
SCHEMA = ProductSchema(
    fields=(
        *(SchemaField(name=name) for name in ("brand", "category", "description", "gtin", "colour")),
        *(SchemaField(name=name, type="number") for name in ("weight_g", "stock_quantity")),
        SchemaField(name="price", type="price"),
        SchemaField(name="tags", type="array"),
        SchemaField(name="image_url", type="url"),
        SchemaField(name="vegan", type="boolean"),
    ),
    default_currency="EUR",
    default_locale="en-US",
)
#: Products of about 600 bytes of data, as the twelve columns of the imports' benchmark.
FILL = """
INSERT INTO pim.products (tenant_id, sku, sku_key, name, data, source, commit_seq, created_seq)
SELECT :tenant, 'SKU-' || lpad(n::text, 9, '0'), 'sku-' || lpad(n::text, 9, '0'), 'Product number ' || n,
       jsonb_build_object(
         'brand', 'Brand ' || n % 500, 'category', 'Outdoor > Tents > Group ' || n % 40,
         'description', repeat('A good thing to have, said in some words. ', 6) || n, 'gtin', lpad(n::text, 13, '4'),
         'colour', (ARRAY['red', 'green', 'blue'])[1 + n % 3], 'weight_g', n % 5000, 'stock_quantity', n % 77,
         'price', jsonb_build_object('amount', (n % 100000) / 100.0, 'currency', 'EUR'),
         'tags', jsonb_build_array('tag ' || n % 9, 'tag ' || n % 13), 'vegan', n % 2 = 0,
         'image_url', 'https://images.example.com/p/' || n || '.jpg'),
       'api', 1, 1
FROM generate_series(1, :rows) n
"""


def main() -> None:
    """Measure, print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", nargs=3, metavar=("FORMAT", "HOME", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        form, home, port = options.child
        print(json.dumps(export_once(Settings(home=Path(home), port=int(port)), form)))
        return
    with tempfile.TemporaryDirectory(prefix="pim-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded server's own user must reach its data
        settings = Settings(home=folder / "home", port=27_000 + uuid.uuid4().int % 500 * 10)
        with engines(settings):
            fill(Workspace(settings), options.rows)
            found = {form: _child(settings, form) for form in options.formats.split(",")}
    if options.json:
        print(json.dumps({"rows": options.rows, "formats": found}))
        return
    print(f"{'format':<10}{'seconds':>9}{'rows/s':>11}{'over COPY':>11}{'first byte ms':>15}{'peak MB':>9}{'MB':>8}")
    for form, one in found.items():
        print(
            f"{form:<10}{one['seconds']:>9.2f}{one['rows_per_s']:>11,.0f}{one['over_copy']:>11.2f}"
            f"{one['first_ms']:>15.0f}{one['peak_mb']:>9.0f}{one['mb']:>8.0f}"
        )


def fill(workspace: Workspace, rows: int) -> None:
    """One tenant with so many products."""
    tenant = create_tenant(
        workspace.app, TENANT, currency="EUR", locale="en-US", timezone="UTC", actor=Actor("benchmark")
    )
    with tenant_session(workspace.app, tenant.id) as session:
        save_schema(session, SCHEMA, Actor("benchmark"))
        session.execute(text(FILL), {"tenant": tenant.id, "rows": rows})
    with tenant_session(workspace.app, tenant.id) as session:
        session.execute(text("ANALYZE pim.products"))


def export_once(settings: Settings, form: str) -> dict[str, Any]:
    """Seconds, memory and size of one export, and of the raw COPY before it."""
    workspace = Workspace(settings)
    tenant = find_tenant(workspace.app, TENANT)
    started = time.perf_counter()
    rows = 0
    with tenant_session(workspace.app, tenant.id) as session:
        query = f"COPY (SELECT * FROM pim.products WHERE tenant_id = '{tenant.id}') TO STDOUT"
        with driver_connection(session).cursor() as cursor, cursor.copy(query) as copy:
            rows = sum(1 for _ in copy)
    raw = time.perf_counter() - started
    request = ExportRequest(cast("ExportFormat", form.removesuffix(".gz")), gzip=form.endswith(".gz"))
    started = time.perf_counter()
    first = size = 0.0
    for piece in open_export(workspace, tenant, request):
        first = first or time.perf_counter() - started
        size += len(piece)
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 2),
        "rows_per_s": round(rows / seconds),
        "copy_s": round(raw, 2),
        "over_copy": round(seconds / raw, 2),
        "first_ms": round(first * 1e3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "mb": round(size / 1e6, 1),
    }


def _child(settings: Settings, form: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", form, str(settings.home), str(settings.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{form}: {done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
