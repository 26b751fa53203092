"""The stores as resources. Where they are is in the settings (``PIM_*``), not in Dagster's configuration."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import dagster as dg
import psycopg
from clickhouse_connect.driver.client import Client

from pim_platform.intake.workspace import Workspace
from pim_platform.settings import get_settings
from pim_platform.storage.clickhouse import clickhouse_client
from pim_platform.storage.endpoints import Endpoints


class WorkspaceResource(dg.ConfigurableResource[Any]):
    """Everything an import needs to reach."""

    def workspace(self) -> Workspace:
        """The workspace of this process's settings."""
        return Workspace(get_settings())


class PostgresResource(dg.ConfigurableResource[Any]):
    """PostgreSQL for SQL models, which read across tenants."""

    @contextmanager
    def models_connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection as the role that owns the models' tables; commits at the end."""
        with psycopg.connect(Endpoints.of(get_settings()).ddl_url, connect_timeout=10) as connection:
            yield connection


class ClickHouseResource(dg.ConfigurableResource[Any]):
    """ClickHouse for SQL models."""

    def client(self) -> Client:
        """A client; raises EngineUnavailable where ClickHouse does not answer."""
        return clickhouse_client(get_settings())


class ImportRunResource(dg.ConfigurableResource[Any]):
    """Which import a run carries out; without one the run republishes the partition's tenant."""

    job_id: str = ""

    @property
    def job(self) -> UUID | None:
        """The import job's id."""
        return UUID(self.job_id) if self.job_id else None
