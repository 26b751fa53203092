"""``pim tenant``: starts this home's engines if none run, and stops them after."""

from __future__ import annotations

import json

import click

from pim_platform.cli.quota import quota
from pim_platform.cli.tenant import open_engine
from pim_platform.settings import get_settings


@click.group("tenant")
def tenant() -> None:
    """Make and list tenants."""


@tenant.command("create")
@click.argument("slug")
@click.option("--currency", required=True, help="Default currency, ISO 4217, such as EUR.")
@click.option("--locale", required=True, help="Default locale, such as en-US or de_DE.")
@click.option("--timezone", required=True, help="IANA time zone, such as Europe/Berlin.")
@click.option("--name", help="The company's name; the slug if left out.")
@click.option(
    "--policy",
    type=click.Choice(["never", "saved_mapping_fits", "all_sure"]),
    default="never",
    show_default=True,
    help="When a proposed mapping is confirmed without a person.",
)
def create(slug: str, currency: str, locale: str, timezone: str, name: str | None, policy: str) -> None:
    """Make the tenant SLUG."""
    from typing import cast

    from pim_platform.cli.actor import cli_actor
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import app_engine
    from pim_platform.tenancy.tenants import ConfirmPolicy, create_tenant

    settings = get_settings()
    with engines(settings):
        made = create_tenant(
            app_engine(settings),
            slug,
            currency=currency,
            locale=locale,
            timezone=timezone,
            name=name,
            confirm_policy=cast("ConfirmPolicy", policy),
            actor=cli_actor(),
        )
    click.echo(f"tenant {made.slug}: {made.default_currency}, {made.default_locale}, {made.timezone}, {policy}")


@tenant.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_command(as_json: bool) -> None:
    """List every tenant."""
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import app_engine
    from pim_platform.tenancy.tenants import list_tenants

    settings = get_settings()
    with engines(settings):
        found = list_tenants(app_engine(settings))
    if as_json:
        keys = ("slug", "name", "default_currency", "default_locale", "timezone", "confirm_policy", "active")
        click.echo(json.dumps([{key: getattr(one, key) for key in keys} | {"id": str(one.id)} for one in found]))
        return
    for one in found:
        click.echo(
            f"{one.slug:<24} {one.default_currency}  {one.default_locale:<10} {one.timezone:<20} {one.confirm_policy}"
        )


@tenant.command("budget")
@click.argument("slug")
@click.argument("usd")
def budget(slug: str, usd: str) -> None:
    """Say what SLUG may spend on Claude per day: USD, 0 for nothing, or "default" for the installation's setting."""
    from decimal import Decimal, InvalidOperation

    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.usage import set_daily_budget

    try:
        amount = None if usd == "default" else Decimal(usd)
    except InvalidOperation:
        raise click.BadParameter(f"{usd!r} is no amount.") from None
    with open_engine(slug) as (engine, tenant):
        set_daily_budget(engine, tenant.id, amount, actor=cli_actor())
    shown = f"{get_settings().anthropic_daily_budget_usd:g} USD (the setting)" if amount is None else f"{amount} USD"
    click.echo(f"tenant {slug}: {shown} per day for Claude")


@tenant.command("analyst")
@click.argument("slug")
def analyst(slug: str) -> None:
    """Let an analyst of SLUG read tenant_SLUG.products in PostgreSQL; prints the connection URL."""
    from urllib.parse import quote, urlsplit

    from pim_platform.catalog.schemas import current_schema
    from pim_platform.catalog.typed_relations import allow_analyst, analyst_role, refresh_view
    from pim_platform.local.engines import engines
    from pim_platform.storage.endpoints import secret
    from pim_platform.storage.postgres import app_engine, engine_of, tenant_session
    from pim_platform.tenancy.tenants import find_tenant

    settings = get_settings()
    with engines(settings) as endpoints:
        found = find_tenant(app_engine(settings), slug)
        ddl = engine_of(endpoints.ddl_url)
        with tenant_session(app_engine(settings), found.id) as session:
            refresh_view(ddl, found, current_schema(session))
        password = secret(settings.home_path, analyst_role(found), group="analysts")
        role = allow_analyst(ddl, found, password)
    parts = urlsplit(endpoints.app_url)
    address = parts.netloc.rpartition("@")[2]
    click.echo(f"postgresql://{quote(role)}:{quote(password, safe='')}@{address}{parts.path}")


tenant.add_command(quota)
