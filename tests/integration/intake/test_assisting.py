"""Claude's help with a job's proposal: one request per question and tenant, within a budget, all of it logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.mapping import ColumnMapping
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job, suggested_mapping
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.models import ApiUsage
from pim_platform.tenancy.tenants import TenantInfo
from pim_platform.tenancy.usage import daily_budget, daily_costs, reserve, set_daily_budget, settle
from tests.support.claude import StandIn, after, choosing, failed, message, overloaded, stand_in
from tests.support.imports import ACTOR, land_bytes, run_job

FILE = "SKU,Product name,zq7\nT-1,Tent for one,red\nT-2,Tent for two,blue\nT-3,Tent for three,red\n"
NEXT = "SKU,Product name,zq7\nT-1,Tent for one,black\nT-4,Tent for four,white\nT-5,Tent for five,black\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as made:
        made.script = choosing({"zq7": {"field": "color", "reason": "names of colours"}})
        yield made


@dataclass
class Shop:
    """A tenant whose imports may ask the stand-in."""

    workspace: Workspace
    tenant: TenantInfo

    def propose(self, content: str = FILE, **landing: Any) -> ImportJob:
        job_id = land_bytes(self.workspace, self.tenant.id, content.encode(), **landing)
        return propose_job(self.workspace, self.tenant.id, job_id)

    def column(self, job: ImportJob, header: str = "zq7") -> ColumnMapping:
        return next(column for column in suggested_mapping(job).columns if column.source == header)

    def log(self) -> list[ApiUsage]:
        with tenant_session(self.workspace.app, self.tenant.id) as session:
            return list(session.scalars(select(ApiUsage).order_by(ApiUsage.created_at)))

    def settings(self, **values: object) -> Shop:
        return Shop(Workspace(self.workspace.settings.model_copy(update=values)), self.tenant)


@pytest.fixture
def make_shop(workspace: Workspace, server: StandIn, make_tenant: Callable[..., TenantInfo]) -> Callable[..., Shop]:
    def made(**tenant: Any) -> Shop:
        return Shop(
            Workspace(server.settings(workspace.settings, anthropic_timeout_seconds=20.0)), make_tenant(**tenant)
        )

    return made


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


def test_an_answer_stands_in_the_jobs_proposal_and_goes_through_to_the_catalogue(shop: Shop) -> None:
    job = shop.propose()
    column = shop.column(job)
    assert (column.field, column.tier, column.auto) == ("color", "claude", False)
    assert "names of colours" in column.reason
    assert job.notices == []
    confirm_job(shop.workspace, shop.tenant.id, job.id, actor=ACTOR)
    assert run_job(shop.workspace, shop.tenant.id, job.id).rows_created == 3


def test_a_call_is_logged_with_tokens_cost_and_what_it_was_for(shop: Shop) -> None:
    job = shop.propose()
    (row,) = shop.log()
    assert (row.api_provider, row.endpoint, row.request_count) == ("anthropic", "/v1/messages", 1)
    assert (row.tokens_input, row.tokens_output, row.http_status) == (1200, 150, 200)
    assert row.estimated_cost == Decimal("0.000195"), "0.10 and 0.50 USD per million"
    assert row.response_time_ms is not None
    assert row.error_message is None
    assert row.job_id == str(job.id)
    assert row.details["prompt"] == "columns-1"
    assert row.details["model"] == "claude-haiku-5-5"
    assert row.details["outcome"] == "answered"


def test_the_next_delivery_of_the_same_layout_asks_nothing(shop: Shop, server: StandIn) -> None:
    shop.propose()
    job = shop.propose(NEXT)
    assert len(server.asked) == 1
    assert (shop.column(job).field, shop.column(job).tier) == ("color", "claude")
    assert len(shop.log()) == 1


def test_another_model_is_asked_anew(shop: Shop, server: StandIn) -> None:
    shop.propose()
    shop.settings(anthropic_model="claude-haiku-4-5").propose(NEXT)
    assert [body["model"] for body in server.asked] == ["claude-haiku-5-5", "claude-haiku-4-5"]
    assert "thinking" not in server.asked[1]


def test_another_tenant_asks_and_pays_for_itself(make_shop: Callable[..., Shop], server: StandIn) -> None:
    first, second = make_shop(), make_shop()
    first.propose()
    second.propose()
    assert len(server.asked) == 2
    assert len(first.log()) == len(second.log()) == 1
    for shop in (first, second):
        with tenant_session(shop.workspace.app, shop.tenant.id) as session:
            for table in ("api_usage_log", "mapping_answers", "v_api_daily_costs"):
                owners = set(session.scalars(text(f"SELECT tenant_id FROM pim.{table}")))
                assert owners == {shop.tenant.id}, table


def test_a_spent_budget_asks_nothing_and_says_so(shop: Shop, server: StandIn) -> None:
    set_daily_budget(shop.workspace.app, shop.tenant.id, Decimal("0.0001"), actor=ACTOR)
    job = shop.propose()
    assert server.asked == []
    assert shop.log() == []
    assert job.notices == ["1 column was decided without Claude: today's budget for Claude does not cover it."]
    assert shop.column(job).tier != "claude"
    assert job.state == "mapping"


def test_a_tenants_own_budget_outweighs_the_setting(shop: Shop, server: StandIn) -> None:
    poor = shop.settings(anthropic_daily_budget_usd=0.0)
    assert "budget" in poor.propose().notices[0]
    set_daily_budget(shop.workspace.app, shop.tenant.id, Decimal("0.5"), actor=ACTOR)
    assert poor.propose(NEXT).notices == []
    set_daily_budget(shop.workspace.app, shop.tenant.id, None, actor=ACTOR)
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        assert daily_budget(session, 0.25).daily == Decimal("0.25")
    assert len(server.asked) == 1


def test_two_calls_at_once_cannot_both_spend_the_last_of_it(shop: Shop) -> None:
    engine, tenant_id = shop.workspace.app, shop.tenant.id

    def call(_: int) -> bool:
        made = reserve(engine, tenant_id, Decimal("0.4"), default_budget=1.0, endpoint="/v1/messages")
        return made is not None

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(call, range(6))) == 2


def test_a_call_whose_process_died_stays_in_the_budget_and_a_free_one_gives_it_back(shop: Shop) -> None:
    engine, tenant_id = shop.workspace.app, shop.tenant.id
    died = reserve(engine, tenant_id, Decimal("0.6"), default_budget=1.0, endpoint="/v1/messages")
    assert died is not None
    assert reserve(engine, tenant_id, Decimal("0.6"), default_budget=1.0, endpoint="/v1/messages") is None
    settle(engine, tenant_id, died, cost=Decimal(0), outcome="overloaded", http_status=529)
    with tenant_session(engine, tenant_id) as session:
        assert daily_budget(session, 1.0).left == 1


FAILURES: dict[str, tuple[Any, str, int | None, Decimal | None]] = {
    "overload": (lambda _: overloaded(), "overloaded", 529, Decimal(0)),
    "rate limit": (lambda _: failed(429, "rate_limit_error"), "overloaded", 429, Decimal(0)),
    "bad key": (lambda _: failed(401, "authentication_error"), "unauthorized", 401, Decimal(0)),
    "refusal": (lambda _: message("", stop="refusal"), "refused", 200, Decimal("0.000195")),
    "malformed JSON": (lambda _: message("{"), "malformed", 200, Decimal("0.000195")),
}


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_a_failure_is_logged_paid_as_far_as_it_was_billed_and_never_kept_as_an_answer(
    shop: Shop, server: StandIn, failure: str
) -> None:
    script, outcome, status, cost = FAILURES[failure]
    good, server.script = server.script, script
    job = shop.propose()
    assert job.state == "mapping"
    assert "without Claude" in job.notices[0]
    (row,) = shop.log()
    assert (row.details["outcome"], row.http_status, row.estimated_cost) == (outcome, status, cost)
    assert row.error_message
    server.script = good
    assert shop.column(shop.propose(NEXT)).tier == "claude", "asked again the next time"


def test_a_call_that_never_answered_counts_at_its_highest(shop: Shop, server: StandIn) -> None:
    server.script = after(30, overloaded())
    job = shop.settings(anthropic_timeout_seconds=0.5).propose()
    assert "did not answer" in job.notices[0]
    (row,) = shop.log()
    assert row.details["outcome"] == "timeout"
    assert row.estimated_cost is not None
    assert row.estimated_cost > 0
    assert row.tokens_input is None


def test_without_a_key_the_proposal_says_so(shop: Shop, server: StandIn) -> None:
    job = shop.settings(anthropic_api_key=None).propose()
    assert job.notices == ["1 column was decided without Claude: no key is set (PIM_ANTHROPIC_API_KEY)."]
    assert server.asked == []


def test_a_saved_mapping_leaves_nothing_to_ask(shop: Shop, server: StandIn) -> None:
    job = shop.propose()
    confirm_job(shop.workspace, shop.tenant.id, job.id, actor=ACTOR)
    run_job(shop.workspace, shop.tenant.id, job.id)
    again = shop.propose(NEXT)
    assert len(server.asked) == 1
    assert {column.tier for column in suggested_mapping(again).columns} == {"template"}


def test_costs_are_summed_per_day(shop: Shop) -> None:
    shop.propose()
    engine, tenant_id = shop.workspace.app, shop.tenant.id
    lost = reserve(engine, tenant_id, Decimal("0.1"), default_budget=1.0, endpoint="/v1/messages")
    assert lost is not None
    settle(engine, tenant_id, lost, cost=Decimal(0), outcome="overloaded", http_status=529, response_time_ms=50)
    with tenant_session(engine, tenant_id) as session:
        today = session.scalar(text("SELECT (now() AT TIME ZONE 'UTC')::date"))
        assert today is not None
        (day,) = daily_costs(session, today)
    assert (day["date"], day["api_provider"], day["total_requests"], day["error_count"]) == (today, "anthropic", 2, 1)
    assert (day["total_input_tokens"], day["total_output_tokens"]) == (1200, 150)
    assert day["total_cost"] == Decimal("0.000195")


def test_the_log_has_the_columns_of_the_relational_model(shop: Shop) -> None:
    wanted = {
        "id", "api_provider", "endpoint", "request_count", "tokens_input", "tokens_output", "estimated_cost",
        "http_status", "response_time_ms", "job_id", "product_id", "shop_id", "error_message", "metadata", "created_at",
    }  # fmt: skip
    with tenant_session(shop.workspace.app, shop.tenant.id) as session:
        found = set(session.execute(text("SELECT * FROM pim.api_usage_log LIMIT 0")).keys())
    assert found == wanted | {"tenant_id"}
