"""History, read from the change log: of one product, and of one import (design D9).

A product that an import creates has no log entry; its creation is told from the product's own row, and from a
deleted product's image. Entries older than the retention of the log are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from pim_platform.catalog.deleting import IMAGE
from pim_platform.catalog.products import decode_cursor, encode_cursor
from pim_platform.errors import InvalidRequest, NotFound

#: Entries a page may hold.
MAXIMUM_PAGE = 1000

# A deleted product field by field, without what only bringing it back needs.
_SHOWN = ("name", "active", "kind", "variant_group", "parent_id")
_IMAGE = f"jsonb_strip_nulls(jsonb_build_object({', '.join(f'{name!r}, c.{IMAGE[name]}' for name in _SHOWN)})) || c.old"


@dataclass(frozen=True)
class Entry:
    """One product in one commit; ``sku`` and ``name`` are those of now, or the last ones.

    ``changes`` is ``{field: (old, new)}``, None for no value. ``action`` is ``create``, ``update`` or ``delete``.
    Of a creation by an import no values are told, and no actor (the job has it); one by an undo has both.
    """

    product_id: UUID
    sku: str
    name: str
    action: str
    version: int
    commit_seq: int
    at: datetime
    actor: str | None
    source: str
    job_id: UUID | None
    request_id: str | None
    changes: dict[str, tuple[Any, Any]]

    def as_json(self) -> dict[str, Any]:
        """The entry as the API shows it."""
        return {
            "product_id": str(self.product_id),
            "sku": self.sku,
            "name": self.name,
            "action": self.action,
            "version": self.version,
            "commit": self.commit_seq,
            "at": self.at.isoformat(),
            "actor": self.actor,
            "source": self.source,
            "job_id": str(self.job_id) if self.job_id else None,
            "request_id": self.request_id,
            "changes": [{"field": name, "old": old, "new": new} for name, (old, new) in sorted(self.changes.items())],
        }


@dataclass(frozen=True)
class HistoryPage:
    """A page of entries and the cursor of the next one, None at the end."""

    entries: list[Entry]
    next_cursor: str | None


_LOGGED = f"""
SELECT c.product_id, coalesce(p.sku, c.image_sku, c.old ->> 'sku', c.sku_key), c.action, c.version, c.commit_seq,
       c.changed_at, c.actor, c.source, c.job_id, c.request_id,
       CASE c.action WHEN 'delete' THEN {_IMAGE} ELSE c.old END, c.new,
       coalesce(p.name, c.image_name, c.old ->> 'name', '')
FROM pim.product_changes c LEFT JOIN pim.products p ON p.tenant_id = :tenant AND p.id = c.product_id
WHERE c.tenant_id = :tenant
"""

# Told from the live row, or from the newest image of a product that is gone. Who wrote a product last is not
# always who created it: only where nobody touched it since, the row's own job is told.
_CREATION = """
SELECT p.id, p.sku, 'create', 1, p.created_seq, p.created_at, NULL,
       CASE WHEN p.commit_seq = p.created_seq THEN p.source ELSE '' END,
       CASE WHEN p.commit_seq = p.created_seq THEN p.job_id END, NULL, '{}'::jsonb, '{}'::jsonb, p.name
FROM pim.products p WHERE p.tenant_id = :tenant AND p.id = :product
UNION ALL
(SELECT c.product_id, c.image_sku, 'create', 1, c.image_created_seq, c.image_created_at, NULL, '', NULL, NULL,
        '{}'::jsonb, '{}'::jsonb, c.image_name
 FROM pim.product_changes c
 WHERE c.tenant_id = :tenant AND c.product_id = :product AND c.action = 'delete'
   AND NOT EXISTS (SELECT FROM pim.products p WHERE p.tenant_id = :tenant AND p.id = :product)
 ORDER BY c.commit_seq DESC LIMIT 1)
"""


def product_history(session: Session, product_id: UUID, *, cursor: str | None = None, limit: int = 50) -> HistoryPage:
    """What happened to a product of the session's tenant, newest first; its creation comes last.

    A deleted product has a history as long as the log is kept. Raises NotFound, also for another tenant's
    product, and InvalidRequest for a bad cursor or limit.
    """
    _require_limit(limit)
    tenant_id: UUID = session.info["tenant_id"]
    before = _number(cursor) if cursor is not None else None
    rows = session.execute(
        text(
            _LOGGED + "AND c.product_id = :product AND (CAST(:before AS bigint) IS NULL OR c.commit_seq < :before) "
            "ORDER BY c.commit_seq DESC LIMIT :limit"
        ),
        {"tenant": tenant_id, "product": product_id, "before": before, "limit": limit + 1},
    ).all()
    entries = [_entry(row) for row in rows]
    if len(entries) <= limit:
        created = session.execute(text(_CREATION), {"tenant": tenant_id, "product": product_id}).first()
        if created is None and not entries and before is None:
            raise NotFound(
                f"There is no product {product_id}.", fix="List the products to find its id.", code="unknown_product"
            )
        if created is not None and (before is None or created[4] < before):
            entries.append(_entry(created))
    page = entries[:limit]
    more = len(entries) > limit
    return HistoryPage(page, encode_cursor(str(page[-1].commit_seq)) if more else None)


_CREATED = """
SELECT p.id, p.sku, 'create', 1, p.created_seq, p.created_at, NULL, p.source, CAST(:job AS uuid), NULL, '{}'::jsonb,
       '{}'::jsonb, p.name
FROM pim.products p
WHERE p.tenant_id = :tenant AND p.created_seq = ANY(:commits) AND p.commit_seq >= :first AND p.id > :after
ORDER BY p.id LIMIT :limit
"""


def import_changes(
    session: Session, commits: Sequence[int], job_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> HistoryPage:
    """What the commits of one import did, by product, field by field, in the order of the products' ids.

    Products it created are told as far as they still exist. Raises InvalidRequest for a bad cursor or limit.
    """
    _require_limit(limit)
    after = _product(cursor) if cursor is not None else UUID(int=0)
    given = {
        "tenant": session.info["tenant_id"],
        "commits": list(commits),
        "first": min(commits, default=0),
        "after": after,
        "job": job_id,
        "limit": limit + 1,
    }
    logged = session.execute(
        text(
            _LOGGED + "AND c.commit_seq = ANY(:commits) AND c.product_id > :after "
            "ORDER BY c.product_id, c.commit_seq LIMIT :limit"
        ),
        given,
    ).all()
    created = session.execute(text(_CREATED), given).all()
    entries = sorted([_entry(row) for row in (*created, *logged)], key=lambda e: (e.product_id, e.commit_seq))
    page = entries[:limit]
    return HistoryPage(page, encode_cursor(str(page[-1].product_id)) if len(entries) > limit else None)


def _entry(row: Any) -> Entry:
    old, new = dict(row[10]), dict(row[11])
    changes = {name: (old.get(name), new.get(name)) for name in {*old, *new} - {"sku_key"}}
    product_id, sku, action, version, seq, at, actor, source, job_id, request_id = row[:10]
    return Entry(product_id, sku, row[12], action, version, seq, at, actor, source, job_id, request_id, changes)


def _require_limit(limit: int) -> None:
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise InvalidRequest(f"A page cannot hold {limit} entries.", fix=f"Ask for 1 to {MAXIMUM_PAGE}.")


def _number(cursor: str) -> int:
    decoded = decode_cursor(cursor)
    if not decoded.isdigit() or len(decoded) > 18:
        raise _bad(cursor)
    return int(decoded)


def _product(cursor: str) -> UUID:
    try:
        return UUID(decode_cursor(cursor))
    except ValueError as error:
        raise _bad(cursor) from error


def _bad(cursor: str) -> InvalidRequest:
    return InvalidRequest(
        f"{cursor!r} is not a cursor.", fix="Send the next_cursor of the page before.", column="cursor", value=cursor
    )
