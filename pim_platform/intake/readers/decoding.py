"""Text out of bytes, in pieces: whatever the bytes are, what comes out is text or an error that names the encoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers import source  # noqa: F401 - it registers the error handler pim_mark

#: Bytes read at a time.
READ_BYTES = 1 << 18

_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def pieces(stream: IO[bytes], encoding: str, name: str) -> Iterator[str]:
    """The stream as text; bytes that the encoding cannot decode become U+DCFF, which no text may hold.

    UTF-16 and UTF-32 without byte order mark are read as little-endian, as Windows writes them.
    Raises :class:`UnreadableFile` (``unknown_encoding``).
    """
    data = stream.read(READ_BYTES)
    try:
        codec = codecs.lookup(encoding)
        "".encode(codec.name)
    except LookupError:
        raise UnreadableFile(
            f"{name}: the encoding {encoding!r} is unknown.", fix="Use a name such as utf-8, cp1252 or shift_jis.",
            code="unknown_encoding", file=name, value=encoding,
        ) from None  # fmt: skip
    plain = codec.name in ("utf-16", "utf-32") and not data.startswith(_MARKS)
    decoder = codecs.getincrementaldecoder(f"{codec.name}-le" if plain else codec.name)("pim_mark")
    while data:
        if text := decoder.decode(data):
            yield text
        data = stream.read(READ_BYTES)
    if text := decoder.decode(b"", final=True):
        yield text


def lines(stream: IO[bytes], encoding: str, name: str, longest: int) -> Iterator[tuple[int, str]]:
    """The lines of a stream with their numbers from 1, without line ends.

    Raises :class:`UnreadableFile` (``unknown_encoding``, ``record_too_large`` beyond ``longest`` characters).
    """
    number, held, size = 0, [""], 0
    for piece in pieces(stream, encoding, name):
        first, *rest = piece.split("\n")
        held.append(first)
        size += len(first)
        if size > longest:
            raise UnreadableFile(
                f"{name}, line {number + 1:,}: it is longer than {longest:,} characters.",
                fix="Write one product per line.", code="record_too_large", file=name, row=number + 1,
            )  # fmt: skip
        for following in rest:
            number += 1
            yield number, "".join(held)
            held, size = [following], len(following)
    if last := "".join(held):
        yield number + 1, last
