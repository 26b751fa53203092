"""``pim openapi``: the API's document, as programs that make clients want it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("openapi")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file; else to standard output."
)
def openapi_command(output: Path | None) -> None:
    """Write the OpenAPI document. Needs no server: it is made from the code."""
    from pim_platform.api.app import create_app
    from pim_platform.api.document import text_of

    text = text_of(create_app().openapi())
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, "utf-8")
