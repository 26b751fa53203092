"""The bytes of a file: gzip opened, other encodings turned into UTF-8, samples taken by offset.

Everything here streams; nothing holds a whole large file.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.archive import check_growth
from pim_platform.intake.readers.limits import limits_of_settings

#: Bytes looked at from the start of a file, decompressed.
HEAD_BYTES = 256 * 1024
#: Further samples of a large file, evenly spaced, and the bytes of each.
SPREAD_SAMPLES = 48
SPREAD_BYTES = 16 * 1024
#: Up to this size (on disk for plain files, decompressed for gzip) a file is read whole for its profile.
WHOLE_BYTES = 64 * 1024 * 1024
#: Bytes read from the file at a time.
READ_BYTES = 8 * 1024 * 1024

#: Bytes of evidence kept for guessing a legacy encoding.
_ODD_BYTES = 32 * 1024
_ODD_BYTE = re.compile(rb"[\x80-\xff]")
#: Bytes of a line that are kept, and those of them before its first byte above 127.
_ODD_LINE_BYTES, _BEFORE = 4096, 1024
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

GZIP_MAGIC = b"\x1f\x8b"
_UTF8 = frozenset({"utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"})

#: Stands for bytes that the declared encoding cannot decode. It is a lone surrogate, so its bytes are
#: not valid UTF-8 and the record that holds it is found by the same check as any undecodable record.
_MARKER = "\udcff"


@dataclass(frozen=True)
class Sample:
    """Bytes of a file, decompressed but not decoded."""

    head: bytes
    spread: tuple[bytes, ...]
    gzip: bool
    size: int
    """Bytes on disk."""
    complete: bool
    """Whether ``head`` is the whole file."""
    odd: bytes = b""
    """Some of the lines that hold bytes above 127, wherever they were seen."""
    valid_utf8: bool = True
    """Whether everything seen decodes as UTF-8."""


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _MARKER, error.end


codecs.register_error("pim_mark", _mark_undecodable)


def is_gzip(path: Path) -> bool:
    """Whether the file starts with gzip's magic bytes (RFC 1952)."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def take_sample(path: Path, name: str) -> Sample:
    """Head of the file and, for large plain files, samples spread over it.

    Raises :class:`UnreadableFile` (``damaged_archive``, ``archive_bomb``) where a gzip file cannot be unpacked.
    """
    size = path.stat().st_size
    packed = is_gzip(path)
    spread: list[bytes] = []
    with path.open("rb") as raw:
        if packed:
            head = b"".join(_chunks(raw, True, name, HEAD_BYTES, limit=HEAD_BYTES + 1))
        else:
            head = raw.read(HEAD_BYTES + 1)
            if size > HEAD_BYTES:
                step = max(SPREAD_BYTES, (size - HEAD_BYTES) // SPREAD_SAMPLES)
                for offset in range(HEAD_BYTES, size - SPREAD_BYTES, step):
                    raw.seek(offset)
                    spread.append(raw.read(SPREAD_BYTES))
        evidence = _Evidence()
        if size <= WHOLE_BYTES and not head.startswith(_UTF16_MARKS):
            raw.seek(0)
            for block in _chunks(raw, packed, name, READ_BYTES, limit=WHOLE_BYTES):
                evidence.add(block)
        else:
            evidence.add(head)
            for block in spread:
                evidence.add(block, cut=True)
    complete = len(head) <= HEAD_BYTES
    return Sample(head[:HEAD_BYTES], tuple(spread), packed, size, complete, bytes(evidence.odd), evidence.valid)


class _Evidence:
    """What the bytes above 127 of a file say about its encoding."""

    def __init__(self) -> None:
        self.odd = bytearray()
        self.valid = True
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def add(self, block: bytes, *, cut: bool = False) -> None:
        """Look at the next block; ``cut``: it begins and ends anywhere, also within a character."""
        if block.isascii():
            return
        if cut:
            first, last = block.find(b"\n"), block.rfind(b"\n")
            block = block[first + 1 : last + 1]
            self._decoder.reset()
        at = 0
        while len(self.odd) < _ODD_BYTES and (found := _ODD_BYTE.search(block, at)):
            # The line around the byte, as far as it tells something: a whole file may be one line.
            first = max(block.rfind(b"\n", at, found.start()) + 1, at, found.start() - _BEFORE)
            end = block.find(b"\n", found.start(), first + _ODD_LINE_BYTES)
            at = end if end >= 0 else first + _ODD_LINE_BYTES
            self.odd += block[first:at] + b"\n"
        if self.valid:
            try:
                self._decoder.decode(block)
            except UnicodeDecodeError:
                self.valid = False


def utf8_chunks(path: Path, *, packed: bool, encoding: str, name: str | None = None) -> Iterator[tuple[bytes, int]]:
    """The file as UTF-8 bytes without byte order mark, with the bytes of the file consumed so far.

    Bytes that ``encoding`` cannot decode become bytes that are not valid UTF-8, in place.
    Raises :class:`UnreadableFile` where gzip data is damaged or the encoding is unknown.
    """
    label = name or path.name
    plain = encoding.lower().replace("_", "-") in _UTF8
    try:
        decoder = None if plain else codecs.getincrementaldecoder(encoding)(errors="pim_mark")
    except LookupError:
        raise UnreadableFile(
            f"{label}: the encoding {encoding!r} is unknown.", fix="Use a name such as utf-8, cp1252 or shift_jis.",
            code="unknown_encoding", file=label, value=encoding,
        ) from None  # fmt: skip
    first = True
    with path.open("rb") as raw:
        for block in _chunks(raw, packed, label, READ_BYTES):
            text = block if decoder is None else decoder.decode(block).encode("utf-8", "surrogatepass")
            if first and text:
                text = text.removeprefix(codecs.BOM_UTF8)
                first = False
            yield text, raw.tell()
        if decoder is not None and (rest := decoder.decode(b"", final=True)):
            yield rest.encode("utf-8", "surrogatepass"), raw.tell()


def _chunks(raw: IO[bytes], packed: bool, name: str, size: int, limit: int | None = None) -> Iterator[bytes]:
    stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if packed else raw
    done = 0
    try:
        while block := stream.read(size if limit is None else min(size, limit - done)):
            done += len(block)
            if packed:
                check_growth(done, raw.tell(), name, limits_of_settings())
            yield block
            if limit is not None and done >= limit:
                return
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(
            f"{name} is a damaged gzip file: {error}.", fix="Compress it again and upload it once more.",
            code="damaged_archive", file=name, expected="an intact gzip file",
        ) from error  # fmt: skip
