"""ClickHouse's HTTP interface in front of the embedded engine, so that product code has one path.

``python -m pim_platform.local.clickhouse_server --home H --port P``. One process: a chDB data directory belongs
to a single one. Speaks what clickhouse-connect speaks; sessions, users and external tables are not there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pim_platform.local.clickhouse_codec import Encoder, UnknownCoding
from pim_platform.local.clickhouse_engine import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    Answer,
    ClickHouseError,
    Engine,
    Session,
)
from pim_platform.local.clickhouse_request import Call, allowed, read_call, statement_of
from pim_platform.local.clickhouse_sql import STREAMABLE_FORMATS, Kind

_NOT_FOUND_CODES = frozenset({46, 60, 81})  # UNKNOWN_FUNCTION, UNKNOWN_TABLE, UNKNOWN_DATABASE answer 404
_IN_MEMORY = 4 * 1024 * 1024  # bytes of a body kept in memory before it goes to a file
_FIRST_PIECES = 1024 * 1024  # bytes gathered before the status line goes out, so that early errors are a 500
_WORTH_COMPRESSING = 1024  # bytes


class _BrokenOff(Exception):
    """The answer cannot be completed, and its error has been sent."""


def create_app(engine: Engine, *, user: str, password: str, spool: Path) -> ASGIApp:
    """The application over ``engine``; large request bodies are spooled to files in the folder ``spool``."""
    threads = ThreadPoolExecutor(max_workers=engine.connections * 4, thread_name_prefix="query")
    # Apart, or answers under way would starve behind requests that wait for their connections.
    streams = ThreadPoolExecutor(max_workers=engine.connections, thread_name_prefix="stream")

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(request: Request) -> Response:
        if not allowed(request, user, password):
            error = ClickHouseError.refused(
                AUTHENTICATION_FAILED, f"{user}: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)"
            )
            return _failure(error, status=403)
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(spool)) as body:
            try:
                call = await read_call(request, body)
                return await asyncio.get_running_loop().run_in_executor(threads, _answer, engine, call, streams)
            except ClickHouseError as error:
                return _failure(error)
            except UnknownCoding as error:
                return _failure(ClickHouseError.refused(BAD_ARGUMENTS, f"Unknown Content-Encoding {error}."))
            except ValueError as error:
                return _failure(ClickHouseError.refused(BAD_ARGUMENTS, str(error)))
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        threads.shutdown(wait=False, cancel_futures=True)
        streams.shutdown(wait=False, cancel_futures=True)
        engine.close()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(_BrokenOff):  # returning early has the server close the connection
            await inner(scope, receive, send)

    routes = [Route("/ping", ping), Route("/", query, methods=["GET", "POST"])]
    inner = Starlette(routes=routes, lifespan=lifespan)
    return app


def _answer(engine: Engine, call: Call, streams: ThreadPoolExecutor) -> Response:
    """Run the call; in a thread, since the engine blocks."""
    statement, data = statement_of(call)
    started = time.monotonic()
    session = engine.session(statement.text, database=call.database, settings=call.settings, parameters=call.parameters)
    if statement.kind is Kind.INSERT_DATA:
        with session as running:
            answer = running.insert(statement.text, statement.format or call.default_format or "Values", data)
        return _complete(engine, call, answer, "", started)
    name = statement.format or call.default_format or "TabSeparated"
    if statement.kind is Kind.SELECT and name.lower() in STREAMABLE_FORMATS:
        return _streamed(engine, call, session, statement.text, name, streams)
    with session as running:
        answer = running.run(statement.text, name)
    return _complete(engine, call, answer, name if answer.body else "", started)


def _headers(engine: Engine, call: Call, name: str, summary: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "X-ClickHouse-Query-Id": call.query_id,
        "X-ClickHouse-Server-Display-Name": "embedded",
        "X-ClickHouse-Summary": json.dumps(summary),
        "X-ClickHouse-Timezone": engine.timezone,
    }
    if name:
        headers["X-ClickHouse-Format"] = name
    return headers


def _complete(engine: Engine, call: Call, answer: Answer, name: str, started: float) -> Response:
    summary = {
        "read_rows": str(answer.read_rows),
        "read_bytes": str(answer.read_bytes),
        "written_rows": str(answer.written_rows),
        "written_bytes": str(answer.written_bytes),
        "elapsed_ns": str(int((time.monotonic() - started) * 1e9)),
    }
    headers = _headers(engine, call, name, summary)
    body = answer.body
    if call.coding_out and len(body) >= _WORTH_COMPRESSING:
        encoder = Encoder(call.coding_out)
        body = encoder.piece(body) + encoder.end()
        headers["Content-Encoding"] = call.coding_out
    return Response(body, media_type="application/octet-stream", headers=headers)


class _Pieces:
    """The pieces of one answer for several threads: who gives up waits for the piece under way, then closes."""

    def __init__(self, session: AbstractContextManager[Session], text: str, name: str) -> None:
        self._lock = threading.Lock()
        self._source = self._produce(session, text, name)

    @staticmethod
    def _produce(session: AbstractContextManager[Session], text: str, name: str) -> Generator[bytes, None, None]:
        with session as running:
            yield from running.stream(text, name)

    def next(self) -> bytes | None:
        """The next piece; None at the end."""
        with self._lock:
            return next(self._source, None)

    def close(self) -> None:
        """Cancel the query and give the connection back."""
        with self._lock:
            self._source.close()


def _streamed(
    engine: Engine,
    call: Call,
    session: AbstractContextManager[Session],
    text: str,
    name: str,
    streams: ThreadPoolExecutor,
) -> Response:
    """Answer a SELECT piece by piece. A later error ends it in a marked block."""

    source = _Pieces(session, text, name)
    first = bytearray()
    ended = False
    while len(first) < _FIRST_PIECES and not ended:
        piece = source.next()
        ended = piece is None
        first += piece or b""
    if ended:
        return _complete(engine, call, Answer(bytes(first)), name, time.monotonic())
    encoder = Encoder(call.coding_out)
    tag = secrets.token_hex(8)  # 16 characters, as a server's
    headers = {**_headers(engine, call, name, {}), "X-ClickHouse-Exception-Tag": tag}
    if call.coding_out:
        headers["Content-Encoding"] = call.coding_out

    async def send() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            yield encoder.piece(bytes(first))
            # A reader that stops reading must not keep one of the few connections for ever.
            async with asyncio.timeout(engine.seconds * 2):
                while (piece := await loop.run_in_executor(streams, source.next)) is not None:
                    yield encoder.piece(piece)
        except ClickHouseError as error:
            yield encoder.piece(_late_error(error, tag)) + encoder.end()
            raise _BrokenOff from error  # a reader that knows no such blocks must not take this for the whole answer
        finally:
            streams.submit(source.close)  # not awaited: this task may be cancelled already
        yield encoder.end()

    return StreamingResponse(send(), media_type="application/octet-stream", headers=headers)


def _late_error(error: ClickHouseError, tag: str) -> bytes:
    """The block that ends a broken answer, framed as ClickHouse has framed it since 25.11."""
    text = error.text + "\n"
    return f"\r\n__exception__\r\n{tag}\r\n{text}{len(text.encode())} {tag}\r\n__exception__\r\n".encode()


def _failure(error: ClickHouseError, *, status: int | None = None) -> Response:
    status = status or (404 if error.code in _NOT_FOUND_CODES else 500)
    headers = {"X-ClickHouse-Exception-Code": str(error.code)}
    return PlainTextResponse(error.text + "\n", status_code=status, headers=headers)


def main() -> None:
    """Serve the home's ClickHouse until SIGTERM; limits come from the settings of this process."""
    import uvicorn

    from pim_platform.settings import Settings
    from pim_platform.storage.endpoints import CLICKHOUSE_USER, LOOPBACK, ensure_home, secret

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    settings = Settings()
    home = ensure_home(options.home)
    spool = home / "clickhouse" / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    engine = Engine(
        home / "clickhouse" / "data",
        connections=settings.clickhouse_connections,
        seconds=settings.clickhouse_query_seconds,
        memory=settings.clickhouse_query_memory,
    )
    app = create_app(engine, user=CLICKHOUSE_USER, password=secret(home, "clickhouse"), spool=spool)
    uvicorn.run(
        app, host=LOOPBACK, port=options.port, log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )


if __name__ == "__main__":
    main()
