"""What the API answers :mod:`pim_platform.client`: the JSON objects of ``/docs``, as typed dictionaries."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Ledger(TypedDict):
    """What became of every record of a file; `read` is the sum of the others."""

    read: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int
    merged: int


class Upload(TypedDict):
    """A landed file and what the platform makes of it."""

    job_id: str
    state: str
    reason_code: str | None
    reason: str | None
    filename: str
    source: str
    dry_run: bool
    row_count: int | None
    row_count_exact: bool
    skipped: bool
    headers: list[str]
    sample_rows: list[dict[str, Any]]
    suggested_schema: dict[str, Any]
    suggested_mapping: dict[str, str]
    columns: list[dict[str, Any]]
    groupings: list[dict[str, Any]]
    notices: list[str]
    dialect: dict[str, Any]


class Import(TypedDict):
    """An import job."""

    job_id: str
    state: str
    reason_code: str | None
    reason: str | None
    filename: str
    format: str
    source: str
    dry_run: bool
    attempt: int
    row_count: int | None
    imported_count: int
    ledger: Ledger | None
    reject_reasons: dict[str, int]
    repairs: dict[str, int]
    progress: dict[str, Any]
    created_at: str
    finished_at: str | None


class Product(TypedDict):
    """A product; the fields of the tenant's schema are in `data`."""

    id: str
    sku: str
    name: str
    active: bool
    kind: Literal["simple", "parent", "variant", "bundle"]
    parent_id: str | None
    variant_group: str | None
    data: dict[str, Any]
    source: str
    ai_readability_score: float | None
    version: int
    created_at: str
    updated_at: str


class BulkResult(TypedDict):
    """What became of the records of one bulk upsert."""

    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int
    errors: list[dict[str, Any]]
    published: bool
