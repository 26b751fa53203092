"""The narrow door for scores: in bulk, with a scope of its own."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from pydantic import BaseModel, ConfigDict, Field

from pim_platform.api.dependencies import CallerDep, WorkspaceDep, bearer
from pim_platform.api.problems import documented
from pim_platform.api.products import BulkError
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.intake.scoring import score_products

router = APIRouter(prefix="/api/pim/products", tags=["products"], route_class=KeyRoute, dependencies=[Security(bearer)])


class ScoresIn(BaseModel):
    """Scores of products."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "scores": [
                        {"sku": "TENT-2", "score": 87.5},
                        {"id": "0199b6c2-9d04-7b1a-a7f2-5d2c8e90b3a4", "score": None},
                    ]
                }
            ]
        },
    )

    scores: list[dict[str, Any]] = Field(
        description="1 to 10,000 objects with `sku` or `id`, and `score`: 0 to 100, how well a machine can read the "
        "product; null takes it back. Of several for one product the last counts."
    )


class ScoresOut(BaseModel):
    """What became of every score: `read` is the sum of the others."""

    read: int
    updated: int
    unchanged: int
    superseded: int = Field(description="Scores whose product came again further down.")
    rejected: int
    errors: list[BulkError] = Field(description="Why scores were rejected.")


@router.put(
    "/scores/",
    summary="Write readability scores",
    response_model=ScoresOut,
    responses=documented(400, 409, 413, 422),
    openapi_extra=needs("editor", scope="scores:write"),
)
def scores(workspace: WorkspaceDep, caller: CallerDep, body: ScoresIn) -> dict[str, Any]:
    """Write `ai_readability_score` of many products. A score that is wrong is rejected alone.

    A score moves no version, is no entry of the history and tells no webhook. It is read with the product; search does
    not know it.
    """
    done = score_products(workspace, caller.tenant_id, body.scores, actor=caller.actor)
    return {**done.counts, "errors": done.errors}
