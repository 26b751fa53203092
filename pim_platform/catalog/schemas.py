"""Reading and changing a tenant's product schema; every change is a new version."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pim_platform.catalog.models import ProductSchemaVersion
from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.errors import InvalidSchema, NotFound
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant

#: Fields one tenant may have: PostgreSQL allows 1,600 columns to a table, and a merge lays fields out as such.
MAXIMUM_FIELDS = 1000


def current_schema(session: Session) -> ProductSchema:
    """The schema in force for the session's tenant; version 0 and no fields before the first one."""
    tenant_id = session.info["tenant_id"]
    row = session.scalar(
        select(ProductSchemaVersion)
        .where(ProductSchemaVersion.tenant_id == tenant_id)
        .order_by(ProductSchemaVersion.version.desc())
        .limit(1)
    )
    if row is None:
        tenant = session.get_one(Tenant, tenant_id)
        return ProductSchema(default_currency=tenant.default_currency, default_locale=tenant.default_locale)
    return _as_schema(row)


def schema_version(session: Session, version: int) -> ProductSchema:
    """That version of the session's tenant; 0 is the empty one."""
    if version == 0:
        tenant = session.get_one(Tenant, session.info["tenant_id"])
        return ProductSchema(default_currency=tenant.default_currency, default_locale=tenant.default_locale)
    return _as_schema(session.get_one(ProductSchemaVersion, (session.info["tenant_id"], version)))


def save_schema(session: Session, wanted: ProductSchema, actor: Actor) -> ProductSchema:
    """Write ``wanted`` as the next version, unless it equals the one in force; returns what is in force then.

    Raises InvalidSchema where it has too many fields.
    """
    require_few_fields(wanted)
    lock_schema(session)
    now = current_schema(session)
    same = wanted.model_copy(update={"version": now.version})
    if same == now:
        return now
    saved = wanted.model_copy(update={"version": now.version + 1})
    session.add(
        ProductSchemaVersion(
            tenant_id=session.info["tenant_id"],
            version=saved.version,
            fields=saved.fields_json(),
            default_currency=saved.default_currency,
            default_locale=saved.default_locale,
            actor=actor.name,
        )
    )
    record(session, actor, "schema.changed", "schema", str(saved.version), fields=[f.name for f in saved.fields])
    session.flush()
    return saved


def adopt_defaults(session: Session, currency: str, locale: str, actor: Actor) -> None:
    """Let the schema in force have the tenant's new defaults, where there is one; stored values keep theirs."""
    now = current_schema(session)
    if now.version:
        save_schema(session, now.model_copy(update={"default_currency": currency, "default_locale": locale}), actor)


def require_few_fields(wanted: ProductSchema) -> None:
    """Raise InvalidSchema with code ``too_many_fields`` where a schema has more than a tenant can have."""
    if len(wanted.fields) > MAXIMUM_FIELDS:
        raise InvalidSchema(
            f"The schema would have {len(wanted.fields):,} fields.",
            fix=f"A tenant can have {MAXIMUM_FIELDS:,}; leave out those that nobody reads, or put them into one array.",
            code="too_many_fields",
        )


def lock_schema(session: Session) -> None:
    """Be the only one who changes the tenant's schema until the transaction ends: two at once must not both take the
    next number, nor one write back what it read before the other. Taken after the catalogue lock, never before it."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('schema:' || :tenant, 0))"),
        {"tenant": str(session.info["tenant_id"])},
    )


def schema_versions(session: Session, *, before: int | None = None, limit: int = 50) -> list[ProductSchemaVersion]:
    """The versions of the session's tenant's schema, newest first, those older than ``before``."""
    query = select(ProductSchemaVersion).where(ProductSchemaVersion.tenant_id == session.info["tenant_id"])
    if before is not None:
        query = query.where(ProductSchemaVersion.version < before)
    return list(session.scalars(query.order_by(ProductSchemaVersion.version.desc()).limit(limit)))


def find_schema_version(session: Session, version: int) -> ProductSchemaVersion:
    """That version of the session's tenant's schema. Raises NotFound with code ``unknown_version``."""
    found = session.get(ProductSchemaVersion, (session.info["tenant_id"], version))
    if found is None:
        raise NotFound(
            f"There is no version {version} of the schema.", fix="List the versions.", code="unknown_version"
        )
    return found


def parse_fields(raw: list[dict[str, Any]]) -> list[SchemaField]:
    """Schema fields from JSON values. Raises InvalidSchema naming the field and what is wrong with it."""
    fields = []
    for value in raw:
        try:
            fields.append(SchemaField.model_validate(value))
        except ValidationError as error:
            first = error.errors()[0]
            name = value.get("name")
            raise InvalidSchema(
                f"Schema field {name!r}: {first['msg'].removeprefix('Value error, ')}.",
                fix="Types are string, number, boolean, array, url, price, multi_price; names are snake_case.",
                column=".".join(str(part) for part in first["loc"]) or None,
                value=str(name),
            ) from error
    return fields


def _as_schema(row: ProductSchemaVersion) -> ProductSchema:
    return ProductSchema(
        fields=tuple(SchemaField.model_validate(field) for field in row.fields),
        default_currency=row.default_currency,
        default_locale=row.default_locale,
        version=row.version,
    )
