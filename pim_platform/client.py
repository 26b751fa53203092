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

Answers are the JSON objects that the API documents (``/docs``), as typed dictionaries
(:mod:`pim_platform.client_answers`). Importing this module costs httpx and tenacity, nothing of the platform.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from pim_platform.client_answers import BulkResult, Import, Product, Upload
from pim_platform.client_requests import Requests
from pim_platform.storage import exact_json

#: Products that one bulk upsert may hold.
BULK = 10_000
#: States in which an import rests: at its end, or waiting for a person.
RESTING = ("done", "failed", "cancelled", "undone", "mapping", "staged", "held")
_POLL_SECONDS = (0.2, 2.0)


class Client(Requests):
    """The operations of one installation's API, with one key; a context manager that closes its connections."""

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

    def _job(self, method: str, job_id: str, action: str = "", **sent: Any) -> Import:
        return cast("Import", self.request(method, f"/api/pim/import/{job_id}/{action}", **sent))


@contextmanager
def _opened(file: Path | str | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as content:
            yield content, Path(file).name
    else:
        yield file, Path(str(getattr(file, "name", "") or "upload")).name


def _form(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return exact_json.dumps(value) if isinstance(value, dict) else value
