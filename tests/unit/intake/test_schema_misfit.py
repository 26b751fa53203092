"""A field of the tenant's schema is not forced on cells that do not fit its type."""

from __future__ import annotations

from pathlib import Path

import pytest

from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.intake.proposal import propose

FILE = "SKU,Name,Image,Price\nA-1,Boot,a1.jpg,1.50\nB-2,Tent,b2.jpg,2.50\nC-3,Stove,c3.jpg,3.50\n"


def schema(image: FieldType) -> ProductSchema:
    fields = (SchemaField(name="image_url", type=image), SchemaField(name="price", type="price"))
    return ProductSchema(fields=fields, default_currency="EUR", default_locale="en-US")


@pytest.mark.parametrize("known", ["url", "number", "boolean"])
def test_file_names_go_beside_a_field_they_do_not_fit_and_a_person_should_look(
    tmp_path: Path, known: FieldType
) -> None:
    """A supplier's file names once went into a field of URLs, and all of its 3,034 rows were rejected."""
    path = tmp_path / "products.csv"
    path.write_text(FILE, encoding="utf-8")
    columns = {column.source: column for column in propose(path, schema=schema(known)).columns}
    image = columns["Image"]
    assert (image.field, image.type, image.auto) == ("image_url_text", "string", False)
    assert "image_url" in image.reason
    assert (columns["Price"].field, columns["Price"].auto) == ("price", True)


@pytest.mark.parametrize("known", ["string", "array"])
def test_a_field_that_can_hold_them_is_used(tmp_path: Path, known: FieldType) -> None:
    path = tmp_path / "products.csv"
    path.write_text(FILE, encoding="utf-8")
    columns = {column.source: column for column in propose(path, schema=schema(known)).columns}
    assert (columns["Image"].field, columns["Image"].type) == ("image_url", known)
