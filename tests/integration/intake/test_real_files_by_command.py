"""Real files of seven kinds by ``pim import --yes``: what the labels expect, and three cells of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pim_platform.catalog.checksum import compare_engines
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.catalogues import labelled, products
from tests.support.command import pim

MakeTenant = Callable[..., TenantInfo]


@dataclass(frozen=True)
class Case:
    """A file, and what its labels call the counts of the ledger; ``cells`` are three of one product."""

    file: str
    currency: str
    sku: str
    cells: dict[str, Any]
    merged: str | None = None
    rejected: int = 0
    kinds: frozenset[str] = frozenset({"simple"})


CASES = [
    Case(
        "shopify-partners/apparel.csv",
        "USD",
        "43mchbl3",
        {"name": "Ayres Chambray", "variant_group": "ayers-chambray", "price": {"amount": 98, "currency": "USD"}},
        merged="image_only_rows",
        rejected=1,  # one product has no SKU
        kinds=frozenset({"simple", "variant"}),
    ),
    Case(
        "woocommerce/sample_products.csv",
        "GBP",
        "cc-hoodie-red",
        {"name": "Hoodie - Red, No", "kind": "variant", "price": {"amount": 45, "currency": "GBP"}},
        kinds=frozenset({"simple", "variant", "parent", "bundle"}),
    ),
    Case(
        "udg-artikel/Artikel.csv",
        "EUR",
        "102.85",
        {"name": "Paul - Men's Supersoft Organic T-Shirt", "manufacturer": "Nakedshirt", "kind": "simple"},
    ),
    Case(
        "invent2-ja/shohin_master.sjis.csv",
        "JPY",
        "p001",
        {"name": "醤油 1L", "manufacturer": "A食品", "price": {"amount": 300, "currency": "JPY"}},
    ),
    Case(
        "google-rss/google-merchant.xml",
        "EUR",
        "1_black0",
        {
            "name": "Hummingbird printed t-shirt",
            "google_product_category": "Clothes > Men",
            "price": {"amount": Decimal("24.0"), "currency": "TRY"},
        },
        rejected=1,  # a blank is no name
    ),
    Case(
        "dummyjson/products.json",
        "USD",
        "bea-ess-ess-001",
        {"name": "Essence Mascara Lash Princess", "brand": "Essence", "stock_quantity": 99},
    ),
    Case(
        "spreadsheet-cli/products.xlsx",
        "EUR",
        "sku001",
        {"name": "Widget", "stock_quantity": 100, "price": {"amount": Decimal("9.99"), "currency": "EUR"}},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case.file).name)
def test_a_real_file_is_the_catalogue_that_its_labels_expect(
    workspace: Workspace, make_tenant: MakeTenant, catalogues: Path, case: Case
) -> None:
    _, labels = labelled(catalogues, case.file)
    expect = labels.get("expect", {})
    tenant = make_tenant(currency=case.currency)

    done = pim(workspace, "import", str(catalogues / case.file), "--tenant", tenant.slug, "--yes", "--inline")

    ledger = done["ledger"]
    assert done["state"] == "done"
    assert ledger["read"] == labels["rows"] == sum(ledger.values()) - ledger["read"]
    assert ledger["merged"] == (expect[case.merged] if case.merged else 0)
    assert ledger["rejected"] == case.rejected
    stored = products(workspace, tenant.id)
    assert len(stored) == ledger["created"] == labels["rows"] - ledger["merged"] - case.rejected
    if "sku_unique" in expect and not (case.rejected and case.merged is None):
        assert ledger["created"] == expect["sku_unique"]
    if "products" in expect:  # of variants: one of them has no SKU
        assert len({row["variant_group"] for row in stored.values()}) == expect["products"] - case.rejected
    assert {row["kind"] for row in stored.values()} == case.kinds
    product = stored[case.sku]
    assert ({**product, **product["data"]}).items() >= case.cells.items()
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal
