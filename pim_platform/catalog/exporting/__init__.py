"""Exports: a tenant's products as CSV, JSON Lines, XLSX or Parquet, in the notation that an import reads back exactly.

Belongs here: which columns an export has, reading products in bounded memory, writing them in each format. Does not
belong here: the notation itself (:mod:`pim_platform.catalog.notation`), which the import shares. Owns no table.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal
from uuid import UUID

from sqlalchemy import text

from pim_platform.catalog.exporting.layout import chosen_fields, columns_of
from pim_platform.catalog.exporting.reading import Products, choose
from pim_platform.catalog.exporting.texts import csv_pieces, json_pieces
from pim_platform.catalog.filters import Filter
from pim_platform.catalog.matching import matching
from pim_platform.catalog.relation import Stores
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import InvalidRequest
from pim_platform.storage.postgres import driver_connection, read_snapshot, tenant_session
from pim_platform.storage.scratch import scratch_folder
from pim_platform.tenancy.tenants import TenantInfo

ExportFormat = Literal["csv", "jsonl", "xlsx", "parquet"]

MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
#: Formats that are compressed already.
_PACKED = frozenset({"xlsx", "parquet"})
#: How long a reader may leave an export standing before its snapshot is given up: it holds back vacuum.
_IDLE = "10min"
_GZIP_LEVEL = 4
_FILE_BYTES = 1024**2


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how. ``fields`` None: all; ``guard``: against formulas, in CSV and XLSX."""

    format: ExportFormat = "csv"
    fields: tuple[str, ...] | None = None
    wanted: Filter = field(default_factory=Filter)
    guard: bool = True
    gzip: bool = False


@dataclass
class Export:
    """A begun export: iterate for its bytes. At their end or an error it is closed; who stops earlier closes it.

    ``etag`` is equal for equal requests to an unchanged catalogue.
    """

    filename: str
    media_type: str
    etag: str
    _pieces: Generator[bytes]
    _held: ExitStack
    _first: bytes = b""

    def __iter__(self) -> Iterator[bytes]:
        # Nothing is closed where nobody reads on: the interpreter tidies such an iterator up in any thread, even in the
        # one that reads the next batch, and there the end of the transaction would wait for that thread for ever.
        try:
            if self._first:
                yield self._first
            for piece in self._pieces:  # noqa: UP028 - `yield from` would close them
                yield piece
        except GeneratorExit:
            raise
        except BaseException:
            self.close()
            raise
        self.close()

    def begin(self) -> None:
        """Make the first piece: what is wrong with the request is raised here, before any byte is handed out."""
        try:
            self._first = next(self._pieces, b"")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the export's transaction and remove its scratch files; harmless where that is done."""
        self._pieces.close()
        self._held.close()


def open_export(stores: Stores, tenant: TenantInfo, request: ExportRequest) -> Export:
    """Begin an export of the tenant's products, sorted by SKU key, as one transaction sees them.

    Raises InvalidRequest (an unknown field, gzip of what is compressed), EngineUnavailable. Rows are read while the
    pieces are taken; an error half-way is raised by the iteration, so that no reader takes a part for the whole.
    """
    if request.gzip and request.format in _PACKED:
        raise InvalidRequest(
            f"{request.format} is compressed already.",
            fix="Leave gzip out.",
            code="invalid_request",
            column="gzip",
        )
    with ExitStack() as held:
        keys = _keys(stores, tenant.id, request.wanted)
        session = held.enter_context(tenant_session(stores.app, tenant.id))
        read_snapshot(session)
        session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE}'"))
        connection = driver_connection(session)
        seq = session.scalar(
            text("SELECT commit_seq FROM pim.catalog_state WHERE tenant_id = :tenant"), {"tenant": tenant.id}
        )
        schema = current_schema(session)
        names = chosen_fields(schema, request.fields)
        if keys is not None:
            choose(connection, keys)
        products = Products(connection, tenant.id, chosen=keys is not None)
        pieces = _pieces(products, schema, names, request)
        suffix: str = request.format
        media_type = MEDIA_TYPES[request.format]
        if request.gzip:
            pieces, suffix, media_type = _gzipped(pieces), f"{suffix}.gz", "application/gzip"
        name = f"{tenant.slug}-products-{datetime.now(UTC):%Y-%m-%d}.{suffix}"
        etag = _etag(tenant.id, seq or 0, schema.version, names, request)
        return Export(name, media_type, etag, pieces, held.pop_all())
    raise AssertionError("an ExitStack does not swallow errors")


def _pieces(
    products: Products, schema: ProductSchema, names: tuple[str, ...], request: ExportRequest
) -> Generator[bytes]:
    """The bytes of an export; nothing is read before the first is asked for."""
    locales = None if request.format == "jsonl" else products.locales(schema, names)
    columns = columns_of(schema, names, locales)
    with closing(products.frames(columns, "json" if locales is None else "cells")) as frames:
        if request.format == "jsonl":
            yield from json_pieces(columns, frames)
        elif request.format == "csv":
            yield from csv_pieces(columns, frames, formulas=request.guard)
        elif request.format == "parquet":
            from pim_platform.catalog.exporting.parquet_out import parquet_pieces

            yield from parquet_pieces(columns, frames, products.digits)
        else:
            from pim_platform.catalog.exporting.workbook import check_size, write_workbook

            check_size(products.count(), len(columns))
            with scratch_folder("export") as folder:
                path = folder / "export.xlsx"
                write_workbook(columns, frames, path, formulas=request.guard)
                yield from _of_file(path)


def _keys(stores: Stores, tenant_id: UUID, wanted: Filter) -> Iterator[object] | None:
    """The keys that a filter means, asked for before the snapshot begins; None: all products."""
    if not wanted:
        return None
    found = matching(stores, tenant_id, wanted)
    first = next(found, None)
    return chain([first], found) if first is not None else iter(())


def _etag(tenant_id: UUID, seq: int, version: int, names: tuple[str, ...], request: ExportRequest) -> str:
    """Weak (RFC 9110, 8.8.3): the same products in the same words, not necessarily the same bytes."""
    asked = [request.format, request.guard, request.gzip, request.wanted.as_json(), request.wanted.q, names]
    told = json.dumps([str(tenant_id), seq, version, asked], default=str)
    return f'W/"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _of_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_FILE_BYTES):
            yield piece


def _gzipped(pieces: Generator[bytes]) -> Generator[bytes]:
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=31)
    with closing(pieces):
        for piece in pieces:
            if packed := packer.compress(piece):
                yield packed
    yield packer.flush()


__all__ = ["MEDIA_TYPES", "Export", "ExportFormat", "ExportRequest", "open_export"]
