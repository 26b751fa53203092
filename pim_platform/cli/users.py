"""``pim user``: people and their roles, for whoever operates the installation.

There is no mail server: what is made for somebody is printed, and handed over by whoever runs the command.
"""

from __future__ import annotations

import json
from datetime import datetime

import click

from pim_platform.cli.tenant import ROLES, every_page, open_session, tenant_option
from pim_platform.settings import get_settings


@click.group("user")
def user() -> None:
    """Invite, list and remove people; links that set a password."""


@user.command("list")
@tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_command(slug: str, as_json: bool) -> None:
    """List the people of a tenant."""
    from pim_platform.tenancy.users import list_members

    with open_session(slug) as session:
        found = every_page(lambda cursor: list_members(session, cursor=cursor, limit=500))
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], default=str))
        return
    for one in found:
        click.echo(f"{one.email:<40} {one.role:<8} {one.joined_at:%Y-%m-%d}  {one.name}")


@user.command("invite")
@click.argument("email")
@tenant_option
@click.option("--role", type=ROLES, default="editor", show_default=True, help="What the person may do.")
def invite_command(email: str, slug: str, role: str) -> None:
    """Invite EMAIL into a tenant, whether there is a login already or not, and print the one-time secret."""
    from typing import cast

    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.invitations import invite
    from pim_platform.tenancy.keys import Role

    with open_session(slug) as session:
        made, token = invite(session, get_settings(), email=email, role=cast("Role", role), actor=cli_actor())
    click.echo(token)
    _hint("to accept, POST token, password and, where the person is new, name to /auth/invitation", made.expires_at)


@user.command("role")
@click.argument("email")
@click.argument("role", type=ROLES)
@tenant_option
def role_command(email: str, role: str, slug: str) -> None:
    """Give EMAIL another ROLE in a tenant."""
    from typing import cast

    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.keys import Role
    from pim_platform.tenancy.users import change_role, find_member

    with open_session(slug) as session:
        found = find_member(session, email)
        changed = change_role(session, found.id, cast("Role", role), actor=cli_actor())
    click.echo(f"{changed.email} is {changed.role} of {slug}")


@user.command("remove")
@click.argument("email")
@tenant_option
def remove(email: str, slug: str) -> None:
    """Take EMAIL out of a tenant; other tenants of that person stay."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.tenancy.users import find_member, remove_member

    with open_session(slug) as session:
        found = find_member(session, email)
        remove_member(session, found.id, actor=cli_actor())
    click.echo(f"{found.email} does not belong to {slug} any more")


@user.command("reset")
@click.argument("email")
def reset(email: str) -> None:
    """Print the secret of a one-time link that sets a new password for EMAIL."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import app_engine
    from pim_platform.tenancy.users import make_operator_link

    settings = get_settings()
    with engines(settings):
        token, until = make_operator_link(app_engine(settings), settings, email, actor=cli_actor())
    click.echo(token)
    _hint("to set a password, POST token and password to /auth/password", until)


@user.command("logout")
@click.argument("email")
def logout(email: str) -> None:
    """End every login of EMAIL at once."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import app_engine
    from pim_platform.tenancy.users import end_logins

    settings = get_settings()
    with engines(settings):
        ended = end_logins(app_engine(settings), email, actor=cli_actor())
    click.echo(f"{ended} logins ended")


def _hint(what: str, until: datetime) -> None:
    """On standard error, so that the secret alone can be piped on."""
    click.echo(f"Shown once, valid until {until:%Y-%m-%d %H:%M} UTC: {what}.", err=True)
