"""Fixtures of the one-machine stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from pim_platform.local.engines import engines
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import CLICKHOUSE_USER, LOOPBACK, Endpoints, secret
from tests.support.stacks import throwaway_settings

QUERY_MEMORY = 500_000_000


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home of its own, nothing running."""
    with throwaway_settings() as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Settings]:
    """A home whose engines run, not migrated."""
    with (
        throwaway_settings(clickhouse_query_memory=QUERY_MEMORY, clickhouse_query_seconds=20) as made,
        engines(made, migrate=False),
    ):
        yield made


@pytest.fixture
def client(running: Settings) -> Iterator[Client]:
    """clickhouse-connect, as product code uses it, in a database of its own."""
    with connect(running) as made:
        made.command("CREATE DATABASE IF NOT EXISTS lab")
        yield made
        made.command("DROP DATABASE lab")


def connect(settings: Settings, **options: object) -> Client:
    """A client of the embedded ClickHouse with a pool of its own, so that closing it closes its sockets."""
    import clickhouse_connect

    values: dict[str, object] = {
        "host": LOOPBACK,
        "port": Endpoints.of(settings).ports.clickhouse,
        "username": CLICKHOUSE_USER,
        "password": secret(settings.home_path, "clickhouse"),
        "autogenerate_session_id": False,
    }
    return clickhouse_connect.get_client(**(values | options))  # type: ignore[arg-type]
