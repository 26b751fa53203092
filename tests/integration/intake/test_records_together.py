"""Records that belong together, through to both engines: shop exports as they come, and what follows an import."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.products import find_product
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.running import write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, run_job

MakeTenant = Callable[..., TenantInfo]


def labelled(catalogues: Path, name: str) -> tuple[bytes, dict[str, Any]]:
    """A real catalogue file and its labels."""
    manifest = json.loads((catalogues / "MANIFEST.json").read_text("utf-8"))
    labels = next(entry for entry in manifest["files"] if entry["id"] == name)
    return (catalogues / name).read_bytes(), labels


def products(workspace: Workspace, tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """The tenant's products in PostgreSQL by key; numbers as Decimal."""
    with tenant_session(workspace.app, tenant_id) as session:
        rows = session.execute(
            text("SELECT *, data::text AS raw FROM pim.products WHERE tenant_id = :t"), {"t": tenant_id}
        ).mappings()
        return {row["sku_key"]: dict(row) | {"data": json.loads(row["raw"], parse_float=Decimal)} for row in rows}


def balanced(ledger: dict[str, int] | None) -> dict[str, int]:
    assert ledger is not None
    assert ledger["read"] == sum(count for name, count in ledger.items() if name != "read")
    return ledger


@pytest.mark.parametrize("name", ["apparel", "bicycles"])
def test_a_shopify_export_becomes_products_with_variants(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path, name: str
) -> None:
    content, labels = labelled(catalogues, f"shopify-partners/{name}.csv")
    expect = labels["expect"]
    tenant = make_tenant(currency="USD")
    job = import_bytes(workspace, tenant.id, content, filename=f"{name}.csv")
    ledger = balanced(job.ledger())
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    with_sku = {row["Handle"] for row in rows if row["Variant SKU"].strip()}
    lost = [row for row in rows if row["Handle"] not in with_sku]
    lost_images = [row for row in lost if not row["Variant Price"]]
    assert ledger["read"] == labels["rows"]
    assert ledger["created"] == expect["sku_unique"]
    assert ledger["superseded"] == expect.get("sku_repeats", 0)
    assert ledger["merged"] == expect["image_only_rows"] - len(lost_images)
    assert ledger["rejected"] == expect["variant_rows"] - expect["sku_filled"] + len(lost_images)
    assert expect["products"] == len(with_sku) + len({row["Handle"] for row in lost})
    found = products(workspace, tenant.id)
    # An apostrophe before digits is a spreadsheet's mark for text, no part of the SKU.
    last = {sku_key(row["Variant SKU"].lstrip("'")): row["Handle"] for row in rows if row["Variant SKU"].strip()}
    assert {key: product["variant_group"] for key, product in found.items()} == last
    titles = {row["Handle"]: row["Title"].strip() for row in reversed(rows) if row["Title"]}
    assert all(product["name"] == titles[product["variant_group"]] for product in found.values())
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal
    again = balanced(import_bytes(workspace, tenant.id, content, filename=f"{name}.csv").ledger())
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, expect["sku_unique"])


def test_three_cells_of_a_shopify_export(workspace: Workspace, make_tenant: MakeTenant, catalogues: Path) -> None:
    content, _ = labelled(catalogues, "shopify-partners/apparel.csv")
    tenant = make_tenant(currency="USD")
    import_bytes(workspace, tenant.id, content, filename="apparel.csv")
    medium = products(workspace, tenant.id)["43mchbl3"]
    assert (medium["name"], medium["kind"]) == ("Ayres Chambray", "variant")
    assert medium["data"]["price"] == {"amount": 98, "currency": "USD"}
    assert "M" in medium["data"].values()
    assert medium["data"]["images"][0].startswith("https://cdn.shopify.com/")


def test_where_no_row_has_a_sku_the_handle_can_be_it(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path
) -> None:
    content, labels = labelled(catalogues, "shopify-partners/jewelry.csv")
    tenant = make_tenant(currency="CAD")
    flat = {"Handle": "sku", "Title": "name"}
    job = import_bytes(workspace, tenant.id, content, filename="jewelry.csv", confirm={"mapping": flat})
    ledger = balanced(job.ledger())
    assert ledger["created"] == labels["expect"]["products"]
    assert ledger["merged"] == labels["rows"] - labels["expect"]["products"]


def test_woocommerce_variations_have_their_parents(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path
) -> None:
    content, labels = labelled(catalogues, "woocommerce/sample_products.csv")
    tenant = make_tenant(currency="USD")
    job = import_bytes(workspace, tenant.id, content, filename="sample_products.csv")
    ledger = balanced(job.ledger())
    assert (ledger["created"], ledger["rejected"]) == (labels["expect"]["sku_unique"], 0)
    found = products(workspace, tenant.id)
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    for row in rows:
        product = found[sku_key(row["SKU"])]
        parent = found[sku_key(row["Parent"])] if row["Parent"] else None
        assert product["parent_id"] == (parent["id"] if parent else None)
        assert (product["kind"] == "variant") == (row["Type"] == "variation")
        assert (product["kind"] == "parent") == (row["Type"] == "variable")
    tee = next(row for row in rows if row["Type"] == "variation" and row["Parent"] == "cc-tee")
    assert found[sku_key(tee["SKU"])]["name"] == tee["Name"]
    assert found["cc-hoodie-blue"]["data"]["price"]["amount"] == 45 if "cc-hoodie-blue" in found else True
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_a_parent_may_come_before_or_after_its_variants(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    header = "Type,SKU,Name,Parent\n"
    first = header + "variation,TEE-S,Tee S,TEE\nvariation,TEE-M,Tee M,TEE\nsimple,MUG,Mug,\n"
    job = import_bytes(workspace, tenant.id, first.encode())
    assert balanced(job.ledger())["created"] == 3
    assert any("TEE".lower() in notice for notice in job.notices)
    waiting = products(workspace, tenant.id)
    assert {(waiting[key]["kind"], waiting[key]["parent_id"]) for key in ("tee-s", "tee-m")} == {("variant", None)}
    job = import_bytes(workspace, tenant.id, (header + "variable,TEE,Tee,\n").encode())
    assert balanced(job.ledger())["created"] == 1
    found = products(workspace, tenant.id)
    assert found["tee"]["kind"] == "parent"
    assert {found[key]["parent_id"] for key in ("tee-s", "tee-m")} == {found["tee"]["id"]}
    job = import_bytes(workspace, tenant.id, (header + "variation,TEE-L,Tee L,tee\n").encode())
    assert products(workspace, tenant.id)["tee-l"]["parent_id"] == found["tee"]["id"]
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_a_dry_run_shows_parents_by_sku_and_is_promoted_as_shown(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b"Type,SKU,Name,Parent\nvariable,TEE,Tee,\nvariation,TEE-S,Tee S,TEE\n"
    job = import_bytes(workspace, tenant.id, content, dry_run=True)
    assert job.state == "staged"
    promote_job(workspace, tenant.id, job.id, ACTOR)
    job = run_job(workspace, tenant.id, job.id)
    assert job.state == "done"
    found = products(workspace, tenant.id)
    assert found["tee-s"]["parent_id"] == found["tee"]["id"]


def test_a_corrected_variant_joins_its_siblings(workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path) -> None:
    tenant = make_tenant()
    content = (
        "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"
        "tee,T-shirt,Size,S,T-S,10,https://x.example/1.png\n"
        "tee,,,M,,11,\n"
        "tee,,,,,,https://x.example/2.png\n"
    )
    job = import_bytes(workspace, tenant.id, content.encode())
    ledger = balanced(job.ledger())
    assert (ledger["created"], ledger["rejected"], ledger["merged"]) == (1, 1, 1)
    path = tmp_path / "rejects.csv"
    assert write_rejects(workspace, job, path) == 1
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
    rows[1][4] = "T-M"
    corrected = io.StringIO()
    csv.writer(corrected).writerows(rows)
    rework_job(
        workspace, tenant.id, job.id, io.BytesIO(corrected.getvalue().encode()), filename="rejects.csv", actor=ACTOR
    )
    job = run_job(workspace, tenant.id, job.id)
    ledger = balanced(job.ledger())
    assert (ledger["created"], ledger["rejected"], ledger["merged"]) == (2, 0, 1)
    found = products(workspace, tenant.id)
    assert {(p["kind"], p["variant_group"], p["name"]) for p in found.values()} == {("variant", "tee", "T-shirt")}


def test_the_raw_row_is_the_file_s_own(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b"Handle,Title,Option1 Value,Variant SKU\ntee,T-shirt,S,T-S\ntee,,M,T-M\n"
    import_bytes(workspace, tenant.id, content)
    with tenant_session(workspace.app, tenant.id) as session:
        product = find_product(session, "T-M")
        assert product is not None
        session.expunge(product)
    assert raw_row(workspace, product) == {
        "Handle": "tee", "Title": None, "Option1 Value": "M", "Variant SKU": "T-M",
    }  # fmt: skip
