"""Deleting products, set by set: logged with everything that it takes to bring them back (designs D9, D15).

A deleted product leaves one entry of action ``delete`` in the change log which holds its image: every column but
those the entry has itself (id, key, version). ``old`` is its ``data``, copied as it lies there; the others are columns
of the log, because an image built as JSON took longer than all the rest of a delete. The publisher turns these entries
into tombstones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.errors import InvalidRequest
from pim_platform.storage import exact_json
from pim_platform.storage.postgres import driver_connection

#: What an image holds: columns of ``products``, each with that of ``product_changes`` that keeps it.
IMAGE: dict[str, str] = {
    name: f"image_{name}"
    for name in (
        "sku",
        "name",
        "active",
        "kind",
        "parent_id",
        "variant_group",
        "source",
        "source_id",
        "job_id",
        "attempt",
        "source_row",
        "ai_readability_score",
        "created_seq",
        "created_at",
    )
} | {"data": "old"}

_COLUMNS = frozenset({"name", "active", "kind", "variant_group", "parent_id"})


@dataclass(frozen=True)
class Author:
    """Who writes, as the change log remembers it; ``source`` is the door: csv, api, ui or cli."""

    source: str
    actor: str
    job_id: UUID | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Selection:
    """Which products of a tenant are meant: all of them, or those that meet every condition given.

    ``skus`` however they are spelled; ``source_id`` and ``job_id`` are the source and the import that wrote a
    product last; ``fields`` are exact JSON values by field or column name, null for a field without a value.
    """

    everything: bool = False
    skus: tuple[str, ...] | None = None
    source_id: UUID | None = None
    job_id: UUID | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def condition(self) -> sql.Composable:
        """SQL that is true for the selected rows of ``pim.products p``.

        Raises InvalidRequest where nothing is selected, or all and some at once: deleting a whole catalogue
        has to be said, never left out.
        """
        tests: list[sql.Composable] = []
        if self.skus is not None:
            tests.append(sql.SQL("p.sku_key = ANY({}::text[])").format(sql.Literal([sku_key(s) for s in self.skus])))
        if self.source_id is not None:
            tests.append(sql.SQL("p.source_id = {}").format(sql.Literal(self.source_id)))
        if self.job_id is not None:
            tests.append(sql.SQL("p.job_id = {}").format(sql.Literal(self.job_id)))
        tests += [_equals(name, value) for name, value in self.fields.items()]
        if self.everything == bool(tests):
            raise InvalidRequest(
                "Nothing says which products are meant." if not tests else "Both all products and some are asked for.",
                fix="Name SKUs, a source, an import or field values; or ask for all products, and for nothing else.",
                code="invalid_selection",
            )
        return sql.SQL(" AND ").join(tests) if tests else sql.SQL("true")


def _equals(name: str, value: Any) -> sql.Composable:
    if name in _COLUMNS:
        if value is None:
            return sql.SQL("p.{} IS NULL").format(sql.Identifier(name))
        wanted = json.dumps(value, default=str) if isinstance(value, bool) else str(value)
        return sql.SQL("p.{}::text = {}").format(sql.Identifier(name), sql.Literal(wanted))
    if value is None:
        return sql.SQL("NOT p.data ? {}").format(sql.Literal(name))
    return sql.SQL("p.data -> {} = {}::jsonb").format(sql.Literal(name), sql.Literal(exact_json.dumps(value)))


@dataclass(frozen=True)
class Deleted:
    """How many products went, and the number of the commit; None where nothing was selected."""

    count: int
    commit_seq: int | None


def count_products(session: Session, selection: Selection) -> int:
    """How many of the session's tenant's products a selection means. Raises InvalidRequest."""
    row = (
        driver_connection(session)
        .execute(
            sql.SQL("SELECT count(*) FROM pim.products p WHERE p.tenant_id = {} AND {}").format(
                sql.Literal(session.info["tenant_id"]), selection.condition()
            )
        )
        .fetchone()
    )
    assert row is not None
    return int(row[0])


def delete_products(
    session: Session, selection: Selection, author: Author, *, wait_seconds: float | None = None
) -> Deleted:
    """Delete the selected products of the session's tenant, in the session's transaction.

    Raises InvalidRequest (nothing selected), TenantBusy after ``wait_seconds`` (None waits for ever).
    """
    tenant_id: UUID = session.info["tenant_id"]
    connection = driver_connection(session)
    condition = selection.condition()
    lock_catalogue(connection, tenant_id, wait_seconds=wait_seconds)
    some = sql.SQL("SELECT EXISTS (SELECT FROM pim.products p WHERE p.tenant_id = {} AND {})")
    found = connection.execute(some.format(sql.Literal(tenant_id), condition)).fetchone()
    if found != (True,):
        return Deleted(0, None)
    commit_seq = next_commit(connection, tenant_id)
    return Deleted(delete_rows(connection, tenant_id, commit_seq, condition, author), commit_seq)


def delete_rows(
    connection: psycopg.Connection[Any],
    tenant_id: UUID,
    commit_seq: int,
    condition: sql.Composable,
    author: Author,
) -> int:
    """Delete the rows of ``pim.products p`` that meet ``condition`` and log their images; returns how many.

    The caller holds the tenant's lock, so both scans see the same rows. Reading them twice is cheaper than
    handing every image from the DELETE to the INSERT: such a set spills to disk.
    """
    return connection.execute(
        sql.SQL(
            """
            WITH logged AS (
              INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                               actor, job_id, request_id, source, new, {kept})
              SELECT {tenant}, {seq}, p.id, now(), 'delete', p.sku_key, p.version + 1, {actor}, {job}::uuid, {request},
                     {source}, '{{}}', {image}
              FROM pim.products p WHERE p.tenant_id = {tenant} AND {condition})
            DELETE FROM pim.products p WHERE p.tenant_id = {tenant} AND {condition}
            """
        ).format(
            tenant=sql.Literal(tenant_id),
            seq=sql.Literal(commit_seq),
            kept=sql.SQL(", ").join(map(sql.Identifier, IMAGE.values())),
            image=sql.SQL(", ").join(sql.Identifier("p", name) for name in IMAGE),
            condition=condition,
            **log_author(author),
        )
    ).rowcount


def log_author(author: Author) -> dict[str, sql.Composable]:
    """The author as the literals ``actor, job, request, source`` of a statement that writes the log."""
    return {
        "actor": sql.Literal(author.actor),
        "job": sql.Literal(str(author.job_id) if author.job_id else None),
        "request": sql.Literal(author.request_id),
        "source": sql.Literal(author.source),
    }


def restored_columns(entry: str) -> tuple[sql.Composable, sql.Composable]:
    """SQL to bring products back: the columns of an INSERT, and where the delete entry ``entry`` has their values."""
    columns = sql.SQL(", ").join(map(sql.Identifier, IMAGE))
    return columns, sql.SQL(", ").join(sql.Identifier(entry, kept) for kept in IMAGE.values())
