"""Tenants: making, finding and listing them."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, InvalidRequest, NotFound
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant

ConfirmPolicy = Literal["never", "saved_mapping_fits", "all_sure"]

_SLUG = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_CURRENCY = re.compile(r"[A-Z]{3}")  # ISO 4217
_LOCALE = re.compile(
    r"([a-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|\d{3}))?"
)  # BCP 47: language-Script-REGION


@dataclass(frozen=True)
class TenantInfo:
    """A tenant as other domains need it."""

    id: UUID
    slug: str
    name: str
    default_currency: str
    default_locale: str
    timezone: str
    confirm_policy: str
    active: bool
    created_at: datetime

    @property
    def relation(self) -> str:
        """Schema (PostgreSQL) and database (ClickHouse) of its typed relations: ``tenant_<slug>``."""
        return "tenant_" + self.slug.replace("-", "_")


def normalise_locale(value: str) -> str:
    """``en_US`` or ``en-us`` as BCP 47 ``en-US`` (design D16). Raises InvalidRequest."""
    match = _LOCALE.fullmatch(value)
    if not match:
        raise InvalidRequest(
            f"{value!r} is not a locale.", fix="Write language and region, such as en-US or de-DE.", value=value
        )
    language, script, region = match.groups()
    return "-".join(part for part in (language, script and script.title(), region and region.upper()) if part)


def _check(*, currency: str | None = None, timezone: str | None = None, confirm_policy: str | None = None) -> None:
    if currency is not None and not _CURRENCY.fullmatch(currency):
        raise InvalidRequest(
            f"{currency!r} is not a currency.", fix="Give the ISO 4217 code, such as EUR.", value=currency
        )
    if timezone is not None and timezone not in zoneinfo.available_timezones():
        raise InvalidRequest(
            f"{timezone!r} is not a time zone.", fix="Give an IANA name, such as Europe/Berlin.", value=timezone
        )
    if confirm_policy is not None and confirm_policy not in get_args(ConfirmPolicy):
        raise InvalidRequest(
            f"{confirm_policy!r} is not a policy.",
            fix=f"Choose one of {', '.join(get_args(ConfirmPolicy))}.",
            value=confirm_policy,
        )


def create_tenant(
    engine: Engine,
    slug: str,
    *,
    currency: str,
    locale: str,
    timezone: str,
    name: str | None = None,
    confirm_policy: ConfirmPolicy = "never",
    actor: Actor,
) -> TenantInfo:
    """Make a tenant. Raises InvalidRequest for a bad argument, Conflict where the slug is taken."""
    if not _SLUG.fullmatch(slug):
        raise InvalidRequest(
            f"{slug!r} cannot name a tenant.",
            fix="Use a-z, 0-9, - and _, starting with a letter, up to 40.",
            value=slug,
        )
    _check(currency=currency, timezone=timezone)
    with anonymous_session(engine) as session:
        tenant_id = session.scalar(text("SELECT uuidv7()"))
    try:
        # Row level security lets a tenant insert itself: its new id is bound first.
        with tenant_session(engine, tenant_id) as session:
            tenant = Tenant(
                id=tenant_id,
                slug=slug,
                name=name or slug,
                default_currency=currency,
                default_locale=normalise_locale(locale),
                timezone=timezone,
                confirm_policy=confirm_policy,
            )
            session.add(tenant)
            session.flush()
            session.execute(text("INSERT INTO pim.catalog_state (tenant_id) VALUES (:id)"), {"id": tenant_id})
            record(session, actor, "tenant.created", "tenant", str(tenant_id), slug=slug)
    except IntegrityError as error:
        raise Conflict(
            f"A tenant {slug!r} exists already.", fix="Choose another slug.", code="tenant_exists"
        ) from error
    return find_tenant(engine, slug)


def list_tenants(engine: Engine) -> list[TenantInfo]:
    """Every tenant, by slug: for operators and sensors, never for a tenant's own caller."""
    with anonymous_session(engine) as session:
        rows = session.execute(text("SELECT * FROM pim.tenant_directory() ORDER BY slug"))
        return [TenantInfo(**row) for row in rows.mappings()]


def find_tenant(engine: Engine, slug: str) -> TenantInfo:
    """The tenant of that slug. Raises NotFound."""
    with anonymous_session(engine) as session:
        row = (
            session.execute(text("SELECT * FROM pim.tenant_directory() WHERE slug = :slug"), {"slug": slug})
            .mappings()
            .first()
        )
    if row is None:
        raise NotFound(
            f"There is no tenant {slug!r}.",
            fix=f"See `pim tenant list`, or make it with `pim tenant create {slug}`.",
            code="unknown_tenant",
            value=slug,
        )
    return TenantInfo(**row)


def get_tenant(engine: Engine, tenant_id: UUID) -> TenantInfo:
    """The tenant of that id. Raises NotFound."""
    with tenant_session(engine, tenant_id) as session:
        tenant = session.scalar(select(Tenant).where(Tenant.id == tenant_id))
        if tenant is None:
            raise NotFound("There is no such tenant.", code="unknown_tenant", value=str(tenant_id))
        return _info(tenant)


def _info(tenant: Tenant) -> TenantInfo:
    return TenantInfo(
        tenant.id,
        tenant.slug,
        tenant.name,
        tenant.default_currency,
        tenant.default_locale,
        tenant.timezone,
        tenant.confirm_policy,
        tenant.active,
        tenant.created_at,
    )


@dataclass(frozen=True)
class TenantSettings:
    """What an admin may change of a tenant; None: as it is."""

    name: str | None = None
    default_currency: str | None = None
    """For prices without a currency in imports to come, ISO 4217."""
    default_locale: str | None = None
    timezone: str | None = None
    confirm_policy: ConfirmPolicy | None = None


def change_tenant(session: Session, changes: TenantSettings, *, actor: Actor) -> TenantInfo:
    """Change settings of the session's tenant. Raises InvalidRequest; nothing is changed then."""
    _check(currency=changes.default_currency, timezone=changes.timezone, confirm_policy=changes.confirm_policy)
    if changes.name is not None and not changes.name.strip():
        raise InvalidRequest("A tenant needs a name.", fix="Send a name that is not empty.", column="name")
    given = {key: value for key, value in asdict(changes).items() if value is not None}
    if changes.default_locale is not None:
        given["default_locale"] = normalise_locale(changes.default_locale)
    tenant = session.get_one(Tenant, session.info["tenant_id"])
    differing = {key: value for key, value in given.items() if getattr(tenant, key) != value}
    if differing:
        before = {key: getattr(tenant, key) for key in differing}
        for key, value in differing.items():
            setattr(tenant, key, value)
        session.flush()
        record(session, actor, "tenant.changed", "tenant", str(tenant.id), changes=differing, before=before)
    return _info(tenant)
