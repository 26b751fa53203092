"""The little that the ClickHouse front must understand of SQL: what kind of statement, where data begins.

Pure functions over text. Everything else is left to the engine's own parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

STREAMABLE_FORMATS = frozenset(
    {"csv", "jsoncompacteachrow", "jsoneachrow", "jsonlines", "native", "ndjson", "rowbinary"}
    | {"tabseparated", "tabseparatedraw", "tskv", "tsv", "tsvraw"}
)
"""Formats (lower case) whose pieces may be glued: chDB writes each piece as a whole document, so one with a
header or a footer (``CSVWithNames``, ``JSON``, ``Arrow``) must be answered in one go."""

LIMITED_SETTINGS = ("max_execution_time", "max_memory_usage")
"""Settings that a request may lower and never lift."""

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
      | (?P<number>\d[\w.+-]*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


class Kind(Enum):
    """What the front does with a statement."""

    INSERT_DATA = "insert"  # INSERT whose rows follow in the request
    SELECT = "select"  # may be answered piece by piece
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the front sees it. ``format`` is empty where the text names none."""

    kind: Kind
    text: str
    format: str = ""
    data_at: int = -1  # INSERT_DATA: characters of the source before the first row's data


def tokens(sql: str) -> Iterator[tuple[str, str, int, int]]:
    """``(kind, text, start, end)`` of every token but white space and comments; strings stay whole."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "sign"
        if kind != "skip":
            yield kind, match.group(), match.start(), match.end()


def read(sql: str) -> Statement:
    """Classify ``sql``; for an INSERT with data it may be only the beginning of the request body."""
    words = tokens(sql)
    first = next(words, ("", "", 0, 0))
    opening = first[1].upper()
    if opening == "INSERT":
        return _read_insert(sql, words)
    kind = Kind.SELECT if opening in ("SELECT", "WITH", "(") else Kind.OTHER
    return Statement(kind, sql, format=_last_format(sql))


def _read_insert(sql: str, words: Iterator[tuple[str, str, int, int]]) -> Statement:
    depth = 0
    previous = ""
    for kind, text, start, end in words:
        depth += {"(": 1, ")": -1}.get(text, 0)
        # `INSERT INTO format ...` names a table: a keyword can only follow the table's name.
        if kind != "word" or depth or previous in ("INTO", "TABLE", "."):
            previous = text.upper()
            continue
        word = previous = text.upper()
        if word in ("SELECT", "WITH", "INFILE", "WATCH"):
            return Statement(Kind.OTHER, sql)
        if word == "VALUES":
            return Statement(Kind.INSERT_DATA, sql[:start].rstrip(), "Values", end)
        if word == "FORMAT":
            name = next(words, None)
            if name is None:
                break
            if name[1].upper() == "VALUES":
                return Statement(Kind.INSERT_DATA, sql[:start].rstrip(), "Values", name[3])
            return Statement(Kind.INSERT_DATA, sql[:start].rstrip(), name[1], _line_end(sql, name[3]))
    return Statement(Kind.INSERT_DATA, sql.rstrip().rstrip(";"), "", len(sql))


def _line_end(sql: str, position: int) -> int:
    """Where data begins after ``FORMAT name``: blanks and at most one line break (or ``;``) belong to the SQL."""
    match = re.compile(r"[ \t]*;?[ \t]*(?:\r?\n)?").match(sql, position)
    return match.end() if match else position


def _last_format(sql: str) -> str:
    """The name in a closing ``FORMAT name`` (settings may follow); empty where there is none."""
    depth = 0
    found = ""
    previous = ""
    for kind, text, _, _ in tokens(sql):
        depth += {"(": 1, ")": -1}.get(text, 0)
        if kind == "word" and previous == "FORMAT" and depth == 0:
            found = text
        previous = text.upper() if kind == "word" else ""
    return found


def lifted_limit(sql: str, limits: dict[str, float]) -> str:
    """The name of a limit that ``sql`` itself tries to lift (``SETTINGS max_memory_usage = 0``), or empty.

    A limit set to anything but a plain number within bounds counts as lifted.
    """
    parts = [(kind, text) for kind, text, _, _ in tokens(sql)]
    for index, (kind, text) in enumerate(parts):
        name = text.strip('`"').lower()
        if kind not in ("word", "text") or name not in limits or text.startswith("'"):
            continue
        if index + 2 < len(parts) and parts[index + 1][1] == "=" and _clause_before(parts, index):
            value = parts[index + 2][1].strip("'")
            if not within(value, limits[name]):
                return name
    return ""


def _clause_before(parts: list[tuple[str, str]], index: int) -> bool:
    """Whether an assignment of SET or SETTINGS begins here: `WHERE max_execution_time = 0` is an honest question."""
    if index == 0 or parts[index - 1][1].upper() not in ("SET", "SETTINGS", ","):
        return False
    return any(kind == "word" and text.upper() in ("SET", "SETTINGS") for kind, text in parts[:index])


def within(value: str, limit: float) -> bool:
    """Whether ``value`` is a number in (0, limit]: for ClickHouse 0 means no limit at all."""
    try:
        return 0 < float(value) <= limit
    except ValueError:
        return False


def quoted(value: str) -> str:
    """``value`` as a ClickHouse string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
