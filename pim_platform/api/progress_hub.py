"""One look a second at every import that somebody watches, shared between all who do.

However many listen to however many imports, a process asks PostgreSQL once a second per tenant, by one connection, from
one thread that is not its own. A listener is a coroutine that waits for a change; who is slow is told the latest state
and misses those between, so nothing piles up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pim_platform.errors import EngineUnavailable, TransientError
from pim_platform.intake.progress import is_over, progress_of
from pim_platform.storage.postgres import tenant_session

#: Seconds between two looks.
LOOK_SECONDS = 1.0
#: Seconds without a change after which a listener hears that the connection lives.
HEARTBEAT_SECONDS = 15.0
#: Listeners of one tenant, and of all, in one process.
TENANT_LISTENERS = 200
LISTENERS = 2_000

#: New listeners wait for a look of their own at most this long.
_SOON_SECONDS = 0.05

_log = logging.getLogger(__name__)
_Key = tuple[UUID, UUID]


class TooManyListeners(TransientError):
    """The process tells as many as it will."""

    code = "too_many_listeners"


class _Watch:
    """An import that is watched, and the last that was seen of it."""

    def __init__(self) -> None:
        self.told: dict[str, Any] | None = None
        self.version = 0
        self.listeners = 0
        self.changed = asyncio.Event()

    def tell(self, told: dict[str, Any]) -> None:
        """Wake everybody who listens, where there is anything new."""
        if told != self.told:
            self.told, self.version = told, self.version + 1
            waiting, self.changed = self.changed, asyncio.Event()
            waiting.set()


class ProgressHub:
    """What is watched in one process (see :func:`hub_of`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watches: dict[_Key, _Watch] = {}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._one = anyio.CapacityLimiter(1)

    async def follow(self, tenant_id: UUID, job_id: UUID) -> AsyncGenerator[dict[str, Any] | None, None]:
        """The states of a job of that tenant: the present one at once, then each change, the final one last.

        None from time to time where nothing changes. Raises TooManyListeners.
        """
        watch = self._join((tenant_id, job_id))
        seen = 0
        try:
            while True:
                if watch.version == seen:
                    try:
                        async with asyncio.timeout(HEARTBEAT_SECONDS):
                            await watch.changed.wait()
                    except TimeoutError:
                        yield None
                        continue
                seen, told = watch.version, watch.told
                assert told is not None
                yield told
                if is_over(told["state"]):
                    return
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                self._watches.pop((tenant_id, job_id), None)

    def require_room(self, tenant_id: UUID) -> None:
        """Raise TooManyListeners where no further one of that tenant is taken."""
        per_tenant = sum(watch.listeners for (tenant, _), watch in self._watches.items() if tenant == tenant_id)
        everybody = sum(watch.listeners for watch in self._watches.values())
        if per_tenant >= TENANT_LISTENERS or everybody >= LISTENERS:
            raise TooManyListeners(
                "Too many are watching imports.", fix="Close connections that are not needed, or ask for the status."
            )

    def _join(self, key: _Key) -> _Watch:
        self.require_room(key[0])
        watch = self._watches.setdefault(key, _Watch())
        watch.listeners += 1
        self._wanted.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_again_and_again(), name="import progress")
        return watch

    async def _look_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        while self._watches:
            due = loop.time() + LOOK_SECONDS
            self._wanted.clear()
            try:
                found = await anyio.to_thread.run_sync(self._look, list(self._watches), limiter=self._one)
            except (EngineUnavailable, SQLAlchemyError) as error:
                _log.warning("the progress of imports cannot be read: %s", type(error).__name__)
                found = {}
            for key, told in found.items():
                if key in self._watches:
                    self._watches[key].tell(told)
            await asyncio.sleep(_SOON_SECONDS)
            try:
                async with asyncio.timeout_at(due):
                    await self._wanted.wait()  # somebody new need not wait for the second to end
            except TimeoutError:
                continue

    def _look(self, keys: list[_Key]) -> dict[_Key, dict[str, Any]]:
        by_tenant: dict[UUID, set[UUID]] = {}
        for tenant_id, job_id in keys:
            by_tenant.setdefault(tenant_id, set()).add(job_id)
        found: dict[_Key, dict[str, Any]] = {}
        for tenant_id, job_ids in by_tenant.items():
            with tenant_session(self._engine, tenant_id) as session:
                found |= {(tenant_id, job_id): told for job_id, told in progress_of(session, job_ids).items()}
        return found


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Engine, ProgressHub]] = WeakKeyDictionary()


def hub_of(engine: Engine) -> ProgressHub:
    """The hub of this event loop for one database."""
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if engine not in hubs:
        hubs[engine] = ProgressHub(engine)
    return hubs[engine]
