"""``pim export``: a tenant's products as a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pim_platform.cli.remote import client, installation, local_tenant
from pim_platform.errors import InvalidRequest
from pim_platform.settings import get_settings

if TYPE_CHECKING:
    from pim_platform.catalog.exporting import ExportFormat

_FORMATS: tuple[ExportFormat, ...] = ("csv", "jsonl", "xlsx", "parquet")
_CONDITION = re.compile(r"(?P<path>[^\[\]=]+)(?:\[(?P<operator>[a-z]+)\])?=(?P<value>.*)", re.DOTALL)


@click.command("export")
@click.option("--tenant", help="Slug of the tenant; with --api the key tells.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: by the name of the file, else csv.")
@click.option("--fields", help="Columns separated by commas; left out: all.")
@click.option("--filter", "filters", multiple=True, help="FIELD=VALUE or FIELD[gte]=VALUE; may be repeated.")
@click.option("-q", "search", default="", help="Only products that this search finds.")
@click.option("--no-guard", is_flag=True, help="Do not guard texts that look like formulas (CSV, XLSX).")
@click.option("--gzip", is_flag=True, help="Compress CSV or JSON Lines; also by a file name that ends in .gz.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def export_command(
    tenant: str | None,
    form: ExportFormat | None,
    fields: str | None,
    filters: tuple[str, ...],
    search: str,
    no_guard: bool,
    gzip: bool,
    output: Path | None,
) -> None:
    """Write a tenant's products to a file that `pim import` reads back exactly.

    A file appears under its name once it is complete.
    """
    from pim_platform.catalog.exporting import ExportRequest, open_export
    from pim_platform.catalog.filters import Filter
    from pim_platform.catalog.schemas import current_schema
    from pim_platform.intake.workspace import Workspace
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import tenant_session
    from pim_platform.tenancy.tenants import find_tenant

    suffixes = [suffix.removeprefix(".") for suffix in output.suffixes] if output else []
    gzip = gzip or suffixes[-1:] == ["gz"]
    named: list[ExportFormat] = [name for name in _FORMATS if name in suffixes]
    chosen: ExportFormat = form or (named or _FORMATS)[0]
    pairs = [_pair(text) for text in filters]
    if url := installation():
        _fetch(url, tenant, chosen, fields, pairs, search, guard=not no_guard, gzip=gzip, output=output)
        return
    slug = local_tenant(tenant)
    names = None if fields is None else tuple(name.strip() for name in fields.split(",") if name.strip())
    settings = get_settings()
    with engines(settings):
        workspace = Workspace(settings)
        found = find_tenant(workspace.app, slug)
        with tenant_session(workspace.app, found.id) as session:
            wanted = Filter.from_query(pairs, current_schema(session), q=search)
        export = open_export(workspace, found, ExportRequest(chosen, names, wanted, not no_guard, gzip))
        with closing(export):
            _write(export, output)


def _write(pieces: Iterable[bytes], output: Path | None) -> None:
    """To standard output, or to a file that gets its name once it is complete."""
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(pieces)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _fetch(
    url: str,
    tenant: str | None,
    form: ExportFormat,
    fields: str | None,
    pairs: list[tuple[str, str]],
    search: str,
    *,
    guard: bool,
    gzip: bool,
    output: Path | None,
) -> None:
    """The same over the API of another installation."""
    params: dict[str, Any] = {"format": form, "fields": fields, "q": search or None, "guard": guard, "gzip": gzip}
    for name, value in pairs:
        params.setdefault(name, []).append(value)
    with client(url, tenant) as pim:
        pim.download("/api/pim/export/", output or sys.stdout.buffer, params=params)


def _pair(text: str) -> tuple[str, str]:
    """``price[gte]=10`` as the query parameter that the API takes."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            f"{text!r} is no condition.", fix="Write FIELD=VALUE or FIELD[gte]=VALUE.", column="filter", value=text
        )
    return f"filter[{match['path'].strip()}][{match['operator'] or 'eq'}]", match["value"]
