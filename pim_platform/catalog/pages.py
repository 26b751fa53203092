"""Products as JSON text, read the shortest way: one round trip, and PostgreSQL writes the JSON (design D11).

Pages are what integrators ask for most. Loading rows into objects and writing them as JSON again costs ten times what
the database does for a page, and rounds nothing less: jsonb keeps its digits (design D16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from sqlalchemy import Engine

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.products import checked_limit, decode_cursor, encode_cursor
from pim_platform.storage.postgres import tenant_rows

#: A product as the API shows it: what :func:`pim_platform.catalog.products.as_json` makes.
_SHOWN: LiteralString = """
SELECT p.sku_key, to_json(r)::text
FROM (SELECT * FROM pim.products WHERE tenant_id = %s {which}) p
CROSS JOIN LATERAL (
  SELECT p.id, p.sku, p.name, p.active, p.kind, p.parent_id, p.variant_group, p.data, p.source,
         p.ai_readability_score, p.version, to_char(p.created_at AT TIME ZONE 'UTC', {time}) AS created_at,
         to_char(p.updated_at AT TIME ZONE 'UTC', {time}) AS updated_at) r
"""
_TIME: LiteralString = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
_FIRST = _SHOWN.format(which="ORDER BY sku_key LIMIT %s", time=_TIME)
_NEXT = _SHOWN.format(which="AND sku_key > %s ORDER BY sku_key LIMIT %s", time=_TIME)
_GROUP = _SHOWN.format(which="AND variant_group = %s AND sku_key > %s ORDER BY sku_key LIMIT %s", time=_TIME)
_KEYS = _SHOWN.format(which="AND sku_key = ANY(%s)", time=_TIME)


@dataclass(frozen=True)
class JsonPage:
    """Products as JSON texts, and the cursor of the next page."""

    products: list[str]
    next_cursor: str | None


def key_page(
    engine: Engine, tenant_id: UUID, *, cursor: str | None = None, limit: int = 50, variant_group: str | None = None
) -> JsonPage:
    """A page of the tenant's products by ``sku_key``, of one group only where it is named.

    Raises InvalidRequest for a bad cursor or limit, EngineUnavailable.
    """
    checked_limit(limit)
    after = None if cursor is None else decode_cursor(cursor)
    if variant_group is not None:
        rows = tenant_rows(engine, tenant_id, _GROUP, (tenant_id, variant_group, after or "", limit + 1))
    elif after is None:
        rows = tenant_rows(engine, tenant_id, _FIRST, (tenant_id, limit + 1))
    else:
        rows = tenant_rows(engine, tenant_id, _NEXT, (tenant_id, after, limit + 1))
    page = rows[:limit]
    return JsonPage([row[1] for row in page], encode_cursor(page[-1][0]) if len(rows) > limit else None)


def products_of(engine: Engine, tenant_id: UUID, keys: Sequence[str]) -> list[str]:
    """The tenant's products of these keys as JSON texts, in the order of the keys; those that are gone are left out."""
    if not keys:
        return []
    found = dict(tenant_rows(engine, tenant_id, _KEYS, (tenant_id, list(keys))))
    return [found[key] for key in keys if key in found]


def product_of_sku(engine: Engine, tenant_id: UUID, sku: str) -> list[str]:
    """The product of a SKU, however it is spelled, as one JSON text; none where there is no such product."""
    return products_of(engine, tenant_id, [sku_key(sku)])
