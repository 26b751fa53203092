"""Variants and their parents: incoming rows name a parent by its SKU, products by its id.

A parent may stand in the same import, in the catalogue, or come later; then its variants wait with their
``variant_group`` and are linked by the commit that creates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from pim_platform.catalog.identity import IdSeries
from pim_platform.catalog.incoming import TABLE, Incoming

_RESOLVE = sql.SQL("""
UPDATE {incoming} i SET parent_id = w.id
FROM (SELECT r.parent_sku, coalesce(p.id, n.id) AS id
      FROM (SELECT DISTINCT parent_sku FROM {incoming} WHERE parent_sku IS NOT NULL) r
      LEFT JOIN pim.products p ON p.tenant_id = {tenant} AND p.sku_key = r.parent_sku
      -- The id that the parent gets if this import creates it; a row without name creates nothing.
      LEFT JOIN (SELECT sku_key, ({head} || lpad(to_hex({start} + "row"), 12, '0'))::uuid AS id
                 FROM {incoming} WHERE {named}) n ON n.sku_key = r.parent_sku) w
WHERE i.parent_sku = w.parent_sku AND i.parent_sku <> i.sku_key AND w.id IS NOT NULL
""")

_UNKNOWN = sql.SQL("""
SELECT count(*), min(parent_sku) FROM {incoming}
WHERE parent_sku IS NOT NULL AND parent_id IS NULL AND parent_sku <> sku_key
""")

_ADOPT = sql.SQL("""
WITH linked AS (
  UPDATE pim.products p
  SET parent_id = n.id, version = p.version + 1, commit_seq = %(seq)s, updated_at = now()
  FROM {plan} s JOIN pim.products n ON n.tenant_id = {tenant} AND n.sku_key = s.sku_key
  -- A variant may be the parent of others itself, where products have several levels.
  WHERE s.action = 'create' AND (s.kind = 'parent' OR {levels} AND s.kind = 'variant' AND s.variant_group <> s.sku)
    AND p.tenant_id = {tenant} AND p.variant_group = s.sku AND p.kind = 'variant' AND p.commit_seq < %(seq)s
    AND NOT EXISTS (SELECT FROM pim.products x WHERE x.tenant_id = {tenant} AND x.id = p.parent_id)
  RETURNING new.id, new.sku_key, new.version, old.parent_id AS before, new.parent_id AS after)
INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                 actor, job_id, request_id, source, old, new)
SELECT {tenant}, %(seq)s, id, now(), 'update', sku_key, version, %(actor)s, %(job_id)s, %(request_id)s, %(source)s,
       jsonb_strip_nulls(jsonb_build_object('parent_id', before)), jsonb_build_object('parent_id', after)
FROM linked
""")


@dataclass(frozen=True)
class Unknown:
    """Variants whose parent neither the import nor the catalogue has, and the SKU key of one such parent."""

    variants: int = 0
    example: str | None = None


#: Every parent is known.
NONE_UNKNOWN = Unknown()


def resolve_parents(connection: psycopg.Connection[Any], tenant_id: UUID, incoming: Incoming, ids: IdSeries) -> Unknown:
    """Give the loaded rows the ids of the parents they name; ``ids`` is the series that numbers new products."""
    if not incoming.names_parents:
        return NONE_UNKNOWN
    connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN parent_id uuid").format(TABLE))
    names = {"incoming": TABLE, "tenant": sql.Literal(str(tenant_id))}
    named = sql.SQL("name IS NOT NULL") if incoming.column("name") else sql.SQL("false")
    series = {"head": sql.Literal(ids.head), "start": sql.Literal(ids.start)}
    connection.execute(_RESOLVE.format(named=named, **names, **series))
    row = connection.execute(_UNKNOWN.format(incoming=TABLE)).fetchone()
    assert row is not None
    return Unknown(int(row[0]), row[1])


def adopt_variants(
    connection: psycopg.Connection[Any],
    tenant_id: UUID,
    incoming: Incoming,
    plan: sql.Identifier,
    author: dict[str, Any],
) -> int:
    """Link variants that waited for a parent which this commit created; returns how many. The lock is held.

    ``author`` holds what the change log tells of the commit: seq, actor, job_id, request_id, source.
    """
    if incoming.column("kind") is None or incoming.column("variant_group") is None:
        return 0
    levels = sql.Literal(incoming.names_parents)
    statement = _ADOPT.format(plan=plan, tenant=sql.Literal(str(tenant_id)), levels=levels)
    return connection.execute(statement, author).rowcount
