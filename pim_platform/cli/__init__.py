"""The ``pim`` command. Each command's module is imported when it is called, so that the rest stays quick.

Exit codes: 0 done, 1 anything else, 2 bad input, 3 held or waiting for a person.
"""

from __future__ import annotations

import importlib
import sys

import click

from pim_platform.errors import PimError

#: Command -> where it lives and its one-line help (kept here so that ``pim --help`` imports nothing).
_COMMANDS = {
    "delete": ("pim_platform.cli.undo:delete_command", "Delete products; undo brings them back."),
    "demo": ("pim_platform.cli.demo:demo", "Start the stack with a demo tenant and a sample catalogue."),
    "diff": ("pim_platform.cli.diff:diff_command", "Show field by field what a dry run would change."),
    "doctor": ("pim_platform.cli.stack:doctor", "Check settings, versions, servers, migrations, roles and disk."),
    "export": ("pim_platform.cli.export:export_command", "Write a tenant's products to a file that imports back."),
    "gc": ("pim_platform.cli.gc:gc_command", "Remove stored files and logs that nothing refers to any more."),
    "import": ("pim_platform.cli.imports:import_command", "Import a product file into a tenant's catalogue."),
    "key": ("pim_platform.cli.keys:key", "Make, list and revoke API keys."),
    "mapping": ("pim_platform.cli.mapping:mapping", "Saved mappings, how right proposals have been, Claude's costs."),
    "migrate": ("pim_platform.cli.stack:migrate_command", "Bring both engines to the newest version."),
    "openapi": ("pim_platform.cli.openapi:openapi_command", "Write the API's OpenAPI document."),
    "promote": ("pim_platform.cli.promote:promote_command", "Commit exactly what a dry run showed."),
    "propose": ("pim_platform.cli.propose:propose_command", "Show what the platform makes of a file; needs no server."),
    "publish": ("pim_platform.cli.publish:publish_command", "Bring ClickHouse up to date, rebuild or check it."),
    "release": ("pim_platform.cli.undo:release_command", "Let a held import run."),
    "rework": ("pim_platform.cli.rework:rework_command", "Import corrected rejects into the job they came from."),
    "source": ("pim_platform.cli.sources:source", "Say how a source is imported and fetched; fetch it."),
    "status": ("pim_platform.cli.stack:status", "Say what runs; exit 0 when every part is ready."),
    "tenant": ("pim_platform.cli.tenancy:tenant", "Make and list tenants."),
    "undo": ("pim_platform.cli.undo:undo_command", "Take back what an import did, field by field."),
    "up": ("pim_platform.cli.stack:up", "Run everything on this machine until Ctrl-C."),
    "user": ("pim_platform.cli.users:user", "Invite and remove people, change roles, set passwords anew."),
    "webhooks": ("pim_platform.cli.webhooks:webhooks", "Deliver events that wait for receivers."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pim-platform")
@click.option(
    "--api",
    metavar="URL",
    help="Work with the installation at this address (or PIM_API_URL), not with this "
    "machine's: import, promote, rework, export. The key comes from PIM_API_KEY.",
)
@click.pass_context
def cli(context: click.Context, api: str | None) -> None:
    """PIM Platform: any product file becomes a validated catalogue in PostgreSQL and ClickHouse."""
    if api is not None:
        from pim_platform.cli.remote import COMMANDS

        if context.invoked_subcommand not in COMMANDS:
            raise click.UsageError(
                f"pim {context.invoked_subcommand} is about the stack of this machine; --api is for "
                f"{', '.join(sorted(COMMANDS))}."
            )


def main() -> None:
    """Run the command line; errors of the platform are one line on standard error and an exit code."""
    try:
        cli(prog_name="pim")
    except PimError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
