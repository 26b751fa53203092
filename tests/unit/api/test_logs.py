"""Lines of the API's log: one JSON object each, with the request's id, and without secrets, tracebacks included."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from pim_platform.api.logs import configure_logs, logger, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key pim_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789 end", "key [secret] end"),
        ("postgresql://pim_app:p@ss:word@host:1/db", "postgresql://[secret]@host:1/db"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [secret]"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [secret]"),
        ("password='hunter2', next", "password='[secret]', next"),
        ('{"token": "abc", "sku": "T-1"}', '{"token": "[secret]", "sku": "T-1"}'),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[secret]"),
        ("a basic thing at https://pim.example/docs, 42 rows", "a basic thing at https://pim.example/docs, 42 rows"),
    ],
)
def test_what_looks_like_a_credential_is_blotted_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """What was logged since, as objects; the loggers are as before afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


def test_lines_of_ours_and_of_libraries_carry_the_request_of_their_context(lines: Any) -> None:
    configure_logs("INFO")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        logger("pim.api").info("request", status=200, ms=1.5)
        logging.getLogger("somebody.else").warning("slow: %s", "password=hunter2")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    ours, theirs = lines()
    assert (ours["event"], ours["request_id"], ours["status"], ours["ms"]) == ("request", "r-1", 200, 1.5)
    assert (theirs["event"], theirs["request_id"], theirs["level"]) == ("slow: password=[secret]", "r-1", "warning")


def test_a_traceback_stands_in_one_line_without_what_the_error_tells_of_secrets(lines: Any) -> None:
    configure_logs("INFO")
    try:
        raise ValueError("cannot reach postgresql://admin:hunter2@db/pim")
    except ValueError as error:
        logging.getLogger("pim").error("request %s failed", "r-1", exc_info=error)
    (line,) = lines()
    assert "Traceback" in line["exception"]
    assert "hunter2" not in json.dumps(line)


def test_a_failure_that_was_answered_is_not_reported_by_the_server_again(lines: Any) -> None:
    configure_logs("INFO")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n")
    logging.getLogger("uvicorn.error").info("Started server process [1]")
    assert [line["event"] for line in lines()] == ["Started server process [1]"]
