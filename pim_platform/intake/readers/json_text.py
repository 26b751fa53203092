"""JSON read piece by piece: a window slides over the text, and whole values are taken out of it.

The values themselves are decoded by Python's own scanner (C), because streaming parsers lose what we must keep:
ijson turns half a surrogate pair into ``?`` in silence, fails on integers of 4,301 digits, knows no ``NaN`` and no
place of an error. Numbers stay the text they were written as. Memory is bounded by the largest single value.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.decoding import pieces

#: Characters read at a time.
READ_CHARACTERS = 1 << 20
#: Characters of the largest value: one record, or one list beside the records.
MAX_VALUE_CHARACTERS = 64 << 20
#: Containers inside each other that are walked member by member before a value is decoded whole.
WALKED_LEVELS = 4

_BLANK = re.compile(r"[ \t\n\r\ufeff]*")
#: Between documents of one file: JSON text sequences (RFC 7464) mark them with a record separator, some exports
#: leave out the brackets of their list and keep its commas.
_BETWEEN = re.compile(r"[ \t\n\r\x1e\x00\ufeff,]*")


class Number(str):
    """A number, as the file writes it."""

    __slots__ = ()


class Twice(dict[str, Any]):
    """An object in which a key stands twice with different values; ``key`` and the ``values`` tell which."""

    key: str
    values_of_key: tuple[Any, Any]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen and seen[key] != value:
            twice = Twice(found)
            twice.key, twice.values_of_key = key, (seen[key], value)
            return twice
        seen[key] = value
    return found


def _constant(_: str) -> None:
    """``NaN`` and ``Infinity`` are no JSON; those who write them mean that there is no number."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_constant, strict=False
)


def decode(text: str) -> Any:
    """One whole JSON value, numbers as :class:`Number`, ``NaN`` as None; raises :class:`json.JSONDecodeError`."""
    return _DECODER.decode(text)


class TextWindow:
    """The text of a stream of bytes, and the place in it. Raises :class:`UnreadableFile` (``broken_json``)."""

    def __init__(self, stream: IO[bytes], encoding: str, name: str) -> None:
        self._name = name
        self._chunks = pieces(stream, encoding, name)
        self._text = ""
        self._at = 0
        self._ended = False
        self._lines, self._column, self._before = 1, 1, 0
        self._seen = self._seen_lines = 0
        self.records = 0
        """Records handed out so far; messages tell it."""

    def peek(self) -> str:
        """The next character that is no white space, "" at the end of the file."""
        return self._next(_BLANK)

    def next_document(self) -> bool:
        """Go to the next document of the file; False where there is none."""
        return bool(self._next(_BETWEEN))

    def take(self, char: str) -> None:
        """Go over a character that must come next."""
        if self.peek() != char:
            raise self.broken(f"expected {char!r}")
        self._at += 1

    def value(self) -> Any:
        """The value that comes next, whole."""
        if not self.peek():
            raise self.broken("expected a value")
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or not self._may_be_cut(error):
                    raise self._told(error) from error
            except RecursionError as error:
                raise self.broken("lists and objects are nested too deep to be products", code="too_deep") from error
            else:
                # A number at the end of what was read may go on.
                if self._ended or end < len(self._text):
                    self._at = end
                    return found
            self._grow()

    def skip(self, levels: int = WALKED_LEVELS) -> None:
        """Go over the value that comes next, keeping little of it."""
        first = self.peek()
        if levels and first == "{":
            for _ in self.members():
                self.skip(levels - 1)
        elif levels and first == "[":
            for _ in self.elements():
                self.skip(levels - 1)
        else:
            self.value()

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next; the caller takes or skips each value."""
        self.take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                raise self.broken("expected a key in double quotes")
            key = self.value()
            self.take(":")
            yield key
            if not self._goes_on("}"):
                return

    def elements(self) -> Iterator[None]:
        """One step per element of the list that comes next; the caller takes or skips each."""
        self.take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield
            if not self._goes_on("]"):
                return

    def line(self) -> int:
        """The line of the next character, from 1."""
        self._seen_lines += self._text.count("\n", self._seen, self._at)
        self._seen = self._at
        return self._lines + self._seen_lines

    def position(self) -> int:
        """Characters before the next one."""
        return self._before + self._at

    def broken(self, what: str, at: int | None = None, *, code: str = "broken_json") -> UnreadableFile:
        """The error for something that is no JSON, with its place (``at``: index into the window)."""
        at = self._at if at is None else at
        line = self._lines + self._text.count("\n", 0, at)
        last = self._text.rfind("\n", 0, at)
        column = at - last if last >= 0 else self._column + at
        found = repr(self._text[at : at + 20]) if at < len(self._text) else "the end of the file"
        fix = _fix_for(self._text, at)
        read = f"{self.records:,} records were read up to there" if self.records != 1 else "1 record was read before it"
        return UnreadableFile(
            f"{self._name}, line {line}, column {column} (character {self._before + at + 1:,}): {what}, found {found}; "
            f"{read}.",
            fix=fix, code=code, file=self._name, row=line, column=str(column), expected=what.removeprefix("expected "),
            value=self._text[at : at + 40], records=self.records,
        )  # fmt: skip

    def _goes_on(self, end: str) -> bool:
        char = self.peek()
        if char == end:
            self._at += 1
            return False
        if char != ",":
            raise self.broken(f"expected ',' or {end!r}")
        self._at += 1
        if self.peek() == end:
            raise self.broken("expected another entry after the comma")
        return True

    def _next(self, blank: re.Pattern[str]) -> str:
        while True:
            match = blank.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._grow()

    def _grow(self) -> None:
        """Read on: as much again as the value so far, so that a long value is not scanned too often."""
        part = self._text[: self._at]
        if (last := part.rfind("\n")) >= 0:
            self._lines += part.count("\n")
            self._column = self._at - last
        else:
            self._column += self._at
        self._before += self._at
        kept = self._text[self._at :]
        if len(kept) > MAX_VALUE_CHARACTERS:
            self._text, self._at = kept, 0
            raise self.broken(
                f"a single value is longer than {MAX_VALUE_CHARACTERS:,} characters", code="record_too_large"
            )
        pieces, wanted = [kept], max(READ_CHARACTERS, len(kept))
        while wanted > 0:
            piece = next(self._chunks, None)
            if piece is None:
                self._ended = True
                break
            pieces.append(piece)
            wanted -= len(piece)
        self._text, self._at = "".join(pieces), 0
        self._seen = self._seen_lines = 0

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the scanner may have failed only because the window ends there."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16

    def _told(self, error: json.JSONDecodeError) -> UnreadableFile:
        message, at = error.msg, error.pos
        if message.startswith("Unterminated string"):
            return self.broken("a text in quotes does not end", at)
        if message.startswith("Invalid"):
            return self.broken(message[0].lower() + message[1:], at)
        what = {
            "Expecting ',' delimiter": "expected ',' or the end of the list or object",
            "Expecting ':' delimiter": "expected ':' after the key",
            "Expecting property name enclosed in double quotes": "expected a key in double quotes",
        }.get(message, "expected a value")
        return self.broken(what, at)


def _fix_for(text: str, at: int) -> str:
    """What to do about broken JSON, by what stands at the place."""
    if at >= len(text):
        return "The file is cut off: export or download it again."
    before = text[:at].rstrip()[-1:]
    if text[at] in "]}" and before == ",":
        return "Remove the comma before the bracket."
    if text[at] == "'":
        return "Write texts and keys in double quotes."
    if text.startswith(("//", "/*", "#"), at):
        return "Remove the comment: JSON has none."
    return "Correct the place, or export the file again with a JSON library."


def wide_encoding_of_json(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by byte order mark or because JSON begins with two ASCII characters (RFC 4627, section 3)."""
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                       (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if head.startswith(mark):
            return name
    zeros = "".join("0" if byte == 0 else "x" for byte in head[:4])
    return {"x000": "utf-32-le", "000x": "utf-32-be", "x0x0": "utf-16-le", "0x0x": "utf-16-be"}.get(zeros)
