"""Both engines' state as the home page shows it, asked at most once in some seconds however many pages are open."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from pim_platform.local.status import clickhouse_error, postgres_error
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints

#: How long an answer holds.
FRESH_SECONDS = 3.0


@dataclass(frozen=True)
class EngineState:
    """One engine; ``problem`` is empty where it answers."""

    name: str
    problem: str


class EngineWatch:
    """Asks the engines for everybody."""

    def __init__(self, settings: Settings) -> None:
        self._endpoints = Endpoints.of(settings)
        self._guard = asyncio.Lock()
        self._states: list[EngineState] = []
        self._asked_at = float("-inf")

    async def states(self) -> list[EngineState]:
        """PostgreSQL and ClickHouse, in this order."""
        async with self._guard:
            if time.monotonic() - self._asked_at > FRESH_SECONDS:
                postgres, clickhouse = await asyncio.gather(
                    asyncio.to_thread(postgres_error, self._endpoints.app_url),
                    asyncio.to_thread(clickhouse_error, self._endpoints.clickhouse_url),
                )
                self._states = [EngineState("PostgreSQL", postgres), EngineState("ClickHouse", clickhouse)]
                self._asked_at = time.monotonic()
            return self._states
