"""The one merge into the catalogue, for imports, API and UI alike (design D7).

Everything happens in the caller's transaction under the tenant's lock: load, diff, write, change log.
Diff decides once, per row, what happens; so writing is a plain INSERT of the new and an UPDATE of the
changed, and what a dry run showed is by construction what a commit does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.absent import NONE_ABSENT, Absent, FullFeed, drop_absent, find_absent, write_absent
from pim_platform.catalog.deleting import Author
from pim_platform.catalog.diff import PLAN, DiffCounts, diff, nameless_rows
from pim_platform.catalog.identity import IdSeries, id_series
from pim_platform.catalog.incoming import COLUMNS, Incoming, load
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.catalog.parents import NONE_UNKNOWN, Unknown, adopt_variants, resolve_parents
from pim_platform.catalog.unchanged import find_unchanged
from pim_platform.errors import LedgerUnbalanced
from pim_platform.storage.postgres import driver_connection
from pim_platform.tenancy.quotas import require_products

#: A merge is written in about this many ranges, so that progress can be told in between (design D7).
_RANGES = 20
_ROWS_PER_RANGE = 25_000

_ARGUMENTS = 40

_OTHER_WAYS = [
    sql.Identifier(f"enable_{way}")
    for way in ("nestloop", "mergejoin", "seqscan", "indexscan", "indexonlyscan", "bitmapscan")
]

_PLACES = sql.SQL(
    "SELECT min(product_ctid)::text, max(product_ctid)::text FROM {plan} s "
    "WHERE s.action = 'update' AND s.ctid >= %(first)s::tid AND s.ctid < %(last)s::tid"
).format(plan=PLAN)


@dataclass(frozen=True)
class Origin:
    """Where rows come from: what products and the change log remember of a write."""

    source: Literal["csv", "api", "ui"]
    actor: str
    source_id: UUID | None = None
    job_id: UUID | None = None
    attempt: int | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Merged:
    """What a merge (or dry run) did: products by outcome, rows superseded, rows rejected by record number."""

    counts: DiffCounts
    superseded: int
    nameless: list[int]
    commit_seq: int | None
    written: bool = True
    absent: Absent = NONE_ABSENT
    unknown_parents: Unknown = NONE_UNKNOWN

    @property
    def loaded(self) -> int:
        """Valid rows that came in: the sum of all outcomes."""
        c = self.counts
        return c.created + c.updated + c.unchanged + c.nameless + self.superseded


def merge(
    session: Session,
    incoming: Incoming,
    origin: Origin,
    *,
    wait_seconds: float | None = None,
    dry_run: bool = False,
    full_feed: FullFeed | None = None,
    on_progress: Callable[[str, int], None] | None = None,
    on_plan: Callable[[psycopg.Connection[Any]], bool] | None = None,
    on_written: Callable[[psycopg.Connection[Any], IdSeries], None] | None = None,
) -> Merged:
    """Write ``incoming`` into the session's tenant, in the session's transaction.

    ``on_progress(stage, rows)`` is told while loading and writing; it must use another connection.
    ``on_plan`` sees the finished ``plan`` (see :mod:`pim_platform.catalog.preview`) and says whether to write it;
    ``on_written`` sees it once it is, and the series that numbered the new products.
    With ``dry_run`` nothing is written and no lock is taken. With ``full_feed`` its absent products are removed
    too; where they are too many nothing is written and ``absent.held`` says so. Raises TenantBusy after
    ``wait_seconds``.
    """
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    told = on_progress or (lambda _stage, _rows: None)
    if not dry_run:
        lock_catalogue(connection, tenant_id, wait_seconds=wait_seconds)
    same = None
    # The others need every row in the plan.
    if not dry_run and full_feed is None and on_plan is None and on_written is None:
        told("looking for unchanged rows", 0)
        same = find_unchanged(connection, tenant_id, origin.source_id, incoming.staged)
    _, superseded = load(connection, incoming, lambda rows: told("loading", rows), leave_out=same)
    told("comparing", 0)
    ids = id_series()
    unknown = resolve_parents(connection, tenant_id, incoming, ids)
    counts = diff(connection, tenant_id, origin.source_id, incoming)
    nameless = nameless_rows(connection) if counts.nameless else []
    superseded -= len(nameless) - counts.nameless
    left_out = 0 if same is None else len(same)
    counts = replace(counts, nameless=len(nameless), unchanged=counts.unchanged + left_out)
    absent = find_absent(connection, tenant_id, full_feed, incoming.staged) if full_feed else NONE_ABSENT
    written = (on_plan is None or on_plan(connection)) and not dry_run and not absent.held
    commit_seq = None
    if written and counts.created:
        going = absent.rows if full_feed and full_feed.policy == "delete" else 0
        require_products(connection, tenant_id, counts.created - going)
    if written and (counts.created or counts.updated or absent.rows):
        commit_seq = next_commit(connection, tenant_id)
        _write(connection, tenant_id, commit_seq, incoming, origin, counts, ids, told)
        if full_feed and absent.rows:
            author = Author(origin.source, origin.actor, origin.job_id, origin.request_id)
            write_absent(connection, tenant_id, commit_seq, full_feed, author)
    if full_feed:
        drop_absent(connection)
    if on_written is not None:
        on_written(connection, ids)
    connection.execute(sql.SQL("DROP TABLE {}, doubled").format(PLAN))
    return Merged(counts, superseded, nameless, commit_seq, written, absent, unknown)


def _write(
    connection: psycopg.Connection[Any],
    tenant_id: UUID,
    commit_seq: int,
    incoming: Incoming,
    origin: Origin,
    counts: DiffCounts,
    ids: IdSeries,
    told: Callable[[str, int], None],
) -> None:
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "seq": commit_seq,
        "source": origin.source,
        "source_id": origin.source_id,
        "job_id": origin.job_id,
        "attempt": origin.attempt,
        "actor": origin.actor,
        "request_id": origin.request_id,
    }
    parameters |= {"id_head": ids.head, "id_start": ids.start}
    insert, update = _insert(incoming), _update(incoming, tenant_id, counts.changed)
    wanted = max(1, min(_RANGES, (counts.created + counts.updated) // _ROWS_PER_RANGE))
    size = connection.execute("SELECT pg_relation_size('plan') / current_setting('block_size')::int").fetchone()
    assert size is not None
    step = max(1, -(-int(size[0]) // wanted))
    # Each range reads the stretch of the catalogue where its products lie, and joins by hashing. Statistics are old
    # right after a first import, and a planner that believes them reads the range anew for every product.
    connection.execute(sql.SQL("; ").join(sql.SQL("SET LOCAL {} = off").format(way) for way in _OTHER_WAYS))
    written = 0
    for first in range(0, int(size[0]), step):
        # Ranges of physical blocks need no index and no sort.
        block = {"first": f"({first},0)", "last": f"({first + step},0)"}
        if counts.created:
            written += connection.execute(insert, parameters | block).rowcount
        if counts.updated:
            place = connection.execute(_PLACES, block).fetchone()
            assert place is not None
            lowest, highest = place
            if lowest is not None:
                there = {"lowest": lowest, "highest": highest}
                written += connection.execute(update, parameters | block | there).rowcount
        told("writing", written)
    connection.execute(sql.SQL("; ").join(sql.SQL("SET LOCAL {} = on").format(way) for way in _OTHER_WAYS))
    if written != counts.created + counts.updated:
        raise LedgerUnbalanced(
            f"{counts.created + counts.updated} products were to be written, {written} were. Nothing is kept.",
            fix="This is a defect: something writes products without the tenant's lock.",
        )
    if counts.created:
        adopt_variants(connection, tenant_id, incoming, PLAN, parameters)


def _insert(incoming: Incoming) -> sql.Composed:
    given = [name for name in COLUMNS if incoming.column(name)]
    values = [
        sql.SQL("s.{}").format(sql.Identifier(name))
        if name in ("name", "variant_group", "parent_id")
        else sql.SQL("coalesce(s.{}, {})").format(sql.Identifier(name), _default(name))
        for name in given
    ]
    return sql.SQL(
        """
        INSERT INTO pim.products (tenant_id, id, sku, sku_key, {given}, data, source, source_id, job_id, attempt,
                                  source_row, row_hash, commit_seq, created_seq)
        SELECT %(tenant)s, (%(id_head)s || lpad(to_hex(%(id_start)s + s."row"), 12, '0'))::uuid,
               s.sku, s.sku_key, {values}, {data}, %(source)s, %(source_id)s, %(job_id)s, %(attempt)s,
               s."row", s.row_hash, %(seq)s, %(seq)s
        FROM {plan} s
        WHERE s.action = 'create' AND s.ctid >= %(first)s::tid AND s.ctid < %(last)s::tid
        """
    ).format(
        given=sql.SQL(", ").join(map(sql.Identifier, given)),
        values=sql.SQL(", ").join(values),
        data=incoming.patch("s"),
        plan=PLAN,
    )


def _default(column: str) -> sql.Composable:
    return sql.SQL("true") if column == "active" else sql.SQL("'simple'")


def _update(incoming: Incoming, tenant_id: UUID, changed: frozenset[str]) -> sql.Composed:
    """Only columns that differ somewhere in this import are written and logged: the others are equal everywhere."""
    given = [column for column in incoming.columns if column.kind == "column" and column.staged in changed]
    fields = [column.name for column in incoming.fields if incoming.replace or column.staged in changed]
    sets = [
        sql.SQL("{c} = s.{s}" if incoming.clears(column) else "{c} = coalesce(s.{s}, p.{c})").format(
            c=sql.Identifier(column.name), s=column.identifier
        )
        for column in given
    ]
    if fields or incoming.replace:
        sets.append(sql.SQL("data = {}").format(incoming.new_data("s", "p.data", fields)))
    # No comma may stand alone where only the bookkeeping below is set.
    values = sql.SQL("").join(sql.SQL("{}, ").format(one) for one in sets)
    return sql.SQL(
        """
        WITH changed AS (
          UPDATE pim.products p
          SET {values}source = %(source)s, source_id = %(source_id)s, job_id = %(job_id)s, attempt = %(attempt)s,
              source_row = {row}, row_hash = s.row_hash, version = p.version + 1, commit_seq = %(seq)s,
              updated_at = now()
          FROM {plan} s
          WHERE s.action = 'update' AND s.ctid >= %(first)s::tid AND s.ctid < %(last)s::tid
            AND p.tenant_id = {tenant} AND p.ctid = s.product_ctid AND p.id = s.product_id
            AND p.ctid >= %(lowest)s::tid AND p.ctid <= %(highest)s::tid
          RETURNING new.id, new.sku_key, new.version, {old} AS old_values, {new} AS new_values)
        INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                         actor, job_id, request_id, source, old, new)
        SELECT %(tenant)s, %(seq)s, id, now(), 'update', sku_key, version, %(actor)s, %(job_id)s, %(request_id)s,
               %(source)s, old_values, new_values
        FROM changed
        """
    ).format(
        values=values,
        plan=PLAN,
        row=sql.SQL('s."row"' if incoming.query is None else "NULL"),
        tenant=sql.Literal(str(tenant_id)),
        old=_changed(incoming, [column.name for column in given], fields, "old", "new"),
        new=_changed(incoming, [column.name for column in given], fields, "new", "old"),
    )


def _changed(incoming: Incoming, given: list[str], fields: list[str], mine: str, other: str) -> sql.Composable:
    """SQL for the object of this side's values that differ on the other side (design D9: changed keys only)."""
    pairs = [
        sql.SQL("{n}, nullif({m}.{c}, {o}.{c})").format(
            n=sql.Literal(name), c=sql.Identifier(name), m=sql.SQL(mine), o=sql.SQL(other)
        )
        for name in given
    ]
    if incoming.replace:  # any key may have gone
        rest = sql.SQL(
            "coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each({m}.data) "
            "WHERE value IS DISTINCT FROM {o}.data -> key), '{{}}')"
        ).format(m=sql.SQL(mine), o=sql.SQL(other))
    else:
        pairs += [
            sql.SQL("{k}, nullif({m}.data -> {k}, {o}.data -> {k})").format(
                k=sql.Literal(name), m=sql.SQL(mine), o=sql.SQL(other)
            )
            for name in fields
        ]
        rest = None
    objects: list[sql.Composable] = [
        sql.SQL("jsonb_strip_nulls(jsonb_build_object({}))").format(sql.SQL(", ").join(pairs[at : at + _ARGUMENTS]))
        for at in range(0, len(pairs), _ARGUMENTS)
    ]
    if rest is not None:
        objects.append(rest)
    return sql.SQL(" || ").join(objects) if objects else sql.SQL("'{}'::jsonb")
