"""Finding the records of a JSON file: which list or object in it is the products, and which are their variants.

The document is walked once with little of it kept: of every list and object the first ``KEPT`` members. Every kind of
object in what is kept is a candidate, judged by :mod:`.likeness`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path as FilePath
from typing import Any, Literal

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.flattening import Flat, flatten, is_keyed
from pim_platform.intake.readers.json_paths import Path, Step, is_of_type, parse_path, walk, write_path
from pim_platform.intake.readers.json_text import TextWindow, decode, wide_encoding_of_json
from pim_platform.intake.readers.likeness import PRODUCTS, VARIANTS, choose, is_sku, letters_of, likeness, shares
from pim_platform.intake.readers.sniff import detect_encoding
from pim_platform.intake.readers.source import take_sample

#: Members of a list or object that are looked at.
KEPT = 200
#: Levels that are walked member by member; below them values are decoded whole.
_LEVELS = 5
#: Characters after which the walk ends, where something that looks like products was seen by then.
ENOUGH_CHARACTERS = 64 << 20
#: Lines of the head that tell JSON Lines from a document.
_LINES = 50
#: Members of an object that only wraps a record: ``{"node": {...}, "cursor": "..."}``.
_WRAPPING = 4
_WRAPPERS = ("edges", "nodes", "node", "item")
#: What the keys of an object inside a candidate count.
_BELOW = 0.4
#: Lists beside those called variants whose entries may carry an SKU of their own.
_MAY_EXPAND = VARIANTS | {"offers"}


@dataclass(frozen=True)
class Shape:
    """What detection found; the fields are those of a dialect."""

    format: Literal["json", "jsonl"]
    encoding: str
    record_path: str
    expand: str | None


@dataclass
class Kind:
    """Objects that stand at the same path."""

    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


class _Cut(list[Any]):
    """The first entries of a list, and how many there are."""

    total: int


def shape_of(path: FilePath, name: str, record_path: str | None = None) -> Shape:
    """The shape of a JSON file; ``record_path`` where it is known.

    Raises :class:`UnreadableFile` with code ``empty_file``, ``no_records`` or ``broken_json``.
    """
    sample = take_sample(path, name)
    if not sample.head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise UnreadableFile(
            f"{name} is empty: it holds no records.", fix="Upload a file with at least one product.",
            code="empty_file", file=name, expected="a list of products",
        )  # fmt: skip
    encoding = wide_encoding_of_json(sample.head) or detect_encoding(sample)
    lines = sample.head.decode(encoding, "replace").removeprefix("\ufeff").split("\n")
    if _are_lines(lines if sample.complete else lines[:-1] or lines, name):
        objects = [value for line in lines[:KEPT] if isinstance(value := _line_value(line), dict)]
        return Shape("jsonl", encoding, "$", find_variants(objects))
    with path.open("rb") as stream:
        window = TextWindow(stream, encoding, name)
        if record_path is not None:
            window.next_document()
            values = [f.value for f in islice(walk(window, parse_path(record_path)), KEPT) if isinstance(f.value, dict)]
            return Shape("json", encoding, record_path, find_variants(values))
        kinds = _kinds(window)
    steps = best_path(kinds)
    if steps is None:
        raise UnreadableFile(
            f"{name} holds no objects, so no records.",
            fix="Export the products as a list of objects with named fields.", code="no_records", file=name,
            expected="a list of objects",
        )  # fmt: skip
    examples = kinds[steps].examples
    if steps == () and _chosen({(): _score((), kinds[()])}) is None and (empty := _empty_list(examples)) is not None:
        raise UnreadableFile(
            f"{name} holds no products: its list {empty!r} is empty.", fix="Export the file with at least one product.",
            code="no_records", file=name, expected="at least one product",
        )  # fmt: skip
    typed = [example for example in examples if is_of_type(example, "Product")]
    if typed and len(typed) < len(examples) and steps and steps[-1].kind == "all":
        steps, examples = (*steps[:-1], Step("typed", "Product")), typed
    return Shape("json", encoding, write_path(steps), find_variants(examples))


def _are_lines(lines: list[str], name: str) -> bool:
    """Whether the lines are a whole object each, some broken ones aside."""
    filled = [line for line in islice((line.strip() for line in lines), _LINES) if line]
    objects = sum(isinstance(_line_value(line), dict) for line in filled)
    if re.search(r"\.(jsonl|ndjson)\b", name, re.IGNORECASE):
        return objects > 0
    return objects > 1 and 2 * objects >= len(filled)


def _line_value(line: str) -> Any:
    try:
        return decode(line.strip(" \t\r\x1e"))
    except (ValueError, RecursionError):
        return None


def _kinds(window: TextWindow) -> dict[Path, Kind]:
    """The kinds of objects in a file. A document that breaks after some were seen is left to the import to tell."""
    kinds: dict[Path, Kind] = {}
    pruner = _Pruner(window)
    while pruner.broken is None and window.position() <= ENOUGH_CHARACTERS and window.next_document():
        _visit(pruner.value(_LEVELS), (), kinds)
    if pruner.broken is not None and not any(example for kind in kinds.values() for example in kind.examples):
        raise pruner.broken
    return kinds


class _Pruner:
    """Takes values with the first members of their lists and objects; ``broken`` is where the document ends early."""

    def __init__(self, window: TextWindow) -> None:
        self._window = window
        self.broken: UnreadableFile | None = None

    def value(self, levels: int) -> Any:
        """The next value; what was read of it where the document breaks."""
        try:
            first = self._window.peek()
            if levels == 0 or first not in ("{", "["):
                return self._window.value()
        except UnreadableFile as error:
            self.broken = error
            return None
        return self._members(levels) if first == "{" else self._elements(levels)

    def _members(self, levels: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            for key in self._window.members():
                if len(found) < KEPT:
                    found[key] = self.value(levels - 1)
                else:
                    self._window.skip()
                if self.broken is not None:
                    break
        except UnreadableFile as error:
            self.broken = error
        return found

    def _elements(self, levels: int) -> _Cut:
        kept = _Cut()
        kept.total = 0
        try:
            for _ in self._window.elements():
                kept.total += 1
                if len(kept) < KEPT:
                    kept.append(self.value(levels - 1))
                elif self._window.position() > ENOUGH_CHARACTERS:
                    break
                else:
                    self._window.value()
                if self.broken is not None:
                    break
        except UnreadableFile as error:
            self.broken = error
        return kept


def _visit(value: Any, path: Path, kinds: dict[Path, Kind]) -> None:
    if isinstance(value, dict):
        kind = kinds.setdefault(path, Kind())
        kind.count += 1
        if len(kind.examples) < KEPT:
            kind.examples.append(value)
        if _is_map(value):
            for entry in value.values():
                _visit(entry, (*path, Step("any")), kinds)
        else:
            for key, entry in value.items():
                _visit(entry, (*path, Step("key", key)), kinds)
    elif isinstance(value, list):
        below = (*path, Step("all"))
        for entry in value:
            _visit(entry, below, kinds)
        if below in kinds and isinstance(value, _Cut):
            kinds[below].count += max(value.total - len(value), 0)


def _is_map(value: Mapping[str, Any]) -> bool:
    """Whether an object is records keyed by id or SKU: all values are objects with much the same keys."""
    if is_keyed(value):
        return True
    if len(value) < 2 or not all(isinstance(entry, dict) for entry in value.values()):
        return False
    keys = [set(entry) for entry in islice(value.values(), 20)]
    common, every = set.intersection(*keys), set.union(*keys)
    return bool(common) and 2 * len(common) >= len(every)


def best_path(kinds: Mapping[Path, Kind]) -> Path | None:
    """The path of the products among these kinds of objects; None where there is no object."""
    scores = {path: _score(path, kind) for path, kind in kinds.items() if _reachable(path, kinds)}
    if not scores:
        return None
    found = _chosen(scores)
    return _fallback({path: kinds[path] for path in scores}) if found is None else found


def _chosen(scores: dict[Path, float]) -> Path | None:
    return choose(scores, _container, lambda path: bool(path) and path[-1].kind != "key")


def _empty_list(objects: Sequence[Any]) -> str | None:
    """The key of a list of products without any, in these objects or those in them; None where there is none."""
    for example in objects:
        for key, value in example.items():
            if value in ([], {}) and letters_of(key) in PRODUCTS:
                return str(key)
            if isinstance(value, dict) and (found := _empty_list([value])) is not None:
                return found
    return None


def _score(path: Path, kind: Kind) -> float:
    if all(_only_wraps(example) for example in kind.examples):
        return 0.0
    keys = shares(_names(example) for example in kind.examples)
    depth = sum(step.kind == "key" for step in path)
    score = likeness(keys, _container(path), kind.count, depth)
    if any(is_of_type(example, "Product") for example in kind.examples):
        score += 6.0
    return score


def _only_wraps(example: Mapping[str, Any]) -> bool:
    """Whether an object only holds records: keyed by id, or as GraphQL and schema.org's lists wrap them."""
    inner = (example.get(key) for key in _WRAPPERS)
    return _is_map(example) or (len(example) <= _WRAPPING and any(isinstance(value, (dict, list)) for value in inner))


def _names(example: Mapping[str, Any]) -> dict[str, float]:
    """The keys of an object that hold something, and for less those of the objects in it that are no products."""
    found: dict[str, float] = {}
    for key, value in example.items():
        if value in (None, "", [], {}):
            continue
        found[key] = 1.0
        if isinstance(value, dict) and letters_of(key) not in PRODUCTS:
            for inner in value:
                found.setdefault(inner, _BELOW)
    return found


def _container(path: Path) -> str:
    names = [step.name for step in path if step.kind == "key"]
    while len(names) > 1 and letters_of(names[-1]) in ("node", "nodes", "edges", "data", "item", "items", "list"):
        names.pop()
    return letters_of(names[-1]) if names else ""


def _reachable(path: Path, kinds: Mapping[Path, Kind]) -> bool:
    """Whether going down from an entry of a list loses little: the entry is only a wrapper of the record."""
    inside = False
    for length, step in enumerate(path):
        if inside and step.kind == "key":
            around = kinds.get(path[:length])
            wraps = around is not None and all(len(example) <= _WRAPPING for example in around.examples)
            # A list inside a list may be the products of a category; a member of an entry is no record.
            if not wraps and all(later.kind == "key" for later in path[length:]):
                return False
        inside = inside or step.kind != "key"
    return True


def _fallback(kinds: Mapping[Path, Kind]) -> Path:
    """Where nothing looks like a product: the first list of objects from above, the longest of its level."""
    lists = [path for path in kinds if path and path[-1].kind != "key"]
    if () in kinds and not any(kinds[path].count > 1 for path in lists):
        return ()
    return min(lists or kinds, key=lambda path: (sum(s.kind != "key" for s in path), len(path), -kinds[path].count))


def find_variants(records: list[dict[str, Any]]) -> str | None:
    """The nested list whose entries are variants with an SKU of their own, as ``variants[]``; None for none."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for path, entries in _lists(record, ""):
            found.setdefault(path, []).extend(entries)
    best: tuple[int, str] | None = None
    for path, entries in found.items():
        with_sku = [entry for entry in entries if any(is_sku(key) and value for key, value in entry.items())]
        if 2 * len(with_sku) > len(entries) and (best is None or len(with_sku) > best[0]):
            best = len(with_sku), path
    return best[1] if best else None


def _lists(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for key, value in record.items():
        named = letters_of(key) in _MAY_EXPAND
        if re.search(r"[.\[\]]", key):
            continue
        if isinstance(value, list) and named:
            entries = [entry for entry in value if isinstance(entry, dict)]
            if entries:
                yield f"{prefix}{key}[]", entries
        elif isinstance(value, dict) and named:
            edges = value.get("edges")
            if isinstance(edges, list):
                nodes = [
                    edge["node"] for edge in edges if isinstance(edge, dict) and isinstance(edge.get("node"), dict)
                ]
                yield f"{prefix}{key}.edges[].node", nodes
            elif isinstance(nodes_given := value.get("nodes"), list):
                yield f"{prefix}{key}.nodes[]", [node for node in nodes_given if isinstance(node, dict)]


#: Members that hold one variant, by their letters.
_MASTERS = frozenset({"mastervariant", "mainvariant", "defaultvariant"})


def splitter(expand: str) -> Callable[[dict[str, Any]], tuple[dict[str, Any], list[Flat]]]:
    """A function that takes the variants at ``expand`` out of a record and gives their columns."""
    before, _, behind = expand.partition("[]")
    keys, tail = before.split("."), [key for key in behind.split(".") if key]
    prefix = ".".join([f"{before}[]", *tail]) + "."

    def split(record: dict[str, Any]) -> tuple[dict[str, Any], list[Flat]]:
        around, entries = record, None
        copied = dict(record)
        inner = copied
        for position, key in enumerate(keys):
            value = around.get(key)
            if position == len(keys) - 1:
                entries = value
            elif isinstance(value, dict):
                inner[key] = around = dict(value)
                inner = around
            else:
                return record, []
        if not isinstance(entries, list):
            return record, []
        if not tail and (master := _master(inner, entries)) is not None:
            entries = [inner.pop(master), *entries]
        rest, variants = [], []
        for entry in entries:
            variant, left = _taken(entry, tail)
            if variant is None:
                rest.append(entry)
                continue
            if left:
                rest.append(left)
            flat = Flat()
            flat.add(prefix, flatten(variant))
            variants.append(flat)
        inner[keys[-1]] = rest
        return copied, variants

    return split


def _master(record: Mapping[str, Any], entries: list[Any]) -> str | None:
    """The member that is a variant of its own beside the list of the others, as in commercetools' projections.

    One whose SKU an entry of the list has as well is the same variant again.
    """
    known = {_sku_of(entry) for entry in entries if isinstance(entry, dict)}
    for key, value in record.items():
        if letters_of(key) in _MASTERS and isinstance(value, dict) and (sku := _sku_of(value)) and sku not in known:
            return key
    return None


def _sku_of(variant: Mapping[str, Any]) -> str:
    return next((str(value) for key, value in variant.items() if is_sku(key) and value), "")


def _taken(entry: Any, tail: list[str]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The variant in an entry of the list, and what else the entry holds."""
    if not isinstance(entry, dict):
        return None, {}
    if not tail:
        return entry, {}
    inner = entry.get(tail[0])
    if not isinstance(inner, dict):
        return None, {}
    return inner, {key: value for key, value in entry.items() if key != tail[0]}
