"""Propose which records of a file belong together, from what its columns mean and from its first rows.

A grouping is proposed where the file shows it: rows of one handle that leave the name to the first of them, cells
that name other rows' SKUs, a SKU that comes once per locale. Headers alone prove nothing, but they break ties.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from pim_platform.catalog.identity import sku_key_expr
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.models import PRODUCT_COLUMN_TYPES, ColumnMapping
from pim_platform.intake.mapping.names import read_header

#: Meanings that belong to the whole product: a variant that leaves them empty has its product's.
_SHARED = frozenset(
    [
        "name", "description", "brand", "manufacturer", "category", "tags", "status", "url", "seo_title",
        "seo_description", "option_name", "currency", "image_url",
    ]
)  # fmt: skip
#: Meanings that belong to one variant only: what it leaves empty, it does not have.
_OWN = frozenset(
    [
        "sku", "gtin", "mpn", "price", "compare_at_price", "cost", "stock_quantity", "weight", "weight_unit",
        "dimensions", "option_value", "variant_group",
    ]
)  # fmt: skip
#: A share of rows that counts as all of them: exports have slips.
_NEARLY_ALL = 0.95
#: Words of headers that name a parent, in the languages of the alias dictionaries.
_PARENT = re.compile(
    r"\b(parent|master|configurable|elternartikel|vaterartikel|hauptartikel|père|principal|padre|nadrzędny|nadřazený|"
    r"родитель)\w*\b"
)
#: Types of products as WooCommerce, Magento, UnoPim and Amazon write them.
_KINDS = re.compile(r"\b(simple|variable|variation|configurable|grouped|bundle|virtual|parent|child)\b")
_LOCALE_HEADERS = frozenset(
    ["locale", "language", "lang", "language code", "locale code", "sprache", "langue", "idioma", "lingua", "taal"]
)
_LOCALE = r"^[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?$"
_BY_ID = r"^id:\s*\d+$"


def propose_groupings(
    headers: Sequence[str],
    columns: Sequence[ColumnMapping],
    first: pl.DataFrame,
    schema: ProductSchema | None = None,
    *,
    expand: str | None = None,
) -> list[Grouping]:
    """The groupings that a file's ``first`` rows (consecutive, with ``row`` and cells) show; mostly none.

    ``expand`` names the list whose entries have rows of their own (``Dialect.expand``).
    """
    sku = next((column for column in columns if column.field == "sku" and not column.ignored), None)
    if expand is not None and (nested := _nested(headers, columns, first, sku, expand)) is not None:
        return [nested]
    found: list[Grouping] = []
    keys = [read_header(header).key for header in headers]
    for column in sorted(columns, key=lambda c: (c.target != "variant_group", c.index)):
        if column.target != "variant_group" and keys[column.index] != "handle":
            continue
        if first.select((_cell(column.index) != "0").any().not_()).item():
            continue  # nothing, or the 0 that stands for no parent (WordPress, Magento, PrestaShop)
        # What cells show goes before what the header says: a "parent" may name a group whose first row has no SKU.
        parents = _parents(column, columns, keys, first, sku)
        handles = None if parents else _handles(column, columns, keys, first, schema)
        named = None if parents or handles else _parents(column, columns, keys, first, sku, by_name=True)
        if parents or handles or named or column.target == "variant_group":
            found.append(parents or handles or named or _same(column))
            break
    locales = _locales(columns, keys, first, sku, schema) if sku is not None else None
    if locales is not None and not any(grouping.folds for grouping in found):
        found.append(locales)
    return found


def _nested(
    headers: Sequence[str],
    columns: Sequence[ColumnMapping],
    first: pl.DataFrame,
    sku: ColumnMapping | None,
    expand: str,
) -> Grouping | None:
    """The rows of variants behind the row of their product, told apart by the columns that only variants fill."""
    variants = {
        index: re.split(r"[./@]", header)[-1] for index, header in enumerate(headers) if header.startswith(expand)
    }
    if not variants or sku is None or sku.index not in variants:
        return None
    products = first.filter(pl.all_horizontal([_cell(index).is_null() for index in variants]))
    outside = [index for index in range(len(headers)) if index not in variants]
    leaves = {index: re.split(r"[./@]", headers[index])[-1] for index in outside}
    # A column that tells one product from another: its SKU, a handle, an id; the shorter its path the more its own.
    order = [variants[sku.index], "handle", "slug", "id", "code", "uid", "key", "url"]
    named = sorted(
        (index for index in outside if leaves[index].casefold() in order),
        key=lambda index: (len(headers[index]) - len(leaves[index]), order.index(leaves[index].casefold())),
    )
    # ``productGroupID`` of schema.org and the like: ids of which nobody knows the name.
    groups = [c.index for c in columns if c.target == "variant_group" and c.index in leaves]
    ids = [index for index in outside if read_header(leaves[index]).key.split()[-1:] in (["id"], ["key"], ["code"])]
    named = list(dict.fromkeys([*named, *groups, *ids]))
    by = next(
        (i for i in named if _filled(first, i) == first.height and products.select(_cell(i).is_unique().all()).item()),
        None,
    )
    if by is None:
        return None
    levels = [
        (outer, inner)
        for inner, leaf in variants.items()
        for outer in outside
        if headers[outer] == leaf and leaf.casefold() not in ("id", "name", "title", "handle", "description")
    ]
    return Grouping(
        style="nested",
        by=by,
        variants=tuple(variants),
        levels=tuple(levels),
        reason=f"the entries of {expand!r} are variants of the product around them",
    )


def _handles(
    column: ColumnMapping,
    columns: Sequence[ColumnMapping],
    keys: Sequence[str],
    first: pl.DataFrame,
    schema: ProductSchema | None,
) -> Grouping | None:
    """Rows of one product, where the rows behind the first leave the product's name to it."""
    name = next((c for c in columns if c.field == "name" and not c.ignored), None)
    if name is None:
        return None
    rows = first.with_columns(_group=_cell(column.index)).drop_nulls("_group")
    rows = rows.with_columns(_first=pl.col("row") == pl.col("row").min().over("_group"))
    heads = rows.filter(pl.col("_first") & (pl.len().over("_group") > 1))
    rest = rows.filter(~pl.col("_first"))
    shopify = column.target == "variant_group" and any(key.startswith("variant ") for key in keys)
    if rest.height == 0:
        if not shopify:
            return None
    elif _share(heads, name.index) < _NEARLY_ALL or _share(rest, name.index) > 1 - _NEARLY_ALL:
        return None
    inherited = []
    for other in columns:
        words = keys[other.index].split()
        if other.index == column.index or other.ignored or other.target in _OWN or "variant" in words:
            continue
        once = _share(heads, other.index) > 0 and _share(rest, other.index) <= 1 - _NEARLY_ALL and "image" not in words
        if other.target in _SHARED or once:
            inherited.append(other.index)
    images = next(
        (c.index for c in columns if c.target == "image_url" and "variant" not in keys[c.index].split()), None
    )
    position = next((i for i, key in enumerate(keys) if key in ("image position", "image sort order")), None)
    several = rest.height > 0
    return Grouping(
        style="handle",
        by=column.index,
        inherited=tuple(inherited),
        images=images,
        images_field=_images_field(columns, schema) if images is not None else None,
        position=position if images is not None else None,
        reason=f"rows of one {column.source!r} leave {name.source!r} to the first of them: one product"
        if several
        else f"{column.source!r} names the product of a variant",
    )


def _names_field(
    columns: Sequence[ColumnMapping], localized: Sequence[int], schema: ProductSchema | None
) -> str | None:
    """A field for the names per locale, where names differ: a product has one name in a column of its own."""
    if not any(column.field == "name" and column.index in localized for column in columns):
        return None
    taken = {column.field for column in columns if not column.ignored}
    for name in ("localized_name", "names", "name_by_locale"):
        known = schema.field(name) if schema else None
        if name not in taken and (known is None or (known.type == "string" and known.localizable)):
            return name
    return None


def _images_field(columns: Sequence[ColumnMapping], schema: ProductSchema | None) -> str:
    """A field for all images of a product: one that the schema has for it, or a new one beside what the file gives."""
    taken = {column.field for column in columns if not column.ignored}
    for name in ("images", "image_urls", "all_images"):
        known = schema.field(name) if schema else None
        if name not in taken and (known is None or known.type == "array"):
            return name
    return next(f"images_{n}" for n in range(2, 10_000) if f"images_{n}" not in taken)


def _parents(
    column: ColumnMapping,
    columns: Sequence[ColumnMapping],
    keys: Sequence[str],
    first: pl.DataFrame,
    sku: ColumnMapping | None,
    *,
    by_name: bool = False,
) -> Grouping | None:
    """A column whose cells name the SKU of the row's parent, or its id; ``by_name``: whose header says so."""
    if sku is None or sku.index == column.index:
        return None
    cells = first.select(ref=_cell(column.index)).filter(pl.col("ref") != "0")
    ids = next((index for index, key in enumerate(keys) if key in ("id", "product id", "post id")), None)
    by_id = bool(cells["ref"].str.contains(_BY_ID).any())
    if ids is not None and ids != column.index:
        rows = first.select(ref=_cell(ids)).drop_nulls().unique()
        by_id = by_id or 2 * cells.unique().join(rows, on="ref", how="semi").height > cells["ref"].n_unique()
    known = first.select(key=sku_key_expr(_cell(sku.index))).drop_nulls().unique()
    refs = cells.select(key=sku_key_expr(pl.col("ref"))).unique()
    own = first.select(sku_key_expr(_cell(column.index)).eq(sku_key_expr(_cell(sku.index))).mean()).item() or 0.0
    named = refs.join(known, on="key", how="semi").height
    # Group ids that happen to be SKUs of the same rows say nothing of parents.
    shown = named > refs.height / 2 and own < _NEARLY_ALL
    if not (by_id or shown or (by_name and _PARENT.search(keys[column.index]))):
        return None
    kinds = next(
        (
            index
            for index, key in enumerate(keys)
            if key.split()[-1:] and key.split()[-1] in ("type", "kind", "child", "parentage", "typ")
            and index != column.index
            and (first.select(_cell(index).str.to_lowercase().str.contains(_KINDS.pattern).mean()).item() or 0) > 0.5
        ),
        None,
    )  # fmt: skip
    why = "cells name the SKUs of other rows" if shown else "cells name the ids of other rows" if by_id else "its name"
    return Grouping(
        style="parent",
        by=column.index,
        ids=ids,
        kinds=kinds,
        reason=f"{column.source!r} names the parent of a variant: {why}",
    )


def _same(column: ColumnMapping) -> Grouping:
    return Grouping(style="group", by=column.index, reason=f"rows of one {column.source!r} are variants of one product")


def _locales(
    columns: Sequence[ColumnMapping],
    keys: Sequence[str],
    first: pl.DataFrame,
    sku: ColumnMapping,
    schema: ProductSchema | None,
) -> Grouping | None:
    """A locale column beside SKUs that come once per locale."""
    for index, key in enumerate(keys):
        if key not in _LOCALE_HEADERS or _share(first, index) < _NEARLY_ALL:
            continue
        rows = first.select(
            pl.exclude("row"), _sku=sku_key_expr(_cell(sku.index)), _locale=_cell(index)
        ).drop_nulls(["_sku", "_locale"])  # fmt: skip
        if not rows.height or not rows["_locale"].str.contains(_LOCALE).all():
            continue
        several = rows.filter(pl.col("_locale").n_unique().over("_sku") > 1)
        if not several.height:
            continue
        localized = []
        for column in columns:
            if column.ignored or column.index in (index, sku.index) or column.type not in ("string", "array", "url"):
                continue
            if column.field in PRODUCT_COLUMN_TYPES and column.field != "name":
                continue
            known = schema.field(str(column.field)) if schema else None
            if known is not None and not known.localizable:
                continue  # it was decided before that this field has one value
            cell = _cell(column.index)
            differs = several.group_by("_sku").agg(cell.drop_nulls().n_unique().alias("n"))["n"].max()
            if (isinstance(differs, int) and differs > 1) or column.target in ("name", "description"):
                localized.append(column.index)
        return Grouping(
            style="locale",
            by=sku.index,
            locale=index,
            localized=tuple(localized),
            names_field=_names_field(columns, localized, schema),
            reason=f"a SKU comes once per {columns[index].source!r}: one product with values per locale",
        )
    return None


def _cell(index: int) -> pl.Expr:
    text = pl.col(f"{RAW_PREFIX}{index}").str.strip_chars()
    return pl.when(text != "").then(text)


def _filled(frame: pl.DataFrame, index: int) -> int:
    return int(frame.select(_cell(index).count()).item())


def _share(frame: pl.DataFrame, index: int) -> float:
    return _filled(frame, index) / frame.height if frame.height else 0.0
