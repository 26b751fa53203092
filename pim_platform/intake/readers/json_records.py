"""JSON, JSON Lines and JSON-LD: records found anywhere in the document, flattened into columns.

JSON Lines are read line by line, so a broken line is one bad record. A JSON document is one thing: where it breaks,
what follows cannot be told, so the file is refused with the place and the number of records before it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pim_platform.catalog.notation import is_own
from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.decoding import lines
from pim_platform.intake.readers.flattening import KEY_COLUMN, flatten
from pim_platform.intake.readers.json_paths import Found, parse_path, walk
from pim_platform.intake.readers.json_shape import shape_of, splitter
from pim_platform.intake.readers.json_text import TextWindow, Twice, decode
from pim_platform.intake.readers.own_cells import own_record
from pim_platform.intake.readers.records_out import RecordsOut

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect
    from pim_platform.intake.readers.cells import CellsWriter

#: Characters of a line of JSON Lines, at most.
MAX_LINE_CHARACTERS = 64 << 20
#: Characters of a record that a reject quotes.
_SHOWN = 200


def detect(path: Path, name: str, *, record_path: str | None = None) -> Dialect:
    """How a JSON file is written and where its records are; ``record_path`` where a person has said it.

    Raises :class:`UnreadableFile` with code ``empty_file``, ``no_records`` or ``broken_json``.
    """
    from pim_platform.intake.dialect import Dialect

    if record_path is None and _is_own(path):
        return Dialect(format="jsonl", record_path="$", header_row=None, notation="own")
    shape = shape_of(path, name, record_path)
    return Dialect(
        format=shape.format,
        encoding=shape.encoding,
        record_path=shape.record_path,
        expand=shape.expand,
        header_row=None,
    )


def convert(path: Path, dialect: Dialect, out: CellsWriter) -> None:
    """Write the records of ``path``; a list of variants (``dialect.expand``) gives a row per variant as well.

    Raises :class:`UnreadableFile` (``broken_json``, ``too_deep``, ``record_too_large``) where the document breaks.
    """
    shape = own_record if dialect.notation == "own" else flatten
    records = RecordsOut(out, shape, splitter(dialect.expand) if dialect.expand else None)
    name = out.name
    with path.open("rb") as stream:
        if dialect.format == "jsonl":
            _lines(stream, dialect.encoding, records, name)
        else:
            _documents(TextWindow(stream, dialect.encoding, name), dialect.record_path or "$", records)
    if records.next == 1:
        raise UnreadableFile(
            f"{name} has no records at {dialect.record_path or '$'}.",
            fix="Correct the record path in the dialect, or check the export.", code="no_records", file=name,
            value=dialect.record_path, expected="objects with values",
        )  # fmt: skip


def _is_own(path: Path) -> bool:
    """Whether the first line is a record in the platform's own notation."""
    with path.open("rb") as stream:
        line = stream.readline(MAX_LINE_CHARACTERS)
    try:
        record = decode(line.decode("utf-8-sig").strip())
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and is_own(list(record))


def _documents(window: TextWindow, record_path: str, records: RecordsOut) -> None:
    steps = parse_path(record_path)
    while window.next_document():
        for found in walk(window, steps):
            _record(found, records)
            window.records += 1


def _record(found: Found, records: RecordsOut) -> None:
    value, where = found.value, f"line {found.line}"
    if found.stray is not None:
        records.bad("not_a_record", f"{_kind(value)} stands on {where}, expected {found.stray}",
                    "correct the record path, or write the records in one shape", _shown(value))  # fmt: skip
    elif not isinstance(value, dict):
        records.bad("not_a_record", f"record {records.next} ({where}) is {_kind(value)}, expected an object",
                    "write each product as an object with named fields", _shown(value))  # fmt: skip
    else:
        if found.key is not None:
            value = {KEY_COLUMN: found.key, **value} if not isinstance(value, Twice) else value
        _object(value, where, records)


def _object(value: dict[str, Any], where: str, records: RecordsOut) -> None:
    if twice := _twice(value):
        one, other = (_shown(given) for given in twice.values_of_key)
        records.bad(
            "duplicate_key",
            f"record {records.next} ({where}) has the key {twice.key!r} twice, with {one} and {other}",
            "keep one of them, or write a list", _shown(value),
        )  # fmt: skip
        return
    records.write(value, where)


def _twice(value: Any) -> Twice | None:
    """The first object in a record whose keys contradict each other."""
    if isinstance(value, Twice):
        return value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return None
    for inner in value:
        if isinstance(inner, (dict, list)) and (found := _twice(inner)):
            return found
    return None


def _lines(stream: IO[bytes], encoding: str, records: RecordsOut, name: str) -> None:
    """Records of JSON Lines; a line that is no object is a bad record with its line number."""
    for number, line in lines(stream, encoding, name, MAX_LINE_CHARACTERS):
        text = line.strip(" \t\r\n\x1e\ufeff").removesuffix(",")
        if not text or text in "[]":
            continue
        where = f"line {number}"
        try:
            value = decode(text)
        except json.JSONDecodeError as error:
            records.bad(
                "broken_json",
                f"{where} is no JSON: {_plain(error.msg)} at character {error.pos + 1}",
                "write one whole object per line, or correct the line", text,
            )  # fmt: skip
        except RecursionError:
            records.bad("too_deep", f"{where} is nested too deep to be a product", "flatten the record", text)
        else:
            if isinstance(value, dict):
                _object(value, where, records)
            else:
                records.bad("not_a_record", f"{where} is {_kind(value)}, expected an object",
                            "write each product as an object with named fields", text)  # fmt: skip


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if value is None:
        return "null"
    return f"the plain value {str(value)[:40]!r}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:_SHOWN]


def _plain(message: str) -> str:
    return re.sub(r"^Expecting", "expecting", message)
