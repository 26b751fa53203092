"""Records that belong together, through to both engines: shop exports as they come, and what follows an import."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.products import find_product
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.raw_rows import merged_rows, raw_row
from pim_platform.intake.reworking import rework_job
from pim_platform.intake.running import write_rejects
from pim_platform.intake.undoing import undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.catalogues import labelled, products
from tests.support.imports import ACTOR, import_bytes, run_job

MakeTenant = Callable[..., TenantInfo]


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


def test_locale_rows_of_one_sku_are_one_product(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path
) -> None:
    content, labels = labelled(catalogues, "unopim/products-multi-locale.csv")
    tenant = make_tenant(currency="USD", locale="fr-FR")
    job = import_bytes(workspace, tenant.id, content, filename="products-multi-locale.csv")
    ledger = balanced(job.ledger())
    assert (ledger["read"], ledger["created"]) == (labels["rows"], labels["expect"]["products"])
    assert ledger["merged"] == labels["rows"] - labels["expect"]["products"]
    (product,) = products(workspace, tenant.id).values()
    assert product["name"] == "Produit multilingue", "the name in the tenant's locale"
    assert len(product["data"]["description"]) == labels["expect"]["locales"]
    assert product["data"]["description"]["en-US"] == "<p>Described in English.</p>"
    assert product["data"]["price"]["amount"] == 50
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal
    with tenant_session(workspace.app, tenant.id) as session:
        stored = find_product(session, "multi-locale-product")
        assert stored is not None
        session.expunge(stored)
    folded = merged_rows(workspace, stored)
    assert {row["locale"] for row in folded} | {(raw_row(workspace, stored) or {})["locale"]} == {
        "en_US", "fr_FR", "de_DE",
    }  # fmt: skip


def test_variations_without_a_name_have_that_of_their_parent(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path
) -> None:
    content, labels = labelled(catalogues, "unopim/products.csv")
    tenant = make_tenant(currency="USD")
    ledger = balanced(import_bytes(workspace, tenant.id, content, filename="products.csv").ledger())
    assert (ledger["created"], ledger["rejected"]) == (labels["expect"]["sku_unique"], 0)
    found = products(workspace, tenant.id)
    red, parent = found["configurable-product-1-red"], found["configurable-product-1"]
    assert (red["name"], red["parent_id"], parent["kind"]) == (parent["name"], parent["id"], "parent")
    deep, middle = found["configurable-product-4-red-s"], found["configurable-product-4-red"]
    assert (deep["name"], deep["parent_id"]) == ("Configurable Product 4", middle["id"])
    assert middle["parent_id"] == found["configurable-product-4"]["id"]


@pytest.mark.parametrize(
    ("file", "sku", "cells"),
    [
        (
            "udg-artikel/Artikel.csv",
            "102.85",
            {"name": "Paul - Men's Supersoft Organic T-Shirt", "manufacturer": "Nakedshirt", "category": "T-Shirts"},
        ),
        (
            "invent2-ja/shohin_master.sjis.csv",
            "p001",
            {"name": "醤油 1L", "manufacturer": "A食品", "price": {"amount": 300, "currency": "JPY"}},
        ),
        ("invent2-ja/zaiko_data.sjis.csv", "p001", {"name": "醤油 1L"}),
    ],
)
def test_files_in_which_every_row_is_a_product(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path, file: str, sku: str, cells: dict[str, Any]
) -> None:
    content, labels = labelled(catalogues, file)
    tenant = make_tenant(currency="JPY", locale="ja-JP")
    job = import_bytes(workspace, tenant.id, content, filename=Path(file).name)
    ledger = balanced(job.ledger())
    assert job.groupings == []
    assert (ledger["read"], ledger["created"]) == (labels["rows"], labels["expect"]["sku_unique"])
    assert (ledger["rejected"], ledger["merged"]) == (0, 0)
    assert ledger["superseded"] == labels["expect"].get("sku_repeats", 0)
    product = products(workspace, tenant.id)[sku]
    assert {"name": product["name"], **product["data"]}.items() >= cells.items()
    assert {row["kind"] for row in products(workspace, tenant.id).values()} == {"simple"}
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_variants_nested_in_json(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    given = [
        {
            "sku": "TEE", "name": "T-shirt", "brand": "Acme", "price": 9,
            "variants": [
                {"sku": "TEE-S", "size": "S", "price": 10},
                {"sku": "TEE-M", "size": "M", "price": 11},
            ],
        },
        {"sku": "MUG", "name": "Mug", "brand": "Acme", "price": 5, "variants": []},
    ]  # fmt: skip
    job = import_bytes(workspace, tenant.id, json.dumps(given).encode(), filename="products.json")
    ledger = balanced(job.ledger())
    assert (ledger["read"], ledger["created"], ledger["merged"]) == (4, 4, 0)
    found = products(workspace, tenant.id)
    assert {key: product["kind"] for key, product in found.items()} == {
        "tee": "parent", "tee-s": "variant", "tee-m": "variant", "mug": "simple",
    }  # fmt: skip
    assert found["tee-m"]["parent_id"] == found["tee"]["id"]
    assert found["tee-m"]["data"]["price"]["amount"] == 11
    assert found["tee-m"]["data"]["brand"] == "Acme"


def test_a_saved_mapping_folds_the_next_delivery_too(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    header = "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"
    first = header + "tee,Tee,Size,S,T-S,10,https://x.example/1.png\ntee,,,M,T-M,11,\n"
    import_bytes(workspace, tenant.id, first.encode())
    # Nothing in this one shows that a handle groups rows.
    job = import_bytes(workspace, tenant.id, (header + "cap,Cap,Size,one,C-1,7,https://x.example/2.png\n").encode())
    assert [grouping["style"] for grouping in job.groupings] == ["handle"]
    assert products(workspace, tenant.id)["c-1"]["variant_group"] == "cap"


def test_without_groupings_each_row_is_a_product(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b"Handle,Title,Option1 Value,Variant SKU\ntee,T-shirt,S,T-S\ntee,,M,T-M\n"
    job = import_bytes(workspace, tenant.id, content, confirm={"groupings": []})
    ledger = balanced(job.ledger())
    assert (ledger["created"], ledger["rejected"]) == (1, 1), "the second row has no name of its own"
    assert job.reject_reasons == {"name_missing": 1}


def test_an_undo_takes_variants_and_links_back(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    header = "Type,SKU,Name,Parent\n"
    import_bytes(workspace, tenant.id, (header + "simple,TEE,Tee,\nsimple,TEE-S,Tee S,\n").encode())
    before = products(workspace, tenant.id)
    job = import_bytes(
        workspace, tenant.id, (header + "variable,TEE,Tee,\nvariation,TEE-S,Tee S,TEE\n").encode(),
        confirm={"groupings": [{"style": "parent", "by": 3, "kinds": 0}]},
    )  # fmt: skip
    assert balanced(job.ledger())["updated"] == 2
    assert products(workspace, tenant.id)["tee-s"]["parent_id"] == before["tee"]["id"]
    undo_job(workspace, tenant.id, job.id, actor=ACTOR, origin="cli")
    after = products(workspace, tenant.id)
    names = ("kind", "parent_id", "variant_group")
    assert [[after[key][name] for name in names] for key in after] == [
        [before[key][name] for name in names] for key in after
    ]
