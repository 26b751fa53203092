"""Variants inside products: by which of its columns a product is told apart from the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pim_platform.intake.proposal import propose


@pytest.mark.parametrize("column", ["id", "productGroupID", "item_group_id", "model_key"])
def test_a_product_without_sku_is_told_apart_by_any_id_of_its_own(tmp_path: Path, column: str) -> None:
    products = [
        {column: f"G{n}", "name": f"Coat {n}", "brand": "Good",
         "variants": [{"sku": f"G{n}-{size}", "size": size, "price": 5} for size in ("S", "M")]}
        for n in range(3)
    ]  # fmt: skip
    path = tmp_path / "products.json"
    path.write_text(json.dumps(products), "utf-8")
    found = propose(path)
    (grouping,) = found.groupings
    assert (grouping.style, found.headers[grouping.by]) == ("nested", column)
