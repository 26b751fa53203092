"""One XML element becomes the columns of a record: ``A/B``, ``A/@x``; namespaces are left out.

An element that occurs once gives plain text, several give a list; see :mod:`.flattening` for lists. Markup of HTML
inside an element stays in its text, as the shop's page would show it.
"""

from __future__ import annotations

import html
from typing import Any

from lxml import etree

from pim_platform.intake.readers.flattening import MAX_DEPTH, MAX_VALUES, Cell, Flat, TooDeep, align
from pim_platform.intake.readers.pairs import pair_columns

#: Elements of HTML that texts are marked up with; not those whose names are also words of product data.
_HTML = frozenset([
    "p", "br", "b", "i", "u", "strong", "em", "ul", "ol", "li", "div", "span", "h1", "h2", "h3", "h4", "h5", "h6",
    "table", "tr", "td", "th", "tbody", "thead", "a", "img", "hr", "sup", "sub", "font", "center", "blockquote",
    "small",
])  # fmt: skip
_SCHEMA_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
#: Column of a record's own text, where it has some beside its elements.
TEXT_COLUMN = "#text"


def local_name(tag: str) -> str:
    """A tag or attribute without its namespace."""
    return tag.rsplit("}", 1)[-1]


def flatten_element(record: Any) -> Flat:
    """The columns of a record's element. Raises :class:`TooDeep`."""
    flat = _columns(record, 0, [MAX_VALUES])
    own = flat.cells.pop("", None)
    if own is not None:
        flat.put(TEXT_COLUMN, own)
    return flat


def _columns(element: Any, depth: int, budget: list[int]) -> Flat:
    """The columns of an element, its own text as ""."""
    if depth > MAX_DEPTH:
        raise TooDeep
    flat = Flat()
    for name, value in element.attrib.items():
        if not name.startswith(_SCHEMA_INSTANCE) and value.strip():
            flat.cells.setdefault(f"@{local_name(name)}", Cell([value.strip()]))
    if len(element) == 0:
        own = (element.text or "").strip()
    elif is_html(element):
        own, element = inner_text(element), ()
    else:
        own = " ".join(filter(None, [(element.text or "").strip(), *((c.tail or "").strip() for c in element)]))
    budget[0] -= 1 + len(flat.cells)
    if budget[0] < 0:
        raise TooDeep
    if own:
        flat.cells[""] = Cell([own])
    groups: dict[str, list[Any]] = {}
    for child in element:
        groups.setdefault(local_name(child.tag), []).append(child)
    for tag, children in groups.items():
        if not any(len(child) or child.attrib for child in children):
            # Most elements: a text and nothing else. The same as below, without the parts.
            texts = [(child.text or "").strip() for child in children]
            budget[0] -= len(texts)
            flat.levels[tag] = len(texts)
            if budget[0] < 0:
                raise TooDeep
            if any(texts):
                flat.cells[tag] = Cell(texts)
            continue
        parts = [_columns(child, depth + 1, budget) for child in children]
        merged = align(parts)
        flat.levels[tag] = len(parts)
        for name, cell in merged.cells.items():
            whole = f"{tag}/{name}" if name else tag
            flat.cells[whole] = Cell(cell.values, f"{tag}/{cell.level}" if cell.level else tag if name else "")
        for level, count in merged.levels.items():
            flat.levels[f"{tag}/{level}"] = count
        flat.pairs.update(f"{tag}/{name}" for name in merged.pairs)
        members = ({name: cell.values for name, cell in part.cells.items() if name not in part.pairs} for part in parts)
        for name, values in pair_columns(tag, members).items():
            flat.cells.setdefault(name, Cell(values))
            flat.pairs.add(name)
    return flat


def is_html(element: Any) -> bool:
    """Whether an element's content is text with HTML markup."""
    if len(element) == 0 or not all(local_name(child.tag).lower() in _HTML for child in element):
        return False
    return not all(_is_named_value(child) for child in element)


def _is_named_value(element: Any) -> bool:
    """Whether an ``a`` holds a value and its name, as in feeds for Ceneo; in HTML such an anchor is empty."""
    anchor = local_name(element.tag).lower() == "a" and "name" in element.attrib and "href" not in element.attrib
    return anchor and len(element) == 0 and bool((element.text or "").strip()) and not (element.tail or "").strip()


def inner_text(element: Any) -> str:
    """The content of an element with its markup, without namespaces."""
    parts = [html.escape(element.text or "", quote=False)]
    for child in element.iterchildren():
        copied = etree.tostring(child, encoding="unicode", with_tail=True)
        parts.append(copied)
    text = "".join(parts)
    for prefix, uri in element.nsmap.items():
        declared = f' xmlns:{prefix}="{uri}"' if prefix else f' xmlns="{uri}"'
        text = text.replace(declared, "")
        if prefix:
            text = text.replace(f"<{prefix}:", "<").replace(f"</{prefix}:", "</")
    return text.strip()
