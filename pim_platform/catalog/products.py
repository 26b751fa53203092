"""Reading products from PostgreSQL: by id or key, and in keyset pages (design D11)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.models import Product
from pim_platform.errors import InvalidRequest, NotFound

#: Products a page may hold; seed 004 asks for pages of 50 to 100.
MAXIMUM_PAGE = 1000


@dataclass(frozen=True)
class ProductPage:
    """One page in key order and the cursor of the next one, None at the end."""

    products: Sequence[Product]
    next_cursor: str | None


def checked_limit(limit: int) -> int:
    """``limit``, where a page can hold so many products. Raises InvalidRequest."""
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise InvalidRequest(
            f"A page cannot hold {limit} products.",
            fix=f"Ask for 1 to {MAXIMUM_PAGE}.",
            column="limit",
            value=str(limit),
        )
    return limit


def list_products(
    session: Session, *, cursor: str | None = None, limit: int = 50, variant_group: str | None = None
) -> ProductPage:
    """A page of the tenant's products by ``sku_key``, of one group only where it is named.

    Raises InvalidRequest for a bad cursor or limit.
    """
    checked_limit(limit)
    query = select(Product).where(Product.tenant_id == session.info["tenant_id"]).order_by(Product.sku_key)
    if variant_group is not None:
        query = query.where(Product.variant_group == variant_group)
    if cursor is not None:
        query = query.where(Product.sku_key > decode_cursor(cursor))
    found = session.scalars(query.limit(limit + 1)).all()
    page = found[:limit]
    return ProductPage(page, encode_cursor(page[-1].sku_key) if len(found) > limit else None)


def get_product(session: Session, product_id: UUID) -> Product:
    """One product by id. Raises NotFound, also for another tenant's."""
    found = session.scalar(
        select(Product).where(Product.tenant_id == session.info["tenant_id"], Product.id == product_id)
    )
    if found is None:
        raise NotFound(
            f"There is no product {product_id}.", fix="List the products to find its id.", code="unknown_product"
        )
    return found


def find_product(session: Session, sku: str) -> Product | None:
    """One product by SKU, however it is spelled."""
    return session.scalar(
        select(Product).where(Product.tenant_id == session.info["tenant_id"], Product.sku_key == sku_key(sku))
    )


#: Products of a group shown with one of them; a page of the group shows all.
MAXIMUM_RELATED = 100


@dataclass(frozen=True)
class Relatives:
    """What a product belongs with: its parent, and the variants of its group beside itself, in key order."""

    parent: Product | None
    variants: Sequence[Product]
    more: bool
    """Whether the group has more variants than :data:`MAXIMUM_RELATED`."""


def relatives(session: Session, product: Product) -> Relatives:
    """The parent and the variants of a product's group; all empty where it has none, or the parent is gone."""
    tenant_id = session.info["tenant_id"]
    own = Product.tenant_id == tenant_id
    parent = None
    if product.parent_id is not None:
        parent = session.scalar(select(Product).where(own, Product.id == product.parent_id))
    if product.variant_group is None:
        return Relatives(parent, [], more=False)
    query = select(Product).where(
        own, Product.variant_group == product.variant_group, Product.kind == "variant", Product.id != product.id
    )
    found = session.scalars(query.order_by(Product.sku_key).limit(MAXIMUM_RELATED + 1)).all()
    return Relatives(parent, found[:MAXIMUM_RELATED], more=len(found) > MAXIMUM_RELATED)


def encode_cursor(key: str) -> str:
    """The opaque cursor that stands for a key: the page after it begins there."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The key a cursor stands for. Raises InvalidRequest for what is none."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        if "\x00" in key:
            raise ValueError("NUL")
        return key
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidRequest(
            f"{cursor!r} is not a cursor.",
            fix="Send the next_cursor of the page before.",
            column="cursor",
            value=cursor,
        ) from error


def as_json(product: Product) -> dict[str, Any]:
    """A product as the API shows it: ``data`` under its own key, fixed columns beside it."""
    return {
        "id": str(product.id),
        "sku": product.sku,
        "name": product.name,
        "active": product.active,
        "kind": product.kind,
        "parent_id": str(product.parent_id) if product.parent_id else None,
        "variant_group": product.variant_group,
        "data": product.data,
        "source": product.source,
        "ai_readability_score": product.ai_readability_score,
        "version": product.version,
        "created_at": product.created_at.isoformat(),
        "updated_at": product.updated_at.isoformat(),
    }
