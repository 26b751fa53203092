"""Requests to the API: sent again where that is safe, streamed both ways, their problems raised.

:class:`pim_platform.client.Client` is what programs use; it names the API's operations.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pim_platform.errors import ApiProblem, ApiUnreachable
from pim_platform.storage import exact_json

_RETRY_STATUSES = (429, 503)
#: Longest the client waits between two tries, whatever `Retry-After` says, in seconds.
_PATIENCE = 60.0
_CHUNK = 1024**2


class Requests:
    """A connection to one installation with one key, whatever is asked of it."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tenant: str | None = None,
        attempts: int = 6,
        timeout: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """A connection; nothing is sent yet.

        ``url`` is the API's address, ``key`` an API key (``pim_...``) or an access token, which needs ``tenant``, the
        slug of the one that is meant, where its person has several. ``attempts``: how often a request is sent at most.
        ``timeout``: seconds without a byte after which a connection counts as dead; a proposal of a large file is
        worked out before the upload is answered. ``transport``: another way to the application, for tests.
        """
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}", "User-Agent": "pim-platform-client"}
            | ({"X-Tenant": tenant} if tenant else {}),
            timeout=httpx.Timeout(timeout, connect=10.0),
            transport=transport,
        )
        self._attempts = attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, tuple[str, BinaryIO]] | None = None,
    ) -> Any:
        """Send a request and return the JSON of its answer; None where there is none.

        Parameters that are None are left out. Decimals in ``json`` are sent as the numbers they are. Raises ApiProblem
        for an answer of 400 and above, ApiUnreachable where there is none.
        """
        answer = self._send(
            method,
            path,
            params=_given(params),
            headers=self._headers(method, headers, idempotency_key, json is not None),
            content=None if json is None else exact_json.dumps(json).encode(),
            data=_given(data),
            files=files,
        )
        return exact_json.loads(answer.content) if answer.content else None

    def pages(self, path: str, items: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The objects under ``items`` of every page of a list, fetched as they are asked for."""
        while True:
            page = self.request("GET", path, params=params)
            yield from page[items]
            if not page.get("next_cursor"):
                return
            params["cursor"] = page["next_cursor"]

    def download(
        self, path: str, target: Path | str | BinaryIO, *, params: Mapping[str, Any] | None = None, method: str = "GET"
    ) -> int:
        """Stream an answer into a file and return its bytes.

        A file named by its path appears when it is complete, never in part. Raises ApiProblem, ApiUnreachable.
        """
        if not isinstance(target, str | os.PathLike):
            return self._stream(method, path, target, params)
        part = Path(f"{target}.part")
        try:
            with part.open("wb") as file:
                size = self._stream(method, path, file, params)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return size

    @staticmethod
    def _headers(
        method: str, headers: Mapping[str, str] | None, idempotency_key: str | None, has_json: bool
    ) -> dict[str, str]:
        made = dict(headers or {})
        if method == "POST":
            made["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        if has_json:
            made.setdefault("Content-Type", "application/json")
        return made

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_may_pass),
            wait=_pause,
            stop=stop_after_attempt(self._attempts),
            reraise=True,
        )

    def _send(self, method: str, path: str, *, files: Any, **options: Any) -> httpx.Response:
        # httpx reads a file from its start each time; what cannot be rewound can be sent once.
        again = all(content.seekable() for _, content in (files or {}).values())
        for attempt in self._retrying() if again else [_once()]:
            with attempt:
                try:
                    answer = self._http.request(method, path, files=files, **options)
                except httpx.TransportError as error:
                    raise _unreachable(self._http, error) from error
                _raise_problem(answer)
                return answer
        raise AssertionError("tenacity either returns or raises")

    def _stream(self, method: str, path: str, target: BinaryIO, params: Mapping[str, Any] | None) -> int:
        """Tries again only until the answer begins: what is half written is nobody's to repeat."""
        for attempt in self._retrying():
            with attempt, self._opened_stream(method, path, params) as answer:
                return sum(target.write(piece) for piece in answer.iter_bytes(_CHUNK))
        raise AssertionError("tenacity either returns or raises")

    @contextmanager
    def _opened_stream(self, method: str, path: str, params: Mapping[str, Any] | None) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, params=_given(params)) as answer:
                if answer.is_error:
                    answer.read()
                    _raise_problem(answer)
                yield answer
        except httpx.TransportError as error:
            raise _unreachable(self._http, error, transient=False) from error


@contextmanager
def _once() -> Iterator[None]:
    yield


def _given(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: value for name, value in values.items() if value is not None}


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ApiProblem):
        asks = (
            error.http_status == 409 and error.retry_after is not None
        )  # another writer, or the first try, is at work
        return asks or error.http_status in _RETRY_STATUSES
    return isinstance(error, ApiUnreachable) and error.transient


_growing = wait_exponential(multiplier=0.5, max=_PATIENCE)


def _pause(state: RetryCallState) -> float:
    """As long as the API asks for, else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ApiProblem) else None
    return min(asked, _PATIENCE) if asked is not None else float(_growing(state))


def _unreachable(http: httpx.Client, error: httpx.TransportError, *, transient: bool = True) -> ApiUnreachable:
    made = ApiUnreachable(
        f"{http.base_url} does not answer: {str(error) or type(error).__name__}.",
        fix="Check the address and that the API runs (`curl URL/health/live`).",
    )
    made.transient = transient
    return made


def _raise_problem(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        body = answer.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}
    seconds = answer.headers.get("retry-after", "")
    raise ApiProblem(
        str(problem.get("detail") or f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}."),
        fix=str(problem.get("fix") or "Check that the address is the API's."),
        code=str(problem.get("code") or "http_error"),
        status=answer.status_code,
        retry_after=float(seconds) if seconds.isdigit() else None,
        problem=problem,
        request_id=answer.headers.get("x-request-id"),
    )
