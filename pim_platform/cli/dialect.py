"""Options that say how a file is written, where detection is wrong or cannot know; and a dialect in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--sheet", help="Sheet of a workbook that holds the products."),
    click.option("--member", help="File inside a ZIP archive that holds the products."),
    click.option("--record-path", help="Where the records are: $.products[*] in JSON, SHOP/SHOPITEM in XML."),
    click.option("--encoding", help="Encoding of a text file, such as utf-8, cp1252 or shift_jis."),
    click.option("--delimiter", help="What separates the cells of a line; tab for a tabulator."),
    click.option(
        "--header-row",
        type=click.IntRange(min=0),
        help="Line (of a sheet: row) that names the columns, counted from 1; 0: there is none.",
    ),
    click.option("--header-rows", type=click.IntRange(1, 10), help="Rows that the header spans."),
    click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign where a column itself does not tell."),
)
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def dialect_options(command: Command) -> Command:
    """Adds the options to a command, which gets them as ``changes`` from :func:`taken_changes`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def taken_changes(options: dict[str, Any]) -> dict[str, Any]:
    """The dialect's fields that were given as options."""
    changes = {name: value for name, value in options.items() if value is not None}
    if "header_row" in changes:
        changes["header_row"] = changes["header_row"] - 1 if changes["header_row"] else None
    if "delimiter" in changes:
        changes["delimiter"] = _NAMED_DELIMITERS.get(changes["delimiter"], changes["delimiter"])
    return changes


def told(dialect: Dialect) -> str:
    """A dialect in one line: what matters to its format."""
    parts: list[str] = [dialect.format]
    if dialect.compression != "none":
        parts.append(f"in {dialect.compression}" + (f" ({dialect.member})" if dialect.member else ""))
    if dialect.format == "csv":
        parts += [dialect.encoding, f"delimiter {dialect.delimiter!r}"]
    elif dialect.format == "xlsx":
        parts.append(f"sheet {dialect.sheet!r}")
    elif dialect.record_path is not None:
        parts.append(f"records at {dialect.record_path}")
        if dialect.expand:
            parts.append(f"with a row for each of {dialect.expand}")
    if dialect.format in ("csv", "xlsx"):
        first = dialect.header_row
        rows = dialect.header_rows
        place = "no header" if first is None else f"header in row {first + 1}"
        parts.append(f"{place} to {first + rows}" if first is not None and rows > 1 else place)
    return ", ".join(parts)
