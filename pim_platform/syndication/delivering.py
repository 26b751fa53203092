"""Delivering: what waits in the outbox goes to its receivers, each served by itself.

Every receiver has its own task, connections and lease, so one that is slow or dead costs the others nothing. The
lease stands on the webhook: one worker at a time serves it, which is what keeps a product's events in order; rows need
no claim, and when a worker is killed its lease grows old and another finds them waiting. Delivery is *at least once*:
what a killed worker had sent but not noted is sent again under the same ``webhook-id``.

Within a receiver, events of one product (and all of imports) go one after the other, others side by side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text

from pim_platform.errors import PimError
from pim_platform.intake.lease import this_process
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.addresses import without_query
from pim_platform.storage.outbound import Caller, Policy
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.storage.sealing import BrokenSeal
from pim_platform.syndication.pacing import ATTEMPTS, BROKEN_AFTER, SCHEDULE, delay_after, is_taken, wished_delay
from pim_platform.syndication.signing import signed_headers
from pim_platform.syndication.subscriptions import hurry, secrets_of

#: Receivers served at the same time by one worker.
RECEIVERS = 200
#: Deliveries of one receiver taken at a time; also the most that a killed worker sends twice.
BATCH = 50

_KEPT = 1_024  # bytes of an answer that are kept
_NOTE_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_DATABASE_THREADS = 8
_GONE = 410

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass
class Report:
    """What a worker did: events delivered, calls that failed, receivers that were called."""

    delivered: int = 0
    failed: int = 0
    receivers: int = 0


def deliver(workspace: Workspace, *, seconds: float = 60.0, linger: float = 0.0) -> Report:
    """Deliver what is due, of every tenant, for about ``seconds``; returns earlier where nothing is due any more.

    ``linger``: seconds to wait for more before it does. Several workers may run at once. Not to be called from a
    coroutine. Raises EngineUnavailable.
    """
    return asyncio.run(_Worker(workspace, seconds, linger).run())


@dataclass(frozen=True)
class _Item:
    """A delivery to be made."""

    id: UUID
    key: str
    body: str
    attempts: int


@dataclass(frozen=True)
class _Outcome:
    """What became of one call."""

    item: _Item
    taken: bool
    status: int | None
    ms: int | None
    answer: str | None
    error: str | None


class _Worker:
    """One run over everything that is due."""

    def __init__(self, workspace: Workspace, seconds: float, linger: float) -> None:
        self.workspace = workspace
        self.until = time.monotonic() + seconds
        self.report = Report()
        self.owner = f"{this_process()}:{uuid4().hex[:8]}"
        self._linger = linger
        self._pool = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="webhooks")

    async def database(self, work: Callable[[], _T]) -> _T:
        """Run blocking database work beside the calls."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def run(self) -> Report:
        tasks: dict[UUID, asyncio.Task[None]] = {}
        errors: list[BaseException] = []
        idle_since = time.monotonic()
        try:
            while True:
                late = time.monotonic() >= self.until
                if not late and len(tasks) < RECEIVERS:
                    for tenant_id, webhook_id in await self.database(self._due):
                        if webhook_id not in tasks and len(tasks) < RECEIVERS:
                            tasks[webhook_id] = asyncio.create_task(_Receiver(self, tenant_id, webhook_id).serve())
                if tasks:
                    await asyncio.wait(tasks.values(), timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    idle_since = time.monotonic()
                elif late or errors or time.monotonic() - idle_since >= self._linger:
                    break
                else:
                    await asyncio.sleep(_LOOK_SECONDS)
                for webhook_id in [key for key, task in tasks.items() if task.done()]:
                    error = tasks.pop(webhook_id).exception()
                    if error is not None:
                        _log.error("serving webhook %s failed", webhook_id, exc_info=error)
                        errors.append(error)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            self._pool.shutdown()
        if errors:
            raise errors[0]
        return self.report

    def _due(self) -> list[tuple[UUID, UUID]]:
        with anonymous_session(self.workspace.app) as session:
            rows = session.execute(text("SELECT * FROM pim.webhooks_due(:most)"), {"most": RECEIVERS})
            return [(row[0], row[1]) for row in rows]


@dataclass
class _Receiver:
    """One webhook while this worker holds its lease."""

    worker: _Worker
    tenant_id: UUID
    webhook_id: UUID
    url: str = ""
    secrets: list[str] = field(default_factory=list)
    failures: int = 0
    pauses: int = 0
    wish: float | None = None
    gone: bool = False
    stopped: bool = False
    _outcomes: list[_Outcome] = field(default_factory=list)
    _noting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _noted: float = 0.0

    async def serve(self) -> None:
        """Claim the webhook and deliver until nothing is due, the time is over or the receiver takes no more."""
        database = self.worker.database
        if not await database(self._claim):
            return
        self.worker.report.receivers += 1
        self._noted = time.monotonic()
        settings = self.worker.workspace.settings
        beat = asyncio.create_task(self._note_regularly())
        try:
            async with Caller(Policy.for_calls(settings), settings.webhook_concurrency) as caller:
                while not self._is_over():
                    items = await database(self._load)
                    if not items:
                        break
                    await self._send_all(caller, items)
                    await self._note()
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)  # what it met, the next lines meet too
            await self._note()
            await database(self._release)

    def _is_over(self) -> bool:
        return self.stopped or time.monotonic() >= self.worker.until

    async def _note_regularly(self) -> None:
        settings = self.worker.workspace.settings
        beat = min(settings.lease_heartbeat_seconds, settings.lease_timeout_seconds / 3)
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            if self._outcomes or time.monotonic() - self._noted > beat:
                await self._note()

    async def _note(self) -> None:
        async with self._noting:
            # Taken here and not in the thread: calls that end meanwhile belong to the next time.
            outcomes, self._outcomes = self._outcomes, []
            self._noted = time.monotonic()
            await self.worker.database(partial(self._write, outcomes))

    async def _send_all(self, caller: Caller, items: Iterable[_Item]) -> None:
        by_key: dict[str, list[_Item]] = defaultdict(list)
        for item in items:
            by_key[item.key].append(item)
        left = deque(by_key.values())

        async def work() -> None:
            while left and not self._is_over():
                for item in left.popleft():
                    if self._is_over() or not await self._send(caller, item):
                        break  # what comes after it of the same product waits for it

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.worker.workspace.settings.webhook_concurrency, len(left))):
                group.create_task(work())

    async def _send(self, caller: Caller, item: _Item) -> bool:
        found = await call_receiver(
            caller, self.url, self.secrets, item.id, item.body, self.worker.workspace.settings.webhook_timeout_seconds
        )
        self._outcomes.append(_Outcome(item, found.taken, found.status, found.ms, found.answer, found.error))
        if found.taken:
            self.failures = 0
            self.worker.report.delivered += 1
            return True
        self.failures += 1
        self.worker.report.failed += 1
        self.wish = found.retry_after
        self.gone = found.status == _GONE
        if self.gone or self.wish is not None or self.failures >= BROKEN_AFTER:
            self.stopped = True
        return False

    # --- what is written, in threads ---------------------------------------------------------------------------

    def _given(self, **more: Any) -> dict[str, Any]:
        lease = self.worker.workspace.settings.lease_timeout_seconds
        return {
            "tenant": self.tenant_id,
            "webhook": self.webhook_id,
            "owner": self.worker.owner,
            "lease": lease,
            **more,
        }

    def _claim(self) -> bool:
        workspace = self.worker.workspace
        with tenant_session(workspace.app, self.tenant_id) as session:
            row = session.execute(_CLAIM, self._given()).first()
            if row is None:
                return False
            try:
                self._take(*row)
            except BrokenSeal as error:
                given = self._given(state="suspended", reason=str(error), pauses=0, failures=0, wait=None)
                session.execute(_REST, given)
                return False
            return True

    def _take(self, url: str, secret: str, old_secret: str | None, failures: int, pauses: int) -> None:
        self.url, self.failures, self.pauses = url, failures, pauses
        self.secrets = secrets_of(self.worker.workspace.settings, secret, old_secret)

    def _load(self) -> list[_Item]:
        # A receiver that took nothing lately gets one delivery as a probe.
        most = 1 if self.failures >= BROKEN_AFTER else BATCH
        with tenant_session(self.worker.workspace.app, self.tenant_id) as session:
            return [_Item(*row) for row in session.execute(_BATCH, self._given(most=most))]

    def _write(self, outcomes: list[_Outcome]) -> None:
        """Write down what became of calls and keep the lease; without it nothing may be written."""
        broken = self.failures >= BROKEN_AFTER
        workspace = self.worker.workspace
        with tenant_session(workspace.app, self.tenant_id) as session:
            row = session.execute(_RENEW, self._given(failures=self.failures)).first()
            if row is None:  # disabled, deleted, or another worker's by now: what was sent may be sent again
                self.stopped = True
                return
            self.url = row.url
            self.secrets = secrets_of(workspace.settings, row.secret, row.old_secret)
            if outcomes:
                session.execute(_SETTLE, self._given(**_columns(outcomes, broken=broken)))
            if self.pauses and not broken and any(outcome.taken for outcome in outcomes):
                self.pauses = 0
                hurry(session, self.webhook_id)

    def _release(self) -> None:
        broken = self.failures >= BROKEN_AFTER
        state, reason, wait = "active", None, self.wish
        pauses = self.pauses
        if self.gone:
            state, reason = "gone", "The receiver answered 410 Gone."
        elif broken and self.stopped:
            pauses += 1
            if pauses > len(SCHEDULE):
                state = "suspended"
                reason = f"{self.failures} calls in a row failed, over {sum(SCHEDULE) // 3600} hours."
            else:
                wait = max(wait or 0.0, delay_after(pauses))
        with tenant_session(self.worker.workspace.app, self.tenant_id) as session:
            given = self._given(state=state, reason=reason, pauses=pauses, failures=self.failures, wait=wait)
            session.execute(_REST, given)
        if state != "active":
            _log.warning("webhook %s to %s is %s: %s", self.webhook_id, without_query(self.url), state, reason)


@dataclass(frozen=True)
class Called:
    """What a receiver said to one call, or why it said nothing."""

    taken: bool
    status: int | None
    ms: int | None
    answer: str | None
    error: str | None
    retry_after: float | None


async def call_receiver(
    caller: Caller, url: str, secrets: list[str], delivery_id: UUID, body: str, seconds: float
) -> Called:
    """Sign and send one event; what goes wrong is an answer, not an exception."""
    headers = signed_headers(f"msg_{delivery_id}", body, secrets)
    try:
        answer = await caller.call("POST", url, content=body.encode(), headers=headers, seconds=seconds, keep=_KEPT)
    except PimError as error:
        return Called(False, None, None, None, str(error), None)
    said = answer.body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    taken = is_taken(answer.status)
    error_text = None
    if not taken:
        error_text = f"The receiver answered {answer.status}."
        if 300 <= answer.status < 400:
            error_text += " Redirects are not followed: give the address that it leads to."
    wish = wished_delay(answer.headers.get("retry-after")) if answer.status in (429, 503) else None
    return Called(taken, answer.status, answer.ms, said, error_text, wish)


def _columns(outcomes: list[_Outcome], *, broken: bool) -> dict[str, Any]:
    """The outcomes as arrays, with what becomes of each delivery."""
    states, waits = [], []
    for outcome in outcomes:
        failed = outcome.item.attempts + 1
        if outcome.taken:
            states.append("delivered")
        elif failed >= ATTEMPTS and not broken:
            states.append("failed")
        else:
            states.append("pending")  # of a receiver that takes nothing no delivery is given up
        waits.append(0.0 if outcome.taken else delay_after(failed))
    return {
        "ids": [outcome.item.id for outcome in outcomes],
        "states": states,
        "waits": waits,
        "statuses": [outcome.status for outcome in outcomes],
        "times": [outcome.ms for outcome in outcomes],
        "answers": [outcome.answer for outcome in outcomes],
        "errors": [outcome.error for outcome in outcomes],
    }


_SECRETS = "secret, CASE WHEN old_secret_until > clock_timestamp() THEN old_secret END AS old_secret"

_CLAIM = text(f"""
UPDATE pim.webhooks
SET lease_owner = :owner, lease_until = clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))
WHERE tenant_id = :tenant AND id = :webhook AND state = 'active'
  AND coalesce(lease_until, '-infinity') <= clock_timestamp()
  AND coalesce(paused_until, '-infinity') <= clock_timestamp()
RETURNING url, {_SECRETS}, failures, pauses
""")

_RENEW = text(f"""
UPDATE pim.webhooks
SET lease_until = clock_timestamp() + make_interval(secs => CAST(:lease AS double precision)), failures = :failures
WHERE tenant_id = :tenant AND id = :webhook AND state = 'active' AND lease_owner = :owner
  AND lease_until > clock_timestamp()
RETURNING url, {_SECRETS}
""")

# The lease's end is kept as the time of the last service: who was served longest ago comes first.
_REST = text("""
UPDATE pim.webhooks
SET lease_owner = NULL, lease_until = clock_timestamp(), state = :state, reason = :reason, failures = :failures,
    pauses = :pauses, stopped_at = CASE WHEN :state = 'active' THEN NULL ELSE clock_timestamp() END,
    paused_until = clock_timestamp() + make_interval(secs => CAST(:wait AS double precision))
WHERE tenant_id = :tenant AND id = :webhook AND state = 'active' AND lease_owner = :owner
""")

# In the order of commits; what comes after a delivery of the same key that waits for its next attempt waits as well.
# By one time for all rows: while the clock goes on, a later one could be due and the one before it not yet.
_BATCH = text("""
SELECT d.id, d.ordering_key, d.payload::text, d.attempts
FROM pim.webhook_deliveries d
WHERE d.tenant_id = :tenant AND d.webhook_id = :webhook AND d.state = 'pending' AND d.due_at <= now()
  AND NOT EXISTS (
    SELECT FROM pim.webhook_deliveries e
    WHERE e.tenant_id = :tenant AND e.webhook_id = :webhook AND e.state = 'pending'
      AND e.ordering_key = d.ordering_key AND e.number < d.number AND e.due_at > now())
ORDER BY d.number LIMIT :most
""")

_SETTLE = text("""
UPDATE pim.webhook_deliveries d
SET state = r.state, attempts = d.attempts + 1, attempted_at = clock_timestamp(), status = r.status,
    duration_ms = r.ms, answer = r.answer, error = r.error,
    due_at = clock_timestamp() + make_interval(secs => r.wait)
FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:waits AS double precision[]),
            CAST(:statuses AS integer[]), CAST(:times AS integer[]), CAST(:answers AS text[]),
            CAST(:errors AS text[])) AS r (id, state, wait, status, ms, answer, error)
WHERE d.tenant_id = :tenant AND d.id = r.id AND d.state = 'pending'
""")
