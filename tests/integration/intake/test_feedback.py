"""Every confirmation is kept, measured by who stands behind it, and taught to the tenant's next proposal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from dbt_like_sql.loader import load_models
from pim_platform.cli import cli
from pim_platform.errors import NotFound
from pim_platform.intake.confirming import confirm_by_policy, confirm_job
from pim_platform.intake.feedback import mapping_accuracy
from pim_platform.intake.mapping import ColumnMapping
from pim_platform.intake.models import ImportJob, MappingFeedback
from pim_platform.intake.proposing import propose_job, suggested_mapping
from pim_platform.intake.templates import delete_template, list_templates
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import get_settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, land_bytes

FILE = b"SKU,Product name,zq7\nT-1,Tent one,red\nT-2,Tent two,blue\n"
OTHER_LAYOUT = b"zq7,Product name,SKU\ngreen,Tent one,T-1\nred,Tent two,T-2\n"


class Shop:
    def __init__(self, workspace: Workspace, tenant: TenantInfo) -> None:
        self.workspace, self.tenant = workspace, tenant

    def propose(self, content: bytes = FILE, **landing: Any) -> ImportJob:
        job_id = land_bytes(self.workspace, self.tenant.id, content, **landing)
        return propose_job(self.workspace, self.tenant.id, job_id)

    def confirm(self, job: ImportJob, field: str | None = None, **options: Any) -> ImportJob:
        if field is not None:
            mapping = {"SKU": "sku", "Product name": "name", "zq7": field}
            options |= {"mapping": mapping, "fields": [{"name": field}] if field != "ignore" else []}
        return confirm_job(self.workspace, self.tenant.id, job.id, actor=ACTOR, **options)

    def column(self, job: ImportJob, header: str = "zq7") -> ColumnMapping:
        return next(column for column in suggested_mapping(job).columns if column.source == header)

    def feedback(self, header: str = "zq7") -> list[MappingFeedback]:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            query = select(MappingFeedback).where(MappingFeedback.column_name == header)
            return list(session.scalars(query.order_by(MappingFeedback.created_at)))


@pytest.fixture
def make_shop(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> Callable[..., Shop]:
    return lambda **tenant: Shop(workspace, make_tenant(**tenant))


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


def test_a_correction_is_kept_with_what_was_proposed_and_who_decided(shop: Shop) -> None:
    job = shop.propose()
    proposed = shop.column(job)
    shop.confirm(job, "material")
    (row,) = shop.feedback()
    assert (row.proposed_field, row.proposed_target) == (proposed.field, proposed.target)
    assert (row.tier, row.confidence, row.auto) == (proposed.tier, proposed.confidence, proposed.auto)
    assert (row.confirmed_field, row.correct) == ("material", False)
    assert (row.header_key, row.column_index, row.evidence, row.actor) == ("zq7", 2, "person", "test")
    assert row.profile_digest
    assert row.confirmed is not None
    assert row.confirmed["field"] == "material"
    (sku,) = shop.feedback("SKU")
    assert (sku.correct, sku.confirmed_field) == (True, "sku")


def test_what_was_corrected_is_proposed_for_any_source_and_layout_of_the_tenant(shop: Shop) -> None:
    shop.confirm(shop.propose(), "material")
    learned = shop.column(shop.propose(OTHER_LAYOUT, source="another"))
    assert (learned.field, learned.tier) == ("material", "learned")
    assert learned.reason == "people mapped it to material once in files of another source"
    same = shop.column(shop.propose(OTHER_LAYOUT))
    assert (same.field, same.tier, same.auto) == ("material", "learned", True)


def test_a_later_correction_outweighs_it(shop: Shop) -> None:
    shop.confirm(shop.propose(source="a"), "material")
    shop.confirm(shop.propose(source="b"))
    shop.confirm(shop.propose(source="c"), "fabric")
    assert shop.column(shop.propose(OTHER_LAYOUT, source="d")).field == "fabric"


def test_what_was_ignored_is_proposed_as_ignored(shop: Shop) -> None:
    shop.confirm(shop.propose(), "ignore")
    learned = shop.column(shop.propose(OTHER_LAYOUT, source="another"))
    assert learned.ignored
    assert learned.tier == "learned"


def test_nothing_is_learned_across_tenants(make_shop: Callable[..., Shop]) -> None:
    first, second = make_shop(), make_shop()
    first.confirm(first.propose(), "material")
    column = second.column(second.propose(OTHER_LAYOUT))
    assert column.field != "material"
    assert column.tier != "learned"


def test_the_same_header_from_the_same_source_is_applied_as_it_was_confirmed(shop: Shop) -> None:
    shop.confirm(shop.propose(), "material")
    again = shop.propose(FILE.replace(b"red", b"black"))
    assert {column.tier for column in suggested_mapping(again).columns} == {"template"}
    assert shop.column(again).field == "material"


def test_what_a_policy_confirmed_is_kept_but_is_no_evidence(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(policy="saved_mapping_fits")
    shop.confirm(shop.propose(), "material")
    again = shop.propose(FILE.replace(b"red", b"black"))
    assert confirm_by_policy(shop.workspace, shop.tenant.id, again.id)
    assert [row.evidence for row in shop.feedback()] == ["person", "policy"]
    assert shop.feedback()[1].actor == "policy:saved_mapping_fits"
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        assert sum(one.columns for one in mapping_accuracy(session)) == 3


def test_what_nobody_looked_at_neither_teaches_nor_counts(shop: Shop) -> None:
    shop.confirm(shop.propose(), "material", evidence="unseen")
    assert shop.column(shop.propose(OTHER_LAYOUT, source="another")).tier != "learned"
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        assert mapping_accuracy(session) == []


def test_accuracy_is_measured_by_tier_and_band(shop: Shop) -> None:
    job = shop.propose()
    tier = shop.column(job).tier
    shop.confirm(job, "material")
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        found = {(one.tier, one.band): one for one in mapping_accuracy(session)}
    assert sum(one.columns for one in found.values()) == 3
    assert sum(one.correct for one in found.values()) == 2
    wrong = [one for one in found.values() if one.tier == tier and one.columns > one.correct]
    assert len(wrong) == 1
    assert found["alias", 0.95].precision == 1.0


def test_the_sql_model_says_the_same_per_source(shop: Shop) -> None:
    shop.confirm(shop.propose(source="a"), "material")
    shop.confirm(shop.propose(source="b"))
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        wanted = {(one.tier, f"{one.band:.2f}"): (one.columns, one.correct) for one in mapping_accuracy(session)}
    (model,) = [model for model in load_models() if model.name == "mapping_accuracy"]
    with psycopg.connect(Endpoints.of(shop.workspace.settings).ddl_url) as connection:
        for statement in model.materialisation():
            connection.execute(statement.encode())
        rows = connection.execute(
            "SELECT tier, band, sum(columns)::int, sum(correct)::int, count(DISTINCT source) "
            "FROM models.mapping_accuracy WHERE tenant_id = %s GROUP BY 1, 2",
            (shop.tenant.id,),
        ).fetchall()
        sources = connection.execute(
            "SELECT DISTINCT source FROM models.mapping_accuracy WHERE tenant_id = %s ORDER BY 1", (shop.tenant.id,)
        ).fetchall()
        connection.rollback()  # the other tests of this session have no models
    assert {(tier, band): (columns, correct) for tier, band, columns, correct, _ in rows} == wanted
    assert sources == [("a",), ("b",)]


def test_a_forgotten_template_is_applied_no_more_but_what_people_decided_stays(shop: Shop) -> None:
    shop.confirm(shop.propose(), "material")
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        (template,) = list_templates(session)
        assert (template.source, template.mapping.flat()["zq7"]) == ("test", "material")
        delete_template(session, "test", template.fingerprint, actor=Actor("test"))
        assert list_templates(session) == []
        with pytest.raises(NotFound):
            delete_template(session, "test", template.fingerprint, actor=Actor("test"))
    column = shop.column(shop.propose(FILE.replace(b"red", b"black")))
    assert (column.field, column.tier) == ("material", "learned")


def test_the_command_line_shows_accuracy_templates_and_costs_and_sets_budgets(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.confirm(shop.propose(), "material")
    for module in ("mapping", "tenancy", "tenant"):
        monkeypatch.setattr(f"pim_platform.cli.{module}.get_settings", lambda: shop.workspace.settings)
    get_settings.cache_clear()
    tenant = ["--tenant", shop.tenant.slug]

    def run(*words: str) -> Any:
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == 0, done.output
        return json.loads(done.output) if "--json" in words else done.output

    accuracy = run("mapping", "accuracy", *tenant, "--json")["accuracy"]
    assert sum(one["columns"] for one in accuracy) == 3
    assert "alias" in run("mapping", "accuracy", *tenant)
    (template,) = run("mapping", "templates", *tenant, "--json")["templates"]
    assert template["fingerprint"] in run("mapping", "templates", *tenant)
    assert "0.25 USD" in run("tenant", "budget", shop.tenant.slug, "0.25")
    assert "of 0.25 USD" in run("mapping", "costs", *tenant)
    assert "the setting" in run("tenant", "budget", shop.tenant.slug, "default")
    assert run("mapping", "forget", *tenant, "test", template["fingerprint"]) == "forgotten\n"
    assert run("mapping", "templates", *tenant, "--json")["templates"] == []
