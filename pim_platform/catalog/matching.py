"""One tenant's products in ClickHouse: the only way in which search, filters and facets read them (design D11).

Every query goes through :func:`ask` or :func:`stream`, which take the tenant, never a relation's name: no caller
can name another tenant's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine, text

from pim_platform.catalog.conditions import Clause, where
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.publisher import publish
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schemas import schema_version
from pim_platform.catalog.typed_relations import refresh_typed_relations
from pim_platform.storage.clickhouse import clickhouse_errors, quote_identifier
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo, get_tenant

if TYPE_CHECKING:
    import pyarrow as pa


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
    """A tenant's typed relation in ClickHouse: its database and the schema it has; None before the first publish."""

    database: str
    schema: ProductSchema | None

    @property
    def rows(self) -> str:
        """The rows as they are now."""
        return f"{quote_identifier(self.database)}.product_rows FINAL"


def relation_of(stores: Stores, tenant_id: UUID) -> Relation:
    """The tenant's relation as it was last loaded."""
    with tenant_session(stores.app, tenant_id) as session:
        row = session.execute(
            text(
                "SELECT t.slug, s.typed_schema_version "
                "FROM pim.tenants t JOIN pim.catalog_state s ON s.tenant_id = t.id WHERE t.id = :tenant"
            ),
            {"tenant": tenant_id},
        ).one()
        database = "tenant_" + row.slug.replace("-", "_")
        if row.typed_schema_version < 0:
            return Relation(database, None)
        known = _schemas((tenant_id, row.typed_schema_version))
        if not known:
            known.append(schema_version(session, row.typed_schema_version))
        return Relation(database, known[0])


@lru_cache(maxsize=2000)
def _schemas(_key: tuple[UUID, int]) -> list[ProductSchema]:
    """A place for the schema of a tenant's version, which never changes."""
    return []


def caught_up(stores: Stores, tenant_id: UUID) -> Relation:
    """Publish whatever is committed, and return the relation with all of it.

    Raises EngineUnavailable. Takes the publisher's lock; the caller must not have taken a commit number in a
    transaction that is still open.
    """
    publish(stores.app, stores.clickhouse, tenant_id)
    refresh_typed_relations(stores.app, stores.ddl, stores.clickhouse, get_tenant(stores.app, tenant_id))
    return relation_of(stores, tenant_id)


def ask(stores: Stores, relation: Relation, query: str, clause: Clause) -> Sequence[Sequence[Any]]:
    """The rows that ``query`` finds; ``{rows}`` in it stands for the tenant's products. Raises EngineUnavailable."""
    with clickhouse_errors("searching products"):
        return stores.clickhouse.query(query.replace("{rows}", relation.rows), parameters=clause.parameters).result_rows


def matching(stores: Stores, tenant: TenantInfo | UUID, wanted: Filter) -> Iterator[pa.RecordBatch]:
    """Ids and keys of all products that ``wanted`` means, by key: batches of ``id`` (text of the UUID), ``sku_key``.

    Everything committed before the call is taken into account. One query: the batches are of one moment. Raises
    EngineUnavailable, also half-way. A caller that writes takes the catalogue lock before it asks, so that nothing
    changes until it is done, but no commit number (see :func:`caught_up`).
    """
    import pyarrow as pa

    relation = caught_up(stores, tenant if isinstance(tenant, UUID) else tenant.id)
    if relation.schema is None:
        return
    clause = Clause()
    query = (
        f"SELECT toString(id), sku_key FROM {{rows}} WHERE {where(wanted, relation.schema, clause)} ORDER BY sku_key"
    )
    schema = pa.schema([("id", pa.string()), ("sku_key", pa.string())])
    with (
        clickhouse_errors("filtering products"),
        stores.clickhouse.query_column_block_stream(
            query.replace("{rows}", relation.rows), parameters=clause.parameters
        ) as blocks,
    ):
        for ids, keys in blocks:
            yield pa.record_batch([pa.array(ids, pa.string()), pa.array(keys, pa.string())], schema=schema)
