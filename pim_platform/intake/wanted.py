"""Which products a bulk operation means, as a request says it and as its job keeps it.

``{"all": true}``, or any of ``skus``, ``source``, ``job_id``, ``fields`` (exact JSON values), ``filter`` and ``q``
(as in search): products that meet every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pim_platform.catalog.choosing import Choice, choose
from pim_platform.catalog.deleting import Selection
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.matching import matching
from pim_platform.catalog.schema import ProductSchema
from pim_platform.errors import InvalidRequest
from pim_platform.intake.jobs import get_job
from pim_platform.intake.sources import find_source
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection

#: SKUs that one request may name.
MAXIMUM_SKUS = 10_000

_PARTS = ("all", "skus", "source", "job_id", "fields", "filter", "q")


@dataclass(frozen=True)
class Wanted:
    """Products that PostgreSQL selects and ClickHouse finds, as far as each is asked."""

    selection: Selection | None
    filter: Filter | None


def wanted_of(session: Session, request: Mapping[str, Any], schema: ProductSchema) -> Wanted:
    """What a request of the session's tenant means.

    Raises InvalidRequest (``invalid_selection`` where it does not say what), NotFound for a source or job.
    """
    given = {part: request[part] for part in _PARTS if part in request and request[part] not in (None, False, "")}
    everything = given.pop("all", False)
    if (
        (everything and given)
        or (not everything and not given)
        or given.get("fields") == {}
        or given.get("filter") == {}
    ):
        raise InvalidRequest(
            "Nothing says which products are meant." if not everything else "Both all products and some are asked for.",
            fix="Name SKUs, a source, an import, field values or a filter; or ask for all products, and nothing else.",
            code="invalid_selection",
        )
    if len(given.get("skus", ())) > MAXIMUM_SKUS:
        raise InvalidRequest(f"{len(given['skus']):,} SKUs are too many.", fix=f"Name up to {MAXIMUM_SKUS:,} at once.")
    job_id = given.get("job_id")
    selected = everything or set(given) - {"filter", "q"}
    selection = Selection(
        everything=bool(everything),
        skus=tuple(given["skus"]) if "skus" in given else None,
        source_id=find_source(session, given["source"]).id if "source" in given else None,
        job_id=get_job(session, UUID(str(job_id))).id if job_id is not None else None,
        fields=given.get("fields", {}),
    )
    searched = None
    if "filter" in given or "q" in given:
        searched = Filter.from_json(given.get("filter", {}), schema, q=given.get("q", ""))
    return Wanted(selection if selected else None, searched)


def choose_wanted(workspace: Workspace, session: Session, wanted: Wanted) -> Choice:
    """Fill the temporary table of the products that are meant (see :mod:`pim_platform.catalog.choosing`).

    What a filter means is asked of ClickHouse, with everything in it that was committed before; a caller that is
    about to write holds the catalogue lock, but has taken no commit number yet. Raises EngineUnavailable.
    """
    tenant_id: UUID = session.info["tenant_id"]
    found = matching(workspace, tenant_id, wanted.filter) if wanted.filter is not None else None
    condition = wanted.selection.condition() if wanted.selection is not None else None
    return choose(driver_connection(session), tenant_id, condition, found)


def kept(value: Any) -> Any:
    """A request as its job keeps it: JSON values; decimals keep their digits."""
    if isinstance(value, Mapping):
        return {str(name): kept(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [kept(one) for one in value]
    if isinstance(value, UUID):
        return str(value)
    return value if value is None or isinstance(value, str | int | bool | float | Decimal) else str(value)
