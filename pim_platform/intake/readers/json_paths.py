"""Where the records of a JSON file are: a small part of JSONPath (RFC 9535), read and written.

``$`` the document itself, ``$[*]`` the entries of its list, ``$.products[*]``, ``$.data.products.edges[*].node``,
``$.products.*`` the values of an object keyed by id, ``$['a.b'][*]`` for keys with other characters, and
``$.@graph[?@type=Product]`` for the products among the nodes of a JSON-LD graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pim_platform.errors import BadInput
from pim_platform.intake.readers.json_text import TextWindow

#: schema.org types of one product, its variants' group and what is bought like one.
PRODUCT_TYPES = frozenset([
    "Product", "ProductGroup", "ProductModel", "IndividualProduct", "SomeProducts", "Vehicle", "Car", "Motorcycle",
    "Book", "Drug", "DietarySupplement", "ProductCollection", "Game", "VideoGame", "Movie", "MusicAlbum",
])  # fmt: skip

_STEP = re.compile(r"\.\*|\[\*\]|\[\?@type=(?P<type>\w+)\]|\.(?P<plain>[^.\[\]'*]+)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]")
_PLAIN = re.compile(r"[^.\[\]'*]+")


@dataclass(frozen=True)
class Step:
    """One step: ``kind`` is ``key`` (``name`` says which), ``all`` (list), ``any`` (object) or ``typed`` (list)."""

    kind: str
    name: str = ""


Path = tuple[Step, ...]


def parse_path(text: str) -> Path:
    """The steps of a path. Raises :class:`BadInput` (``invalid_record_path``) where it is none."""
    at, steps = 1, []
    while text.startswith("$") and at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            break
        at = match.end()
        if match["type"]:
            steps.append(Step("typed", match["type"]))
        elif match["plain"] is not None:
            steps.append(Step("key", match["plain"]))
        elif match["quoted"] is not None:
            steps.append(Step("key", re.sub(r"\\(.)", r"\1", match["quoted"])))
        else:
            steps.append(Step("any" if match[0] == ".*" else "all"))
    if not text.startswith("$") or at < len(text):
        raise BadInput(
            f"The record path {text!r} is no path into JSON.",
            fix="Write it like $, $[*], $.products[*], $.data.items[*] or $.products.*.",
            code="invalid_record_path", value=text, expected="a path such as $.products[*]",
        )  # fmt: skip
    return tuple(steps)


def write_path(path: Path) -> str:
    """The text of a path; :func:`parse_path` reads it back."""
    parts = ["$"]
    for step in path:
        if step.kind == "key":
            if _PLAIN.fullmatch(step.name):
                parts.append(f".{step.name}")
            else:
                quoted = step.name.replace("\\", "\\\\").replace("'", "\\'")
                parts.append(f"['{quoted}']")
        elif step.kind == "typed":
            parts.append(f"[?@type={step.name}]")
        else:
            parts.append("[*]" if step.kind == "all" else ".*")
    return "".join(parts)


@dataclass(frozen=True)
class Found:
    """A value at the path: its key where it stands in an object keyed by id, and the line it begins on."""

    value: Any
    line: int
    key: str | None = None
    stray: str | None = None
    """Where the path does not lead on: what was expected at its place."""


def walk(window: TextWindow, path: Path, key: str | None = None) -> Iterator[Found]:
    """The values at ``path`` in the value that comes next, in order, one at a time.

    What stands where the path leads elsewhere is no record; a list or object that the path goes through but
    that is something else (other than null) comes out with ``stray`` set, so that nothing is lost unseen.
    """
    line_of = window.line
    if not path:
        window.peek()
        line = line_of()
        yield Found(window.value(), line, key)
        return
    step, rest = path[0], path[1:]
    first = window.peek()
    wanted = "[" if step.kind in ("all", "typed") else "{"
    if first != wanted:
        line, value = line_of(), window.value()
        if value is not None:
            yield Found(value, line, key, "a list" if wanted == "[" else "an object")
        return
    if step.kind == "key":
        for name in window.members():
            if name == step.name:
                yield from walk(window, rest, key)
            else:
                window.skip()
    elif step.kind == "any":
        for name in window.members():
            yield from walk(window, rest, name)
    elif step.kind == "all":
        for _ in window.elements():
            yield from walk(window, rest, key)
    else:
        for _ in window.elements():
            window.peek()
            line, value = line_of(), window.value()
            if is_of_type(value, step.name):
                yield Found(value, line, key)


def is_of_type(value: Any, name: str) -> bool:
    """Whether a JSON-LD node has a type; ``Product`` stands for every type of schema.org that is sold like one."""
    if not isinstance(value, dict):
        return False
    given = value.get("@type")
    named = given if isinstance(given, list) else [given]
    types = {re.split(r"[/#:]", kind)[-1] for kind in named if isinstance(kind, str)}
    return bool(types & PRODUCT_TYPES) if name == "Product" else name in types
