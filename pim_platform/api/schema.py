"""The tenant's product schema."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from pydantic import BaseModel

from pim_platform.api.dependencies import SessionDep, bearer
from pim_platform.api.import_models import FieldOut
from pim_platform.api.problems import documented
from pim_platform.api.routes import KeyRoute, needs
from pim_platform.catalog.schemas import current_schema

router = APIRouter(prefix="/api/pim/schema", tags=["schema"], route_class=KeyRoute, dependencies=[Security(bearer)])


class SchemaOut(BaseModel):
    """The field vocabulary in force."""

    version: int
    fields: list[FieldOut]
    default_currency: str
    default_locale: str


@router.get(
    "/",
    summary="Read the schema",
    response_model=SchemaOut,
    responses=documented(),
    openapi_extra=needs("viewer", scope="schema:read"),
)
def schema(session: SessionDep) -> dict[str, Any]:
    """The fields that products of this tenant may have, beside `sku`, `name` and `active`."""
    found = current_schema(session)
    return found.model_dump() | {"fields": found.fields_json()}
