"""A client of the API for Python programs, and for the command line where it talks to another installation.

::

    with Client("https://pim.example.com", "pim_...") as pim:
        upload = pim.upload("products.csv", source="acme")
        pim.confirm(upload["job_id"])
        job = pim.wait(upload["job_id"])
        for product in pim.products(limit=100):
            print(product["sku"], product["data"])

What it does beside calling: it waits and tries again where the API asks for patience (409 with ``Retry-After``, 429,
503) and where the connection fails; every POST carries an ``Idempotency-Key`` of its own,
so that trying again does nothing twice; files stream both ways; lists are followed to their end. A problem that the
API answers is raised as :class:`pim_platform.errors.ApiProblem` with the API's own ``code`` and ``fix``.

Answers are the JSON objects that the API documents (``/docs``), as typed dictionaries. Importing this module costs
httpx and tenacity, nothing of the platform.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypedDict, cast

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pim_platform.errors import ApiProblem, ApiUnreachable
from pim_platform.storage import exact_json

#: Products that one bulk upsert may hold.
BULK = 10_000
#: States in which an import rests: at its end, or waiting for a person.
RESTING = ("done", "failed", "cancelled", "undone", "mapping", "staged", "held")

_RETRY_STATUSES = (429, 503)
#: Longest the client waits between two tries, whatever `Retry-After` says, in seconds.
_PATIENCE = 60.0
_POLL_SECONDS = (0.2, 2.0)
_CHUNK = 1024**2


class Ledger(TypedDict):
    """What became of every record of a file; `read` is the sum of the others."""

    read: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int
    merged: int


class Upload(TypedDict):
    """A landed file and what the platform makes of it."""

    job_id: str
    state: str
    reason_code: str | None
    reason: str | None
    filename: str
    source: str
    dry_run: bool
    row_count: int | None
    row_count_exact: bool
    skipped: bool
    headers: list[str]
    sample_rows: list[dict[str, Any]]
    suggested_schema: dict[str, Any]
    suggested_mapping: dict[str, str]
    columns: list[dict[str, Any]]
    groupings: list[dict[str, Any]]
    notices: list[str]
    dialect: dict[str, Any]


class Import(TypedDict):
    """An import job."""

    job_id: str
    state: str
    reason_code: str | None
    reason: str | None
    filename: str
    format: str
    source: str
    dry_run: bool
    attempt: int
    row_count: int | None
    imported_count: int
    ledger: Ledger | None
    reject_reasons: dict[str, int]
    repairs: dict[str, int]
    progress: dict[str, Any]
    created_at: str
    finished_at: str | None


class Product(TypedDict):
    """A product; the fields of the tenant's schema are in `data`."""

    id: str
    sku: str
    name: str
    active: bool
    kind: Literal["simple", "parent", "variant", "bundle"]
    parent_id: str | None
    variant_group: str | None
    data: dict[str, Any]
    source: str
    ai_readability_score: float | None
    version: int
    created_at: str
    updated_at: str


class BulkResult(TypedDict):
    """What became of the records of one bulk upsert."""

    created: int
    updated: int
    unchanged: int
    rejected: int
    superseded: int
    errors: list[dict[str, Any]]
    published: bool


class Client:
    """A connection to one installation with one key.

    ``url`` is the API's address, ``key`` an API key (``pim_...``) or an access token, which needs ``tenant``, the slug
    of the one that is meant, where its person has several. ``attempts``: how often a request is sent at most.
    ``timeout``: seconds without a byte after which a connection counts as dead; a proposal of a large file is worked
    out before the upload is answered. ``transport``: another way to the application, for tests.
    """

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

    # --- any request ------------------------------------------------------------------------------------------------

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

    # --- imports ----------------------------------------------------------------------------------------------------

    def upload(
        self,
        file: Path | str | BinaryIO,
        *,
        filename: str | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Upload:
        """Upload a product file and return what the platform makes of it.

        ``file`` is a path or an open binary file, which is streamed. ``options`` are the parts of the form:
        ``dry_run``, ``reject_policy``, ``full_feed``, ``absent``, ``skip_unchanged``, ``dialect`` (a dictionary).
        Raises ApiProblem with the reader's code where the file cannot be read.
        """
        form = {"source": source} | {name: _form(value) for name, value in options.items()}
        with _opened(file) as (content, name):
            sent = {"file": (filename or name, content)}
            answer = self.request(
                "POST", "/api/pim/import/csv/", data=form, files=sent, idempotency_key=idempotency_key
            )
        return cast("Upload", answer)

    def confirm(self, job_id: str, **changes: Any) -> Import:
        """Let an import run; ``changes``: ``mapping``, ``columns``, ``groupings``, ``schema``, ``dialect``."""
        return self._job("POST", job_id, "confirm/", json=changes or None)

    def import_(self, job_id: str) -> Import:
        """State, progress and ledger of an import."""
        return self._job("GET", job_id)

    def imports(self, *, limit: int | None = None) -> list[Import]:
        """The newest imports."""
        return cast("list[Import]", self.request("GET", "/api/pim/import/", params={"limit": limit})["imports"])

    def wait(
        self, job_id: str, *, timeout: float | None = None, show: Callable[[Import], None] | None = None
    ) -> Import:
        """Follow an import until it rests: done, failed, cancelled, undone, or waiting for a person.

        ``show`` is called with every state that is seen. Raises TimeoutError after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, longest = _POLL_SECONDS
        while True:
            job = self.import_(job_id)
            if show:
                show(job)
            if job["state"] in RESTING:
                return job
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"import {job_id} is still {job['state']} after {timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 1.3, longest)

    def cancel(self, job_id: str) -> Import:
        """Cancel an import that has not been merged."""
        return self._job("POST", job_id, "cancel/")

    def promote(self, job_id: str) -> Import:
        """Commit exactly what a dry run showed."""
        return self._job("POST", job_id, "promote/")

    def release(self, job_id: str) -> Import:
        """Let a held import run."""
        return self._job("POST", job_id, "release/")

    def undo(self, job_id: str) -> dict[str, Any]:
        """Take back what an import did; the answer has the undo's own ``job`` and ``counts``."""
        return cast("dict[str, Any]", self.request("POST", f"/api/pim/import/{job_id}/undo/"))

    def diff(self, job_id: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """The lines of what a dry run would change; ``wanted``: ``field``, ``action``, ``sku``, ``limit`` of a page."""
        while True:
            page = self.request("GET", f"/api/pim/import/{job_id}/diff/", params=wanted)
            yield from page["lines"]
            if page["next_after"] is None:
                return
            wanted["after"] = page["next_after"]

    def diff_summary(self, job_id: str) -> dict[str, Any]:
        """What a dry run would change, in numbers."""
        return cast("dict[str, Any]", self.request("GET", f"/api/pim/import/{job_id}/diff/summary/"))

    def rejects(self, job_id: str, target: Path | str | BinaryIO) -> int:
        """Stream an import's rejects into a file and return its bytes. Raises ApiProblem with code ``no_rejects``."""
        return self.download(f"/api/pim/import/{job_id}/rejects/", target)

    def send_rejects(self, job_id: str, file: Path | str | BinaryIO, *, filename: str | None = None) -> Import:
        """Send corrected rejects back into the import that they came from."""
        with _opened(file) as (content, name):
            return self._job("POST", job_id, "rejects/", files={"file": (filename or name, content)})

    # --- products ---------------------------------------------------------------------------------------------------

    def products(self, **wanted: Any) -> Iterator[Product]:
        """Every product that meets the filters, page by page; ``limit``: products of a page."""
        return cast("Iterator[Product]", self.pages("/api/pim/products/", "products", **wanted))

    def product(self, product_id: str) -> Product:
        """One product with its raw row and what it belongs with."""
        return cast("Product", self.request("GET", f"/api/pim/products/{product_id}/"))

    def find(self, sku: str) -> Product | None:
        """The product of this SKU, however it is spelled."""
        return next(iter(self.products(sku=sku)), None)

    def upsert(self, products: Iterable[Mapping[str, Any]]) -> Iterator[BulkResult]:
        """Create and update products by SKU, ten thousand at a time; yields what became of each ten thousand.

        ``row`` of an error counts within its call. Nothing is sent before the result is iterated over.
        """
        rest = iter(products)
        while batch := list(islice(rest, BULK)):
            yield cast("BulkResult", self.request("POST", "/api/pim/products/bulk/", json={"products": batch}))

    def preview_delete(self, **selection: Any) -> dict[str, Any]:
        """What deleting would take: ``all``, or ``skus``, ``source``, ``job_id``, ``fields``, ``filter``, ``q``.

        Answers how many ``products``, a ``sample``, and the ``token`` that :meth:`delete` takes.
        """
        return cast("dict[str, Any]", self.request("POST", "/api/pim/products/bulk-delete/preview/", json=selection))

    def delete(self, **selection: Any) -> dict[str, Any]:
        """Delete the products of ``skus`` at once, or by ``token`` those that a preview showed, by a job."""
        return cast("dict[str, Any]", self.request("POST", "/api/pim/products/bulk-delete/", json=selection))

    def history(self, product_id: str) -> Iterator[dict[str, Any]]:
        """Every change of a product, newest first."""
        return self.pages(f"/api/pim/products/{product_id}/history/", "entries")

    def schema(self) -> dict[str, Any]:
        """The fields that products may have."""
        return cast("dict[str, Any]", self.request("GET", "/api/pim/schema/"))

    def me(self) -> dict[str, Any]:
        """Who the credential belongs to, and what it may."""
        return cast("dict[str, Any]", self.request("GET", "/api/pim/me/"))

    def export(self, target: Path | str | BinaryIO, **wanted: Any) -> int:
        """Stream the catalogue into a file and return its bytes.

        ``wanted``: ``format`` (csv, jsonl, xlsx, parquet), ``fields``, ``q``, ``guard``, ``gzip``, and filters as the
        product list takes them: ``**{"filter[price][gte]": 100}``.
        """
        return self.download("/api/pim/export/", target, params=wanted)

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def webhooks(self) -> list[dict[str, Any]]:
        """Who is told of changes."""
        return cast("list[dict[str, Any]]", self.request("GET", "/api/pim/webhooks/")["webhooks"])

    def subscribe(self, url: str, events: Iterable[str], **more: Any) -> dict[str, Any]:
        """Have ``url`` told of ``events``; the answer holds the ``secret``, which is never shown again."""
        body = {"url": url, "events": list(events), **more}
        return cast("dict[str, Any]", self.request("POST", "/api/pim/webhooks/", json=body))

    def unsubscribe(self, webhook_id: str) -> None:
        """Remove a webhook with its log."""
        self.request("DELETE", f"/api/pim/webhooks/{webhook_id}/")

    def deliveries(self, webhook_id: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """What became of each delivery, newest first; ``state``: pending, delivered, failed."""
        return self.pages(f"/api/pim/webhooks/{webhook_id}/deliveries/", "deliveries", **wanted)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _job(self, method: str, job_id: str, action: str = "", **sent: Any) -> Import:
        return cast("Import", self.request(method, f"/api/pim/import/{job_id}/{action}", **sent))

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


@contextmanager
def _opened(file: Path | str | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as content:
            yield content, Path(file).name
    else:
        yield file, Path(str(getattr(file, "name", "") or "upload")).name


def _given(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: value for name, value in values.items() if value is not None}


def _form(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return exact_json.dumps(value) if isinstance(value, dict) else value


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
