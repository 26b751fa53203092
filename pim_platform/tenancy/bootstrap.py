"""What the first start of a stack makes: one tenant to begin with, its admin key and login."""

from __future__ import annotations

import secrets

from pim_platform.settings import Settings
from pim_platform.storage.postgres import app_engine
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import create_tenant, list_tenants
from pim_platform.tenancy.users import create_user

_LOGIN = "admin@pim.local"
_PASSWORD_BYTES = 12


def first_start(settings: Settings) -> list[str]:
    """Lines to print once, or none where a tenant exists already. What they show cannot be shown again."""
    engine = app_engine(settings)
    if list_tenants(engine):
        return []
    actor = Actor("bootstrap")
    tenant = create_tenant(
        engine,
        settings.first_tenant,
        currency=settings.first_currency,
        locale=settings.first_locale,
        timezone=settings.first_timezone,
        actor=actor,
    )
    key = create_key(engine, tenant.id, role="admin", name="first start", actor=actor)
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    create_user(engine, tenant.id, email=_LOGIN, name="Admin", password=password, role="admin", actor=actor)
    return [
        f"tenant      {tenant.slug} ({tenant.default_currency}, {tenant.default_locale})",
        f"admin key   {key}",
        f"login       {_LOGIN} / {password}",
        "These are shown once. Make more with `pim key create`.",
    ]
