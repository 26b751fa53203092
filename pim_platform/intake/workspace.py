"""What an import needs to reach: the stores of one installation, opened once and handed on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from pim_platform.settings import Settings
from pim_platform.storage.clickhouse import clickhouse_client
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.object_store import ObjectStore
from pim_platform.storage.postgres import app_engine, engine_of


@dataclass(frozen=True)
class Workspace:
    """The engines and the object store of an installation; each is reached when it is first asked for."""

    settings: Settings

    @cached_property
    def app(self) -> Engine:
        """PostgreSQL as the application role."""
        return app_engine(self.settings)

    @cached_property
    def ddl(self) -> Engine:
        """PostgreSQL as the role that owns typed relations."""
        return engine_of(Endpoints.of(self.settings).ddl_url)

    @property
    def clickhouse(self) -> Client:
        """ClickHouse; raises EngineUnavailable where it does not answer."""
        return clickhouse_client(self.settings)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return ObjectStore.of(self.settings)
