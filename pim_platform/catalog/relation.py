"""One tenant's products in ClickHouse: the only way in which search, filters and facets read them (design D11).

Every query goes through :func:`ask` or :func:`stream` with a :class:`Relation`, which only a tenant's id gives: no
caller can name another tenant's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from pim_platform.catalog.conditions import Clause
from pim_platform.catalog.publisher import publish
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schemas import schema_version
from pim_platform.catalog.typed_relations import refresh_typed_relations
from pim_platform.storage.clickhouse import clickhouse_errors, quote_identifier
from pim_platform.storage.postgres import tenant_rows, tenant_session
from pim_platform.tenancy.tenants import get_tenant


class Stores(Protocol):
    """What is needed of a workspace."""

    @property
    def app(self) -> Engine:
        """PostgreSQL as the application role."""

    @property
    def ddl(self) -> Engine:
        """PostgreSQL as the role that owns typed relations."""

    @property
    def clickhouse(self) -> Client:
        """ClickHouse."""


@dataclass(frozen=True)
class Relation:
    """A tenant's typed relation in ClickHouse, and what may be asked of it."""

    database: str
    schema: ProductSchema
    """The schema in force, against which requests are checked."""
    loaded: ProductSchema | None
    """The schema that the relation has, which may be older; None before the first publish."""

    @property
    def rows(self) -> str:
        """The rows as they are now."""
        return f"{self.versions} FINAL"

    @property
    def versions(self) -> str:
        """The rows, those that were replaced or deleted since among them until they are merged away."""
        return f"{quote_identifier(self.database)}.product_rows"

    @property
    def parts(self) -> str:
        """SQL for how many parts hold the rows: in a single one no product stands twice."""
        named = f"database = '{self.database}' AND table = 'product_rows'"
        return f"(SELECT count() FROM system.parts WHERE {named} AND active)"

    @property
    def vocabulary(self) -> str:
        """The words of all products and how often there are; of rows that were replaced since, too."""
        return f"mergeTreeTextIndex({quote_identifier(self.database)}, product_rows, words)"


_STATE = """
SELECT t.slug, s.typed_schema_version,
       (SELECT coalesce(max(version), 0) FROM pim.product_schemas p WHERE p.tenant_id = %s)
FROM pim.tenants t JOIN pim.catalog_state s ON s.tenant_id = t.id WHERE t.id = %s
"""


def relation_of(stores: Stores, tenant_id: UUID) -> Relation:
    """The tenant's relation as it was last loaded."""
    ((slug, loaded, newest),) = tenant_rows(stores.app, tenant_id, _STATE, (tenant_id, tenant_id))
    schema = _schema(stores, tenant_id, newest)
    relation = f"tenant_{slug.replace('-', '_')}"
    return Relation(relation, schema, None if loaded < 0 else _schema(stores, tenant_id, loaded))


def _schema(stores: Stores, tenant_id: UUID, version: int) -> ProductSchema:
    known = _kept((tenant_id, version)) if version else []  # the first is made of the tenant's defaults
    if not known:
        with tenant_session(stores.app, tenant_id) as session:
            known.append(schema_version(session, version))
    return known[0]


@lru_cache(maxsize=2000)
def _kept(_key: tuple[UUID, int]) -> list[ProductSchema]:
    """A place for one version of a tenant's schema, which never changes."""
    return []


def caught_up(stores: Stores, tenant_id: UUID) -> Relation:
    """Publish whatever is committed, and return the relation with all of it.

    Raises EngineUnavailable. Takes the publisher's lock; the caller must not have taken a commit number in a
    transaction that is still open.
    """
    publish(stores.app, stores.clickhouse, tenant_id)
    refresh_typed_relations(stores.app, stores.ddl, stores.clickhouse, get_tenant(stores.app, tenant_id))
    return relation_of(stores, tenant_id)


#: A number that is asked for becomes the binary64 nearest to it, as those in the relation are.
_EXACT = {"precise_float_parsing": 1}
#: Limits of one query beside those of the server: a search that is not answered by then helps nobody.
#: Fewer rows than these are read by one thread: more of them share the work and add to it, and others search meanwhile.
_LIMITS = {
    "max_execution_time": 20,
    "max_memory_usage": 1024**3,
    "merge_tree_min_rows_for_concurrent_read": 2_000_000,
    **_EXACT,
}


def ask(stores: Stores, relation: Relation, query: str, clause: Clause) -> Sequence[Sequence[Any]]:
    """The rows that ``query`` finds; the names of :class:`Relation`'s properties in braces stand for the tenant's.

    Raises EngineUnavailable.
    """
    with clickhouse_errors("searching products"):
        return stores.clickhouse.query(
            _of_tenant(query, relation), parameters=clause.parameters, settings=_LIMITS
        ).result_rows


@contextmanager
def stream(
    stores: Stores, relation: Relation, query: str, clause: Clause
) -> Iterator[Iterator[Sequence[Sequence[Any]]]]:
    """The columns that ``query`` finds, block by block, of one moment. Raises EngineUnavailable, also half-way."""
    with (
        clickhouse_errors("filtering products"),
        stores.clickhouse.query_column_block_stream(
            _of_tenant(query, relation), parameters=clause.parameters, settings=_EXACT
        ) as blocks,
    ):
        yield iter(blocks)


def _of_tenant(query: str, relation: Relation) -> str:
    for name in ("rows", "versions", "parts", "vocabulary"):
        query = query.replace(f"{{{name}}}", getattr(relation, name))
    return query
