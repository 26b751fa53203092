"""XML as text that a strict parser takes: decoded, without a DTD, with the slips of real feeds mended and told.

The document type is cut out before the parser sees it, so that nothing is ever fetched and no entity expands into
another. What shops get wrong all the time and what can mean one thing only is mended, and every kind of mending is
told with its first line: names of HTML entities (``&nbsp;``; ONIX 2.1 declares them in a DTD that is not fetched), a
bare ``&``, and control characters, which XML 1.0 forbids (section 2.2). Anything else is left to the parser's verdict.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from typing import IO

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.decoding import pieces
from pim_platform.intake.readers.sniff import detect_encoding, wide_encoding
from pim_platform.intake.readers.source import Sample

#: Stands for bytes that the encoding cannot decode: a character that XML allows and nobody uses. Records with it are
#: refused.
UNDECODABLE = "\U0010ffff"
#: Characters of a document type, at most, and of the text that an entity of the file's own stands for.
_LONGEST_DOCTYPE = 64 * 1024
_LONGEST_ENTITY = 32
#: No entity's name is longer; what looks like one but is cut off at the end of a piece waits for the next.
_LONGEST_NAME = 48

_XML_NAMES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_SPECIAL = re.compile(
    r"<!\[CDATA\[|<!--|<\?|<!DOCTYPE|&(?:#x(?P<hex>[0-9A-Fa-f]+);|#(?P<dec>[0-9]+);|(?P<name>[A-Za-z_][\w.-]*);)?"
)
_CLOSERS = {"<![CDATA[": "]]>", "<!--": "-->", "<?": "?>"}
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z][\w.:-]*)[\"']")
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*?\?>")
_ENTITY = re.compile(r"<!ENTITY\s+(%?\s*[\w.:-]+)\s+(?:\"([^\"]*)\"|'([^']*)'|([^>]*))\s*>")
#: Encodings that are read as Windows' superset of them, as the WHATWG Encoding Standard does.
_SUPERSETS = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
}


@dataclass
class _Mended:
    line: int
    text: str
    count: int = 0


class CleanText:
    """The text of an XML file in pieces; ``notes`` tells afterwards what was mended.

    Raises :class:`UnreadableFile` with code ``unknown_entity`` or ``entity_refused`` while it is read.
    """

    def __init__(self, stream: IO[bytes], encoding: str, name: str) -> None:
        self._stream, self._encoding, self._name = stream, encoding, name
        self.undecodable = False
        """Whether some bytes so far were not in the encoding."""
        self._line = 1
        self._closer: str | None = None
        self._entities: dict[str, str] = {}
        self._mended: dict[str, _Mended] = {}

    def __iter__(self) -> Iterator[str]:
        held, started = "", False
        for text, final in _with_last(pieces(self._stream, self._encoding, self._name)):
            part = held + text
            if not started:
                part = part.lstrip("\ufeff \t\r\n\x00") if not part.strip("\ufeff \t\r\n\x00") else part
                if not final and len(part) < 1024:
                    held = part
                    continue
                part, started = self._without_declaration(part), True
            done, held = self._clean(part, final=final)
            if done:
                yield done
        if held:
            yield held

    @property
    def notes(self) -> list[str]:
        """What was mended, one sentence per kind, with the first line and how often."""
        return [
            f"Line {mended.line:,}: {mended.text}"
            + (f" ({mended.count:,} times in the file)." if mended.count > 1 else ".")
            for mended in self._mended.values()
        ]

    def _without_declaration(self, text: str) -> str:
        """The text without what precedes the root's markup; its line ends stay, so that lines are counted right."""
        text = text.removeprefix("\ufeff")
        match = _DECLARATION.match(text)
        cut = match.end() if match else len(text) - len(text.lstrip())
        return "\n" * text.count("\n", 0, cut) + text[cut:]

    def _clean(self, text: str, *, final: bool) -> tuple[str, str]:
        """The part of a text that is done with, mended, and the rest that waits for more."""
        if "\udcff" in text:
            text = text.replace("\udcff", UNDECODABLE)
            self.undecodable = True
        if match := _CONTROL.search(text):
            line = self._line + text.count("\n", 0, match.start())
            code = ord(match[0])
            text, count = _CONTROL.subn(" ", text)
            self._tell(
                "control", line, f"a control character (U+{code:04X}), which XML forbids, is read as a space", count
            )
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._closer is not None:
                end = text.find(self._closer, at)
                if end < 0:
                    keep = len(text) if final else max(at, len(text) - len(self._closer) + 1)
                    return self._done(text, out, at, keep)
                end += len(self._closer)
                out.append(text[at:end])
                at, self._closer = end, None
                continue
            found = _SPECIAL.search(text, at)
            if found is None:
                # The start of a mark may be cut off: <!DOCTYPE is the longest.
                low = max(at, len(text) - 9)
                cut = text.rfind("<", low)
                return self._done(text, out, at, len(text) if final or cut < 0 else cut)
            out.append(text[at : found.start()])
            at = found.start()
            mark = found[0]
            if mark in _CLOSERS:
                self._closer = _CLOSERS[mark]
            elif mark == "<!DOCTYPE":
                over = _doctype_end(text, at)
                if over is None:
                    if final or len(text) - at > _LONGEST_DOCTYPE:
                        raise self._refused("its document type does not end", self._line_at(text, at))
                    return self._done(text, out, at, at)
                self._declare(text[at:over], self._line_at(text, at))
                out.append("\n" * text.count("\n", at, over))
                at = over
            else:
                if mark == "&" and not final and len(text) - at < _LONGEST_NAME and ";" not in text[at:]:
                    return self._done(text, out, at, at)
                out.append(self._reference(found, self._line_at(text, at)))
                at = found.end()
        return self._done(text, out, at, at)

    def _done(self, text: str, out: list[str], at: int, keep: int) -> tuple[str, str]:
        out.append(text[at:keep])
        self._line += text.count("\n", 0, keep)
        return "".join(out), text[keep:]

    def _line_at(self, text: str, at: int) -> int:
        return self._line + text.count("\n", 0, at)

    def _reference(self, found: re.Match[str], line: int) -> str:
        number = _number(found)
        if number is not None:
            if _is_character(number):
                return found[0]
            self._tell("control", line, f"{found[0]}, which XML forbids, is read as a space")
            return " "
        name: str | None = found["name"]
        if name is None:
            self._tell("ampersand", line, "a bare & is read as &amp;")
            return "&amp;"
        if name in _XML_NAMES:
            return found[0]
        if name in self._entities:
            return _escaped(self._entities[name])
        meant = html5.get(f"{name};")
        if meant is None:
            raise UnreadableFile(
                f"{self._name}, line {line:,}: the entity &{name}; is not declared, and HTML knows none of that name.",
                fix=f"Write the character itself, or &amp;{name}; where the text is meant.",
                code="unknown_entity", file=self._name, row=line, value=f"&{name};", expected="a character",
            )  # fmt: skip
        self._tell(f"&{name};", line, f"&{name};, an entity of HTML and not of XML, is read as {meant!r}")
        return _escaped(meant)

    def _declare(self, doctype: str, line: int) -> None:
        """Take the entities of a document type that stand for a short plain text; refuse any other."""
        for match in _ENTITY.finditer(doctype):
            name, value = match[1], match[2] if match[2] is not None else match[3]
            plain = None if value is None else _resolved(value)
            if plain is None or name.startswith("%") or len(plain) > _LONGEST_ENTITY:
                raise self._refused(
                    f"it declares the entity {name}, which is not a short plain text",
                    line + doctype.count("\n", 0, match.start()),
                )
            self._entities.setdefault(name, plain)

    def _refused(self, why: str, line: int) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name}, line {line:,}: {why}. Entities are never expanded into each other and never fetched.",
            fix="Export the file without entities of its own.", code="entity_refused", file=self._name, row=line,
            expected="XML without entity declarations",
        )  # fmt: skip

    def _tell(self, kind: str, line: int, text: str, count: int = 1) -> None:
        self._mended.setdefault(kind, _Mended(line, text)).count += count


def encoding_of(sample: Sample) -> str:
    """The encoding of an XML file: by its byte order mark, else as it declares, else as its bytes look."""
    head = sample.head
    if wide := wide_encoding(head):
        return wide
    looks = detect_encoding(sample)
    declared = _DECLARED.search(head[:1024])
    if declared is None or head.startswith(codecs.BOM_UTF8):
        return looks
    try:
        named = codecs.lookup(declared[1].decode("ascii")).name
    except LookupError:
        return looks
    if named.startswith(("utf-16", "utf-32")) or named == "utf-8":
        return looks  # the head shows no such bytes; and text that is no UTF-8 is not what it says
    return _SUPERSETS.get(named, named)


def _with_last(texts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Pieces of text, each with whether it is the last."""
    before = next(texts, "")
    for text in texts:
        yield before, False
        before = text
    yield before, True


def _doctype_end(text: str, at: int) -> int | None:
    """Where a document type ends; None where that is not in the text yet."""
    quote = ""
    for index in range(at, min(len(text), at + _LONGEST_DOCTYPE)):
        char = text[index]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "[":
            end = re.compile(r"\]\s*>").search(text, index)
            return end.end() if end else None
        elif char == ">":
            return index + 1
    return None


def _resolved(value: str) -> str | None:
    """An entity's text with character references read; None where it refers to other entities or holds markup."""
    if "%" in value or "<" in value:
        return None
    named = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
    parts: list[str] = []
    at = 0
    for found in _SPECIAL.finditer(value):
        number = _number(found)
        if number is not None and _is_character(number):
            meant: str | None = chr(number)
        else:
            meant = named.get(found["name"] or "")
        if meant is None:
            return None
        parts += [value[at : found.start()], meant]
        at = found.end()
    return "".join([*parts, value[at:]])


def _number(found: re.Match[str]) -> int | None:
    """The character a reference gives by number."""
    digits: str | None = found["hex"] or found["dec"]
    return None if digits is None else int(digits[:12], 16 if found["hex"] else 10)


def _escaped(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)


def _is_character(number: int) -> bool:
    """Whether XML 1.0 allows a character (production 2, Char)."""
    return (
        number in (9, 10, 13) or 0x20 <= number <= 0xD7FF or 0xE000 <= number <= 0xFFFD or 0x10000 <= number < 0x10FFFF
    )
