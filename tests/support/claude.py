"""A stand-in for Claude's Messages API: a real HTTP server on loopback that records what it is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pim_platform.settings import Settings

#: An answer: status, headers and body; or something that makes one of the request's body.
Answer = tuple[int, dict[str, str], bytes]
Script = Callable[[dict[str, Any]], Answer]


@dataclass
class StandIn:
    """The server: what it was asked, and what it answers next."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    script: Script = lambda _: overloaded()

    @property
    def contents(self) -> list[dict[str, Any]]:
        """The user messages it was sent, as the objects they are."""
        return [json.loads(body["messages"][0]["content"]) for body in self.asked]

    def settings(self, base: Settings, **values: object) -> Settings:
        """``base`` with this server for Claude."""
        told = {"anthropic_base_url": self.url, "anthropic_api_key": "sk-test", "anthropic_max_retries": 0}
        return Settings.model_validate(base.model_dump() | told | values)


def message(answer: object, *, stop: str = "end_turn", tokens: tuple[int, int] = (1200, 150)) -> Answer:
    """A message whose text is ``answer``, as JSON unless it is a text already."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
    }
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


def failed(status: int, kind: str, **headers: str) -> Answer:
    """An error as the API words it."""
    body = {"type": "error", "error": {"type": kind, "message": kind}}
    return status, {"content-type": "application/json"} | headers, json.dumps(body).encode()


def overloaded() -> Answer:
    """529, as the API says it when it has no room."""
    return failed(529, "overloaded_error")


def choosing(wanted: dict[str, dict[str, Any]]) -> Script:
    """Answers per header: ``{header: {field, confidence, ...}}``; other columns are attributes nobody is sure of."""

    def script(body: dict[str, Any]) -> Answer:
        columns = []
        for column in json.loads(body["messages"][0]["content"])["columns"]:
            unsure = {"field": "attribute", "name": "", "confidence": 0.1, "reason": "no idea"}
            chosen = unsure | {"confidence": 0.9, "reason": "it looks like it"} | wanted.get(column["header"], unsure)
            columns.append({"index": column["index"], **chosen})
        return message({"columns": columns})

    return script


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """The server, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            made.asked.append(body)
            made.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, content = made.script(body)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the caller did not wait

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = StandIn(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def after(seconds: float, answer: Answer) -> Script:
    """An answer that comes late."""

    def script(_: dict[str, Any]) -> Answer:
        time.sleep(seconds)
        return answer

    return script
