"""PostgreSQL: engines per role and the session that is bound to one tenant.

The tenant is bound where a transaction begins (``set_config(..., true)``), so a pooled connection
never carries it further: a session-level setting was seen to survive the pool (design D14).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from pim_platform.errors import EngineUnavailable
from pim_platform.settings import Settings
from pim_platform.storage import exact_json
from pim_platform.storage.endpoints import Endpoints, without_password

_POOL_SIZE = 10
_POOL_OVERFLOW = 20
_CONNECT_SECONDS = 10
#: A statement whose process has died ends, with its locks, after a second instead of when it is through.
_OPTIONS = "-c search_path=pim,public -c timezone=UTC -c client_connection_check_interval=1s"

_engines: dict[str, Engine] = {}
_guard = threading.Lock()


def engine_of(url: str) -> Engine:
    """The pooled engine for a plain ``postgresql://`` URL, one per process and URL."""
    with _guard:
        if url not in _engines:
            _engines[url] = create_engine(
                url.replace("postgresql://", "postgresql+psycopg://", 1),
                pool_size=_POOL_SIZE,
                max_overflow=_POOL_OVERFLOW,
                hide_parameters=True,  # errors are logged: values of users and hashes of keys have no place there
                json_deserializer=exact_json.loads,
                json_serializer=exact_json.dumps,
                connect_args={
                    "connect_timeout": _CONNECT_SECONDS,
                    "options": _OPTIONS,
                },
            )
            event.listen(_engines[url], "checkin", _note_return)
            event.listen(_engines[url], "checkout", _ping)
        return _engines[url]


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_RETURNED] = time.monotonic()


def _ping(connection: Any, record: ConnectionPoolEntry, _fairy: object) -> None:
    """Replace a pooled connection whose server is gone, as SQLAlchemy's pre-ping does, but only after a rest.

    Under load connections are taken again at once, and asking them first would be a third of all round trips.
    """
    if time.monotonic() - record.info.get(_RETURNED, 0.0) < _REST_SECONDS:
        return
    try:
        connection.autocommit = True
        connection.execute("SELECT 1")
        connection.autocommit = False
    except psycopg.Error as error:
        raise DisconnectionError from error


_RETURNED = "returned"
_REST_SECONDS = 1.0


def app_engine(settings: Settings) -> Engine:
    """The engine of the application role."""
    return engine_of(Endpoints.of(settings).app_url)


def dispose_engines() -> None:
    """Close every pooled connection of this process (before its servers stop); the engines stay usable."""
    with _guard:
        for engine in _engines.values():
            engine.dispose()


@contextmanager
def tenant_session(engine: Engine, tenant_id: UUID) -> Iterator[Session]:
    """A session whose every transaction sees the rows of ``tenant_id`` only; commits at the end.

    Raises EngineUnavailable where the server does not answer.
    """
    with _session(engine, tenant_id) as session:
        yield session


@contextmanager
def _session(engine: Engine, tenant_id: UUID | None) -> Iterator[Session]:
    info = {"tenant_id": tenant_id}
    with Session(engine, expire_on_commit=False, info=info) as session, _lost_connections(engine), session.begin():
        try:
            yield session
        except BaseException as error:
            if not isinstance(error, Exception):
                _abandon(session)
            raise


def _abandon(session: Session) -> None:
    """Close a connection that an interruption left in the middle of a statement.

    Its transaction cannot be rolled back, and trying to would hide what interrupted it. The driver ends the statement
    for KeyboardInterrupt, and for no other; SQLAlchemy closes the connection where it asked itself.
    """
    with suppress(SQLAlchemyError):
        if driver_connection(session).info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
            session.invalidate()


@contextmanager
def _lost_connections(engine: Engine) -> Iterator[None]:
    """Tell a server that is gone (transient) from a statement that is wrong."""
    try:
        yield
    except (OperationalError, psycopg.OperationalError) as error:
        cause = error.orig if isinstance(error, OperationalError) else error
        state = getattr(cause, "sqlstate", None)
        # No SQLSTATE: the connection broke. 08: connection exceptions; 57P: the server shuts down or starts up.
        if state is None or state.startswith(("08", "57P")):
            raise EngineUnavailable(
                f"PostgreSQL does not answer at {without_password(engine.url.render_as_string(hide_password=False))}.",
                fix="Start it (`pim up`) or correct PIM_POSTGRES_URL.",
            ) from error
        raise


#: What has to be done or to hold in every transaction of this context before it commits; None: nothing.
commit_guard: ContextVar[Callable[[Session], None] | None] = ContextVar("commit_guard", default=None)


@event.listens_for(Session, "before_commit")
def _guard_commit(session: Session) -> None:
    guard = commit_guard.get()
    if guard is not None and "tenant_id" in session.info:
        guard(session)


@event.listens_for(Session, "after_begin")
def _bind_tenant(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if "tenant_id" in session.info:
        # To no tenant as well: whatever a pooled connection was left with ends here.
        tenant = str(session.info["tenant_id"] or "")
        connection.execute(text("SELECT set_config('app.current_tenant_id', :tenant, true)"), {"tenant": tenant})


@contextmanager
def anonymous_session(engine: Engine) -> Iterator[Session]:
    """A session bound to no tenant: it sees no tenant's rows and may only call the definer's functions."""
    with _session(engine, None) as session:
        yield session


def call_definer(engine: Engine, statement: str, **values: Any) -> list[dict[str, Any]]:
    """The rows of one call of a definer's function, bound to no tenant, in a transaction of its own.

    What every request asks first: one round trip to the server, where a session takes four, and the driver's own
    call, because SQLAlchemy's takes longer than the server needs for the answer. ``values`` stand as ``:name``.
    """
    with _lost_connections(engine), closing(engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        connection.autocommit = True
        try:
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(_driver_form(statement), values).fetchall()
        finally:
            if not connection.closed:
                connection.autocommit = False


@cache
def _driver_form(statement: str) -> bytes:
    """A statement with ``:name`` as the driver writes it; ``::`` is a cast."""
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", statement.replace("%", "%%")).encode()


def tenant_rows(engine: Engine, tenant_id: UUID, query: LiteralString, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of one reading query in a transaction that is bound to the tenant, in a single round trip.

    Raises EngineUnavailable where the server does not answer.
    """
    with _lost_connections(engine), engine.connect() as outer:
        connection = outer.connection.driver_connection
        assert isinstance(connection, psycopg.Connection)
        with connection.pipeline():
            connection.execute(_BIND, (str(tenant_id),))
            cursor = connection.execute(query, values)
            connection.commit()
        return cursor.fetchall()


_BIND = "SELECT set_config('app.current_tenant_id', %s, true)"


def read_snapshot(session: Session) -> None:
    """Let every statement of the session's transaction see the same state; to be called before the first of them."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def driver_connection(session: Session) -> psycopg.Connection[Any]:
    """The psycopg connection under a session, inside its transaction: for COPY and long SQL."""
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw
