"""The few fields that are worth asking about hold the right one, by its name in any language or by its cells."""

from __future__ import annotations

import pytest

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.intake.mapping.retrieval import TOP, likely_fields
from pim_platform.intake.profile import ColumnProfile


def cells(**facts: object) -> ColumnProfile:
    told = {"index": 0, "header": "x", "filled": 50, "distinct": 50, "distinct_share": 1.0, "null_share": 0.0, **facts}
    return ColumnProfile.model_validate(told)


TEXTS = cells(mean_length=30.0, max_length=60, text_share=1.0)
MONEY = cells(number_share=1.0, mean_length=5.0, decimal=",")


@pytest.mark.parametrize(
    ("header", "profile", "field"),
    [
        ("Lagermenge aktuell", TEXTS, "stock_quantity"),
        ("VK Brutto Netto", MONEY, "price"),
        ("prod desc long text", TEXTS, "description"),
        ("zq7", cells(number_share=1.0, gtin_share=1.0, mean_length=13.0), "gtin"),
        ("zq7", cells(url_share=1.0, mean_length=50.0), "image_url"),
        ("zq7", MONEY, "price"),
        ("zq7", TEXTS, "name"),
        ("zq7", cells(distinct=4, distinct_share=0.08, mean_length=5.0, max_length=8), "color"),
    ],
)
def test_the_right_field_is_among_the_few(header: str, profile: ColumnProfile, field: str) -> None:
    found = likely_fields(header, profile, None)
    assert field in found
    assert len(found) == TOP


def test_a_tenants_own_field_of_a_similar_name_comes_first() -> None:
    own = [SchemaField(name=f"other_{n}") for n in range(200)]
    schema = ProductSchema(
        version=1,
        fields=[*own, SchemaField(name="waterproof_rating_mm", type="number")],
        default_currency="EUR",
        default_locale="en-US",
    )
    found = likely_fields("Waterproof rating", cells(number_share=1.0), schema)
    assert found[0] == "waterproof_rating_mm"
    assert len(found) == TOP
