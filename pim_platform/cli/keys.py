"""``pim key``: API keys of a tenant, for whoever operates the installation."""

from __future__ import annotations

import json

import click

from pim_platform.cli.tenant import ROLES, every_page, open_engine, open_session, tenant_option

_tenant = click.option("--tenant", "slug", required=True, help="Slug of the tenant that the key belongs to.")


@click.group("key")
def key() -> None:
    """Make, list and revoke API keys."""


@key.command("create")
@_tenant
@click.option("--role", type=ROLES, default="editor", show_default=True, help="What the key may do.")
@click.option("--name", default="cli", show_default=True, help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="Limit the key to this part of what its role may, such as products:read; may be given several times.",
)
@click.option("--days", type=click.IntRange(1, 36_500), help="Days after which the key ends; left out: never.")
@click.option(
    "--rate-limit",
    type=click.IntRange(min=0),
    help="Requests per window; 0: no limit; left out: PIM_RATE_LIMIT_REQUESTS.",
)
def create(slug: str, role: str, name: str, scopes: tuple[str, ...], days: int | None, rate_limit: int | None) -> None:
    """Make a key and print it; it cannot be shown again."""
    from datetime import UTC, datetime, timedelta
    from typing import cast

    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.keys import Role, Scope, make_key

    with open_engine(slug) as (engine, tenant):
        _, made = make_key(
            engine,
            tenant.id,
            role=cast("Role", role),
            name=name,
            actor=cli_actor(),
            scopes=cast("tuple[Scope, ...]", scopes) or None,
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            rate_limit=rate_limit,
        )
    click.echo(made)


@key.command("list")
@tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_command(slug: str, as_json: bool) -> None:
    """List a tenant's keys, newest first, without the keys themselves."""
    from pim_platform.tenancy.keys import list_keys

    with open_session(slug) as session:
        found = every_page(lambda cursor: list_keys(session, cursor=cursor, limit=500))
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], default=str))
        return
    for one in found:
        used = f"used {one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never used"
        ends = f", until {one.expires_at:%Y-%m-%d}" if one.expires_at else ""
        scopes = ",".join(one.scopes) if one.scopes else "all scopes"
        click.echo(f"{one.id}  {one.prefix}...  {one.state:<7}  {one.role:<8}  {scopes}  {used}{ends}  {one.name}")


@key.command("revoke")
@click.argument("key_id", type=click.UUID)
@_tenant
def revoke(key_id: str, slug: str) -> None:
    """Let the key with this id (see the list) open nothing from now on."""
    from uuid import UUID

    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.keys import revoke_key

    with open_session(slug) as session:
        revoked = revoke_key(session, UUID(str(key_id)), actor=cli_actor())
    click.echo(f"key {revoked.prefix}... ({revoked.name}) is revoked")


@key.command("limit")
@click.argument("shown")
@click.argument("requests")
@_tenant
def limit_command(shown: str, requests: str, slug: str) -> None:
    """Give the key SHOWN (its id or prefix) REQUESTS per window; 0: no limit, default: as PIM_RATE_LIMIT_REQUESTS."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.rates import set_key_limit

    if requests != "default" and not requests.isdecimal():
        raise click.BadParameter(f"{requests!r} is no number of requests.")
    wanted = None if requests == "default" else int(requests)
    with open_engine(slug) as (engine, tenant):
        set_key_limit(engine, tenant.id, shown, wanted, actor=cli_actor())
    click.echo(f"key {shown}: {requests}")
