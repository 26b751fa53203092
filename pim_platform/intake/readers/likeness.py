"""How much an object looks like a product: by what its keys are called, in any language we know.

Used to find the records of a tree: the products among users, regions, categories and reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import log2
from typing import Any, TypeVar

from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.names import key_of

Path = TypeVar("Path", bound=tuple[Any, ...])

#: What each meaning adds. An id, a name or a link alone is in every kind of record; a price or a GTIN is not.
_WEIGHTS = {
    "sku": 2.0, "gtin": 3.0, "mpn": 2.5, "price": 2.5, "compare_at_price": 1.0, "cost": 1.0, "brand": 2.0,
    "manufacturer": 1.5, "name": 1.5, "description": 1.0, "category": 1.0, "image_url": 1.5, "stock_quantity": 2.0,
    "weight": 1.0, "dimensions": 0.5, "color": 1.0, "size": 1.0, "material": 1.0, "variant_group": 1.0, "tags": 0.5,
    "url": 0.5,
}  # fmt: skip
#: Names of lists and elements that hold products, by their letters.
PRODUCTS = frozenset([
    "product", "products", "item", "items", "article", "articles", "artikel", "shopitem", "offer", "entry", "entries",
    "produkt", "produkte", "produit", "produits", "producto", "productos", "prodotto", "prodotti", "produto",
    "produtos", "tovar", "record", "records", "row", "rows", "productlist", "catalog", "catalogue", "goods", "book",
    "books", "listing", "listings", "sku", "skus", "towar", "zbozi", "articulo", "articulos", "articolo", "articoli",
])  # fmt: skip
#: The same for what belongs to a product: its own record is the one around.
VARIANTS = frozenset([
    "variant", "variants", "variation", "variations", "varianten", "variante", "variantes", "varianty", "variantes",
    "children", "child", "childproducts", "simples", "combination", "combinations", "skus", "hasvariant",
    "configurations", "subarticles", "subitems", "editions", "sizes", "varianti", "wariant", "warianty",
])  # fmt: skip
_OTHERS = frozenset([
    "user", "users", "customer", "customers", "order", "orders", "review", "reviews", "category", "categories",
    "region", "regions", "country", "countries", "currency", "currencies", "image", "images", "media", "header",
    "supplier", "store", "shop", "meta", "pagination", "links", "author", "address", "offers", "brands", "brand",
    "tag", "tags", "option", "options", "attribute", "attributes", "price", "prices", "shippingoptions", "collections",
    "related", "relatedproducts", "lineitems", "classificationgroup", "param", "feature", "features", "shipping",
])  # fmt: skip


def letters_of(name: str) -> str:
    """A name's letters and digits in lower case."""
    return "".join(char for char in name.casefold() if char.isalnum())


@cache
def target_of(name: str) -> str | None:
    """The canonical target a key stands for, by the alias dictionaries; None where it is no product word."""
    words = key_of(name.split(":", 1)[-1])
    known = dictionary()
    if words in ("id", "ids", "code", "key", "number", "type", "value", "no", "nr", "pid", "aid"):
        return None
    found = known.targets.get(words)
    if found is None:
        # BMEcat and its kin say SUPPLIER_PID, INTERNATIONAL_PID, PRODUCT_DETAILS: words that end in an id's name.
        tail = words.split()[-1] if words else ""
        if tail in ("sku", "pid", "aid", "gtin", "ean", "upc", "isbn", "mpn"):
            return {"pid": "sku", "aid": "sku", "sku": "sku", "mpn": "mpn"}.get(tail, "gtin")
        return known.weak.get(words)
    return found[0]


def is_sku(name: str) -> bool:
    """Whether a key is an article number of its own: more than a bare ``id``."""
    return target_of(name) in ("sku", "gtin", "mpn")


def likeness(keys: Mapping[str, float], container: str, count: int, depth: int) -> float:
    """A score for records with these keys (key -> share of records that have it), found ``count`` times.

    ``container``: name of the list or element they are; ``depth``: how far down it stands.
    Above :data:`ENOUGH` an object is a product.
    """
    best: dict[str, float] = {}
    for key, share in keys.items():
        target = target_of(key)
        if target is not None:
            best[target] = max(best.get(target, 0.0), _WEIGHTS.get(target, 0.3) * share)
    score = sum(best.values())
    word = letters_of(container)
    if word in VARIANTS:
        score -= 2.0
    elif word in _OTHERS:
        score -= 4.0
    elif word in PRODUCTS or any(word.endswith(end) for end in ("product", "products", "article", "produkt")):
        score += 4.0
    return score + min(log2(max(count, 1)), 4.0) * 0.5 - 0.3 * depth


#: Least score of a product among other kinds of records.
ENOUGH = 3.0


def choose(
    scores: Mapping[Path, float], container: Callable[[Path], str], repeated: Callable[[Path], bool]
) -> Path | None:
    """The path of the products by these scores; None where none looks like a product.

    The best one, unless something around it is a product itself: then the best one is a part of that, as
    variants are. What is around a list of products may look like one too (a shop has a name, an address and a
    description), so it must be repeated or be called a product where the list is.
    """
    if not scores:
        return None
    best = max(scores, key=lambda path: (scores[path], -len(path)))
    if scores[best] < ENOUGH:
        return None
    for length in range(len(best)):
        around: Any = best[:length]
        if scores.get(around, 0.0) < max(ENOUGH, scores[best] / 2):
            continue
        if letters_of(container(best)) not in PRODUCTS or letters_of(container(around)) in PRODUCTS or repeated(around):
            return around  # type: ignore[no-any-return]  # a slice of a path is a path; both kinds of path are sliced
    return best


def shares(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Key -> share of the records that have it; a record says per key how much it counts."""
    counts: dict[str, float] = {}
    total = 0
    for keys in records:
        total += 1
        for key, weight in keys.items():
            counts[key] = counts.get(key, 0) + weight
    return {key: count / max(total, 1) for key, count in counts.items()}
