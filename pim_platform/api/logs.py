"""The API's log: one JSON object per line on standard output, for people with jq and for collectors.

Every line of a request carries its ``request_id``, which is the ``trace_id`` of the audit trail and the ``request_id``
of the change log. Bodies, queries, header values and the texts in paths (a one-time link has its secret there) are
never logged; what looks like a credential is blotted out of whatever else is.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_BLOT = "[secret]"
#: Keys of ours, JSON Web Tokens, passwords in URLs, credentials in header fields, and what follows the names that
#: secrets go by.
_SECRETS = re.compile(
    r"pim_[A-Za-z0-9_-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<=://)[^\s/@:]*:[^\s/]+(?=@)"
    r"|(?P<name>(?i:bearer)\s+|(?i:basic)\s+(?=[A-Za-z0-9+/=]{8})|(?i:password|passwd|secret|token|api[_-]?key|authorization)['\"]?\s*[=:]\s*['\"]?)"
    r"(?!(?i:bearer|basic)\s)[^\s'\",}]+"
)

#: Loggers that say at INFO what is no news here: each statement, each request of ours to others.
_QUIET = ("httpx", "httpcore", "sqlalchemy", "alembic", "clickhouse_connect", "uvicorn.access")


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry fields: `log.info("request", status=200)`; it writes where `logging` writes."""
    made: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return made


def without_secrets(text: str) -> str:
    """``text`` with everything blotted out that looks like a credential."""
    return _SECRETS.sub(lambda found: (found["name"] or "") + _BLOT, text)


def _blot(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = without_secrets(value)
        elif not isinstance(value, bool | int | float | None):
            event[name] = without_secrets(str(value))
    return event


class _AnsweredAlready(logging.Filter):
    """Drops uvicorn's own report of an exception that was answered with 500 and logged with its request."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Exception in ASGI application")


def configure_logs(level: str) -> None:
    """Make every logger of this process write JSON lines of at least ``level``; may be called again."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _blot,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):  # uvicorn brings handlers of its own
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    reports = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, _AnsweredAlready) for one in reports.filters):
        reports.addFilter(_AnsweredAlready())
