"""The exact parser: one record at a time, for the few records that the fast path must not judge.

A record it cannot read becomes :class:`Record` with a problem, and ends where the next line looks
like a whole record again, so that one lost quote costs one record and not the rest of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A record longer than this is taken for a lost closing quote, in bytes.
MAX_RECORD_BYTES = 4 * 1024 * 1024
#: Lines looked at to find the next whole record after a broken one.
RESYNC_LINES = 200

BROKEN_QUOTES = "broken_quotes"


@dataclass(frozen=True)
class Record:
    """Cells as undecoded bytes, and where the next record starts."""

    cells: list[bytes]
    end: int
    problem: str | None = None


class RecordParser:
    """Reads single records of one dialect from a block of bytes."""

    def __init__(self, delimiter: str, quote: str | None, escape: str | None, line_end: str, width: int) -> None:
        d, e = re.escape(delimiter.encode()), re.escape(line_end.encode())
        self._end = line_end.encode()
        self._delimiter = delimiter.encode()
        self._quote = quote.encode() if quote else b""
        self._escape = re.compile(re.escape(escape.encode()) + rb"(.)", re.DOTALL) if escape else None
        self._width = width
        x = re.escape(escape.encode()) if escape else b""
        plain = rb"[^" + d + e + x + rb"]"
        bare = rb"((?:" + plain + rb"++|" + x + rb".)*+)" if escape else rb"(" + plain + rb"*+)"
        if quote:
            q = re.escape(quote.encode())
            inner = rb"[^" + q + x + rb"]++|" + q + q + (rb"|" + x + rb"." if escape else b"")
            close = rb"[ ]*+(?=" + d + rb"|\r?" + e + rb"|\r?\Z)"
            self._quoted = re.compile(rb"[ ]*+" + q + rb"((?:" + inner + rb")*+)" + q + close, re.DOTALL)
            self._opening = re.compile(rb"[ ]*+" + q)
        self._bare = re.compile(bare, re.DOTALL)

    def read(self, block: bytes, start: int, *, final: bool) -> Record | None:
        """The record at ``start``; None where it needs bytes beyond the block (never when ``final``)."""
        cells: list[bytes] = []
        position = start
        while True:
            opening = self._opening.match(block, position) if self._quote else None
            if opening:
                match = self._quoted.match(block, position)
                if match is None or (match.end() >= len(block) and not final):
                    if not final and len(block) - start < MAX_RECORD_BYTES:
                        return None
                    if match is None:
                        return self._broken(block, start, position)
                cell = match[1].replace(self._quote * 2, self._quote)
            else:
                match = self._bare.match(block, position)
                assert match is not None
                if match.end() >= len(block) and not final:
                    return None
                cell = match[1]
            position = match.end()
            if position >= len(block) or block[position : position + 1] != self._delimiter:
                cells.append(self._clean(cell.removesuffix(b"\r") if not opening and self._end == b"\n" else cell))
                at = block.find(self._end, position)
                return Record(cells, len(block) if at < 0 else at + 1)
            cells.append(self._clean(cell))
            position += 1

    def _clean(self, cell: bytes) -> bytes:
        return self._escape.sub(rb"\1", cell) if self._escape and cell else cell

    def _broken(self, block: bytes, start: int, opening: int) -> Record:
        """The record around a quote that never closes; it ends before the next line that is a whole record."""
        first = end = self._line_end(block, opening)
        for _ in range(RESYNC_LINES):
            if end >= len(block) or self._whole(block, end):
                break
            end = self._line_end(block, end)
        else:
            end = first
        cells = block[start:end].rstrip(b"\r\n").split(self._delimiter, max(self._width - 1, 0))
        return Record(cells, end, BROKEN_QUOTES)

    def _line_end(self, block: bytes, position: int) -> int:
        at = block.find(self._end, position)
        return len(block) if at < 0 else at + 1

    def _whole(self, block: bytes, position: int) -> bool:
        line = block[position : self._line_end(block, position)].rstrip(b"\r\n")
        cells = 0
        at = 0
        while True:
            match = self._quoted.match(line, at) or self._bare.match(line, at)
            assert match is not None
            if match.re is self._bare and self._quote in match[1]:
                return False
            cells += 1
            if match.end() >= len(line):
                return cells == self._width
            at = match.end() + 1
