"""Which records of a file belong together: part of a mapping, proposed, confirmed and saved with it.

Five styles are known in the field:

* ``handle``: consecutive rows of one product (Shopify exports). The first row gives the values of the whole product,
  each row with a SKU is a variant, rows that carry only an image belong to the product's images.
* ``nested``: the row of a product and behind it one per variant, which repeat what the product says (the variants of
  a tree, see ``Dialect.expand``). A product with a SKU is the parent of its variants; one without is folded into them.
* ``parent``: every row is a product; a cell names the parent by its SKU or, in WooCommerce exports, as ``id:<ID>``
  (WooCommerce, Magento, UnoPim, Amazon).
* ``group``: every row is a product; a cell names the group (``item_group_id`` of a Google feed).
* ``locale``: several rows of one SKU, one per locale.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Style = Literal["handle", "nested", "parent", "group", "locale"]

#: What :mod:`pim_platform.intake.folding` writes itself; a column mapped to one of them yields to it.
MADE_BY_GROUPING = ("kind", "variant_group", "parent_sku")


class Grouping(BaseModel):
    """One rule by which records belong together; columns are named by their 0-based index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: Style
    by: int = Field(ge=0, description="Column that names the group: handle, parent or group id; the SKU for locales.")
    inherited: tuple[int, ...] = Field((), description="handle: columns whose empty cells take the group's value.")
    images: int | None = Field(None, ge=0, description="handle: column whose cells are gathered over the group's rows.")
    images_field: str | None = Field(None, description="handle: array field that holds the gathered images.")
    variants: tuple[int, ...] = Field((), description="nested: columns that only the rows of variants fill.")
    levels: tuple[tuple[int, int], ...] = Field(
        (), description="nested: columns of product and variant that mean the same; a variant's cell goes before."
    )
    position: int | None = Field(None, ge=0, description="handle: column that numbers the images.")
    ids: int | None = Field(None, ge=0, description="parent: column that `id:<ID>` refers to.")
    kinds: int | None = Field(None, ge=0, description="parent: column that says variable, configurable, bundle.")
    locale: int | None = Field(None, ge=0, description="locale: column that names the row's locale.")
    localized: tuple[int, ...] = Field((), description="locale: columns that have a value per locale.")
    names_field: str | None = Field(None, description="locale: localizable field that holds the name per locale.")
    reason: str = Field("", description="Why it is proposed, for people.")

    @property
    def columns(self) -> tuple[int, ...]:
        """Every column it refers to."""
        single = (self.by, self.images, self.position, self.ids, self.kinds, self.locale)
        return (
            *(index for index in single if index is not None),
            *self.inherited,
            *self.localized,
            *self.variants,
            *(index for level in self.levels for index in level),
        )

    @property
    def folds(self) -> bool:
        """Whether rows become part of others, so that a group must be seen whole."""
        return self.style in ("handle", "nested", "locale")
