"""A request of ClickHouse's HTTP interface taken apart: who asks, what, with which settings and which data."""

from __future__ import annotations

import base64
import hmac
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from starlette.requests import Request

from pim_platform.local.clickhouse_codec import chosen, decoded
from pim_platform.local.clickhouse_engine import SYNTAX_ERROR, ClickHouseError
from pim_platform.local.clickhouse_sql import Kind, Statement, read

_TRANSPORT = frozenset(
    {
        "add_http_cors_header",
        "buffer_size",
        "cancel_http_readonly_queries_on_client_disconnect",
        "client_protocol_version",
        "close_session",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_response_buffer_size",
        "http_write_exception_in_output_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
"""URL parameters of ClickHouse's HTTP interface that are no settings for the engine."""

_PIECE = 1024 * 1024  # bytes read from a spooled body and handed to the engine at a time
_HEAD = 256 * 1024  # ClickHouse's max_query_size: a statement's text must fit, its data need not
_LONGEST_TEXT = 64 * 1024 * 1024  # bytes of a body that is all statement


@dataclass(frozen=True, slots=True)
class Call:
    """A request taken apart."""

    query: str
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    default_format: str
    coding_in: str
    coding_out: str
    query_id: str
    body: IO[bytes]


def allowed(request: Request, user: str, password: str) -> bool:
    """Whether the request carries the right user and password, by any of ClickHouse's three ways."""
    given = (request.query_params.get("user", ""), request.query_params.get("password", ""))
    if "x-clickhouse-user" in request.headers:
        given = (request.headers["x-clickhouse-user"], request.headers.get("x-clickhouse-key", ""))
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            name, _, word = base64.b64decode(value).decode().partition(":")
            given = (name, word)
    # Both are compared, in constant time, so that the answer's time tells nothing.
    same_user = hmac.compare_digest(given[0].encode(), user.encode())
    return hmac.compare_digest(given[1].encode(), password.encode()) and same_user


async def read_call(request: Request, body: IO[bytes]) -> Call:
    """Read the request, its body into the file ``body``. Raises ValueError for what is not supported here."""
    values = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form() as form:
            if any(not isinstance(value, str) for value in form.values()):
                raise ValueError("The embedded ClickHouse takes no external tables.")
            values |= {name: value for name, value in form.items() if isinstance(value, str)}
    else:
        async for piece in request.stream():
            body.write(piece)
        body.seek(0)
    settings = {
        name: value for name, value in values.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    if request.method == "GET":
        settings["readonly"] = "2"  # as a server does: GET never writes
    compress = values.get("enable_http_compression", "0") in ("1", "true")
    return Call(
        query=values.get("query", ""),
        database=values.get("database") or request.headers.get("x-clickhouse-database", ""),
        settings=settings,
        parameters={name[6:]: value for name, value in values.items() if name.startswith("param_")},
        default_format=values.get("default_format") or request.headers.get("x-clickhouse-format") or "",
        coding_in=request.headers.get("content-encoding", "").strip().lower(),
        coding_out=chosen(request.headers.get("accept-encoding", "")) if compress else "",
        query_id=values.get("query_id") or str(uuid.uuid4()),
        body=body,
    )


def statement_of(call: Call) -> tuple[Statement, Iterator[bytes]]:
    """The statement of the call, and the rows that follow an INSERT; both may share the body.

    Raises ClickHouseError for no statement at all, and ValueError for one too long or a damaged body.
    """
    body = decoded(_pieces(call.body), call.coding_in)
    head = call.query.encode()
    if head and not head.endswith(b"\n"):
        head += b"\n"
    if read(call.query).kind is not Kind.INSERT_DATA:
        for piece in body:
            head += piece
            if len(head) >= _HEAD and read(_text(head[:_HEAD])).kind is Kind.INSERT_DATA:
                break
            if len(head) > _LONGEST_TEXT:
                raise ValueError(f"The statement is longer than {_LONGEST_TEXT} bytes.")
        if not head.strip():
            raise ClickHouseError.refused(SYNTAX_ERROR, "Syntax error: empty query. (SYNTAX_ERROR)")
    statement = read(_text(head[:_HEAD]))
    if statement.kind is not Kind.INSERT_DATA:
        return read(head.decode()), iter(())
    # Positions count characters, data may be binary: go back to bytes through the decoded beginning.
    cut = len(_text(head[:_HEAD])[: statement.data_at].encode("utf-8", "surrogateescape"))
    rest = head[cut:]

    def rows() -> Iterator[bytes]:
        if rest:
            yield rest
        yield from body

    return statement, rows()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _text(head: bytes) -> str:
    return head.decode("utf-8", "surrogateescape")
