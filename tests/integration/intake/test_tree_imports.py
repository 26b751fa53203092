"""JSON and XML through to both engines: real files, variants inside products, and what is no record."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.identity import sku_key
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.models import ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.catalogues import labelled, products
from tests.support.imports import import_bytes

MakeTenant = Callable[..., TenantInfo]


def rejects(workspace: Workspace, job: ImportJob) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key in read_manifest(workspace, job).rejects:
        with workspace.objects.local_copy(key) as path:
            found += pl.read_parquet(path).sort("row").to_dicts()
    return found


def ledger(job: ImportJob) -> dict[str, int]:
    """The ledger without zeros; it balances."""
    found = job.ledger()
    assert job.state == "done"
    assert found is not None
    assert found["read"] == sum(found.values()) - found["read"]
    return {name: count for name, count in found.items() if count}


def test_nested_json_becomes_a_catalogue(workspace: Workspace, make_tenant: MakeTenant, catalogues: Path) -> None:
    content, labels = labelled(catalogues, "dummyjson/products.json")
    tenant = make_tenant(currency="USD")
    job = import_bytes(workspace, tenant.id, content, filename="products.json")

    expect = labels["expect"]
    assert ledger(job) == {"read": labels["rows"], "created": expect["sku_filled"]}
    stored = products(workspace, tenant.id)
    source = {sku_key(record["sku"]): record for record in json.loads(content, parse_float=Decimal)}
    assert len(source) == expect["sku_unique"]
    assert set(stored) == set(source)
    for key, record in source.items():
        assert stored[key]["name"] == record["title"]
    mascara = stored["bea-ess-ess-001"]["data"]
    assert mascara["price"] == {"amount": Decimal("9.99"), "currency": "USD"}
    assert mascara["tags"] == ["beauty", "mascara"]
    assert mascara["reviews_rating"] == ["3", "4", "5"]
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_a_google_feed_becomes_a_catalogue(workspace: Workspace, make_tenant: MakeTenant, catalogues: Path) -> None:
    content, labels = labelled(catalogues, "google-rss/google-merchant.xml")
    tenant = make_tenant(currency="TRY")
    fields = {"id": "sku", "title": "name", "price": "price", "google_product_category": "category", "link": "url"}
    confirm = {"mapping": fields, "fields": [
        {"name": "price", "type": "price"}, {"name": "category", "type": "string"}, {"name": "url", "type": "url"},
    ]}  # fmt: skip
    job = import_bytes(workspace, tenant.id, content, filename="google-merchant.xml", confirm=confirm)

    # The title of the first record is a blank, and a new product needs a name.
    assert ledger(job) == {"read": labels["rows"], "created": 1, "rejected": 1}
    (reject,) = rejects(workspace, job)
    assert (reject["row"], reject["error_code"]) == (1, "name_missing")
    assert labels["expect"]["sku_unique"] == 2
    stored = products(workspace, tenant.id)["1_black0"]
    assert stored["name"] == "Hummingbird printed t-shirt"
    assert stored["data"]["price"] == {"amount": Decimal("24.0"), "currency": "TRY"}
    assert stored["data"]["category"] == "Clothes > Men"
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


@pytest.mark.parametrize("name", ["entities.xml", "control_chars.xml", "extra_entities.xml"])
def test_slips_of_a_real_feed_are_mended_and_told(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path, name: str
) -> None:
    content, _ = labelled(catalogues, f"onix/{name}")
    fields = {"RecordReference": "sku", "Title/TitleText": "name"}
    job = import_bytes(workspace, make_tenant().id, content, filename=name, confirm={"mapping": fields})
    assert ledger(job) == {"read": 1, "created": 1}


def test_variants_inside_a_record_are_products_of_their_own(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = json.dumps([
        {"handle": "shirt", "title": "Shirt", "vendor": "Acme", "variants": [
            {"sku": "S-1", "price": "10.00", "option1": "S"}, {"sku": "S-2", "price": "11.00", "option1": "M"}]},
        {"handle": "hat", "title": "Hat", "vendor": "Acme", "variants": [
            {"sku": "H-1", "price": "5.00", "option1": "One"}]},
    ]).encode()  # fmt: skip
    job = import_bytes(workspace, tenant.id, content, filename="products.json")

    # Two records and three variants were read; a product without an SKU of its own is part of its variants.
    assert ledger(job) == {"read": 5, "created": 3, "merged": 2}
    stored = products(workspace, tenant.id)
    assert {
        key: (row["name"], row["data"]["brand"], row["data"]["price"]["amount"]) for key, row in stored.items()
    } == {
        "s-1": ("Shirt", "Acme", Decimal("10.00")),
        "s-2": ("Shirt", "Acme", Decimal("11.00")),
        "h-1": ("Hat", "Acme", Decimal("5.00")),
    }
    assert stored["s-1"]["variant_group"] == stored["s-2"]["variant_group"] != stored["h-1"]["variant_group"]


def test_lines_that_are_no_json_are_rejects_beside_the_rest(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b'{"sku":"A","name":"Alpha"}\n{"sku":"B","name":\n{"sku":"C","name":"Gamma","price":"1 EUR"}\n'
    confirm = {"mapping": {"sku": "sku", "name": "name"}}
    job = import_bytes(workspace, tenant.id, content, filename="p.jsonl", confirm=confirm)
    assert ledger(job) == {"read": 3, "created": 2, "rejected": 1}
    (reject,) = rejects(workspace, job)
    assert (reject["row"], reject["error_code"]) == (2, "broken_json")
    assert "line 2 is no JSON" in reject["error"]
    assert set(products(workspace, tenant.id)) == {"a", "c"}
