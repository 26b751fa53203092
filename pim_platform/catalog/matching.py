"""All products that a filter means: for bulk edits, bulk deletes and exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from pim_platform.catalog.conditions import Clause, where
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.relation import Stores, caught_up, stream
from pim_platform.catalog.wording import wording_of
from pim_platform.tenancy.tenants import TenantInfo

if TYPE_CHECKING:
    import pyarrow as pa


def matching(stores: Stores, tenant: TenantInfo | UUID, wanted: Filter) -> Iterator[pa.RecordBatch]:
    """Ids and keys of all products that ``wanted`` means, by key: batches of ``id`` (text of the UUID), ``sku_key``.

    Everything committed before the call is taken into account. One query: the batches are of one moment. Raises
    EngineUnavailable, also half-way. A caller that writes takes the catalogue lock before it asks, so that nothing
    changes until it is done, but no commit number (see :func:`~pim_platform.catalog.relation.caught_up`).
    """
    import pyarrow as pa

    relation = caught_up(stores, tenant if isinstance(tenant, UUID) else tenant.id)
    if relation.loaded is None:
        return
    clause = Clause()
    found = where(wanted, relation.loaded, clause)
    if wanted.q:
        found += f" AND ({wording_of(stores, relation, wanted.q, found, clause).condition(clause)})"
    schema = pa.schema([("id", pa.string()), ("sku_key", pa.string())])
    query = f"SELECT toString(id), sku_key FROM {{rows}} WHERE {found} ORDER BY sku_key"
    with stream(stores, relation, query, clause) as blocks:
        for ids, keys in blocks:
            yield pa.record_batch([pa.array(ids, pa.string()), pa.array(keys, pa.string())], schema=schema)
