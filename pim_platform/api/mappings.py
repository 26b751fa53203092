"""Saved mappings, how right proposals have been, and what asking Claude cost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response, Security
from pydantic import BaseModel, Field

from pim_platform.api.dependencies import CallerDep, SessionDep, Text, WorkspaceDep, bearer
from pim_platform.api.import_models import ColumnOut
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.intake.feedback import mapping_accuracy
from pim_platform.intake.sources import find_source
from pim_platform.intake.templates import delete_template, list_templates
from pim_platform.tenancy.usage import daily_budget, daily_costs

router = APIRouter(prefix="/api/pim/mapping", tags=["mapping"], route_class=KeyRoute, dependencies=[Security(bearer)])


class AccuracyOut(BaseModel):
    """One tier and band of confidence: how often people agreed with what was proposed."""

    tier: Literal["template", "learned", "alias", "match", "claude", "none"]
    from_confidence: float
    to_confidence: float
    columns: int = Field(description="Columns that people decided about.")
    correct: int = Field(description="Of these, proposed as they were confirmed.")
    precision: float | None
    precision_low: float = Field(description="Wilson's 95 % interval of the precision:")
    precision_high: float = Field(description="its lower and its upper end.")
    auto: int = Field(description="Columns that were said to need no look.")
    auto_correct: int
    auto_precision: float | None


class AccuracyList(BaseModel):
    """Measured precision; confirmations by policies and unseen ones are no evidence."""

    accuracy: list[AccuracyOut]


class TemplateOut(BaseModel):
    """A saved mapping."""

    source: str
    fingerprint: str = Field(description="SHA-256 of the headers it fits.")
    headers: list[str]
    mapping: dict[str, str] = Field(description="`{header: field}` of what is imported.")
    columns: list[ColumnOut]
    job_id: UUID = Field(description="The import that it was confirmed with last.")
    updated_at: datetime


class TemplateList(BaseModel):
    """Saved mappings, newest first."""

    templates: list[TemplateOut]


class CostOut(BaseModel):
    """A day's calls of one provider."""

    date: date
    api_provider: str
    total_requests: int
    total_input_tokens: int | None
    total_output_tokens: int | None
    total_cost: float | None = Field(description="USD; a call whose answer never came counts at its highest.")
    error_count: int
    avg_response_time_ms: float | None


class CostList(BaseModel):
    """Costs per day, newest first, and today's budget."""

    costs: list[CostOut]
    daily_budget_usd: float
    spent_today_usd: float


SourceQuery = Annotated[Text | None, Query(description="Of this source only.")]


@router.get(
    "/accuracy/",
    summary="How right proposals have been",
    response_model=AccuracyList,
    responses=documented(404, 422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def accuracy(session: SessionDep, source: SourceQuery = None) -> dict[str, Any]:
    """Precision of proposed columns by tier and band of confidence, as people confirmed or corrected them."""
    source_id = find_source(session, source).id if source is not None else None
    return {"accuracy": [one.as_json() for one in mapping_accuracy(session, source_id)]}


@router.get(
    "/templates/",
    summary="List saved mappings",
    response_model=TemplateList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def templates(session: SessionDep, source: SourceQuery = None) -> dict[str, Any]:
    """The mappings that files of the same header from the same source get without being asked."""
    return {"templates": [one.as_json() for one in list_templates(session, source)]}


@router.delete(
    "/templates/{source}/{fingerprint}/",
    status_code=204,
    summary="Forget a saved mapping",
    responses=documented(404, 422),
    openapi_extra=needs("reviewer", scope="imports:write"),
)
def forget(session: SessionDep, caller: CallerDep, source: Text, fingerprint: Text) -> Response:
    """Forget a saved mapping: the next file of that header is proposed anew."""
    delete_template(session, source, fingerprint, actor=caller.actor)
    return Response(status_code=204)


@router.get(
    "/costs/",
    summary="What Claude cost",
    response_model=CostList,
    responses=documented(422),
    openapi_extra=needs("viewer", scope="imports:read"),
)
def costs(
    workspace: WorkspaceDep, session: SessionDep, days: Annotated[int, Query(ge=1, le=366)] = 31
) -> dict[str, Any]:
    """Calls, tokens and USD per day, and what is left of today's budget."""
    budget = daily_budget(session, workspace.settings.anthropic_daily_budget_usd)
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    return {
        "costs": daily_costs(session, since),
        "daily_budget_usd": budget.daily,
        "spent_today_usd": budget.spent,
    }
