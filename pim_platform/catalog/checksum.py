"""Do both engines hold the same rows? Answered by row checksum, not by count (design D10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine, text

from pim_platform.catalog.lock import lock_publisher
from pim_platform.catalog.publisher import publish
from pim_platform.errors import TenantBusy
from pim_platform.storage.clickhouse import clickhouse_errors
from pim_platform.storage.postgres import driver_connection, tenant_session

#: How often a comparison is begun again because somebody committed meanwhile.
_TRIES = 20

# Per row the first 60 bits of an MD5 over key, sku, name, active and data; summed modulo 2^64, so order is free.
_POSTGRES = """
SELECT count(*), coalesce(sum(('x' || left(md5(concat_ws(chr(31), sku_key, sku, name, active::int, data::text)), 15))
         ::bit(60)::bigint), 0) % 18446744073709551616,
       (SELECT commit_seq = published_seq FROM pim.catalog_state WHERE tenant_id = :tenant)
FROM pim.products WHERE tenant_id = :tenant
"""
_CLICKHOUSE = """
SELECT count(), sum(reinterpretAsUInt64(reverse(unhex(concat('0', substring(hex(MD5(
         concat(sku_key, char(31), sku, char(31), name, char(31), toString(toUInt8(active)), char(31), data)
       )), 1, 15))))))
FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String}
"""


@dataclass(frozen=True)
class Agreement:
    """Count and checksum of a tenant's rows in each engine.

    ``settled`` is False where PostgreSQL held a commit that was not published yet: a difference is no fault then.
    """

    postgres_rows: int
    clickhouse_rows: int
    postgres_sum: int
    clickhouse_sum: int
    settled: bool = True

    @property
    def equal(self) -> bool:
        """Whether every row is the same in both."""
        return (self.postgres_rows, self.postgres_sum) == (self.clickhouse_rows, self.clickhouse_sum)


def compare_engines(engine: Engine, clickhouse: Client, tenant_id: UUID) -> Agreement:
    """Count and checksum a tenant's products in both engines; nobody publishes meanwhile."""
    with tenant_session(engine, tenant_id) as session, ThreadPoolExecutor(1) as beside:
        lock_publisher(driver_connection(session), tenant_id)
        asked = beside.submit(clickhouse.query, _CLICKHOUSE, parameters={"tenant": str(tenant_id)})
        postgres = session.execute(text(_POSTGRES), {"tenant": tenant_id}).one()
        with clickhouse_errors("comparing the engines"):
            other = asked.result().result_rows[0]
    return Agreement(int(postgres[0]), int(other[0]), int(postgres[1]), int(other[1]), settled=bool(postgres[2]))


def publish_and_compare(engine: Engine, clickhouse: Client, tenant_id: UUID) -> Agreement:
    """Publish, and compare what was published; begins again where another writer committed in between.

    Raises EngineUnavailable, and TenantBusy where writers leave no moment in which to compare.
    """
    for _ in range(_TRIES):
        publish(engine, clickhouse, tenant_id)
        found = compare_engines(engine, clickhouse, tenant_id)
        if found.equal or found.settled:
            return found
    raise TenantBusy(
        "The catalogue is written faster than its engines can be compared.", fix="The comparison is tried again."
    )
