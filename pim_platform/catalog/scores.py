"""The narrow door for scores that somebody else computes, such as how well a machine can read a product (seed 000).

A score is no part of what a product is: it moves no version, makes no log entry and tells no webhook, or a nightly
scoring would look like a change of the whole catalogue. It stays in PostgreSQL; nothing filters by it in ClickHouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.joins import joining
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.storage.postgres import driver_connection

_SCORED = sql.Identifier("scored")

_FIND_BY_KEY = sql.SQL("""
UPDATE {scored} s SET id = p.id FROM pim.products p
WHERE p.tenant_id = {tenant} AND p.sku_key = s.sku_key AND s.id IS NULL
""")

_FORGET_UNKNOWN = sql.SQL("""
DELETE FROM {scored} s
WHERE NOT EXISTS (SELECT FROM pim.products p WHERE p.tenant_id = {tenant} AND p.id = s.id) RETURNING s."row"
""")

_WRITE = sql.SQL("""
UPDATE pim.products p SET ai_readability_score = s.score
FROM (SELECT DISTINCT ON (id) id, score FROM {scored} ORDER BY id, "row" DESC) s
WHERE p.tenant_id = {tenant} AND p.id = s.id AND p.ai_readability_score IS DISTINCT FROM s.score
""")


class Score(NamedTuple):
    """A score from 0 to 100, null for none, of the product with an id, or with a SKU key where there is none."""

    row: int
    product_id: UUID | None
    sku_key: str | None
    value: float | None


@dataclass(frozen=True)
class Scored:
    """What became of the rows: products changed, rows that change nothing, row numbers of unknown products."""

    updated: int
    unchanged: int
    superseded: int
    unknown: list[int]


def write_scores(session: Session, scores: Sequence[Score], *, wait_seconds: float | None = None) -> Scored:
    """Write scores of products of the session's tenant; of several for one product the last counts.

    Raises TenantBusy after ``wait_seconds``: an import notes where products lie, so nobody may move them meanwhile.
    """
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    lock_catalogue(connection, tenant_id, wait_seconds=wait_seconds)
    connection.execute(
        'CREATE TEMP TABLE scored ("row" integer, id uuid, sku_key text COLLATE "C", score real) ON COMMIT DROP'
    )
    with connection.cursor() as cursor, cursor.copy("COPY scored FROM STDIN") as writer:
        for score in scores:
            writer.write_row(score)
    connection.execute("ANALYZE scored")
    names = {"tenant": sql.Literal(tenant_id), "scored": _SCORED}
    with joining(connection, _SCORED):
        connection.execute(_FIND_BY_KEY.format(**names))
        unknown = connection.execute(_FORGET_UNKNOWN.format(**names)).fetchall()
        changed = connection.execute(_WRITE.format(**names)).rowcount
        products = connection.execute("SELECT count(DISTINCT id) FROM scored WHERE id IS NOT NULL").fetchone()
    connection.execute("DROP TABLE scored")
    assert products is not None
    known = len(scores) - len(unknown)
    return Scored(changed, int(products[0]) - changed, known - int(products[0]), sorted(row for (row,) in unknown))
