"""What a workbook's own XML says of cells beside their values: errors, number formats, formulas never computed.

The library that reads the values gives an error as an empty cell and a number without its format. Only cells that are
special in one of these ways are looked up; a sheet without any costs one search through its bytes.
Layout: ECMA-376 part 1, 18.3.1.4 (cells), 18.8.10 and 18.8.30 (formats).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import join, normpath

from lxml import etree

from pim_platform.intake.readers.number_formats import BUILT_IN, Shown, shown_by

Place = tuple[int, int]
"""0-based row and column."""

_BLOCK = 4 * 1024 * 1024
#: A tag and the content of its cell are never longer than this; texts lie elsewhere, or are of no interest here.
_LONGEST = 64 * 1024
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([1-9][0-9]{0,6})"')
_VALUE = re.compile(rb"<(?:\w+:)?v(?:\s[^>]*)?>([^<]*)<")
_CELL_END = re.compile(rb"</(?:\w+:)?c>")
_SAFE = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


@dataclass
class SpecialCells:
    """The cells of one sheet that are more than their value."""

    errors: dict[Place, str] = field(default_factory=dict)
    """Error values such as ``#REF!``."""
    formats: dict[Place, Shown] = field(default_factory=dict)
    """How numbers are shown, where that adds something."""
    uncomputed: set[Place] = field(default_factory=set)
    """Formulas without a value: the program that wrote them computed nothing."""


def special_cells(path: Path, sheet: str) -> SpecialCells:
    """The special cells of a sheet; none where the workbook is no OOXML or its parts are not where they should be."""
    found = SpecialCells()
    try:
        with zipfile.ZipFile(path) as archive:
            part = _part_of(archive, sheet)
            if part is not None:
                _scan(archive, part, _styles(archive), found)
    except (zipfile.BadZipFile, KeyError, etree.XMLSyntaxError, NotImplementedError, RuntimeError, ValueError):
        return found  # what the values' own reader makes of such a file counts
    return found


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    if "xl/workbook.xml" not in archive.namelist():
        return None
    targets = {
        element.get("Id"): element.get("Target")
        for element in _elements(archive, "xl/_rels/workbook.xml.rels", "Relationship")
    }
    for element in _elements(archive, "xl/workbook.xml", "sheet"):
        if element.get("name") == sheet:
            identity = next((value for key, value in element.attrib.items() if key.endswith("}id")), None)
            target = targets.get(identity)
            return normpath(join("/xl", target)).lstrip("/") if target else None
    return None


def _styles(archive: zipfile.ZipFile) -> dict[bytes, Shown]:
    """Number of a cell style, as cells write it -> how its numbers are shown, where that adds something."""
    if "xl/styles.xml" not in archive.namelist():
        return {}
    codes = dict(BUILT_IN)
    for element in _elements(archive, "xl/styles.xml", "numFmt"):
        codes[int(element.get("numFmtId", "-1"))] = element.get("formatCode", "")
    result: dict[bytes, Shown] = {}
    index = 0
    for element in _elements(archive, "xl/styles.xml", "xf"):
        parent = element.getparent()
        if parent is None or etree.QName(parent).localname != "cellXfs":
            continue
        shown = shown_by(codes.get(int(element.get("numFmtId", "0")), ""))
        if shown is not None:
            result[str(index).encode()] = shown
        index += 1
    return result


def _elements(archive: zipfile.ZipFile, part: str, tag: str) -> Iterator[etree._Element]:
    with archive.open(part) as stream:
        root = etree.parse(stream, etree.XMLParser(**_SAFE)).getroot()
    return iter(list(root.iter(f"{{*}}{tag}")))


def _scan(archive: zipfile.ZipFile, part: str, styles: dict[bytes, Shown], found: SpecialCells) -> None:
    attributes = [rb't="e"']
    if styles:
        attributes.append(rb's="(?:' + b"|".join(styles) + rb')"')
    tags = rb"<(?:\w+:)?c\b(?=[^>]*\s(?:" + b"|".join(attributes) + rb"))([^>]*[^>/])>|<(?:\w+:)?f[\s>]"
    special = re.compile(tags)
    for window, end in _windows(archive, part):
        for match in special.finditer(window, 0, end):
            if match[1] is None:
                _formula(window, match.start(), found)
            else:
                _cell(window, match, styles, found)


def _windows(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[bytes, int]]:
    """The bytes of a part, and up to where matches of this window may start: each has what follows it in view."""
    kept = b""
    with archive.open(part) as stream:
        while True:
            block = stream.read(_BLOCK)
            window = kept + block
            if not block:
                yield window, len(window)
                return
            if len(window) <= 2 * _LONGEST:
                kept = window
                continue
            cell = window.rfind(b"c r=", 0, len(window) - _LONGEST)
            cut = window.rfind(b"<", 0, (cell if cell > 0 else len(window) - _LONGEST) + 1)
            yield window, cut
            kept = window[cut:]


def _cell(window: bytes, match: re.Match[bytes], styles: dict[bytes, Shown], found: SpecialCells) -> None:
    place = _place(match[1])
    if place is None:
        return
    kind = _attribute(match[1], b"t")
    if kind == b"e":
        value = _VALUE.search(window, match.end(), _end_of_cell(window, match.end()))
        if value is not None:
            found.errors[place] = value[1].decode("utf-8", "replace")
    elif kind in (None, b"n"):
        style = styles.get(_attribute(match[1], b"s") or b"")
        if style is not None:
            found.formats[place] = style


def _formula(window: bytes, at: int, found: SpecialCells) -> None:
    start = max(window.rfind(b"<c ", 0, at), window.rfind(b":c ", 0, at))
    value = _VALUE.search(window, at, _end_of_cell(window, at))
    if start >= 0 and (value is None or not value[1]):
        tag = window[start : window.find(b">", start)]
        place = _place(tag)
        # A formula may well give an empty text; then its cell says that it is one.
        if place is not None and _attribute(tag, b"t") != b"str":
            found.uncomputed.add(place)


def _end_of_cell(window: bytes, at: int) -> int:
    match = _CELL_END.search(window, at, at + _LONGEST)
    return match.start() if match else at


def _attribute(tag: bytes, name: bytes) -> bytes | None:
    match = re.search(rb'\s%s="([^"]*)"' % name, tag)
    return match[1] if match else None


def _place(tag: bytes) -> Place | None:
    match = _REFERENCE.search(tag)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = column * 26 + letter - 64
    return int(match[2]) - 1, column - 1


def column_letters(index: int) -> str:
    """The name of a 0-based column: 0 is A, 26 is AA."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
