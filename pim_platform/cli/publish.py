"""``pim publish``: bring ClickHouse up to date with PostgreSQL, rebuild it, or only compare."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pim_platform.errors import InvalidRequest
from pim_platform.settings import get_settings

if TYPE_CHECKING:
    from pim_platform.intake.workspace import Workspace
    from pim_platform.tenancy.tenants import TenantInfo


@click.command("publish")
@click.option("--tenant", help="Slug of the tenant.")
@click.option("--all", "every", is_flag=True, help="Every tenant.")
@click.option("--rebuild", is_flag=True, help="Send everything anew, not only what is due.")
@click.option("--check", is_flag=True, help="Send nothing; only compare both engines.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, an object per tenant.")
def publish_command(tenant: str | None, every: bool, rebuild: bool, check: bool, as_json: bool) -> None:
    """Send what ClickHouse has not seen, then compare the row checksums of both engines.

    Exit 0: they hold the same rows; 1: they differ.
    """
    from pim_platform.intake.workspace import Workspace
    from pim_platform.local.engines import engines
    from pim_platform.tenancy.tenants import find_tenant, list_tenants

    if every == (tenant is not None):
        raise InvalidRequest("Nothing says which tenant.", fix="Give --tenant SLUG, or --all, but not both.")
    if rebuild and check:
        raise InvalidRequest("--check sends nothing, --rebuild everything.", fix="Give one of them.")
    settings = get_settings()
    answers = []
    with engines(settings):
        workspace = Workspace(settings)
        for found in list_tenants(workspace.app) if tenant is None else [find_tenant(workspace.app, tenant)]:
            answers.append(_one(workspace, found, rebuild=rebuild, check=check))
            if not as_json:
                _print(answers[-1])
    if as_json:
        click.echo(json.dumps(answers))
    sys.exit(0 if all(answer["equal"] for answer in answers) else 1)


def _one(workspace: Workspace, tenant: TenantInfo, *, rebuild: bool, check: bool) -> dict[str, Any]:
    from pim_platform.catalog.checksum import compare_engines, publish_and_compare
    from pim_platform.catalog.publisher import publish
    from pim_platform.catalog.typed_relations import refresh_typed_relations

    if check:
        found = compare_engines(workspace.app, workspace.clickhouse, tenant.id)
    else:
        if rebuild:
            publish(workspace.app, workspace.clickhouse, tenant.id, rebuild=True)
        found = publish_and_compare(workspace.app, workspace.clickhouse, tenant.id)
        refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    return {
        "tenant": tenant.slug,
        "equal": found.equal,
        "postgres_rows": found.postgres_rows,
        "clickhouse_rows": found.clickhouse_rows,
    }


def _print(answer: dict[str, Any]) -> None:
    verdict = "equal" if answer["equal"] else "DIFFERENT: publish it, or rebuild it with --rebuild"
    click.echo(
        f"{answer['tenant']:<24} PostgreSQL {answer['postgres_rows']:>12,}  "
        f"ClickHouse {answer['clickhouse_rows']:>12,}  {verdict}"
    )
