"""``pim tenant quota``: how much a tenant may have, and how much it has."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from pim_platform.cli.tenant import open_engine

_SIZE = re.compile(r"(\d+)\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class _Amount(click.ParamType[int]):
    """A whole number, ``none`` for unlimited; with ``sizes`` also 500MB, 20GB (powers of 1024)."""

    name = "number|none"

    def __init__(self, *, sizes: bool = False) -> None:
        self._sizes = sizes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "none":
            return -1
        found = _SIZE.fullmatch(str(value).strip())
        if found is None or (found[2] and not self._sizes):
            self.fail(f"{value!r} is no number; give one, or none for unlimited.", param, ctx)
        return int(found[1]) * 1024 ** _POWERS[found[2].lower()]


@click.command("quota")
@click.argument("slug")
@click.option("--products", type=_Amount(), help="Products it may have, or none.")
@click.option("--storage", type=_Amount(sizes=True), help="Bytes of uploaded files, such as 20GB, or none.")
@click.option("--jobs", type=_Amount(), help="Imports that may run or wait for their run at once, or none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def quota(slug: str, products: int | None, storage: int | None, jobs: int | None, as_json: bool) -> None:
    """Say how much SLUG may have; without options only show it. `none` is unlimited."""
    from dataclasses import replace

    from pim_platform.cli.actor import cli_actor
    from pim_platform.storage.postgres import tenant_session
    from pim_platform.tenancy.quotas import quota_report, quotas_of, set_quotas

    asked = {"products": products, "storage_bytes": storage, "concurrent_jobs": jobs}
    changed = {name: None if value == -1 else value for name, value in asked.items() if value is not None}
    with open_engine(slug) as (engine, tenant):
        if changed:
            with tenant_session(engine, tenant.id) as session:
                wanted = replace(quotas_of(session), **changed)
            set_quotas(engine, tenant.id, wanted, actor=cli_actor())
        with tenant_session(engine, tenant.id) as session:
            report = quota_report(session)
    if as_json:
        click.echo(json.dumps({"tenant": slug, **report}))
        return
    for name, one in report.items():
        limit = "unlimited" if one["limit"] is None else f"{one['limit']:,}"
        click.echo(f"{name:<16} {one['used']:>20,} of {limit}")
