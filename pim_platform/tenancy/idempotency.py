"""Requests under an ``Idempotency-Key``: claimed before they run, answered once, never done twice in silence.

A claim is a row of its own transaction. While the request runs, :func:`marks` makes every transaction that changes
something note that in the claim's row, in that very transaction. So a process that dies leaves either a claim without
effect, which the next request may take over, or one with an effect but no answer: then nobody can tell the answer any
more, and the next request is told so instead of doing it again. A process that was only slow and finds its claim taken
over cannot commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import CursorResult, RowMapping
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, InvalidRequest, RequestInProgress
from pim_platform.storage.postgres import commit_guard, tenant_session

#: After this long a claim without an answer counts as left behind, whoever holds it.
_PATIENCE = timedelta(minutes=15)


@dataclass(frozen=True)
class Claim:
    """The right to do a request: ``attempt`` is a later one's where this one was taken over."""

    tenant_id: UUID
    caller: str
    key: str
    attempt: int = 1

    def parameters(self) -> dict[str, object]:
        """What finds its row."""
        return {"tenant": self.tenant_id, "caller": self.caller, "key": self.key, "attempt": self.attempt}


@dataclass(frozen=True)
class Answer:
    """A stored answer; without ``body`` it was done, but its answer was not to be kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


_CLAIM = text(
    "INSERT INTO pim.idempotency_keys AS k (tenant_id, caller, key, fingerprint, owner, request_id) "
    "VALUES (:tenant, :caller, :key, :fingerprint, :owner, :request) "
    "ON CONFLICT (tenant_id, caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, owner = excluded.owner, "
    "request_id = excluded.request_id, attempt = k.attempt + 1, claimed_at = clock_timestamp(), effect_at = NULL, "
    "answered_at = NULL, status = NULL, headers = NULL, body = NULL "
    "WHERE k.claimed_at < clock_timestamp() - CAST(:retention AS interval) RETURNING attempt"
)
_FIND = text("SELECT * FROM pim.idempotency_keys WHERE tenant_id = :tenant AND caller = :caller AND key = :key")
_TAKE_OVER = text(
    "UPDATE pim.idempotency_keys SET attempt = attempt + 1, owner = :owner, request_id = :request, "
    "claimed_at = clock_timestamp() WHERE tenant_id = :tenant AND caller = :caller AND key = :key "
    "AND attempt = :attempt AND effect_at IS NULL AND answered_at IS NULL RETURNING attempt"
)
_MINE = "WHERE tenant_id = :tenant AND caller = :caller AND key = :key AND attempt = :attempt"
_RELEASE = text(f"DELETE FROM pim.idempotency_keys {_MINE} AND effect_at IS NULL AND answered_at IS NULL")
_STORE = text(
    f"UPDATE pim.idempotency_keys SET answered_at = clock_timestamp(), status = :status, headers = :headers, "
    f"body = :body {_MINE} AND answered_at IS NULL"
).bindparams(bindparam("headers", type_=JSONB))
#: Only a transaction that wrote has a number. The two parts are one statement: nothing can come in between.
_MARK = text(
    "WITH wrote AS MATERIALIZED (SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS yes), marked AS ("
    "UPDATE pim.idempotency_keys SET effect_at = coalesce(effect_at, clock_timestamp()) FROM wrote "
    f"{_MINE} AND wrote.yes RETURNING 1) SELECT yes AND NOT EXISTS (SELECT FROM marked) FROM wrote"
)
_BIND = text("SELECT set_config('app.current_tenant_id', :tenant, true)")


def claim(
    engine: Engine,
    wanted: Claim,
    fingerprint: bytes,
    *,
    owner: str,
    lives: Callable[[str], bool | None],
    retention: timedelta,
    request_id: str | None = None,
) -> Claim | Answer:
    """The right to do a request, or the answer that it had.

    ``fingerprint`` is the same for the same request. ``owner`` is the process that asks, ``lives`` tells of another
    whether it still does (None: cannot be told). Raises InvalidRequest (``idempotency_key_reused``), RequestInProgress,
    and Conflict where it was done but nobody knows its answer (``idempotency_outcome_unknown``).
    """
    parameters = wanted.parameters() | {
        "fingerprint": fingerprint,
        "owner": owner,
        "request": request_id,
        "retention": retention,
    }
    with tenant_session(engine, wanted.tenant_id) as session:
        attempt = session.scalar(_CLAIM, parameters)
        if attempt is not None:
            return Claim(wanted.tenant_id, wanted.caller, wanted.key, attempt)
        row = session.execute(_FIND, parameters).mappings().first()
        if row is None:
            raise _in_progress()  # released a moment ago: the next try finds it free
        if bytes(row["fingerprint"]) != fingerprint:
            raise InvalidRequest(
                f"The Idempotency-Key {wanted.key!r} came with another request before.",
                fix="Send a new key with a new request; a key belongs to one method, path, query and body.",
                code="idempotency_key_reused",
            )
        if row["answered_at"] is not None:
            return Answer(row["status"], row["headers"], None if row["body"] is None else bytes(row["body"]))
        if _at_work(row, lives):
            raise _in_progress()
        if row["effect_at"] is not None:
            raise _unknown(row)
        attempt = session.scalar(_TAKE_OVER, parameters | {"attempt": row["attempt"]})
        if attempt is None:
            raise _in_progress()  # another took it over
        return Claim(wanted.tenant_id, wanted.caller, wanted.key, attempt)


def _at_work(row: RowMapping, lives: Callable[[str], bool | None]) -> bool:
    return lives(row["owner"]) is not False and datetime.now(UTC) - row["claimed_at"] < _PATIENCE


def _in_progress(
    why: str = "The first request under this Idempotency-Key has not been answered yet.",
) -> RequestInProgress:
    return RequestInProgress(
        why,
        fix="Send the same request again after Retry-After seconds.",
    )


def _unknown(row: RowMapping) -> Conflict:
    return Conflict(
        f"The first request under this Idempotency-Key changed something at {row['effect_at']:%Y-%m-%dT%H:%M:%SZ}, but "
        "its server ended before it answered.",
        fix=f"Look at what it did (trace_id {row['request_id']} in the audit trail); what is missing needs a new key.",
        code="idempotency_outcome_unknown",
        value=row["request_id"],
    )


@contextmanager
def marks(held: Claim) -> Iterator[None]:
    """While the block runs, every transaction of it that changes something says so in the claim's row.

    Holds for the sessions of this thread and of those it starts with its context. Raises RequestInProgress in a
    commit, which then fails, where the claim was taken over.
    """

    def mark(session: Session) -> None:
        session.flush()
        bound = session.info["tenant_id"]
        if bound != held.tenant_id:  # a route that makes or changes another tenant
            session.execute(_BIND, {"tenant": str(held.tenant_id)})
        lost = session.scalar(_MARK, held.parameters())
        if bound != held.tenant_id:
            session.execute(_BIND, {"tenant": str(bound or "")})
        if lost:
            raise _in_progress("Another request has taken this one's Idempotency-Key over; nothing of it is kept.")

    token = commit_guard.set(mark)
    try:
        yield
    finally:
        commit_guard.reset(token)


def release(engine: Engine, held: Claim) -> bool:
    """Forget a claim of which nothing came, so that the request may be sent again; False where something did."""
    with tenant_session(engine, held.tenant_id) as session:
        return cast("CursorResult[Any]", session.execute(_RELEASE, held.parameters())).rowcount == 1


def store_answer(engine: Engine, held: Claim, answer: Answer) -> None:
    """Keep the answer of a claimed request for those that ask again."""
    values = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
    with tenant_session(engine, held.tenant_id) as session:
        session.execute(_STORE, held.parameters() | values)


def forget_answers(session: Session, older_than: timedelta, *, dry_run: bool = False) -> int:
    """Forget claims and answers of the session's tenant that are past their retention; returns how many."""
    parameters = {"tenant": session.info["tenant_id"], "keep": older_than}
    where = "FROM pim.idempotency_keys WHERE tenant_id = :tenant AND claimed_at < clock_timestamp() - :keep"
    if dry_run:
        return int(session.scalar(text(f"SELECT count(*) {where}"), parameters) or 0)
    return cast("CursorResult[Any]", session.execute(text(f"DELETE {where}"), parameters)).rowcount
