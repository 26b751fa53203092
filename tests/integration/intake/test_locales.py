"""Values per locale: columns, rows and records of one locale leave the other locales of a product as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.models import ImportJob
from pim_platform.intake.promoting import promote_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes, run_job

MakeTenant = Callable[..., TenantInfo]
FIELDS = [{"name": "title", "type": "string", "localizable": True}]


def titles(workspace: Workspace, tenant_id: UUID) -> dict[str, Any]:
    with tenant_session(workspace.app, tenant_id) as session:
        rows = session.execute(text("SELECT sku_key, data FROM pim.products WHERE tenant_id = :t"), {"t": tenant_id})
        return {key: (data if isinstance(data, dict) else json.loads(data)).get("title") for key, data in rows}


def column(index: int, field: str, locale: str | None = None, source: str | None = None) -> dict[str, Any]:
    target = field if field in ("sku", "name") else "attribute"
    return {"source": source or field, "index": index, "target": target, "field": field, "locale": locale}


def imported(workspace: Workspace, tenant: TenantInfo, content: str, *locales: str | None) -> ImportJob:
    header = content.split("\n", 1)[0].split(",")
    columns = [column(0, "sku", source=header[0]), column(1, "name", source=header[1])]
    columns += [column(n, "title", locale, header[n]) for n, locale in enumerate(locales, 2)]
    return import_bytes(workspace, tenant.id, content.encode(), confirm={"columns": columns, "fields": FIELDS})


def counts(job: ImportJob) -> dict[str, int]:
    ledger = job.ledger()
    assert ledger is not None
    return {name: count for name, count in ledger.items() if count}


def test_a_file_of_one_locale_keeps_the_others(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    first = imported(workspace, tenant, "SKU,Name,en,de\nA,Lamp,Lamp,Lampe\nB,Mug,Mug,\n", "en_US", "de-DE")
    assert counts(first) == {"read": 2, "created": 2}
    second = imported(workspace, tenant, "SKU,Name,fr\nA,Lamp,Lampe fr\nB,Mug,\n", "fr-FR")
    assert counts(second) == {"read": 2, "updated": 1, "unchanged": 1}
    third = imported(workspace, tenant, "SKU,Name,t\nA,Lamp,Leuchte\nB,Mug,Becher\n", "de-DE")
    assert counts(third) == {"read": 2, "updated": 2}
    assert titles(workspace, tenant.id) == {
        "a": {"en-US": "Lamp", "de-DE": "Leuchte", "fr-FR": "Lampe fr"},
        "b": {"en-US": "Mug", "de-DE": "Becher"},
    }
    again = imported(workspace, tenant, "SKU,Name,fr\nA,Lamp,Lampe fr\nB,Mug,\n\n", "fr-FR")
    assert counts(again) == {"read": 2, "unchanged": 2}
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_rows_of_one_sku_give_their_locales_one_after_another(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job = imported(workspace, tenant, "SKU,Name,en,de\nA,Lamp,x,\nA,,,Lampe\nA,,Lamp,\n", "en-US", "de-DE")
    assert counts(job) == {"read": 3, "created": 1, "superseded": 2}
    assert titles(workspace, tenant.id) == {"a": {"en-US": "Lamp", "de-DE": "Lampe"}}


def test_records_give_locales_as_an_object_or_the_default_one(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant(locale="en-US")
    imported(workspace, tenant, "SKU,Name,de\nA,Lamp,Lampe\n", "de-DE")
    done = bulk_upsert(
        workspace, tenant.id, [{"sku": "A", "title": "Lamp"}, {"sku": "B", "name": "Mug", "title": {"fr_fr": "Tasse"}}],
        actor=ACTOR,
    )  # fmt: skip
    assert done
    assert titles(workspace, tenant.id) == {"a": {"en-US": "Lamp", "de-DE": "Lampe"}, "b": {"fr-FR": "Tasse"}}


def test_a_dry_run_counts_and_promotes_the_merged_locales(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    imported(workspace, tenant, "SKU,Name,en\nA,Lamp,Lamp\nB,Mug,Mug\n", "en-US")
    columns = [column(0, "sku"), column(1, "name"), column(2, "title", "de-DE", "de")]
    content = b"sku,name,de\nA,Lamp,Lampe\nB,Mug,\n"
    dry = import_bytes(workspace, tenant.id, content, confirm={"columns": columns, "fields": FIELDS}, dry_run=True)
    assert counts(dry) == {"read": 2, "updated": 1, "unchanged": 1}
    promote_job(workspace, tenant.id, dry.id, ACTOR)
    assert run_job(workspace, tenant.id, dry.id).state == "done"
    assert titles(workspace, tenant.id) == {"a": {"en-US": "Lamp", "de-DE": "Lampe"}, "b": {"en-US": "Mug"}}
