"""Walking every route of the application as somebody who must not get in, and as somebody who may.

Belongs here: finding the routes, calling one of any kind, reading whatever it answers as text. Does not belong here:
what each route is called with and what it should answer; that is beside the tests.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import polars as pl
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from pim_platform.tenancy.keys import Role

Key = tuple[str, str]
"""Method and path of a route; the method of a WebSocket is ``WS``."""

_PARAMETER = re.compile(r"\{(\w+)\}")
#: Time of a key's last use: noted at most once a minute, so that it moves without anybody's doing.
_MOVES = ("last_used_at",)


@dataclass(frozen=True)
class Case:
    """How to call a route, what another tenant's ids answer, and what it shows.

    ``options`` are those of the client's ``request``; ``{job_id}`` and the like in any of their texts stand for ids,
    as they do in the path.
    """

    foreign: int
    """Status with another tenant's ids; of a WebSocket the status or the close code that it is refused with."""
    options: Callable[[], dict[str, Any]] = dict
    code: str | None = None
    """The problem's code with another tenant's ids; None: not looked at."""
    job: str = "job_id"
    """Which job ``{job_id}`` stands for."""
    figures: bool = False
    """It shows no value of the catalogue. That nobody else's are counted is tested all the same."""
    reads: bool = False
    """It only reads although it is no GET: what it shows is compared as well."""
    own: int = 200
    """Status of a GET with the tenant's own ids."""
    changing: tuple[str, ...] = ()
    """Keys of its answer that move by themselves, such as the time it was made at."""
    role: Role | None = None
    """For a WebSocket, which cannot say it in the document: the least role."""
    scope: str | None = None
    """For a WebSocket, likewise."""


@dataclass(frozen=True)
class Answer:
    """What a route answered: status or close code, and everything in it that can be read."""

    status: int
    text: str
    headers: str
    response: httpx.Response | None = None

    def headers_without(self, *names: str) -> dict[str, str]:
        """The fields of an answer but some, each by its name in small letters."""
        assert self.response is not None
        return {name: value for name, value in self.response.headers.items() if name not in names}


def routes(app: FastAPI) -> dict[Key, dict[str, Any]]:
    """Every route that ``app`` serves, and its ``openapi_extra``; those outside of the OpenAPI document too."""
    found: dict[Key, dict[str, Any]] = {}
    for route in iter_route_contexts(app.routes):
        path = str(route.path_format)
        assert not isinstance(route.original_route, Mount), f"what is mounted at {path} would escape the walk"
        if isinstance(route.original_route, WebSocketRoute):
            methods = {"WS"}
        else:
            methods = set(route.methods or ())
            if "GET" in methods:
                methods.discard("HEAD")
        extra = getattr(route.original_route, "openapi_extra", None) or {}
        for method in methods:
            assert (method, path) not in found, f"{method} {path} is there twice"
            found[method, path] = extra
    return found


def parameters(path: str) -> list[str]:
    """The names in a path's braces."""
    return _PARAMETER.findall(path)


def filled(value: Any, ids: dict[str, str]) -> Any:
    """``value`` with each ``{name}`` of ``ids`` in any text of it replaced."""
    if isinstance(value, str):
        return _PARAMETER.sub(lambda found: ids.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {filled(key, ids): filled(item, ids) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(item, ids) for item in value)
    return value


def call(client: TestClient, key: Key, case: Case, ids: dict[str, str], headers: dict[str, str]) -> Answer:
    """Call a route with these ids and headers."""
    method, path = key
    ids = ids | ({"job_id": ids[case.job]} if case.job in ids else {})
    options = filled(case.options(), ids)
    sent = headers | options.pop("headers", {})
    path = filled(path, ids)
    if method == "WS":
        return _listen(client, path, sent)
    response = client.request(method, path, headers=sent, **options)
    return Answer(response.status_code, readable(response), str(response.headers), response)


def said(key: Key, case: Case, ids: dict[str, str]) -> str:
    """What a call says itself: an answer may repeat it."""
    ids = ids | ({"job_id": ids[case.job]} if case.job in ids else {})
    return str(filled((key[1], case.options()), ids))


def _listen(client: TestClient, path: str, headers: dict[str, str]) -> Answer:
    """All that a WebSocket says until it is closed; 101 is the status of one that let the caller in."""
    heard: list[str] = []
    silent = not headers  # asked before connecting: the test client writes fields of its own into what it is given
    try:
        with client.websocket_connect(path, headers=dict(headers)) as socket:
            if silent:
                socket.send_text("{}")  # it waits for a first message that says who calls
            while True:
                message = socket.receive()
                if message["type"] == "websocket.close":
                    status = 101 if message["code"] == 1000 else message["code"]
                    return Answer(status, "\n".join([*heard, str(message.get("reason") or "")]), "")
                heard.append(message.get("text") or repr(message.get("bytes")))
    except WebSocketDenialResponse as refused:
        return Answer(refused.status_code, refused.text, str(refused.headers), refused)
    except WebSocketDisconnect as closed:
        return Answer(closed.code, "\n".join([*heard, closed.reason or ""]), "")


def readable(response: httpx.Response) -> str:
    """The body as text: workbooks, Parquet and compressed bodies are opened."""
    content = response.content
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if content.startswith(b"PAR1"):
        return str(pl.read_parquet(io.BytesIO(content)).write_json())
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [name for name in archive.namelist() if not name.startswith("docProps/")]  # these tell the time
            return "\n".join(archive.read(name).decode("utf-8", "replace") for name in sorted(inside))
    return content.decode("utf-8", "replace")


def still(text: str, changing: Iterable[str] = ()) -> str:
    """An answer without what moves by itself, to compare it with a later one."""
    try:
        return json.dumps(_without(json.loads(text), {*_MOVES, *changing}), indent=1)
    except ValueError:
        return text


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value
