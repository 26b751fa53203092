"""Bodies of the import routes, with the names of seed 000 beside ours."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.grouping import Grouping

State = Literal[
    "pending", "mapping", "confirmed", "staging", "staged", "held", "importing", "done", "failed", "cancelled", "undone"
]

#: What a reject policy may look like.
REJECT_POLICY = r"^(skip|stop_first|stop_above:(100(\.0+)?|\d{1,2}(\.\d+)?)%)$"


class FieldOut(BaseModel):
    """One field of a product schema."""

    name: str
    type: FieldType
    required: bool
    description: str
    localizable: bool = False
    scopable: bool = False


class SuggestedSchema(BaseModel):
    """The schema as it would be after confirming: the tenant's fields and those the file adds."""

    fields: list[FieldOut]
    default_currency: str
    default_locale: str


class ColumnOut(BaseModel):
    """What one column of the file means, how sure that is, and why."""

    source: str = Field(description="Header, trimmed; empty where the file has none.")
    index: int = Field(description="0-based position: the column's identity.")
    target: str = Field(description="A canonical target, `attribute` or `ignore`.")
    field: str | None = Field(description="Field it is written to; null: ignored.")
    type: FieldType
    confidence: float
    auto: bool = Field(description="Sure enough that nobody needs to look.")
    reason: str
    tier: Literal["template", "learned", "alias", "match", "claude", "none"] = Field(
        "none", description="Where the meaning comes from; `none`: nobody knows it, a field of its own."
    )
    locale: str | None = None
    currency: str | None = None
    unit: str | None = None
    separator: str | None = None
    decimal: str | None = None
    component: str | None = None
    option: int | None = None
    on_empty: Literal["keep", "clear"] = "keep"


class Ledger(BaseModel):
    """What became of every record: `read` is the sum of the others."""

    read: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int
    merged: int


class ImportOut(BaseModel):
    """An import job."""

    job_id: UUID
    kind: Literal["file", "undo", "delete", "edit", "schema"]
    state: State
    status: State = Field(description="The same as `state`.")
    reason_code: str | None = Field(description="Why it waits or failed, for programs,")
    reason: str | None = Field(description="and for people.")
    filename: str
    format: str
    source: str
    origin: Literal["cli", "api", "ui", "inbox", "feed"]
    dry_run: bool
    attempt: int
    row_count: int | None
    row_count_exact: bool = Field(description="False before the run where `row_count` is estimated from samples.")
    imported_count: int
    full_feed: bool = Field(description="The file lists all that its source has.")
    absent_rows: Literal["keep", "deactivate", "delete"] = Field(description="What became of the rest.")
    rows_removed: int = Field(description="Products deleted or deactivated; while it is held, those that would be.")
    undoes_job_id: UUID | None = Field(description="The job that this one undoes.")
    undone_by_job_id: UUID | None
    ledger: Ledger | None
    reject_reasons: dict[str, int]
    repairs: dict[str, int] = Field(description="Cells that were repaired, by kind, such as `text_marker_removed`.")
    progress: dict[str, Any] = Field(description="Stage, rows, total, rows_per_second, eta_seconds while it runs.")
    schema_version: int | None
    created_at: datetime
    confirmed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class Merge(BaseModel):
    """One merge of an import, with the ledger of the file that it read."""

    attempt: int
    kind: Literal["import", "promote", "rework"] = Field(description="`rework`: corrected rejects.")
    filename: str
    ledger: Ledger
    replaced: int = Field(description="Earlier rejects that the corrected records stand for.")
    merged_at: datetime


class ImportDetail(ImportOut):
    """An import job with its merges."""

    merges: list[Merge] = Field(description="Oldest first; `ledger` of the import is what became of all its records.")
    preview: bool = Field(description="Whether there is a diff to read.")
    dialect: dict[str, Any] = Field(description="How the file is read; empty where that is not known yet.")


class ImportList(BaseModel):
    """Import jobs, newest first."""

    imports: list[ImportOut]


class UploadOut(BaseModel):
    """A landed file and what the platform makes of it."""

    job_id: UUID
    state: State = Field(description="`mapping`: waits for a confirmation; `confirmed`: a policy gave it.")
    reason_code: str | None
    reason: str | None
    filename: str
    source: str
    dry_run: bool
    row_count: int | None
    row_count_exact: bool = Field(description="False where `row_count` is estimated from samples.")
    skipped: bool = Field(False, description="Nothing is imported: the job is the one that imported this content last.")
    headers: list[str]
    sample_rows: list[dict[str, Any]] = Field(description="The first five records.")
    suggested_schema: SuggestedSchema
    suggested_mapping: dict[str, str] = Field(description="`{header: field}` of what would be imported.")
    columns: list[ColumnOut]
    groupings: list[Grouping] = Field(description="Which rows of the file belong together; columns by `index`.")
    notices: list[str] = Field(description="What people should know of the proposal: why Claude was not asked, say.")
    dialect: dict[str, Any] = Field(description="Encoding, delimiter, quote, header row ... as recognised.")


class ConfirmSchema(BaseModel):
    """Fields to add to the tenant's schema, and its defaults."""

    model_config = ConfigDict(extra="forbid")

    fields: list[dict[str, Any]] | None = Field(
        None,
        description="`{name, type, required, description}`; those the tenant has already may be among them.",
        examples=[[{"name": "price", "type": "price", "required": False, "description": "Retail price"}]],
    )
    default_currency: str | None = Field(None, pattern="^[A-Z]{3}$", examples=["EUR"])
    default_locale: str | None = Field(None, max_length=40, examples=["de-DE"])


class ConfirmIn(BaseModel):
    """What to change in the proposal; everything may be left out."""

    model_config = ConfigDict(extra="forbid")

    wanted_schema: ConfirmSchema | None = Field(None, alias="schema")
    dialect: dict[str, Any] | None = Field(
        None,
        description="What was recognised wrongly in the file's dialect: it is read anew with these fields, and the "
        "mapping is one of the columns it has then.",
        examples=[{"sheet": "Products", "header_row": 2}],
    )
    mapping: dict[str, str | None] | None = Field(
        None,
        description="`{header: field}`; headers left out are ignored, `#3` addresses the third column.",
        examples=[{"Article no.": "sku", "Title": "name", "RRP": "price"}],
    )
    columns: list[dict[str, Any]] | None = Field(
        None, description="The full form, as the upload answered it; goes before `mapping`."
    )
    seen: bool = Field(
        True,
        description="Whether a person looked at it: what nobody saw is no evidence of how right proposals are.",
    )
    groupings: list[dict[str, Any]] | None = Field(
        None,
        description="Which rows belong together, as the upload answered it; left out: as proposed; `[]`: each row "
        "is a product.",
    )
