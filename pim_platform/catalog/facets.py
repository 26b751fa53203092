"""What there is to choose from among the products found: values of fields with their counts, ranges of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pim_platform.catalog.conditions import Clause, has_value, is_loaded, value_of, where
from pim_platform.catalog.filters import Filter, Target, target_of
from pim_platform.catalog.relation import Relation, Stores, ask, relation_of
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.search import COUNTED
from pim_platform.catalog.wording import wording_of
from pim_platform.errors import InvalidRequest

#: Facets of one request, values of one facet, and about how many ranges numbers are put into.
MAXIMUM_FACETS = 20
MAXIMUM_VALUES = 100
_RANGES = 10

_VALUES = ("text", "choice", "boolean", "list", "id")
_NUMBERS = ("number", "numbers")


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` (included) to ``high`` (excluded; included in the last range)."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Facet:
    """What the products found hold in one field."""

    name: str
    kind: Literal["values", "range"]
    missing: int
    """Products that have no value."""
    values: list[tuple[Any, int]] = field(default_factory=list)
    """Values and how many products have each, most first."""
    more: bool = False
    """Whether there are other values."""
    low: float | None = None
    high: float | None = None
    ranges: list[Range] = field(default_factory=list)


@dataclass(frozen=True)
class Facets:
    """Facets in the order asked for, and how many products were found. Counts are exact."""

    count: int
    facets: list[Facet]


def facets(
    stores: Stores,
    tenant_id: UUID,
    read_filter: Callable[[ProductSchema], Filter],
    names: Sequence[str],
    *,
    top: int = 10,
) -> Facets:
    """The facets ``names`` of the tenant's products that the filter means, ``top`` values each.

    Raises InvalidRequest, EngineUnavailable.
    """
    relation = relation_of(stores, tenant_id)
    wanted = read_filter(relation.schema)
    targets = [_facetable(name, relation.schema) for name in _checked(names)]
    if relation.loaded is None:
        return Facets(0, [Facet(target.name, _kind(target), 0) for target in targets])
    clause = Clause()
    among = where(wanted, relation.loaded, clause)
    if wanted.q:
        among += f" AND ({wording_of(stores, relation, wanted.q, among, clause).condition(clause)})"
    known = [target for target in targets if is_loaded(target, relation.loaded)]
    scanned = [target for target in known if target.kind in (*_NUMBERS, "list")]
    count, extents = _extents(stores, relation, scanned, among, clause)
    counted = _counted(stores, relation, known, extents, among, clause, top)
    found = []
    for target in targets:
        rows = counted.get(target.name, [])
        if target in known and target not in scanned:
            missing, low, high = sum(number for value, number in rows if value is None), None, None
            rows = [row for row in rows if row[0] is not None]
        else:
            missing, low, high = extents.get(target.name, (count, None, None))
        if _kind(target) == "range":
            found.append(Facet(target.name, "range", missing, low=low, high=high, ranges=_ranges(rows, low, high)))
        else:
            found.append(Facet(target.name, "values", missing, values=rows[:top], more=len(rows) > top))
    return Facets(count, found)


def _checked(names: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(names))
    if not 1 <= len(found) <= MAXIMUM_FACETS:
        raise InvalidRequest(
            "Nothing says which facets are meant." if not found else f"{len(found)} facets are too many at once.",
            fix=f"Name 1 to {MAXIMUM_FACETS} fields.",
            code="invalid_facet",
            column="facets",
        )
    return found


def _facetable(name: str, schema: ProductSchema) -> Target:
    target = target_of(name, schema, parameter="facets")
    if target.kind not in (*_VALUES, *_NUMBERS):
        raise InvalidRequest(
            f"{name} makes no facet.",
            fix="Choose a field of texts, numbers, prices, or yes and no; of a localizable one name the locale.",
            code="invalid_facet",
            column="facets",
            value=name,
        )
    return target


def _kind(target: Target) -> Literal["values", "range"]:
    return "range" if target.kind in _NUMBERS else "values"


_Extents = dict[str, tuple[int, float | None, float | None]]


def _extents(
    stores: Stores, relation: Relation, targets: Sequence[Target], among: str, clause: Clause
) -> tuple[int, _Extents]:
    """How many products there are, and for each target of numbers or a list how many lack it and its extremes."""
    assert relation.loaded is not None
    columns = ["count()"]
    for target in targets:
        value = value_of(target, relation.loaded)
        if target.kind == "numbers":
            value = f"if(empty({value}), NULL, {{0}}({value}))"
            low, high = value.format("arrayMin"), value.format("arrayMax")
        else:
            low = high = value if _kind(target) == "range" else "NULL"
        columns += [f"countIf(NOT ({has_value(target, relation.loaded)}))", f"min({low})", f"max({high})"]
    count, *rest = ask(stores, relation, f"SELECT {', '.join(columns)} FROM {{rows}} WHERE {among}", clause)[0]
    groups = zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
    return int(count), {
        target.name: (int(missing), low, high) for target, (missing, low, high) in zip(targets, groups, strict=True)
    }


def _counted(
    stores: Stores,
    relation: Relation,
    targets: Sequence[Target],
    extents: _Extents,
    among: str,
    clause: Clause,
    top: int,
) -> dict[str, list[tuple[Any, int]]]:
    """For each target its values (more than ``top``) or the beginnings of its ranges, with their counts.

    Scalar values come with None, and how many products have no value. Aliases begin with an underscore, which no field
    does: ClickHouse would take them for the fields of their names.
    """
    assert relation.loaded is not None
    selects = []
    for number, target in enumerate(targets):
        value = value_of(target, relation.loaded)
        if _kind(target) == "range":
            low, high = extents[target.name][1:]
            if low is None or high is None:
                continue
            begins = range_edges(low, high)[:-1]
            edges = clause.bind(begins, "Array(Float64)")
            if target.kind == "number":
                selects.append(_in_ranges(number, value, edges, len(begins), among))
                continue
            value = f"arrayJoin(arrayDistinct(arrayMap(x -> roundDown(x, {edges}), {value})))"
            order = f"_v LIMIT {_RANGES * 3}"
        elif target.kind == "list":
            value = f"arrayJoin(arrayDistinct({value}))"
            order = f"_n DESC, _v LIMIT {top + 1}"
        else:
            held = "ifNull(_v, '') != ''" if target.kind == "text" else "isNotNull(_v)"
            selects.append(  # those without a value first: of texts there are two such groups, null and the empty one
                f"SELECT {number} AS i, if(_held, toString(_v), NULL) AS v, _n AS n FROM (SELECT {value} AS _v, "
                f"count() AS _n, {held} AS _held FROM {{rows}} WHERE {among} GROUP BY _v "
                f"ORDER BY _held, _n DESC, _v LIMIT {top + 3})"
            )
            continue
        selects.append(
            f"SELECT {number} AS i, toString(_v) AS v, _n AS n FROM (SELECT {value} AS _v, count() AS _n FROM {{rows}} "
            f"WHERE {among} AND {has_value(target, relation.loaded)} GROUP BY _v ORDER BY {order})"
        )
    found: dict[str, list[tuple[Any, int]]] = {}
    rows = ask(stores, relation, " UNION ALL ".join(selects), clause) if selects else []
    for number, text, count in sorted(rows, key=lambda row: (row[0], -row[2], row[1] or "")):
        target = targets[number]
        if text is None:
            shown = None
        else:
            shown = float(text) if _kind(target) == "range" else text == "true" if target.kind == "boolean" else text
        found.setdefault(target.name, []).append((shown, int(count)))
    return found


def _in_ranges(number: int, value: str, edges: str, count: int, among: str) -> str:
    """SQL for the beginnings of ``count`` ranges and how many products each holds.

    Each holds what is no less than its beginning, without what is no less than the next one's: comparing with every
    edge costs less than half of what grouping by numbers does.
    """
    no_less = ", ".join(f"countIf({value} >= {edges}[{edge}])" for edge in range(1, count + 1))
    held = "arrayMap((a, b) -> toUInt64(a - b), _no_less, arrayPushBack(arrayPopFront(_no_less), 0))"
    return (
        f"SELECT {number} AS i, toString(found.1) AS v, found.2 AS n FROM (SELECT arrayJoin(arrayZip({edges}, {held})) "
        f"AS found FROM (SELECT [{no_less}] AS _no_less FROM {{rows}} WHERE {among}))"
    )


def range_edges(low: float, high: float) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, about ten steps apart alike.

    >>> range_edges(3, 97)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
    """
    first, last = Decimal(repr(low)), Decimal(repr(high))
    if first == last:
        return [low, high]
    rough = (last - first) / _RANGES
    unit = Decimal(1).scaleb(rough.adjusted())
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    begin = (first // step - (first < 0 and first % step != 0)) * step
    edges = [begin]
    while edges[-1] < last:
        edges.append(edges[-1] + step)
    return [float(edge) for edge in edges]


def _ranges(rows: list[tuple[Any, int]], low: float | None, high: float | None) -> list[Range]:
    if low is None or high is None:
        return []
    counts = dict(rows)
    edges = range_edges(low, high)
    return [Range(begin, end, counts.get(begin, 0)) for begin, end in itertools.pairwise(edges)]


def capped(count: int) -> tuple[int, bool]:
    """A count as it is shown: up to COUNTED, and whether there are more."""
    return min(count, COUNTED), count > COUNTED
