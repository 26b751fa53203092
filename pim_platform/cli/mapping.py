"""``pim mapping``: saved mappings, measured accuracy and costs; it starts this home's engines if none run."""

from __future__ import annotations

import json

import click

from pim_platform.cli.tenant import open_session, tenant_option
from pim_platform.settings import get_settings

_source = click.option("--source", help="Of this source only.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("mapping")
def mapping() -> None:
    """Saved mappings, how right proposals have been, and what Claude cost."""


@mapping.command("accuracy")
@tenant_option
@_source
@_json
def accuracy(slug: str, source: str | None, as_json: bool) -> None:
    """Show how often people agreed with proposals, by tier and confidence."""
    from pim_platform.intake.feedback import mapping_accuracy
    from pim_platform.intake.sources import find_source

    with open_session(slug) as session:
        source_id = find_source(session, source).id if source is not None else None
        found = [one.as_json() for one in mapping_accuracy(session, source_id)]
    if as_json:
        click.echo(json.dumps({"accuracy": found}))
        return
    click.echo(f"{'tier':<10}{'confidence':<14}{'columns':>9}{'right':>8}{'precision':>11}  (95 % interval)")
    for one in found:
        band = f"{one['from_confidence']:.2f}-{one['to_confidence']:.2f}"
        click.echo(
            f"{one['tier']:<10}{band:<14}{one['columns']:>9,}{one['correct']:>8,}{one['precision']:>11.1%}"
            f"  ({one['precision_low']:.1%} to {one['precision_high']:.1%})"
        )


@mapping.command("templates")
@tenant_option
@_source
@_json
def templates(slug: str, source: str | None, as_json: bool) -> None:
    """List the saved mappings: source, fingerprint of the header, how many columns."""
    from pim_platform.intake.templates import list_templates

    with open_session(slug) as session:
        found = list_templates(session, source)
    if as_json:
        click.echo(json.dumps({"templates": [one.as_json() for one in found]}, default=str, ensure_ascii=False))
        return
    for one in found:
        click.echo(
            f"{one.source:<24} {one.fingerprint}  {len(one.mapping.columns):>4} columns  {one.updated_at:%Y-%m-%d}"
        )


@mapping.command("forget")
@tenant_option
@click.argument("source")
@click.argument("fingerprint")
def forget(slug: str, source: str, fingerprint: str) -> None:
    """Forget the saved mapping of SOURCE for the header with FINGERPRINT: its next file is proposed anew."""
    from pim_platform.cli.actor import cli_actor
    from pim_platform.intake.templates import delete_template

    with open_session(slug) as session:
        delete_template(session, source, fingerprint, actor=cli_actor())
    click.echo("forgotten")


@mapping.command("costs")
@tenant_option
@click.option("--days", default=31, show_default=True, type=click.IntRange(1, 366), help="How far back.")
@_json
def costs(slug: str, days: int, as_json: bool) -> None:
    """Show calls, tokens and USD per day, and what is left of today's budget for Claude."""
    from datetime import UTC, datetime, timedelta

    from pim_platform.tenancy.usage import daily_budget, daily_costs

    with open_session(slug) as session:
        found = daily_costs(session, datetime.now(UTC).date() - timedelta(days=days - 1))
        budget = daily_budget(session, get_settings().anthropic_daily_budget_usd)
    if as_json:
        told = {"daily_budget_usd": budget.daily, "spent_today_usd": budget.spent, "costs": found}
        click.echo(json.dumps(told, default=str))
        return
    for one in found:
        click.echo(
            f"{one['date']}  {one['api_provider']:<12}{one['total_requests']:>7,} calls"
            f"{one['total_input_tokens'] or 0:>12,} in{one['total_output_tokens'] or 0:>10,} out"
            f"  {one['total_cost'] or 0:.6f} USD"
        )
    click.echo(f"today: {budget.spent:.6f} of {float(budget.daily):g} USD")
