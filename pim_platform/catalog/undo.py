"""Undoing the commits of an import, field by field, without undoing what came after it (design D15).

What happens is decided once, per product, in the temporary table ``undo_plan``; a preview reads it, an undo
writes from it, so both say the same. ``outcome`` is one of

* ``restore``   fields get back what they had; those that a later entry of the log names are conflicts and stay
* ``remove``    a commit of the import created the product and nobody touched it since
* ``recreate``  the import deleted the product; it comes back under its id
* ``keep``      nothing can be taken back; ``reason`` says why:
  ``changed_since``, ``deleted_since``, ``sku_taken`` (another product has the SKU), ``back_already``

A later entry for a field is a conflict even where it came back to the same value: somebody wanted it so. An
undo writes entries like any other commit, so it can be undone itself. Schema fields stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.deleting import Author, delete_rows, log_author, restored_columns
from pim_platform.catalog.joins import joining
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.catalog.products import decode_cursor, encode_cursor
from pim_platform.errors import InvalidRequest
from pim_platform.storage.postgres import driver_connection

Outcome = Literal["restore", "remove", "recreate", "keep"]
Reason = Literal["changed_since", "deleted_since", "sku_taken", "back_already"]

#: Products a page of a preview may hold.
MAXIMUM_PAGE = 1000


@dataclass(frozen=True)
class UndoCounts:
    """Products by what an undo does to them; ``conflicts`` are those of which something is kept."""

    restored: int = 0
    recreated: int = 0
    removed: int = 0
    kept: int = 0
    conflicts: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True)
class Later:
    """The commit that stands in the way of an undo."""

    commit_seq: int
    actor: str
    source: str
    job_id: UUID | None
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """The commit as API and CLI show it."""
        return {
            "commit": self.commit_seq,
            "actor": self.actor,
            "source": self.source,
            "job_id": str(self.job_id) if self.job_id else None,
            "at": self.at.isoformat(),
        }


@dataclass(frozen=True)
class FieldChange:
    """One field, its value now and after the undo; None: no value."""

    field: str
    now: Any
    becomes: Any


@dataclass(frozen=True)
class FieldConflict:
    """One field that an undo leaves alone, and the commit that changed it last."""

    field: str
    later: Later | None


@dataclass(frozen=True)
class UndoItem:
    """What an undo does to one product."""

    product_id: UUID
    sku: str
    name: str
    outcome: Outcome
    reason: Reason | None
    changes: list[FieldChange]
    conflicts: list[FieldConflict]
    later: Later | None
    other_product_id: UUID | None

    def as_json(self) -> dict[str, Any]:
        """The product as API and CLI show it."""
        return {
            "product_id": str(self.product_id),
            "sku": self.sku,
            "name": self.name,
            "outcome": self.outcome,
            "reason": self.reason,
            "changes": [asdict(change) for change in self.changes],
            "conflicts": [
                {"field": conflict.field, "later": conflict.later.as_json() if conflict.later else None}
                for conflict in self.conflicts
            ],
            "later": self.later.as_json() if self.later else None,
            "other_product_id": str(self.other_product_id) if self.other_product_id else None,
        }


@dataclass(frozen=True)
class UndoPreview:
    """What an undo would do: counts of all, and a page of products in key order."""

    counts: UndoCounts
    items: list[UndoItem]
    next_cursor: str | None


@dataclass(frozen=True)
class Undone:
    """What an undo did; ``commit_seq`` is None where there was nothing to write."""

    counts: UndoCounts
    commit_seq: int | None


@dataclass(frozen=True)
class ConflictPage:
    """A page of products that an undo met a conflict at, and the cursor of the next one, None at the end."""

    items: list[UndoItem]
    next_cursor: str | None


def preview_undo(
    session: Session,
    commits: Sequence[int],
    *,
    only: Outcome | Literal["conflict"] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> UndoPreview:
    """What :func:`undo_commits` would do now to the session's tenant; writes nothing, takes no lock.

    ``only`` shows products of one outcome, or those of which something is kept. Raises InvalidRequest.
    """
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise InvalidRequest(f"A page cannot hold {limit} products.", fix=f"Ask for 1 to {MAXIMUM_PAGE}.")
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    after, after_id = _after(cursor)
    _plan(connection, tenant_id, commits)
    counts = _counts(connection)
    rows = connection.execute(
        _PAGE, {"tenant": tenant_id, "only": only, "after": after, "after_id": after_id, "limit": limit + 1}
    ).fetchall()
    page = rows[:limit]
    seqs = {int(seq) for row in page for seq in (row[7], *(row[6] or {}).values()) if seq is not None}
    later = _later(connection, tenant_id, seqs)
    _drop(connection)
    items = [_item(row, later) for row in page]
    more = len(rows) > limit
    return UndoPreview(counts, items, encode_cursor(f"{page[-1][0]} {page[-1][1]}") if more else None)


def undo_commits(
    session: Session, commits: Sequence[int], author: Author, *, wait_seconds: float | None = None
) -> Undone:
    """Take back what the commits of one import did to the session's tenant, in the session's transaction.

    Raises TenantBusy after ``wait_seconds`` (None waits for ever).
    """
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    lock_catalogue(connection, tenant_id, wait_seconds=wait_seconds)
    _plan(connection, tenant_id, commits)
    counts = _counts(connection)
    seq = None
    if counts.restored or counts.recreated or counts.removed:
        seq = next_commit(connection, tenant_id)
        names = {"tenant": sql.Literal(tenant_id), "seq": sql.Literal(seq), **log_author(author)}
        with joining(connection, sql.Identifier("undo_plan")):
            if counts.restored:
                connection.execute(_RESTORE.format(**names))
            if counts.removed:
                removed = sql.SQL("p.id IN (SELECT product_id FROM undo_plan WHERE outcome = 'remove')")
                delete_rows(connection, tenant_id, seq, removed, author)
            if counts.recreated:
                columns, values = restored_columns("e")
                connection.execute(_RECREATE.format(columns=columns, values=values, seqs=_array(commits), **names))
    if counts.conflicts and author.job_id is not None:
        with joining(connection, sql.Identifier("undo_plan")):
            connection.execute(_KEEP_CONFLICTS, {"tenant": tenant_id, "job": author.job_id})
    _drop(connection)
    return Undone(counts, seq)


def kept_conflicts(session: Session, job_id: UUID, *, cursor: str | None = None, limit: int = 50) -> ConflictPage:
    """Products of which the undo ``job_id`` of the session's tenant left something as it was, in key order.

    They are what the undo itself met, whatever changed after it. Who stood in the way is told as long as the change
    log is kept. Raises InvalidRequest for a bad cursor or limit.
    """
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise InvalidRequest(f"A page cannot hold {limit} products.", fix=f"Ask for 1 to {MAXIMUM_PAGE}.")
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    after, after_id = _after(cursor)
    given = {"tenant": tenant_id, "job": job_id, "after": after, "after_id": after_id, "limit": limit + 1}
    rows = connection.execute(_CONFLICTS, given).fetchall()
    page = rows[:limit]
    seqs = {int(seq) for row in page for seq in (row[7], *(row[6] or {}).values()) if seq is not None}
    later = _later(connection, tenant_id, seqs)
    more = encode_cursor(f"{page[-1][0]} {page[-1][1]}") if len(rows) > limit else None
    return ConflictPage([_item(row, later) for row in page], more)


# Later entries by product and key; '' stands for the product as a whole, which no field is called.
_TOUCHED = sql.SQL("""
CREATE TEMP TABLE undo_later ON COMMIT DROP AS
SELECT c.product_id, array_agg(DISTINCT k.key) AS keys,
       jsonb_object_agg(k.key, c.commit_seq ORDER BY c.commit_seq) AS touched
FROM pim.product_changes c
CROSS JOIN LATERAL (
  SELECT '' AS key WHERE c.action <> 'update'
  UNION ALL SELECT jsonb_object_keys(c.old || c.new) WHERE c.action = 'update') k
WHERE c.tenant_id = {tenant} AND c.commit_seq > {first} AND c.commit_seq <> ALL ({seqs})
  AND c.product_id IN (
    SELECT e.product_id FROM pim.product_changes e WHERE e.tenant_id = {tenant} AND e.commit_seq = ANY ({seqs})
    UNION ALL SELECT p.id FROM pim.products p
    WHERE p.tenant_id = {tenant} AND p.commit_seq > {first} AND p.created_seq = ANY ({seqs}))
GROUP BY c.product_id
""")

_CONCERNED = sql.SQL("""
(SELECT FROM pim.product_changes c WHERE c.tenant_id = {tenant} AND c.commit_seq = ANY ({seqs})
 UNION ALL
 SELECT FROM pim.products p WHERE p.tenant_id = {tenant} AND p.commit_seq >= {first} AND p.created_seq = ANY ({seqs}))
""")

# Of a deletion the plan holds what a page shows; the rest of the image is read where the product comes back.
_ENTRIES = sql.SQL("""
SELECT c.product_id, c.sku_key, c.action, c.version, CASE c.action WHEN 'delete' THEN '{{}}' ELSE c.old END, c.new,
       CASE c.action WHEN 'delete' THEN c.commit_seq END, c.image_sku, c.image_name
FROM pim.product_changes c
WHERE c.tenant_id = {tenant} AND c.commit_seq = ANY ({seqs})
""")

# Several commits of one import: its file, and rejects that were corrected later. Per field the first old value and
# the last new one count; a product that one of them created is removed as a whole.
_FOLDED = sql.SQL("""
SELECT c.product_id, max(c.sku_key),
       CASE WHEN bool_or(c.action = 'delete') THEN 'delete' WHEN bool_or(c.action = 'create') THEN 'create'
            ELSE 'update' END,
       max(c.version),
       CASE WHEN bool_or(c.action = 'delete') THEN '{{}}' ELSE coalesce((array_agg(f.old))[1], '{{}}') END,
       coalesce((array_agg(f.new))[1], '{{}}'),
       max(c.commit_seq) FILTER (WHERE c.action = 'delete'), max(c.image_sku), max(c.image_name)
FROM pim.product_changes c
LEFT JOIN (
  SELECT product_id, jsonb_object_agg(key, old) FILTER (WHERE old IS NOT NULL) AS old,
         jsonb_object_agg(key, new) FILTER (WHERE new IS NOT NULL) AS new
  FROM (SELECT u.product_id, k.key, (array_agg(u.old -> k.key ORDER BY u.commit_seq))[1] AS old,
               (array_agg(u.new -> k.key ORDER BY u.commit_seq DESC))[1] AS new
        FROM pim.product_changes u CROSS JOIN LATERAL jsonb_object_keys(u.old || u.new) AS k (key)
        WHERE u.tenant_id = {tenant} AND u.commit_seq = ANY ({seqs}) AND u.action = 'update'
        GROUP BY u.product_id, k.key) fields
  WHERE old IS DISTINCT FROM new
  GROUP BY product_id) f ON f.product_id = c.product_id
WHERE c.tenant_id = {tenant} AND c.commit_seq = ANY ({seqs})
  AND NOT EXISTS (SELECT FROM pim.products p
                  WHERE p.tenant_id = {tenant} AND p.id = c.product_id AND p.created_seq = ANY ({seqs}))
GROUP BY c.product_id
""")

# Every writer moves a product's commit number, so one of the undone commits there says that nobody came after.
_DECIDE = sql.SQL("""
CREATE TEMP TABLE undo_plan ON COMMIT DROP AS
WITH entries (product_id, sku_key, action, version, old, new, deleted_seq, sku, name) AS (
  {entries}
  UNION ALL
  SELECT p.id, p.sku_key, 'create', p.version, '{{}}', '{{}}', NULL, NULL, NULL FROM pim.products p
  WHERE p.tenant_id = {tenant} AND p.commit_seq >= {first} AND p.created_seq = ANY ({seqs})),
met AS (
  SELECT e.product_id, e.sku_key, e.action, coalesce(p.version, e.version) AS version, p.id IS NOT NULL AS live,
         e.deleted_seq, e.sku, e.name,
         CASE WHEN l.product_id IS NULL OR e.action <> 'update' THEN e.old WHEN l.touched ? '' THEN '{{}}'
              ELSE e.old - l.keys END AS old,
         CASE WHEN l.product_id IS NULL OR e.action <> 'update' THEN e.new WHEN l.touched ? '' THEN '{{}}'
              ELSE e.new - l.keys END AS new,
         CASE WHEN l.product_id IS NOT NULL AND e.action = 'update' THEN (
           SELECT jsonb_object_agg(k, coalesce(l.touched -> k, l.touched -> ''))
           FROM jsonb_object_keys(e.old || e.new) k WHERE l.touched ?| ARRAY[k, '']) END AS conflicts,
         l.product_id IS NULL AND p.commit_seq = ANY ({seqs}) AS untouched, coalesce(l.touched ? '', false) AS replaced,
         coalesce((l.touched -> '')::bigint, nullif(p.commit_seq, {first})) AS later_seq
  FROM entries e
  LEFT JOIN pim.products p ON p.tenant_id = {tenant} AND p.id = e.product_id
  LEFT JOIN undo_later l ON l.product_id = e.product_id
  WHERE e.action <> 'create' OR p.id IS NOT NULL)
SELECT product_id, sku_key, version, old, new, deleted_seq, sku, name, conflicts, later_seq, NULL::uuid AS other_id,
       CASE action WHEN 'update' THEN CASE WHEN live AND (old <> '{{}}' OR new <> '{{}}') THEN 'restore' ELSE 'keep' END
                   WHEN 'create' THEN CASE WHEN untouched THEN 'remove' ELSE 'keep' END
                   ELSE CASE WHEN live OR replaced THEN 'keep' ELSE 'recreate' END END AS outcome,
       CASE WHEN action = 'delete' AND live THEN 'back_already'
            WHEN action = 'delete' AND replaced THEN 'deleted_since'
            WHEN action = 'update' AND NOT live THEN 'deleted_since'
            WHEN action = 'update' AND old = '{{}}' AND new = '{{}}' THEN 'changed_since'
            WHEN action = 'create' AND NOT untouched THEN 'changed_since' END AS reason
FROM met
""")

_TAKEN = sql.SQL("""
UPDATE undo_plan u SET outcome = 'keep', reason = 'sku_taken', other_id = p.id
FROM pim.products p
WHERE u.outcome = 'recreate' AND p.tenant_id = {tenant} AND p.sku_key = u.sku_key
  AND NOT EXISTS (SELECT FROM undo_plan r WHERE r.product_id = p.id AND r.outcome = 'remove')
""")

# The value of an untouched field is what the commit wrote, so the entry of an undo is the commit's, turned round.
_RESTORE = sql.SQL("""
WITH logged AS (
  INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                   actor, job_id, request_id, source, old, new)
  SELECT {tenant}, {seq}, u.product_id, now(), 'update', u.sku_key, u.version + 1, {actor}, {job}::uuid, {request},
         {source}, u.new, u.old
  FROM undo_plan u WHERE u.outcome = 'restore')
UPDATE pim.products p
SET name = coalesce(u.old ->> 'name', p.name), active = coalesce((u.old -> 'active')::boolean, p.active),
    kind = coalesce(u.old ->> 'kind', p.kind),
    variant_group = CASE WHEN u.old ? 'variant_group' OR u.new ? 'variant_group' THEN u.old ->> 'variant_group'
                         ELSE p.variant_group END,
    parent_id = CASE WHEN u.old ? 'parent_id' OR u.new ? 'parent_id' THEN (u.old ->> 'parent_id')::uuid
                     ELSE p.parent_id END,
    data = CASE WHEN (u.new || u.old) = u.old THEN p.data
                ELSE p.data - ARRAY(SELECT jsonb_object_keys(u.new)) END
           || (u.old - '{{name,active,kind,variant_group,parent_id}}'::text[]),
    job_id = {job}::uuid, attempt = NULL, source_row = NULL, row_hash = NULL, version = p.version + 1,
    commit_seq = {seq}, updated_at = now()
FROM undo_plan u
WHERE u.outcome = 'restore' AND p.tenant_id = {tenant} AND p.id = u.product_id
""")

_RECREATE = sql.SQL("""
WITH logged AS (
  INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                   actor, job_id, request_id, source, old, new)
  SELECT {tenant}, {seq}, u.product_id, now(), 'create', u.sku_key, u.version + 1, {actor}, {job}::uuid, {request},
         {source}, '{{}}', '{{}}'
  FROM undo_plan u WHERE u.outcome = 'recreate')
INSERT INTO pim.products (tenant_id, id, sku_key, version, commit_seq, {columns})
SELECT {tenant}, u.product_id, u.sku_key, u.version + 1, {seq}, {values}
FROM undo_plan u JOIN pim.product_changes e
  ON e.tenant_id = {tenant} AND e.commit_seq = u.deleted_seq AND e.product_id = u.product_id
WHERE u.outcome = 'recreate' AND e.commit_seq = ANY ({seqs}) AND e.action = 'delete'
""")

_PAGE = """
SELECT u.sku_key, u.product_id, coalesce(p.sku, u.sku, u.old ->> 'sku', u.sku_key), u.outcome, u.reason,
       CASE WHEN u.outcome = 'restore' THEN jsonb_build_array(u.new, u.old) END, u.conflicts, u.later_seq, u.other_id,
       coalesce(p.name, u.name, u.old ->> 'name', '')
FROM undo_plan u LEFT JOIN pim.products p ON p.tenant_id = %(tenant)s AND p.id = u.product_id
WHERE (u.sku_key, u.product_id) > (%(after)s, %(after_id)s)
  AND CASE coalesce(%(only)s, '') WHEN '' THEN true WHEN 'conflict' THEN u.outcome = 'keep' OR u.conflicts IS NOT NULL
           ELSE u.outcome = %(only)s END
ORDER BY u.sku_key, u.product_id LIMIT %(limit)s
"""


_KEEP_CONFLICTS = """
INSERT INTO pim.undo_conflicts (tenant_id, job_id, sku_key, product_id, sku, name, outcome, reason, fields, later_seq,
                                other_product_id)
SELECT %(tenant)s, %(job)s, u.sku_key, u.product_id, coalesce(p.sku, u.sku, u.old ->> 'sku', u.sku_key),
       coalesce(p.name, u.name, u.old ->> 'name', ''), u.outcome, u.reason, coalesce(u.conflicts, '{}'), u.later_seq,
       u.other_id
FROM undo_plan u LEFT JOIN pim.products p ON p.tenant_id = %(tenant)s AND p.id = u.product_id
WHERE u.outcome = 'keep' OR u.conflicts IS NOT NULL
"""

# The columns of _PAGE. What was restored is in the product's history.
_CONFLICTS = """
SELECT sku_key, product_id, sku, outcome, reason, NULL, fields, later_seq, other_product_id, name
FROM pim.undo_conflicts
WHERE tenant_id = %(tenant)s AND job_id = %(job)s AND (sku_key, product_id) > (%(after)s, %(after_id)s)
ORDER BY sku_key, product_id LIMIT %(limit)s
"""


def _after(cursor: str | None) -> tuple[str, UUID]:
    """The key and id that a page begins after; a key that went and came again may be there twice."""
    if cursor is None:
        return "", UUID(int=0)
    key, _, product_id = decode_cursor(cursor).rpartition(" ")
    try:
        return key, UUID(product_id)
    except ValueError as error:
        raise InvalidRequest(
            f"{cursor!r} is not a cursor.",
            fix="Send the next_cursor of the page before.",
            column="cursor",
            value=cursor,
        ) from error


def _plan(connection: psycopg.Connection[Any], tenant_id: UUID, commits: Sequence[int]) -> None:
    names: dict[str, sql.Composable] = {
        "tenant": sql.Literal(tenant_id),
        "first": sql.Literal(min(commits, default=0)),
        "seqs": _array(commits),
    }
    with joining(connection, _CONCERNED.format(**names)):
        connection.execute(_TOUCHED.format(**names))
        connection.execute("ANALYZE undo_later")
        entries = (_FOLDED if len(commits) > 1 else _ENTRIES).format(**names)
        connection.execute(_DECIDE.format(entries=entries, **names))
        connection.execute("ANALYZE undo_plan (product_id, sku_key, outcome)")
        connection.execute(_TAKEN.format(**names))


def _array(commits: Sequence[int]) -> sql.Composable:
    return sql.SQL("{}::bigint[]").format(sql.Literal(list(commits)))


def _drop(connection: psycopg.Connection[Any]) -> None:
    connection.execute("DROP TABLE undo_plan, undo_later")


def _counts(connection: psycopg.Connection[Any]) -> UndoCounts:
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE outcome = 'restore'), count(*) FILTER (WHERE outcome = 'recreate'), "
        "count(*) FILTER (WHERE outcome = 'remove'), count(*) FILTER (WHERE outcome = 'keep'), "
        "count(*) FILTER (WHERE outcome = 'keep' OR conflicts IS NOT NULL) FROM undo_plan"
    ).fetchone()
    assert row is not None
    return UndoCounts(*map(int, row))


def _later(connection: psycopg.Connection[Any], tenant_id: UUID, seqs: set[int]) -> dict[int, Later]:
    """Who made each commit: a commit has one author, so any of its entries tells."""
    rows = connection.execute(
        """
        SELECT s.seq, c.actor, c.source, c.job_id, c.changed_at
        FROM unnest(%(seqs)s::bigint[]) AS s (seq)
        CROSS JOIN LATERAL (SELECT * FROM pim.product_changes c
                            WHERE c.tenant_id = %(tenant)s AND c.commit_seq = s.seq LIMIT 1) c
        """,
        {"tenant": tenant_id, "seqs": sorted(seqs)},
    ).fetchall()
    return {int(row[0]): Later(*row) for row in rows}


def _item(row: tuple[Any, ...], later: dict[int, Later]) -> UndoItem:
    _, product_id, sku, outcome, reason, values, conflicts, later_seq, other, name = row
    now, becomes = values or ({}, {})
    return UndoItem(
        product_id=product_id,
        sku=sku,
        name=name,
        outcome=outcome,
        reason=reason,
        changes=[FieldChange(field, now.get(field), becomes.get(field)) for field in sorted({*now, *becomes})],
        conflicts=[FieldConflict(field, later.get(int(seq))) for field, seq in sorted((conflicts or {}).items())],
        later=later.get(int(later_seq)) if outcome == "keep" and later_seq is not None else None,
        other_product_id=other,
    )
