"""Scores that come by API: checked record by record, written at once (see :mod:`pim_platform.catalog.scores`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.scores import Score, write_scores
from pim_platform.errors import InvalidRequest
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor, record

#: Scores one call may carry.
MAXIMUM = 10_000
#: What a score may be.
LOWEST, HIGHEST = 0, 100


@dataclass(frozen=True)
class ScoringResult:
    """What became of the records: counts by outcome, and why some were rejected (``row`` is 1-based)."""

    counts: dict[str, int]
    errors: list[dict[str, Any]]


def score_products(
    workspace: Workspace, tenant_id: UUID, records: Sequence[Mapping[str, Any]], *, actor: Actor
) -> ScoringResult:
    """Write ``ai_readability_score`` of products that are named by ``id`` or ``sku``.

    A record that is wrong is rejected alone. Raises InvalidRequest (none, or too many), TenantBusy.
    """
    if not 1 <= len(records) <= MAXIMUM:
        raise InvalidRequest(
            f"{len(records):,} scores cannot be sent at once.", fix=f"Send 1 to {MAXIMUM:,} in a call."
        )
    scores: list[Score] = []
    errors: list[dict[str, Any]] = []
    for row, entry in enumerate(records, start=1):
        found = _score(row, entry)
        if isinstance(found, Score):
            scores.append(found)
        else:
            errors.append(found)
    with tenant_session(workspace.app, tenant_id) as session:
        done = write_scores(session, scores, wait_seconds=workspace.settings.lock_timeout_seconds)
        for row in done.unknown:
            entry = records[row - 1]
            name = "id" if entry.get("id") is not None else "sku"
            errors.append(
                _error(row, name, entry.get(name), "unknown_product", "a product of the catalogue", "Create it first.")
            )
        counts = {
            "read": len(records),
            "updated": done.updated,
            "unchanged": done.unchanged,
            "superseded": done.superseded,
            "rejected": len(errors),
        }
        record(session, actor, "products.scored", "product", None, counts=counts)
    return ScoringResult(counts, sorted(errors, key=lambda error: int(error["row"])))


def _score(row: int, entry: Mapping[str, Any]) -> Score | dict[str, Any]:
    extra = sorted(set(entry) - {"id", "sku", "score"})
    if extra:
        return _error(row, extra[0], entry[extra[0]], "unknown_field", "id or sku, and score", "Leave it out.")
    given, sku = entry.get("id"), entry.get("sku")
    if (given is None) == (sku is None):
        return _error(row, "sku", sku, "missing_sku", "either sku or id", "Name the product by one of them.")
    product_id = None
    if given is not None:
        try:
            product_id = UUID(str(given))
        except ValueError:
            return _error(row, "id", given, "not_an_id", "a UUID", "Send the id as reads show it.")
    elif not isinstance(sku, str) or not sku_key(sku):
        return _error(row, "sku", sku, "missing_sku", "a SKU", "Send the SKU as a text.")
    if "score" not in entry:
        return _error(row, "score", None, "missing_value", "a number from 0 to 100, or null", "Send a score.")
    value = entry["score"]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | Decimal)):
        return _error(row, "score", value, "not_a_number", "a number from 0 to 100, or null", "Send a number.")
    if value is not None and not LOWEST <= value <= HIGHEST:
        return _error(row, "score", value, "out_of_range", "a number from 0 to 100, or null", "Scale the score.")
    key = sku_key(sku) if isinstance(sku, str) else None
    return Score(row, product_id, key, None if value is None else float(value))


def _error(row: int, column: str, value: Any, code: str, expected: str, fix: str) -> dict[str, Any]:
    shown = None if value is None else str(value)[:200]
    return {
        "row": row,
        "column": column,
        "value": shown,
        "error_code": code,
        "error": f"{column}: {shown!r}, expected {expected}",
        "suggestion": fix,
    }
