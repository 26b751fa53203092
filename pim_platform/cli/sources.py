"""``pim source``: how the files of a source are imported, and where they are fetched.

It starts this home's engines if none run.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from pim_platform.cli.tenant import every_page, open_session, open_workspace, tenant_option

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("source")
def source() -> None:
    """Say how the files of a source are imported, and where they are fetched."""


@source.command("list")
@tenant_option
@_json_option
def list_command(slug: str, as_json: bool) -> None:
    """List the tenant's sources."""
    from pim_platform.intake.sources import MAXIMUM_PAGE, list_sources
    from pim_platform.storage import exact_json

    with open_session(slug) as session:

        def page(cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
            read = list_sources(session, cursor=cursor, limit=MAXIMUM_PAGE)
            return read.sources, read.next_cursor

        found = every_page(page)
    if as_json:
        click.echo(exact_json.dumps({"sources": found}, default=str))
        return
    for one in found:
        feeds = "full feeds" if one["full_feed"] else "partial files"
        where = f"  {one['feed']['url']}" if one["feed"] else ""
        click.echo(f"{one['slug']:<24} {feeds:<14} {_last_fetch(one['feed'])}{where}")


def _last_fetch(feed: dict[str, Any] | None) -> str:
    if feed is None:
        return "not fetched"
    last = feed["last"]
    return f"{last['outcome']} {last['at']:%Y-%m-%d %H:%M}" if last else "not fetched yet"


@source.command("show")
@click.argument("name")
@tenant_option
@_json_option
def show_command(name: str, slug: str, as_json: bool) -> None:
    """Show all that is said of the source NAME, and what became of its last fetch."""
    from pim_platform.intake.sources import find_source, source_json
    from pim_platform.storage import exact_json

    with open_session(slug) as session:
        found = source_json(session, find_source(session, name), whole_urls=True)
    if as_json:
        click.echo(exact_json.dumps(found, default=str))
        return
    for key, value in found.items():
        click.echo(f"{key:<22} {value if value is not None else '-'}")


@source.command("set")
@click.argument("name")
@tenant_option
@click.option("--full-feed/--partial", default=None, help="Whether every file lists all that the source has.")
@click.option(
    "--absent",
    "absent_rows",
    type=click.Choice(["keep", "deactivate", "delete"]),
    help="What becomes of products that a full feed holds no more.",
)
@click.option("--rejects", "reject_policy", help="What bad rows do: skip, stop_first, or stop_above:N% .")
@click.option(
    "--skip-unchanged/--import-unchanged",
    default=None,
    help="Whether a file with the content of the last accepted import is left alone.",
)
@click.option(
    "--policy",
    "confirm_policy",
    type=click.Choice(["never", "saved_mapping_fits", "all_sure"]),
    help="When a proposal is confirmed without a person.",
)
@click.option("--currency", "default_currency", help="Of prices that name none, ISO 4217.")
@click.option("--priority", type=click.IntRange(0, 100), help="Whose value stands where sources differ.")
@click.option("--trust", type=click.FloatRange(0, 1), help="How much the source is believed.")
@click.option("--forget-dialect", is_flag=True, help="Forget what people said of its files' dialect.")
def set_command(name: str, slug: str, forget_dialect: bool, **given: Any) -> None:
    """Change the source NAME; what is left out stays as it is."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.sources import SourceSettings, change_source, set_source

    with open_session(slug) as session:
        found = set_source(session, name, actor=cli_actor(), **given)
        if forget_dialect:
            found = change_source(session, name, SourceSettings(dialect=None), actor=cli_actor())
    feeds = "full feeds" if found.full_feed else "partial files"
    same = "skipped" if found.skip_unchanged else "imported again"
    click.echo(
        f"source {found.slug}: {feeds}, absent rows: {found.absent_rows}, bad rows: {found.reject_policy or 'skip'}, "
        f"content imported last: {same}"
    )


@source.command("feed")
@click.argument("name")
@tenant_option
@click.option("--url", help="Where its file is, https://... ; its host has to be allowed.")
@click.option(
    "--every", "interval_seconds", type=click.IntRange(60, 31_622_400), help="Fetch again after so many seconds."
)
@click.option("--cron", help='Or at these times in the tenant\'s zone, such as "30 5 * * 1-5".')
@click.option("--user", help="Send this user name and a password, which is asked for (or read from standard input).")
@click.option("--bearer", is_flag=True, help="Send a token, which is asked for (or read from standard input).")
@click.option("--without-credentials", is_flag=True, help="Send none, and forget those that are kept.")
@click.option("--remove", is_flag=True, help="Fetch it no more.")
def feed_command(
    name: str,
    slug: str,
    url: str | None,
    interval_seconds: int | None,
    cron: str | None,
    user: str | None,
    bearer: bool,
    without_credentials: bool,
    remove: bool,
) -> None:
    """Say where the file of the source NAME is fetched, and when; without a rhythm only by `pim source fetch`."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.feeds import FeedSettings, remove_feed, set_feed
    from pim_platform.storage.postgres import tenant_session

    if remove == (url is not None):
        raise click.UsageError("Give --url, or --remove.")
    if sum((user is not None, bearer, without_credentials)) > 1:
        raise click.UsageError("Give one of --user, --bearer and --without-credentials.")
    given: dict[str, Any] = {"url": url, "interval_seconds": interval_seconds, "cron": cron}
    if user is not None:
        given["auth"] = {"kind": "basic", "user": user, "password": _secret("Password")}
    elif bearer:
        given["auth"] = {"kind": "bearer", "token": _secret("Token")}
    elif without_credentials:
        given["auth"] = None
    with open_workspace(slug) as (workspace, tenant):
        if remove:
            with tenant_session(workspace.app, tenant.id) as session:
                remove_feed(session, name, actor=cli_actor())
            click.echo(f"source {name}: fetched no more")
            return
        found = set_feed(workspace, tenant.id, name, _parsed(FeedSettings, given), actor=cli_actor())
    rhythm = f"every {interval_seconds} s" if interval_seconds else cron or "when somebody asks"
    click.echo(f"source {found.slug}: fetched {rhythm}")


def _secret(what: str) -> str:
    """Asked for without an echo; never an option, which every process of the machine could read."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True))
    return sys.stdin.readline().rstrip("\r\n")


def _parsed(model: Any, given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from pim_platform.errors import InvalidRequest

    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # the input may be a secret
        place = ".".join(map(str, first["loc"])) or "the feed"
        raise InvalidRequest(f"{place}: {first['msg']}.", fix="See `pim source feed --help`.") from error


@source.command("fetch")
@click.argument("name")
@tenant_option
@_json_option
def fetch_command(name: str, slug: str, as_json: bool) -> None:
    """Fetch the file of the source NAME now, in this process, and make an import of it.

    The stack runs the import where a policy confirms it. Exit 0: a new file, or nothing new; 1: it failed, and may come
    through later; 2: it failed and will not by itself.
    """
    from dataclasses import asdict

    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.fetching import fetch_feed
    from pim_platform.storage import exact_json

    with open_workspace(slug) as (workspace, tenant):
        found = fetch_feed(workspace, tenant.id, name, actor=cli_actor())
    if as_json:
        click.echo(exact_json.dumps(asdict(found), default=str))
    elif found.outcome == "failed":
        click.echo(f"Error: {found.error}", err=True)
    else:
        told = {
            "landed": "import {}",
            "not_modified": "nothing new since import {}",
            "skipped": "skipped: import {} has this content",
        }
        click.echo(told[found.outcome].format(found.job_id))
    if found.outcome == "failed":
        sys.exit(1 if found.transient else 2)


@source.command("hosts")
@tenant_option
@click.option("--allow", multiple=True, help="Allow files to be fetched from this host, or from *.example.com.")
@click.option("--forget", multiple=True, help="Allow it no longer.")
@_json_option
def hosts_command(slug: str, allow: tuple[str, ...], forget: tuple[str, ...], as_json: bool) -> None:
    """Show the hosts that the tenant's files may be fetched from, and allow or forget some."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.feeds import allow_host, forget_host, list_hosts
    from pim_platform.storage import exact_json
    from pim_platform.storage.postgres import tenant_session

    with open_workspace(slug) as (workspace, tenant), tenant_session(workspace.app, tenant.id) as session:
        for host in allow:
            allow_host(workspace.settings, session, host, actor=cli_actor())
        for host in forget:
            forget_host(session, host, actor=cli_actor())
        found = [one.host for one in list_hosts(session)]
    if as_json:
        click.echo(exact_json.dumps({"hosts": found}))
        return
    click.echo("\n".join(found) if found else "no host is allowed: nothing is fetched")


@source.command("delete")
@click.argument("name")
@tenant_option
def delete_command(name: str, slug: str) -> None:
    """Delete the source NAME, where nothing came from it."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.sources import delete_source

    with open_session(slug) as session:
        delete_source(session, name, actor=cli_actor())
    click.echo(f"source {name}: deleted")
