"""Bulk upsert of records that come by API: the same validation and the same merge as a file's (seed 000)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.outcomes import Outcome, outcomes
from pim_platform.catalog.schema import PRODUCT_COLUMNS, FieldType, ProductSchema, SchemaField
from pim_platform.catalog.schemas import current_schema, parse_fields, require_few_fields, save_schema
from pim_platform.errors import InvalidRequest, LedgerUnbalanced
from pim_platform.intake.nameless import NAMELESS
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.staging import stage_records
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor, record

#: Records one call may carry.
MAXIMUM = 10_000


@dataclass(frozen=True)
class BulkResult:
    """What a bulk upsert did: the ledger, one entry per rejected record (``row`` is 1-based), what became of every
    record in their order (``row, sku, outcome, id``), and whether ClickHouse has it already (else the publisher sends
    it as soon as it can)."""

    ledger: dict[str, int]
    errors: list[dict[str, Any]]
    results: list[dict[str, Any]]
    published: bool


def bulk_upsert(
    workspace: Workspace, tenant_id: UUID, records: Sequence[AbstractMapping[str, Any]], *, actor: Actor
) -> BulkResult:
    """Create and update products by SKU; fields the schema does not know are added to it.

    Raises InvalidRequest (empty, too many), InvalidSchema (a field name that cannot be one), TenantBusy.
    """
    if not 1 <= len(records) <= MAXIMUM:
        raise InvalidRequest(
            f"A bulk upsert cannot hold {len(records):,} products.", fix=f"Send 1 to {MAXIMUM:,} in one call."
        )
    with tenant_session(workspace.app, tenant_id) as session, tempfile.TemporaryDirectory(prefix="pim-bulk-") as folder:
        known = current_schema(session)
        schema, staged, rejects = _staged(known, records)
        wait = workspace.settings.lock_timeout_seconds
        lock_catalogue(driver_connection(session), tenant_id, wait_seconds=wait)
        now = current_schema(session)
        if now != known:  # what was read before would undo a change of the schema that was made meanwhile
            schema, staged, rejects = _staged(now, records)
        save_schema(session, schema, actor)
        path = Path(folder) / "staged.parquet"
        staged.write_parquet(path)
        fates: list[Outcome] = []
        done = merge(
            session,
            Incoming.of([path], schema),
            Origin(source="api", actor=actor.name, request_id=actor.trace_id),
            on_written=lambda connection, ids: fates.extend(outcomes(connection, ids)),
        )
        counts = done.counts
        ledger = {
            "read": len(records),
            "created": counts.created,
            "updated": counts.updated,
            "unchanged": counts.unchanged,
            "rejected": rejects.height + counts.nameless,
            "superseded": done.superseded,
            "merged": 0,
        }
        if sum(ledger.values()) != 2 * len(records):
            raise LedgerUnbalanced(
                f"{len(records)} records came in, but the ledger says {ledger}. Nothing was written."
            )
        record(session, actor, "products.bulk_upsert", "product", None, ledger=ledger)
    errors = rejects.select("row", "column", "value", "error_code", "error", "suggestion").to_dicts()
    errors += [
        {
            "row": row,
            "column": "name",
            "value": None,
            "error_code": NAMELESS,
            "error": "The SKU is new and the record gives no name; a new product needs one.",
            "suggestion": "Send a name.",
        }
        for row in done.nameless
    ]
    errors.sort(key=lambda error: int(error["row"]))
    return BulkResult(ledger, errors, _results(records, fates), publish_now(workspace, tenant_id))


def _results(records: Sequence[AbstractMapping[str, Any]], fates: Iterable[Outcome]) -> list[dict[str, Any]]:
    """What became of every record; one that the merge never saw was rejected before."""
    known = {fate.row: fate for fate in fates}
    results = []
    for row, entry in enumerate(records, start=1):
        fate = known.get(row)
        sku = entry.get("sku")
        results.append(
            {
                "row": row,
                "sku": sku if sku is None or isinstance(sku, str) else str(sku),
                "outcome": fate.fate if fate is not None else "rejected",
                "id": fate.product_id if fate is not None else None,
            }
        )
    return results


def _staged(
    known: ProductSchema, records: Sequence[AbstractMapping[str, Any]]
) -> tuple[ProductSchema, pl.DataFrame, pl.DataFrame]:
    """The schema with what the records add to it, staged rows and rejects."""
    schema = _grown(known, records)
    require_few_fields(schema)
    return schema, *stage_records(records, schema, default_currency=schema.default_currency)


def _grown(schema: ProductSchema, records: Iterable[AbstractMapping[str, Any]]) -> ProductSchema:
    known = {*PRODUCT_COLUMNS, *(field.name for field in schema.fields)}
    seen: dict[str, FieldType] = {}
    for entry in records:
        for name, value in entry.items():
            if name not in known and value is not None:
                known.add(name)
                seen[name] = _type_of(value)
    fields: list[SchemaField] = parse_fields([{"name": name, "type": kind} for name, kind in seen.items()])
    return schema.with_fields(fields)


def _type_of(value: Any) -> FieldType:
    """The field type that holds a JSON value (design D16)."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    if isinstance(value, list):
        return "multi_price" if value and isinstance(value[0], dict) else "array"
    if isinstance(value, dict):
        return "price"
    return "string"
