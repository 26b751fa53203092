"""Tables of tenancy."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pim_platform.storage.base import Base

_UUID7 = text("uuidv7()")
_ROLES = "role IN ('admin', 'editor', 'reviewer', 'viewer')"


class Tenant(Base):
    """A company whose catalogue this is. Its ``slug`` names it in paths and relations."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("slug ~ '^[a-z][a-z0-9_-]{0,39}$'", name="slug"),
        CheckConstraint("default_currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("confirm_policy IN ('never', 'saved_mapping_fits', 'all_sure')", name="confirm_policy"),
        CheckConstraint("claude_daily_budget_usd >= 0", name="claude_daily_budget_usd"),
        CheckConstraint("max_products >= 0", name="max_products"),
        CheckConstraint("max_storage_bytes >= 0", name="max_storage_bytes"),
        CheckConstraint("max_concurrent_jobs >= 0", name="max_concurrent_jobs"),
        Index("uq_tenants_relation", text("replace(slug, '-', '_')"), unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    default_currency: Mapped[str] = mapped_column(Text)
    default_locale: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    confirm_policy: Mapped[str] = mapped_column(Text, server_default="never")
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    claude_daily_budget_usd: Mapped[Decimal | None] = mapped_column(Numeric(10, 4))
    # Quotas; null: unlimited.
    max_products: Mapped[int | None] = mapped_column(BigInteger)
    max_storage_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_concurrent_jobs: Mapped[int | None]


class User(Base):
    """A person. Belongs to tenants through memberships; the e-mail address is kept in lower case."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    # No session of a tenant may read it.
    password_hash: Mapped[str] = mapped_column(Text, deferred=True, deferred_raiseload=True)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Membership(Base):
    """A user's role in one tenant."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint(_ROLES, name="role"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ApiKey(Base):
    """An integrator's credential: 256 random bits, stored as SHA-256 only (design D22)."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint(_ROLES, name="role"),
        CheckConstraint("rate_limit >= 0", name="rate_limit"),
        UniqueConstraint("key_hash"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    name: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    role: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_by: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    #: Requests per window; null: as the installation says, 0: no limit.
    rate_limit: Mapped[int | None]


class Invitation(Base):
    """An offer of a role in one tenant to whoever has the link; stored as SHA-256 only."""

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint(_ROLES, name="role"),
        UniqueConstraint("token_hash"),
        Index(
            "uq_invitations_open",
            "tenant_id",
            "email",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LoginSession(Base):
    """A person's login, which reaches every tenant of theirs; only functions of ``pim_definer`` read and write it."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        CheckConstraint(
            "end_reason IN ('logout', 'refresh_reused', 'password_changed', 'joined_tenant', 'operator')",
            name="end_reason",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None] = mapped_column(Text)
    ip: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None] = mapped_column(Text)


class RefreshToken(Base):
    """What prolongs a login, used once and stored as SHA-256 only; as out of reach as the login."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey(LoginSession.id, ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PasswordLink(Base):
    """A one-time link to set a password, stored as SHA-256 only; as out of reach as a login."""

    __tablename__ = "password_links"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), index=True)
    made_by_tenant: Mapped[UUID | None] = mapped_column(ForeignKey(Tenant.id))
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LoginThrottle(Base):
    """Guesses at passwords by what they have in common; as out of reach as a login."""

    __tablename__ = "login_throttles"

    bucket: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    failed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    blocked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    known: Mapped[bool] = mapped_column(server_default=text("false"))
    forget_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class AuditLog(Base):
    """Who did what, one row per operation; monthly partitions; written and read, never changed."""

    __tablename__ = "audit_logs"
    __table_args__ = ({"postgresql_partition_by": "RANGE (at)"},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), primary_key=True, server_default=func.clock_timestamp()
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    object_kind: Mapped[str] = mapped_column(Text)
    object_id: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    ip: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None] = mapped_column(Text)
    trace_id: Mapped[str | None] = mapped_column(Text)


class ApiUsage(Base):
    """One call of somebody else's API and what it cost (seed 003); monthly partitions."""

    __tablename__ = "api_usage_log"
    __table_args__ = (
        Index(
            "ix_api_usage_log_errors",
            "tenant_id",
            "api_provider",
            "created_at",
            postgresql_where=text("http_status >= 400"),
        ),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), primary_key=True, server_default=func.clock_timestamp()
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    api_provider: Mapped[str] = mapped_column(Text)
    endpoint: Mapped[str] = mapped_column(Text)
    request_count: Mapped[int] = mapped_column(server_default=text("1"))
    tokens_input: Mapped[int | None]
    tokens_output: Mapped[int | None]
    estimated_cost: Mapped[Decimal | None] = mapped_column(Numeric(14, 8))
    http_status: Mapped[int | None]
    response_time_ms: Mapped[int | None]
    job_id: Mapped[str | None] = mapped_column(Text)
    product_id: Mapped[UUID | None]
    shop_id: Mapped[UUID | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    # SQLAlchemy keeps the name `metadata` for itself.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))


class RateBucket(Base):
    """Requests of one caller or address in its present window; unlogged, and reached through functions only."""

    __tablename__ = "rate_buckets"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},)

    bucket: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    used: Mapped[int]
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class IdempotencyKey(Base):
    """A request under an Idempotency-Key, from its claim to its answer, per caller."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_tenant_id_claimed_at", "tenant_id", "claimed_at"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    owner: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    claimed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    effect_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
