"""Tables of the intake."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pim_platform.storage.base import Base
from pim_platform.tenancy.models import Tenant

_UUID7 = text("uuidv7()")
_POLICIES = "confirm_policy IN ('never', 'saved_mapping_fits', 'all_sure')"
_STATES = (
    "'pending', 'mapping', 'confirmed', 'staging', 'staged', 'held', 'importing', 'done', 'failed', "
    "'cancelled', 'undone'"
)


class Source(Base):
    """A supplier, feed or door that files come from (design D1)."""

    __tablename__ = "sources"
    __table_args__ = (
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'", name="slug"),
        CheckConstraint("priority BETWEEN 0 AND 100", name="priority"),
        CheckConstraint("trust BETWEEN 0 AND 1", name="trust"),
        CheckConstraint("default_currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(_POLICIES, name="confirm_policy"),
        CheckConstraint("absent_rows IN ('keep', 'deactivate', 'delete')", name="absent_rows"),
        CheckConstraint("reject_policy ~ '^(skip|stop_first|stop_above:[0-9.]+%)$'", name="reject_policy"),
        UniqueConstraint("tenant_id", "slug", name="uq_sources_tenant_id_slug"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(server_default=text("50"))
    trust: Mapped[float] = mapped_column(Double, server_default=text("0.5"))
    default_currency: Mapped[str | None] = mapped_column(Text)
    confirm_policy: Mapped[str | None] = mapped_column(Text)
    full_feed: Mapped[bool] = mapped_column(server_default=text("false"))
    absent_rows: Mapped[str] = mapped_column(Text, server_default="keep")
    reject_policy: Mapped[str | None] = mapped_column(Text)
    skip_unchanged: Mapped[bool] = mapped_column(server_default=text("false"))
    dialect: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    last_accepted_job_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Upload(Base):
    """Bytes that came in, stored once per tenant and content (design D5)."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        UniqueConstraint("tenant_id", "sha256", name="uq_uploads_tenant_id_sha256"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    sha256: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    object_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ImportJob(Base):
    """One import of one file: its state, proposal, confirmed mapping, lease, progress and ledger.

    It may run more than once (``task``): the import, the promotion of its dry run, corrected rejects; each merge is
    an :class:`ImportAttempt`, and the ledger here is what became of all its records so far. An undo, bulk deletes and
    edits and changes of the schema that write products are jobs too (``kind``), without a file; what those do and the
    state they were confirmed for is ``bulk``.
    """

    __tablename__ = "import_jobs"
    __table_args__ = (
        CheckConstraint("origin IN ('cli', 'api', 'ui', 'inbox', 'feed')", name="origin"),
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        CheckConstraint("task IN ('import', 'promote', 'rework')", name="task"),
        CheckConstraint("kind IN ('file', 'undo', 'delete', 'edit', 'schema')", name="kind"),
        CheckConstraint("kind NOT IN ('edit', 'schema') OR bulk IS NOT NULL", name="bulk_says_what"),
        CheckConstraint("absent_rows IN ('keep', 'deactivate', 'delete')", name="absent_rows"),
        CheckConstraint("kind <> 'file' OR upload_id IS NOT NULL", name="file_has_upload"),
        CheckConstraint("kind <> 'undo' OR undoes_job_id IS NOT NULL", name="undo_names_its_job"),
        CheckConstraint(
            "state <> 'done' OR (rows_read IS NOT NULL AND rows_read = rows_created + rows_updated + rows_unchanged"
            " + rows_rejected + rows_superseded + rows_merged)",
            name="ledger_balances",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "source_id"], [Source.tenant_id, Source.id], name="fk_import_jobs_tenant_id_source_id"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "upload_id"], [Upload.tenant_id, Upload.id], name="fk_import_jobs_tenant_id_upload_id"
        ),
        Index("ix_import_jobs_tenant_id_created_at", "tenant_id", "created_at"),
        Index("ix_import_jobs_state", "state"),
        Index(
            "ix_import_jobs_open",
            "state",
            postgresql_where=text("state IN ('pending', 'confirmed', 'staging', 'importing')"),
        ),
        Index(
            "ix_import_jobs_full_feed",
            "tenant_id",
            "source_id",
            "finished_at",
            postgresql_where=text("full_feed AND state = 'done'"),
        ),
        Index(
            "uq_import_jobs_idempotency_key",
            "tenant_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    source_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(Text, server_default="file")
    upload_id: Mapped[UUID | None]
    undoes_job_id: Mapped[UUID | None]
    undone_by_job_id: Mapped[UUID | None]
    filename: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    reason_code: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    full_feed: Mapped[bool] = mapped_column(server_default=text("false"))
    absent_rows: Mapped[str | None] = mapped_column(Text)
    hold_released: Mapped[bool] = mapped_column(server_default=text("false"))
    reject_policy: Mapped[str] = mapped_column(Text, server_default="skip")
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    given_dialect: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    dialect: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    headers: Mapped[list[str] | None] = mapped_column(JSONB)
    header_fingerprint: Mapped[str | None] = mapped_column(Text)
    sample_rows: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    suggested_columns: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    suggested_fields: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    notices: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'"))
    profile_digests: Mapped[list[str] | None] = mapped_column(JSONB)
    suggested_groupings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    mapping: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    groupings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    schema_version: Mapped[int | None]
    row_count: Mapped[int | None] = mapped_column(BigInteger)
    row_count_exact: Mapped[bool] = mapped_column(server_default=text("true"))
    imported_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rows_read: Mapped[int | None] = mapped_column(BigInteger)
    rows_created: Mapped[int | None] = mapped_column(BigInteger)
    rows_updated: Mapped[int | None] = mapped_column(BigInteger)
    rows_unchanged: Mapped[int | None] = mapped_column(BigInteger)
    rows_rejected: Mapped[int | None] = mapped_column(BigInteger)
    rows_superseded: Mapped[int | None] = mapped_column(BigInteger)
    rows_merged: Mapped[int | None] = mapped_column(BigInteger)
    rows_removed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    reject_reasons: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    repairs: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    progress: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    task: Mapped[str] = mapped_column(Text, server_default="import")
    first_attempt: Mapped[int] = mapped_column(server_default=text("1"))
    committed: Mapped[bool] = mapped_column(server_default=text("false"))
    preview_attempt: Mapped[int | None]
    preview_digest: Mapped[str | None] = mapped_column(Text)
    rework: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    bulk: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    staged_attempt: Mapped[int | None]
    commit_seq: Mapped[int | None] = mapped_column(BigInteger)
    lease_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_owner: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @property
    def merged(self) -> bool:
        """Whether the merge of its present run is committed: the flag is set in the same transaction."""
        return self.committed

    @property
    def only_compares(self) -> bool:
        """Whether its present run stops after the comparison: a dry run that is not being promoted."""
        return self.dry_run and self.task != "promote"

    def begin(self, task: Literal["promote", "rework"]) -> None:
        """Make the job due for another run of this kind; its attempts are counted anew."""
        self.task, self.state, self.committed = task, "confirmed", False
        self.first_attempt = self.attempt + 1
        self.cancel_requested, self.reason_code, self.reason = False, None, None
        self.finished_at, self.progress = None, {}

    def rest(self, state: Literal["failed", "cancelled"]) -> None:
        """End the present run without its merge: an import fails or is cancelled, a promotion that fails leaves the
        dry run as it was, corrected rejects leave the import done."""
        if not self.committed and self.task == "rework":
            self.state = "done"
        elif not self.committed and self.task == "promote" and state == "failed":
            self.state = "staged"
        else:
            self.state = state
            return
        self.task, self.rework, self.cancel_requested, self.lease_owner = "import", None, False, None

    def ledger(self) -> dict[str, int] | None:
        """The row ledger (design D4) by its short names; None before the diff."""
        if self.rows_read is None:
            return None
        return {
            "read": self.rows_read,
            "created": self.rows_created or 0,
            "updated": self.rows_updated or 0,
            "unchanged": self.rows_unchanged or 0,
            "rejected": self.rows_rejected or 0,
            "superseded": self.rows_superseded or 0,
            "merged": self.rows_merged or 0,
        }


class ImportAttempt(Base):
    """One merge of a job: the ledger of that merge alone, of the file it read."""

    __tablename__ = "import_attempts"
    __table_args__ = (
        CheckConstraint("kind IN ('import', 'promote', 'rework')", name="kind"),
        CheckConstraint(
            "rows_read = rows_created + rows_updated + rows_unchanged + rows_rejected + rows_superseded + rows_merged",
            name="ledger_balances",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], [ImportJob.tenant_id, ImportJob.id], name="fk_import_attempts_tenant_id_job_id"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "upload_id"], [Upload.tenant_id, Upload.id], name="fk_import_attempts_tenant_id_upload_id"
        ),
        Index("ix_import_attempts_commit_seq", "tenant_id", "commit_seq"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Text)
    upload_id: Mapped[UUID]
    filename: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    rows_read: Mapped[int] = mapped_column(BigInteger)
    rows_created: Mapped[int] = mapped_column(BigInteger)
    rows_updated: Mapped[int] = mapped_column(BigInteger)
    rows_unchanged: Mapped[int] = mapped_column(BigInteger)
    rows_rejected: Mapped[int] = mapped_column(BigInteger)
    rows_superseded: Mapped[int] = mapped_column(BigInteger)
    rows_merged: Mapped[int] = mapped_column(BigInteger)
    rows_replaced: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    reject_reasons: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    repairs: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    commit_seq: Mapped[int | None] = mapped_column(BigInteger)
    merged_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))

    def ledger(self) -> dict[str, int]:
        """The ledger of this merge (design D4) by its short names."""
        names = ("read", "created", "updated", "unchanged", "rejected", "superseded", "merged")
        return {name: getattr(self, f"rows_{name}") for name in names}


class Feed(Base):
    """Where a source's file is fetched, how often, and what became of it last.

    ``credentials`` are encrypted (:mod:`pim_platform.storage.sealing`); ``due_at`` is null where it is fetched only
    when somebody asks.
    """

    __tablename__ = "feeds"
    __table_args__ = (
        CheckConstraint("interval_seconds BETWEEN 60 AND 31622400", name="interval"),
        CheckConstraint("auth_kind IN ('basic', 'bearer')", name="auth_kind"),
        CheckConstraint("outcome IN ('landed', 'not_modified', 'skipped', 'failed')", name="outcome"),
        CheckConstraint("interval_seconds IS NULL OR cron IS NULL", name="one_rhythm"),
        CheckConstraint("(auth_kind IS NULL) = (credentials IS NULL)", name="credentials"),
        ForeignKeyConstraint(
            ["tenant_id", "source_id"],
            [Source.tenant_id, Source.id],
            name="fk_feeds_tenant_id_source_id",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], [ImportJob.tenant_id, ImportJob.id], name="fk_feeds_tenant_id_job_id"
        ),
        Index("ix_feeds_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    interval_seconds: Mapped[int | None]
    cron: Mapped[str | None] = mapped_column(Text)
    auth_kind: Mapped[str | None] = mapped_column(Text)
    credentials: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_owner: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    fetched_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    outcome: Mapped[str | None] = mapped_column(Text)
    http_status: Mapped[int | None]
    error_code: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class FetchedFile(Base):
    """What a server said of a file that was fetched from a URL for a source, and the import it became."""

    __tablename__ = "fetched_files"
    __table_args__ = (
        CheckConstraint("url_sha256 ~ '^[0-9a-f]{64}$'", name="url_sha256"),
        ForeignKeyConstraint(
            ["tenant_id", "source_id"],
            [Source.tenant_id, Source.id],
            name="fk_fetched_files_tenant_id_source_id",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], [ImportJob.tenant_id, ImportJob.id], name="fk_fetched_files_tenant_id_job_id"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(primary_key=True)
    url_sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[UUID]
    fetched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class FetchHost(Base):
    """A host that a tenant's files may be fetched from: ``feeds.example.com``, ``*.example.com``."""

    __tablename__ = "fetch_hosts"
    __table_args__ = (CheckConstraint(r"host ~ '^(\*\.)?[a-z0-9_.:-]{1,253}$'", name="host"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    host: Mapped[str] = mapped_column(Text, primary_key=True)
    actor: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Confirmation(Base):
    """What somebody was shown and may confirm by its token (see :mod:`pim_platform.intake.confirmations`)."""

    __tablename__ = "confirmations"
    __table_args__ = (
        CheckConstraint("kind IN ('edit', 'delete', 'schema')", name="kind"),
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], [ImportJob.tenant_id, ImportJob.id], name="fk_confirmations_tenant_id_job_id"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    token: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    request: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actor: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    job_id: Mapped[UUID | None]


class UndoConflict(Base):
    """A product of which an undo (``job_id``) left something as it was, because it changed later (design D15).

    ``fields`` is ``{field: number of the commit that changed it last}``.
    """

    __tablename__ = "undo_conflicts"
    __table_args__ = (
        CheckConstraint("outcome IN ('restore', 'keep')", name="outcome"),
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], [ImportJob.tenant_id, ImportJob.id], name="fk_undo_conflicts_tenant_id_job_id"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    sku_key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    fields: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    later_seq: Mapped[int | None] = mapped_column(BigInteger)
    other_product_id: Mapped[UUID | None]


class MappingTemplate(Base):
    """The mapping confirmed last for files of one header from one source."""

    __tablename__ = "mapping_templates"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "source_id"], [Source.tenant_id, Source.id], name="fk_mapping_templates_tenant_id_source_id"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(primary_key=True)
    header_fingerprint: Mapped[str] = mapped_column(Text, primary_key=True)
    mapping: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    groupings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    job_id: Mapped[UUID]
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class MappingFeedback(Base):
    """One column of one confirmation: what was proposed and what the person chose."""

    __tablename__ = "mapping_feedback"
    __table_args__ = (
        CheckConstraint("tier IN ('template', 'learned', 'alias', 'match', 'claude', 'none')", name="tier"),
        CheckConstraint("evidence IN ('person', 'policy', 'unseen')", name="evidence"),
        Index("ix_mapping_feedback_tenant_id_header_key", "tenant_id", "header_key"),
        ForeignKeyConstraint(
            ["tenant_id", "source_id"], [Source.tenant_id, Source.id], name="fk_mapping_feedback_tenant_id_source_id"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    source_id: Mapped[UUID]
    job_id: Mapped[UUID]
    column_name: Mapped[str] = mapped_column(Text)
    proposed_field: Mapped[str | None] = mapped_column(Text)
    confirmed_field: Mapped[str | None] = mapped_column(Text)
    confidence: Mapped[float] = mapped_column(Double)
    auto: Mapped[bool]
    correct: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    column_index: Mapped[int | None]
    header_key: Mapped[str] = mapped_column(Text, server_default="")
    profile_digest: Mapped[str | None] = mapped_column(Text)
    tier: Mapped[str] = mapped_column(Text, server_default="none")
    proposed_target: Mapped[str | None] = mapped_column(Text)
    confirmed_target: Mapped[str | None] = mapped_column(Text)
    confirmed: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    actor: Mapped[str | None] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text, server_default="unseen")


class MappingAnswer(Base):
    """What Claude answered to one question of one tenant."""

    __tablename__ = "mapping_answers"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    question_digest: Mapped[str] = mapped_column(Text, primary_key=True)
    model: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
