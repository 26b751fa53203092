"""Cases of writing products: one by one, and many at once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from pim_platform.catalog import products
from pim_platform.errors import NotFound
from pim_platform.intake import provenance, writing
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Two, case


def _made(two: Two) -> Any:
    document = {"sku": f"W-{uuid4()}", "name": "alpha written", "tone": "alpha"}
    return writing.create_product(two.workspace, two.a.id, document, actor=ACTOR).product


@case("intake.writing.create_product")
def _(two: Two) -> Any:
    return _made(two)


@case("intake.writing.replace_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.replace_product(two.workspace, two.a.id, foreign, {"name": "x"}, actor=ACTOR)
    return writing.replace_product(two.workspace, two.a.id, _made(two).id, {"name": "alpha"}, actor=ACTOR)


@case("intake.writing.patch_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.patch_product(two.workspace, two.a.id, foreign, {"name": "x"}, actor=ACTOR)
    return writing.patch_product(two.workspace, two.a.id, _made(two).id, {"tone": None}, actor=ACTOR)


@case("intake.writing.delete_product")
def _(two: Two) -> Any:
    for foreign in two.b.product_ids:
        with pytest.raises(NotFound):
            writing.delete_product(two.workspace, two.a.id, foreign, actor=ACTOR)
    return writing.delete_product(two.workspace, two.a.id, _made(two).id, actor=ACTOR)


@case("intake.provenance.provenance")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[0])
        session.expunge(product)
        # Both tenants' commits have the same numbers; the other tenant's job is not found.
        product.job_id = two.b.done
        return provenance.provenance(session, product)
