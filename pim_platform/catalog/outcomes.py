"""What became of every row of a merge, while its ``plan`` is there (see :func:`pim_platform.catalog.merge.merge`)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast
from uuid import UUID

import psycopg
from psycopg import sql

from pim_platform.catalog.diff import PLAN
from pim_platform.catalog.identity import IdSeries

Fate = Literal["created", "updated", "unchanged", "rejected", "superseded"]

_FATES: dict[str, Fate] = {"create": "created", "update": "updated", "same": "unchanged", "nameless": "rejected"}

_ROWS = sql.SQL("""
SELECT s."row", s.action, coalesce(s.product_id, ({head} || lpad(to_hex({start} + s."row"), 12, '0'))::uuid)
FROM {plan} s
UNION ALL
-- Of a key without a name no row counts; of any other all but the last are superseded by it.
SELECT r, CASE s.action WHEN 'nameless' THEN 'nameless' ELSE 'superseded' END,
       coalesce(s.product_id, ({head} || lpad(to_hex({start} + s."row"), 12, '0'))::uuid)
FROM {plan} s JOIN doubled d USING (sku_key) CROSS JOIN unnest(d.rows) r WHERE r <> s."row"
""")


class Outcome(NamedTuple):
    """A row by its number, what became of it, and the product that it means; None where there is none."""

    row: int
    fate: Fate
    product_id: UUID | None


def outcomes(connection: psycopg.Connection[Any], ids: IdSeries) -> list[Outcome]:
    """What became of every row that was loaded, in no order; ``ids`` numbered the new products."""
    rows = connection.execute(
        _ROWS.format(plan=PLAN, head=sql.Literal(ids.head), start=sql.Literal(ids.start))
    ).fetchall()
    found = []
    for row, action, product_id in rows:
        fate = cast("Fate", _FATES.get(action, action))
        found.append(Outcome(int(row), fate, None if fate == "rejected" else product_id))
    return found
