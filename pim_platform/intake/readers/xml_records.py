"""XML: the records are the element that looks most like a product, wherever it stands.

Read by lxml's pull parser over text that :mod:`.xml_text` has prepared: no document type, no entities, no network.
Elements are dropped as soon as they are read, so memory is bounded by the largest record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lxml import etree

from pim_platform.errors import BadInput, UnreadableFile
from pim_platform.intake.readers.flattening import Flat
from pim_platform.intake.readers.likeness import PRODUCTS, VARIANTS, choose, is_sku, letters_of, likeness
from pim_platform.intake.readers.records_out import RecordsOut
from pim_platform.intake.readers.source import take_sample
from pim_platform.intake.readers.xml_elements import TEXT_COLUMN, flatten_element, local_name
from pim_platform.intake.readers.xml_text import UNDECODABLE, CleanText, encoding_of

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect
    from pim_platform.intake.readers.cells import CellsWriter

#: Elements of one path that are looked at.
_KEPT = 200
#: Characters after which detection ends, where something that looks like products was seen by then.
_ENOUGH_CHARACTERS = 16 << 20
#: What members two levels down count, beside those one level down.
_BELOW = 0.4
#: Elements of a header that say something about all records, by their letters.
_CONTEXT = {
    "defaultcurrencycode": "currency", "currency": "currency", "m186": "currency", "language": "language",
    "defaultlanguageoftext": "language", "m184": "language", "mimeroot": "base of image addresses",
}  # fmt: skip

Place = tuple[str, ...]


@dataclass
class _Kind:
    """Elements of one path: how many, and in how many of those looked at each member was seen."""

    count: int = 0
    looked_at: int = 0
    members: dict[str, float] = field(default_factory=dict)


def detect(path: Path, name: str, *, record_path: str | None = None) -> Dialect:
    """How an XML file is written and which element its records are; ``record_path`` where a person has said it.

    Raises :class:`UnreadableFile` with code ``empty_file``, ``broken_xml``, ``no_records``, ``unknown_entity`` or
    ``entity_refused``.
    """
    from pim_platform.intake.dialect import Dialect

    sample = take_sample(path, name)
    if not sample.head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise UnreadableFile(
            f"{name} is empty: it holds no records.", fix="Upload a file with at least one product.",
            code="empty_file", file=name, expected="product elements",
        )  # fmt: skip
    encoding = encoding_of(sample)
    with path.open("rb") as stream:
        survey = _Survey(stream, encoding, name)
        place = _place(record_path) if record_path else survey.best(name)
    return Dialect(
        format="xml", encoding=encoding, record_path="/".join(place), expand=survey.variants(place), header_row=None
    )


def convert(path: Path, dialect: Dialect, out: CellsWriter) -> None:
    """Write the records of ``path``; variants (``dialect.expand``) give a row each as well.

    Raises :class:`UnreadableFile` with code ``broken_xml``, ``no_records``, ``unknown_entity`` or ``entity_refused``.
    """
    place = _place(dialect.record_path or "")
    records = RecordsOut(out, flatten_element, splitter(dialect.expand) if dialect.expand else None)
    with path.open("rb") as stream:
        text = CleanText(stream, dialect.encoding, out.name)
        reading = _Reading(text, out.name)
        for element in reading.records_at(place, _teller(out, reading)):
            _record(element, records, suspicious=text.undecodable)
    for note in text.notes:
        out.note(note)
    if not reading.records:
        raise UnreadableFile(
            f"{out.name} has no element {'/'.join(place)}, so no records.",
            fix="Correct the record path in the dialect, such as SHOP/SHOPITEM.", code="no_records", file=out.name,
            value=dialect.record_path, expected="a repeated element",
        )  # fmt: skip


def _record(element: Any, records: RecordsOut, *, suspicious: bool) -> None:
    line = element.sourceline
    where = f"line {line}" if line and line < 65_535 else "past line 65,535"
    if suspicious and any(
        UNDECODABLE in text for inner in element.iter() for text in (*inner.itertext(), *inner.attrib.values())
    ):
        shown = " ".join("".join(element.itertext()).replace(UNDECODABLE, "\ufffd").split())
        records.bad(
            "undecodable", f"record {records.next} ({where}) holds bytes that are not in the file's encoding",
            "save the file in the encoding it declares, or correct the encoding in the dialect", shown,
        )  # fmt: skip
        return
    records.write(element, where)


class _Reading:
    """The events of a file's elements, and how many records were seen when it breaks."""

    def __init__(self, text: CleanText, name: str) -> None:
        self._text, self._name = text, name
        self.records = 0
        self.characters = 0

    def events(self) -> Iterator[tuple[str, Any]]:
        """``start`` and ``end`` of every element. Raises :class:`UnreadableFile` (``broken_xml``)."""
        parser = etree.XMLPullParser(
            ("start", "end"), encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True,
            dtd_validation=False, attribute_defaults=False, huge_tree=False, remove_comments=True, remove_pis=True,
            collect_ids=False,
        )  # fmt: skip
        try:
            for piece in self._text:
                self.characters += len(piece)
                parser.feed(piece.encode())
                yield from parser.read_events()
            parser.close()
            yield from parser.read_events()
        except etree.XMLSyntaxError as error:
            # Events of what was whole in the last piece are still there: they count, and detection looks at them.
            with suppress(etree.XMLSyntaxError):
                yield from parser.read_events()
            raise self._broken(parser, error) from error

    def records_at(self, place: Place, told: Callable[[Any], None]) -> Iterator[Any]:
        """The elements at ``place``, whole, one at a time; ``told`` is given every other element that ends.

        Everything is dropped as soon as it is read.
        """
        depth = matched = 0
        for event, element in self.events():
            inside = matched == len(place)
            if event == "start":
                if not inside and matched == depth and local_name(element.tag) == place[depth]:
                    matched += 1
                depth += 1
                continue
            depth -= 1
            if inside and depth >= len(place):
                continue
            if inside:
                self.records += 1
                yield element
            else:
                told(element)
            matched = min(matched, depth)
            drop(element)

    def _broken(self, parser: Any, error: etree.XMLSyntaxError) -> UnreadableFile:
        entry = next(iter(parser.feed_error_log.filter_from_fatals()), None)
        message, line, column = (error.msg or "no XML", *error.position) if entry is None else (
            entry.message, entry.line, entry.column
        )  # fmt: skip
        message = message.split(", line ")[0].strip().rstrip(".")
        cut_off = "Premature end" in message or "no element found" in message or "end of file" in message.lower()
        fix = "The file is cut off: export or download it again." if cut_off else (
            "Correct the place, or export the file again."
        )  # fmt: skip
        read = f"{self.records:,} records were read" if self.records != 1 else "1 record was read"
        return UnreadableFile(
            f"{self._name}, line {line:,}, column {column}: {message}; {read} before it.",
            fix=fix, code="broken_xml", file=self._name, row=line, column=str(column), expected="well-formed XML",
            records=self.records,
        )  # fmt: skip


def drop(element: Any) -> None:
    """Free an element that has ended, and those before it."""
    element.clear()
    parent = element.getparent()
    while element.getprevious() is not None:
        del parent[0]


class _Survey:
    """The kinds of elements in a file, by path."""

    def __init__(self, stream: IO[bytes], encoding: str, name: str) -> None:
        self._kinds: dict[Place, _Kind] = {}
        self._stack: list[tuple[str, set[str], set[str]]] = []
        reading = _Reading(CleanText(stream, encoding, name), name)
        looked = _ENOUGH_CHARACTERS
        try:
            for event, element in reading.events():
                if event == "start":
                    names = {f"@{local_name(key)}" for key, value in element.attrib.items() if value.strip()}
                    self._stack.append((local_name(element.tag), names, set()))
                    continue
                self._end(filled=bool((element.text or "").strip()))
                drop(element)
                if reading.characters > looked:
                    looked += _ENOUGH_CHARACTERS
                    best = self._best()
                    if best is not None and self._kinds[best].count > 1:
                        break
        except UnreadableFile:
            # What was seen tells where the records are; reading them tells where the file breaks.
            while self._stack:
                self._end(filled=False)
            if self._best() is None:
                raise
        while self._stack:
            self._end(filled=False)

    def best(self, name: str) -> Place:
        """The path of the records. Raises :class:`UnreadableFile` (``no_records``)."""
        found = self._best() or self._most_repeated()
        if found is None:
            raise UnreadableFile(
                f"{name} has no element with others or attributes in it, so no records.",
                fix="Export the products as elements with a child per field.", code="no_records", file=name,
                expected="product elements",
            )  # fmt: skip
        return found

    def variants(self, place: Place) -> str | None:
        """The element below the record that is a variant with an SKU of its own, as ``VARIANTS/VARIANT``."""
        found = [
            path[len(place) :]
            for path, kind in self._kinds.items()
            if len(path) > len(place) and path[: len(place)] == place and letters_of(path[-1]) in VARIANTS
            if any(is_sku(name.removeprefix("@")) and 2 * n >= kind.looked_at for name, n in kind.members.items())
        ]
        return min(("/".join(path) for path in found), key=lambda text: text.count("/"), default=None)

    def _end(self, *, filled: bool) -> None:
        path = tuple(tag for tag, _, _ in self._stack)
        tag, members, below = self._stack.pop()
        if len(members) > 1 or any(not name.startswith("@") for name in members):
            kind = self._kinds.setdefault(path, _Kind())
            kind.count += 1
            if kind.looked_at < _KEPT:
                kind.looked_at += 1
                for name in members:
                    kind.members[name] = kind.members.get(name, 0) + 1
                for name in below - members:
                    kind.members[name] = kind.members.get(name, 0) + _BELOW
        if self._stack and (filled or members):
            self._stack[-1][1].add(tag)
            if letters_of(tag) not in PRODUCTS:
                self._stack[-1][2].update(members)

    def _best(self) -> Place | None:
        scores = {}
        for path, kind in self._kinds.items():
            tags = [name for name in kind.members if not name.startswith("@")]
            if tags and all(letters_of(tag) in PRODUCTS and (*path, tag) in self._kinds for tag in tags):
                continue  # it only holds records, whatever it is called
            keys: dict[str, float] = {}
            for name, count in kind.members.items():
                plain = name.removeprefix("@")
                keys[plain] = max(keys.get(plain, 0.0), count / max(kind.looked_at, 1))
            scores[path] = likeness(keys, path[-1], kind.count, len(path) - 1)
        return choose(scores, lambda path: path[-1], lambda path: self._kinds[path].count > 1)

    def _most_repeated(self) -> Place | None:
        """Where nothing looks like a product: the first element from above that occurs several times."""
        if not self._kinds:
            return None
        several = [path for path, kind in self._kinds.items() if kind.count > 1]
        return min(several or self._kinds, key=lambda path: (len(path), -self._kinds[path].count))


def splitter(expand: str) -> Callable[[Any], tuple[Any, list[Flat]]]:
    """A function that takes the variants at ``expand`` out of a record's element and gives their columns."""
    steps = tuple(expand.split("/"))

    def split(record: Any) -> tuple[Any, list[Flat]]:
        variants = []
        for element in list(_below(record, steps)):
            flat = Flat()
            inner = flatten_element(element)
            if TEXT_COLUMN in inner.cells:
                flat.put(expand, inner.cells.pop(TEXT_COLUMN))
            flat.add(f"{expand}/", inner)
            variants.append(flat)
            element.getparent().remove(element)
        return record, variants

    return split


def _below(element: Any, steps: Place) -> Iterator[Any]:
    for child in element:
        if local_name(child.tag) == steps[0]:
            if len(steps) == 1:
                yield child
            else:
                yield from _below(child, steps[1:])


def _place(record_path: str) -> Place:
    place = tuple(part.rsplit(":", 1)[-1] for part in record_path.strip("/").split("/"))
    if not all(place):
        raise BadInput(
            f"The record path {record_path!r} is no path of elements.", fix="Write it like SHOP/SHOPITEM.",
            code="invalid_record_path", value=record_path, expected="a path such as SHOP/SHOPITEM",
        )  # fmt: skip
    return place


def _teller(out: CellsWriter, reading: _Reading) -> Callable[[Any], None]:
    """Notes what a header says about all records; only elements before the first record are looked at."""

    def tell(element: Any) -> None:
        what = _CONTEXT.get(letters_of(local_name(element.tag)))
        value = (element.text or "").strip()
        if what and value and len(element) == 0 and not reading.records:
            out.note(f"The header gives the {what} {value!r} ({local_name(element.tag)}).")

    return tell
