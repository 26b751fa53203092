"""``pim propose FILE``: what the platform makes of a file. Needs no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pim_platform.cli.dialect import dialect_options, taken_changes, told


@click.command("propose")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--currency", help="ISO 4217 code for prices that name none.")
@click.option("--locale", help="Locale whose columns take the plain field names, such as de-DE.")
@click.option("--assist", is_flag=True, help="Ask Claude about unclear columns; needs a key, keeps no log.")
@dialect_options
def propose_command(
    file: Path, as_json: bool, currency: str | None, locale: str | None, assist: bool, **options: Any
) -> None:
    """Show dialect, rows, columns and the proposed mapping of FILE."""
    # Imported here so that `pim --help` stays quick.
    from pim_platform.errors import PimError
    from pim_platform.intake.proposal import propose

    try:
        proposal = propose(file, default_currency=currency, default_locale=locale, changes=taken_changes(options))
        if assist:
            from pim_platform.intake.assisting import assist_without_server
            from pim_platform.settings import get_settings

            proposal = assist_without_server(proposal, get_settings())
    except PimError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    if as_json:
        click.echo(json.dumps(proposal.to_json(), ensure_ascii=False))
        return
    about = "" if proposal.rows_exact else "about "
    click.echo(f"{file.name}: {about}{proposal.rows:,} rows, {len(proposal.headers)} columns")
    click.echo(told(proposal.dialect))
    lines = [("column", "means", "field", "type", "sure", "why")]
    for column in proposal.columns:
        sure = f"{column.confidence:.2f}" + ("" if column.auto else " ?")
        lines.append((column.source, column.target, column.field or "-", column.type, sure, column.reason))
    widths = [min(36, max(len(line[i]) for line in lines)) for i in range(5)]
    for line in lines:
        click.echo("  ".join(cell[:w].ljust(w) for cell, w in zip(line, widths, strict=False)) + "  " + line[5])
    for grouping in proposal.groupings:
        click.echo(f"grouped ({grouping.style}): {grouping.reason}")
    for notice in proposal.notices:
        click.echo(notice, err=True)


if __name__ == "__main__":
    propose_command()
