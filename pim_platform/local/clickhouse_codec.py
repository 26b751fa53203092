"""Content codings of ClickHouse's HTTP interface, as streams: gzip, deflate, lz4 frames, zstd.

lz4 and zstd come with clickhouse-connect, which is the client that sends them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

_GZIP = 16 + zlib.MAX_WBITS  # zlib's documented value for "gzip header and trailer"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's documented value for "detect the header"
_QUICKEST = 1

PREFERENCE = ("lz4", "zstd", "gzip")
"""Codings of answers, cheapest for the processor first: the wire is the loopback."""


class UnknownCoding(ValueError):
    """The request names a content coding that nobody here speaks."""


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _lz4() -> Any:
    return import_module("lz4.frame")  # it ships no types


class _Gunzip:
    """zlib's decompressor with the two attributes of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_OR_ZLIB)

    def decompress(self, data: bytes) -> bytes:
        return self._inner.decompress(data)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _decompressors() -> dict[str, Callable[[], Any]]:
    return {
        "gzip": _Gunzip,
        "deflate": _Gunzip,
        "lz4": lambda: _lz4().LZ4FrameDecompressor(),
        "zstd": lambda: _zstd().ZstdDecompressor(),
    }


def decoded(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """The plain bytes of ``pieces``; several frames in a row count as one stream.

    Raises UnknownCoding, and ValueError for damaged or truncated data.
    """
    if coding in ("", "identity"):
        yield from pieces
        return
    make = _decompressors().get(coding)
    if make is None:
        raise UnknownCoding(coding)
    decoder = make()
    try:
        for piece in pieces:
            while piece:
                if decoder.eof:
                    decoder = make()
                plain = decoder.decompress(piece)
                if plain:
                    yield plain
                piece = (decoder.unused_data or b"") if decoder.eof else b""
    except (zlib.error, RuntimeError, EOFError) as error:
        raise ValueError(f"The {coding} body is damaged: {error}") from error
    if not decoder.eof:
        raise ValueError(f"The {coding} body is cut off.")


def chosen(accept_encoding: str) -> str:
    """The coding to answer in, given the client's Accept-Encoding; empty for none."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((coding for coding in PREFERENCE if coding in accepted), "")


class Encoder:
    """Compresses an answer in ``coding`` (one of PREFERENCE, or empty for none) piece by piece."""

    def __init__(self, coding: str) -> None:
        self._inner: Any = None
        self._lead = b""
        if coding == "gzip":
            self._inner = zlib.compressobj(_QUICKEST, zlib.DEFLATED, _GZIP)
        elif coding == "lz4":
            self._inner = _lz4().LZ4FrameCompressor()
            self._lead = self._inner.begin()
        elif coding == "zstd":
            self._inner = _zstd().ZstdCompressor(level=_QUICKEST)

    def piece(self, data: bytes) -> bytes:
        """``data`` compressed as far as the coding lets it out now."""
        if self._inner is None:
            return data
        lead, self._lead = self._lead, b""
        return bytes(lead + self._inner.compress(data))

    def end(self) -> bytes:
        """What is left."""
        if self._inner is None:
            return b""
        lead, self._lead = self._lead, b""
        return bytes(lead + self._inner.flush())
