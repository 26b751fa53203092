"""Tables of the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL
from sqlalchemy.orm import Mapped, mapped_column

from pim_platform.storage.base import Base
from pim_platform.tenancy.models import Tenant

_KEY = Text(collation="C")  # byte order, so that both engines page alike (design D2)


class ProductSchemaVersion(Base):
    """One version of a tenant's field vocabulary; the highest version is in force."""

    __tablename__ = "product_schemas"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fields: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    default_currency: Mapped[str] = mapped_column(Text)
    default_locale: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class CatalogState(Base):
    """How far a tenant's catalogue and its copies are, counted in its commits (design D10)."""

    __tablename__ = "catalog_state"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    commit_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    published_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    typed_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    typed_schema_version: Mapped[int] = mapped_column(server_default=text("-1"))
    verified_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("-1"))
    """The commit up to which both engines were last seen to hold the same rows; -1 before that."""


class Product(Base):
    """A product. Schema fields live in ``data``; ``job_id, attempt, source_row`` point at its raw row."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("sku_key <> ''", name="sku_key"),
        CheckConstraint("kind IN ('simple', 'parent', 'variant', 'bundle')", name="kind"),
        CheckConstraint("source IN ('csv', 'api', 'ui')", name="source"),
        UniqueConstraint("tenant_id", "sku_key", name="uq_products_tenant_id_sku_key"),
        Index(
            "ix_products_commit_seq",
            "commit_seq",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
        ),
        Index(
            "ix_products_variant_group",
            "tenant_id",
            "variant_group",
            postgresql_where=text("variant_group IS NOT NULL"),
        ),
        {"postgresql_partition_by": "HASH (tenant_id)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    sku: Mapped[str] = mapped_column(Text)
    sku_key: Mapped[str] = mapped_column(_KEY)
    name: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    kind: Mapped[str] = mapped_column(Text, server_default="simple")
    parent_id: Mapped[UUID | None]
    variant_group: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    source: Mapped[str] = mapped_column(Text)
    source_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    attempt: Mapped[int | None]
    source_row: Mapped[int | None] = mapped_column(BigInteger)
    row_hash: Mapped[int | None] = mapped_column(BigInteger)
    ai_readability_score: Mapped[float | None] = mapped_column(REAL)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    commit_seq: Mapped[int] = mapped_column(BigInteger)
    created_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ProductChange(Base):
    """One product changed by one commit: the keys that differ, before and after (design D9).

    Of a deleted product ``old`` is its ``data``, and ``image_*`` are its other columns; null in other entries.
    """

    __tablename__ = "product_changes"
    __table_args__ = (
        CheckConstraint("action IN ('create', 'update', 'delete')", name="action"),
        CheckConstraint("(action = 'delete') = (image_sku IS NOT NULL)", name="image"),
        Index("ix_product_changes_tenant_id_product_id", "tenant_id", "product_id", "commit_seq"),
        {"postgresql_partition_by": "RANGE (changed_at)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    commit_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    action: Mapped[str] = mapped_column(Text)
    sku_key: Mapped[str] = mapped_column(_KEY)
    version: Mapped[int]
    actor: Mapped[str] = mapped_column(Text)
    job_id: Mapped[UUID | None]
    request_id: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    old: Mapped[dict[str, Any]] = mapped_column(JSONB)
    new: Mapped[dict[str, Any]] = mapped_column(JSONB)
    image_sku: Mapped[str | None] = mapped_column(Text)
    image_name: Mapped[str | None] = mapped_column(Text)
    image_active: Mapped[bool | None]
    image_kind: Mapped[str | None] = mapped_column(Text)
    image_parent_id: Mapped[UUID | None]
    image_variant_group: Mapped[str | None] = mapped_column(Text)
    image_source: Mapped[str | None] = mapped_column(Text)
    image_source_id: Mapped[UUID | None]
    image_job_id: Mapped[UUID | None]
    image_attempt: Mapped[int | None]
    image_source_row: Mapped[int | None] = mapped_column(BigInteger)
    image_ai_readability_score: Mapped[float | None] = mapped_column(REAL)
    image_created_seq: Mapped[int | None] = mapped_column(BigInteger)
    image_created_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
