"""One meaning that a column could have, and how sure each way of finding one is."""

from __future__ import annotations

from dataclasses import dataclass

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.models import Tier

#: Confidence of the ways a header can match; docs/architecture.md has the precision measured for them.
EXACT, STRIPPED, SLIP, PARTIAL, WEAK, CELLS = 0.98, 0.94, 0.85, 0.8, 0.78, 0.72
#: Below this a column is an attribute of the tenant's own.
THRESHOLD = 0.7
#: From this a proposal needs no second look.
SURE = 0.9
#: From this on a name is known; below, cells must agree.
KNOWN = STRIPPED - 0.02


@dataclass(frozen=True)
class Candidate:
    """One meaning a column could have."""

    target: str
    score: float
    reason: str
    field: str | None = None
    type: FieldType | None = None
    option: int | None = None
    component: str | None = None
    tier: Tier | None = None
    """Where it comes from, if not from this module."""
    order: int = 0
    """Place of its name among the names of the target: the usual one wins where two columns want one target."""
