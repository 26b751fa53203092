"""The API behind a real port of this process, for programs that cannot be handed an ASGI application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support.stacks import free_ports, wait_for


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The base URL of ``app`` while the block runs."""
    with free_ports() as port:
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="on", ws="auto")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name=f"api on {port}", daemon=True)
        thread.start()
        try:
            wait_for(lambda: server.started or not thread.is_alive(), "the API to listen")
            assert server.started, "the API did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(30)
