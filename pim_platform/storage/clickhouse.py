"""ClickHouse: one client, whether the server is the embedded one or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from pim_platform.errors import EngineUnavailable
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints, without_password

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 600


def clickhouse_client(settings: Settings) -> Client:
    """A client of this installation's ClickHouse, shared by the process; safe for threads (no session id).

    Raises EngineUnavailable where it does not answer.
    """
    return _client(Endpoints.of(settings).clickhouse_url)


@cache
def _client(url: str) -> Client:
    try:
        return clickhouse_connect.get_client(
            dsn=url,
            autogenerate_session_id=False,
            connect_timeout=_CONNECT_SECONDS,
            send_receive_timeout=_ANSWER_SECONDS,
        )
    except (ClickHouseError, HTTPError, OSError) as error:
        raise EngineUnavailable(
            f"ClickHouse does not answer at {without_password(url)}.",
            fix="Start it (`pim up`) or correct PIM_CLICKHOUSE_URL.",
        ) from error


@contextmanager
def clickhouse_errors(doing: str) -> Iterator[None]:
    """Turn what ClickHouse or the way to it raises into EngineUnavailable: all of it is worth another try."""
    try:
        yield
    except (ClickHouseError, HTTPError, OSError) as error:
        raise EngineUnavailable(
            f"ClickHouse failed while {doing}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            fix="It is tried again; see ClickHouse's log if it lasts.",
        ) from error


def quote_identifier(name: str) -> str:
    """``name`` as a ClickHouse identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
