"""chDB as a small server needs it: a bounded number of clean connections with a time and a memory limit.

A connection carries settings, parameters and the current database, so every request gets a fresh one (0.2 ms
while another one keeps the engine open): nothing of one request can reach the next. Blocking; call from threads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pim_platform.local.clickhouse_sql import LIMITED_SETTINGS, lifted_limit, quoted, within

_CODE = re.compile(r"Code: (\d+)\. DB::Exception:.*", re.DOTALL)

AUTHENTICATION_FAILED = 516
BAD_ARGUMENTS = 36
SETTING_CONSTRAINT_VIOLATION = 452
SYNTAX_ERROR = 62
TOO_MANY_SIMULTANEOUS_QUERIES = 202
UNKNOWN = 1002
"""Codes of ClickHouse's ErrorCodes.cpp that the front itself answers with; 1002 is its UNKNOWN_EXCEPTION."""


class ClickHouseError(Exception):
    """An answer of the engine that is an error: goes to the client in ClickHouse's own words and number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, error: Exception) -> ClickHouseError:
        """The engine's exception without chDB's wrapping."""
        match = _CODE.search(str(error))
        if match is None:
            return cls(UNKNOWN, f"Code: {UNKNOWN}. DB::Exception: {error}")
        return cls(int(match.group(1)), match.group())

    @classmethod
    def refused(cls, code: int, text: str) -> ClickHouseError:
        """An error that the front raises itself."""
        return cls(code, f"Code: {code}. DB::Exception: {text}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with the counters of ``X-ClickHouse-Summary``."""

    body: bytes = b""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Engine:
    """One data directory, opened by this process alone. ``seconds`` and ``memory`` (bytes) limit each query."""

    def __init__(self, folder: Path, *, connections: int, seconds: float, memory: int) -> None:
        self._folder = str(folder)
        self._slots = threading.BoundedSemaphore(connections)
        self.connections = connections
        self.seconds = seconds
        self._limits: dict[str, float] = dict(zip(LIMITED_SETTINGS, (seconds, float(memory)), strict=True))
        self._anchor = self._open()  # keeps the engine loaded between requests
        self.version = self._text("SELECT version()")
        self.timezone = self._text("SELECT timezone()")

    def close(self) -> None:
        """Leave the data directory; queries still running are cancelled."""
        self._anchor.close()

    def _open(self) -> Any:
        import chdb  # loads 700 MB of engine: only the process that serves pays for it

        connect: Any = chdb.connect  # it ships without annotations of its own
        return connect(self._folder)

    def _text(self, sql: str) -> str:
        return str(self._anchor.query(sql, "TabSeparatedRaw").bytes().decode().strip())

    @contextmanager
    def session(
        self, sql: str, *, database: str, settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Iterator[Session]:
        """A clean connection for the statement ``sql``; raises ClickHouseError."""
        lifted = lifted_limit(sql, self._limits)
        if lifted:
            raise ClickHouseError.refused(
                SETTING_CONSTRAINT_VIOLATION,
                f"Setting {lifted} shouldn't be greater than {self._limits[lifted]:.0f}. "
                "(SETTING_CONSTRAINT_VIOLATION)",
            )
        if not self._slots.acquire(timeout=self.seconds):
            raise ClickHouseError.refused(
                TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)"
            )
        try:
            connection = self._open()
            try:
                session = Session(connection)
                session.run(self._preamble(settings, parameters))
                if database and database != "default":
                    session.run("USE `" + database.replace("`", "``") + "`")
                yield session
            finally:
                connection.close()
        finally:
            self._slots.release()

    def _preamble(self, settings: Mapping[str, str], parameters: Mapping[str, str]) -> str:
        wanted = {name: f"{limit:.15g}" for name, limit in self._limits.items()}
        wanted |= {
            name: value
            for name, value in settings.items()
            if name not in self._limits or within(value, self._limits[name])
        }
        wanted |= {f"param_{name}": value for name, value in parameters.items()}
        return "SET " + ", ".join(f"`{name.replace('`', '')}` = {quoted(value)}" for name, value in wanted.items())


class Session:
    """One connection while it serves one request."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(self, sql: str, output_format: str = "TabSeparated") -> Answer:
        """The complete answer to ``sql``; raises ClickHouseError."""
        try:
            result = self._connection.query(sql, output_format)
        except Exception as error:  # chDB raises plain RuntimeError as well as its own
            raise ClickHouseError.of(error) from error
        return Answer(
            result.bytes(),
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
        )

    def stream(self, sql: str, output_format: str) -> Iterator[bytes]:
        """The answer to a SELECT piece by piece, in bounded memory; raises ClickHouseError, also half-way."""
        try:
            with self._connection.send_query(sql, output_format) as pieces:
                for piece in pieces:
                    yield piece.bytes()
        except Exception as error:
            raise ClickHouseError.of(error) from error

    def insert(self, sql: str, input_format: str, pieces: Iterable[bytes]) -> Answer:
        """Run an INSERT whose rows are ``pieces``, in bounded memory; raises ClickHouseError."""
        try:
            with self._connection.send_insert(sql, input_format) as rows:
                for piece in pieces:
                    rows.append(piece)
                done = rows.finish()
        except Exception as error:
            raise ClickHouseError.of(error) from error
        return Answer(written_rows=done.rows_written, written_bytes=done.bytes_written)
