"""Pages of products that meet a filter and a search text, in any order, from ClickHouse (design D11)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pim_platform.catalog.conditions import Clause, is_loaded, value_of, where
from pim_platform.catalog.filters import Filter, Target, target_of
from pim_platform.catalog.products import checked_limit
from pim_platform.catalog.relation import Relation, Stores, ask, relation_of
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.wording import ANY, EXACT, SIMILAR, Wording, exact, wider
from pim_platform.errors import InvalidRequest
from pim_platform.storage import exact_json

#: Products are counted up to here; beyond it "10,000+" says as much and costs less.
COUNTED = 10_000

RELEVANCE = "relevance"

_SORTED: dict[str, str] = {
    "key": "String", "text": "String", "choice": "String", "number": "Float64", "boolean": "UInt8", "id": "String",
    "time": "Int64",
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What a page is sorted by: a scalar target, or how well a product fits the search text."""

    name: str
    descending: bool
    target: Target | None

    @classmethod
    def of(cls, text: str | None, schema: ProductSchema, *, searched: bool) -> Order:
        """``price``, ``-updated_at`` (descending), ``relevance``; None: relevance of a search, else the SKU.

        Raises InvalidRequest.
        """
        text = text or (RELEVANCE if searched else "sku")
        if text == RELEVANCE:
            if not searched:
                raise InvalidRequest(
                    "Without a search text nothing is more relevant.",
                    fix="Send q, or sort by a field.",
                    code="invalid_sort",
                    column="sort",
                    value=text,
                )
            return cls(RELEVANCE, True, None)
        name = text.removeprefix("-")
        target = target_of(name, schema, parameter="sort")
        if target.kind not in _SORTED:
            raise InvalidRequest(
                f"{name} has no order.",
                fix="Sort by a field that holds one text, number, price, or yes and no.",
                code="invalid_sort",
                column="sort",
                value=text,
                expected="a scalar field",
            )
        return cls(name, text.startswith("-"), target)


@dataclass(frozen=True)
class SearchPage:
    """Keys of one page in its order, the cursor of the next one, and how many there are (up to COUNTED)."""

    keys: list[str]
    next_cursor: str | None
    count: int
    count_capped: bool


@dataclass(frozen=True)
class _Place:
    """Where a page begins: behind this value and key, at this step of the search text; and what was counted."""

    value: Any
    key: str
    step: int
    count: int


_NOWHERE = _Place(None, "", 0, 0)


def search(
    stores: Stores,
    tenant_id: UUID,
    read_filter: Callable[[ProductSchema], Filter],
    *,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> SearchPage:
    """A page of the tenant's products; ``read_filter`` makes the filter for the schema in force.

    Raises InvalidRequest (filter, sort, cursor, limit), EngineUnavailable.
    """
    checked_limit(limit)
    relation = relation_of(stores, tenant_id)
    wanted = read_filter(relation.schema)
    order = Order.of(sort, relation.schema, searched=bool(wanted.q))
    query_hash = _hash(wanted, order)
    place = _read_cursor(cursor, query_hash, order) if cursor is not None else None
    if relation.loaded is None:
        return SearchPage([], None, 0, count_capped=False)
    if not wanted.q:
        return _page(stores, relation, wanted, None, order, place, limit, query_hash)
    wording: Wording | None = exact(stores, relation, wanted.q)
    while wording is not None:
        if place is None or place.step == wording.step:
            page = _page(stores, relation, wanted, wording, order, place, limit, query_hash)
            if page.keys or place is not None:
                return page
        wording = wider(stores, relation, wording)
    return SearchPage([], None, 0, count_capped=False)


def _page(
    stores: Stores,
    relation: Relation,
    wanted: Filter,
    wording: Wording | None,
    order: Order,
    place: _Place | None,
    limit: int,
    query_hash: str,
) -> SearchPage:
    assert relation.loaded is not None
    clause = Clause()
    filtered = where(wanted, relation.loaded, clause)
    chosen = [filtered]
    if wording is not None:
        words, key = wording.by_words(clause), wording.by_key(clause)
        chosen = [f"{words} AND {filtered}"] if wording.groups else []
        if wording.step == EXACT:
            chosen.append(f"{key} AND NOT ({words}) AND {filtered}")
    rows: list[Sequence[Any]] = []
    behind, wants = place, limit + 1
    while len(rows) <= limit:
        asked = Clause(dict(clause.parameters))
        if order.target is None:
            assert wording is not None
            parts = _by_rank(wording, filtered, behind, asked)
            by = "_v DESC, sku_key"
        else:
            direction = "DESC" if order.descending else "ASC"
            value, after = _ordering(order, relation.loaded, behind, asked)
            by = f"sku_key {direction}" if order.name == "sku" else f"_v {direction} NULLS LAST, sku_key"
            parts = [_Part(value, f"{part} AND {after}", by) for part in chosen]
        found = ask(stores, relation, _together(parts, by, wants), asked) if parts else []
        if found:
            rows += found if found[0][3] == 1 else _current(stores, relation, found)
        if len(found) < wants:
            break
        behind, wants = replace(_NOWHERE, value=found[-1][1], key=found[-1][0]), max(2 * wants, 200)
    if place is not None:
        number = place.count
    else:
        if order.target is None and len(chosen) > 1 and rows and rows[0][1] < 3:
            chosen = chosen[:1]  # no SKU begins so: it would stand first
        number = len(rows) if len(rows) <= limit else _count(stores, relation, chosen, clause)
    page = rows[:limit]
    following = None
    if len(rows) > limit:
        step = wording.step if wording is not None else 0
        following = _cursor(_Place(page[-1][1], page[-1][0], step, min(number, COUNTED + 1)), query_hash)
    return SearchPage([row[0] for row in page], following, min(number, COUNTED), count_capped=number > COUNTED)


def _count(stores: Stores, relation: Relation, chosen: Sequence[str], clause: Clause) -> int:
    """How many products meet one of these conditions, which have nothing in common; no more than COUNTED + 1 each."""
    counts = [f"(SELECT count() FROM (SELECT 1 FROM {{rows}} WHERE {part} LIMIT {COUNTED + 1}))" for part in chosen]
    return int(ask(stores, relation, f"SELECT {' + '.join(counts)}", clause)[0][0])


@dataclass(frozen=True)
class _Part:
    """Rows that meet ``condition`` with ``value`` as what the page is sorted by, read in the order ``by``.

    Aliases begin with an underscore, which no field does: ClickHouse would take them for the fields of their names.
    """

    value: str
    condition: str
    by: str

    def select(self, wants: int, more: str = "") -> str:
        """SQL for the first of them."""
        return (
            f"SELECT sku_key, {self.value} AS _v, _version{more} FROM {{versions}} "
            f"WHERE _deleted = 0 AND {self.condition} ORDER BY {self.by} LIMIT {wants}"
        )


def _together(parts: Sequence[_Part], by: str, wants: int) -> str:
    """SQL for the first rows of all parts, and how many parts of the table hold the rows.

    A single part is asked for as it is: every subquery around it costs the server a millisecond to plan.
    """
    counted = ", {parts} AS _parts"
    if len(parts) == 1:
        return parts[0].select(wants, counted)
    union = " UNION ALL ".join(f"SELECT * FROM ({part.select(wants)})" for part in parts)
    return f"SELECT sku_key, _v, _version{counted} FROM ({union}) ORDER BY {by} LIMIT {wants}"


def _by_rank(wording: Wording, filtered: str, behind: _Place | None, clause: Clause) -> list[_Part]:
    """One part for each band that is not over yet, in the order of keys, which it can be read in."""
    parts = []
    for rank, condition in wording.bands(clause):
        after, by = "true", "sku_key"
        if rank.startswith("if("):  # the SKU itself is the first of those that begin so
            if behind is not None and behind.value < 3:
                continue
            if behind is not None:
                after = f"sku_key > {clause.bind(behind.key, 'String')}"
        elif not rank.isdigit():  # a sum of what fits
            by = "_v DESC, sku_key"
            if behind is not None:
                last, key = clause.bind(behind.value, "Int64"), clause.bind(behind.key, "String")
                after = f"(_v < {last} OR (_v = {last} AND sku_key > {key}))"
        elif behind is not None:
            if int(rank) > behind.value:
                continue
            if int(rank) == behind.value:
                after = f"sku_key > {clause.bind(behind.key, 'String')}"
        parts.append(_Part(f"toInt64({rank})", f"{condition} AND {filtered} AND {after}", by))
    return parts


def _current(stores: Stores, relation: Relation, found: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Those rows that are their product's newest version: others are of no more, whatever they meet.

    The newest version of a product that is wanted is among the rows, at its own place. So leaving out the others is
    exact, and costs a look at the keys of one page instead of bringing all products up to date first.
    """
    clause = Clause()
    keys = clause.bind(sorted({row[0] for row in found}), "Array(String)")
    query = f"SELECT sku_key, max(_version) FROM {{versions}} WHERE sku_key IN {keys} GROUP BY sku_key"
    newest = {row[0]: row[1] for row in ask(stores, relation, query, clause)}
    kept = [row for row in found if newest[row[0]] == row[2]]
    # What was sent twice stands twice until it is merged.
    return list({row[0]: row for row in kept}.values())


def _ordering(order: Order, schema: ProductSchema, place: _Place | None, clause: Clause) -> tuple[str, str]:
    """SQL of what is sorted by, and of being behind ``place``; nulls come last either way."""
    sign = "<" if order.descending else ">"
    if order.name == "sku":
        return "sku_key", "true" if place is None else f"sku_key {sign} {clause.bind(place.key, 'String')}"
    assert order.target is not None
    kind, value = _SORTED[order.target.kind], _sortable(order.target, schema)
    if place is None:
        return value, "true"
    key = clause.bind(place.key, "String")
    if place.value is None:
        return value, f"isNull(_v) AND sku_key > {key}"
    last = clause.bind(place.value, kind)
    return value, f"(_v {sign} {last} OR (_v = {last} AND sku_key > {key}) OR isNull(_v))"


def _sortable(target: Target, schema: ProductSchema) -> str:
    if not is_loaded(target, schema):
        return f"CAST(NULL, 'Nullable({_SORTED[target.kind]})')"
    column = value_of(target, schema)
    if target.kind == "time":
        return f"toUnixTimestamp64Micro({column})"
    if target.kind == "boolean":
        return f"toUInt8({column})"
    if target.kind in ("id", "choice"):
        return f"toString({column})"
    return f"lowerUTF8({column})" if target.kind == "text" else column


def _hash(wanted: Filter, order: Order) -> str:
    asked = exact_json.dumps([wanted.as_json(), wanted.q, order.name, order.descending])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _cursor(place: _Place, query_hash: str) -> str:
    text = json.dumps([query_hash, place.value, place.key, place.step, place.count], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, query_hash: str, order: Order) -> _Place:
    kind = "Int64" if order.target is None else _SORTED[order.target.kind]
    expected = {"String": str, "Float64": float | int, "UInt8": int, "Int64": int}[kind]
    wrong = f"{cursor[:100]!r} is not a cursor."
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        found, value, key, step, count = json.loads(text)
        if found != query_hash:
            wrong = "The cursor belongs to another question."
        elif (
            isinstance(key, str)
            and "\x00" not in key
            and step in (EXACT, SIMILAR, ANY)
            and isinstance(count, int)
            and 0 <= count <= COUNTED + 1
            and (value is None or (isinstance(value, expected) and _bindable(value)))
        ):
            return _Place(value, key, step, count)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass  # told below, as what else is no cursor
    raise InvalidRequest(
        wrong,
        fix="Send the next_cursor of the page before, with the same filter, q and sort.",
        code="invalid_cursor",
        column="cursor",
        value=cursor[:200],
    )


def _bindable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value
    return math.isfinite(value) and abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)
