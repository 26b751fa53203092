"""Damaged JSON and XML: never another outcome than rows, rejects or one clear error, and no record lost unseen."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from lxml import etree

from pim_platform.errors import BadInput
from tests.support.trees import Tree, read_tree

JSON_SEEDS = [
    b'[{"sku":"A-1","name":"Caf\xc3\xa9","price":10.50,"tags":["a","b"]},{"sku":"B","v":[{"x":1},{"y":null}]}]',
    b'{"data":{"products":{"edges":[{"node":{"sku":"A","title":"T","variants":[{"sku":"A-1","price":1}]}}]}}}',
    b'{"@graph":[{"@type":"Product","name":"n","sku":"s","additionalProperty":[{"name":"a","value":"b"}]}]}',
    b'{"sku":"A","n":1}\n{"sku":"B","n":2e5}\n{"sku":"C","n":-0.0}\n',
    '[{"sku":"A","name":"日本"},{"sku":"B","deep":{"a":{"b":[[1,2],[3]]}}}]'.encode("utf-16"),
]
XML_SEEDS = [
    (
        b"<SHOP><SHOPITEM><SKU>A</SKU><NAME>x &amp; y</NAME><PARAM><PARAM_NAME>a</PARAM_NAME><VAL>b</VAL></PARAM>"
        b"</SHOPITEM><SHOPITEM><SKU>B</SKU><D><![CDATA[<p>R&D</p>]]></D><!-- c --></SHOPITEM></SHOP>"
    ),
    b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY co "Acme">]><s><p a="1"><n>&co;&#65;&nbsp;</n></p></s>',
    b'<rss xmlns:g="urn:g"><channel><item><g:id>1</g:id><d>a <b>c</b></d></item></channel></rss>',
    '<?xml version="1.0" encoding="utf-16"?><s><p><sku>日本</sku></p><p><sku>2</sku></p></s>'.encode("utf-16"),
    '<?xml version="1.0" encoding="windows-1250"?><s><p><sku>ž</sku><a/></p></s>'.encode("cp1250"),
]
PIECES = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0000", b"\\ud83d", b"NaN", b"1e999", b"\x00", b"\xff", b"\n",
          b"<", b">", b"</", b"/>", b"&", b"&#0;", b"&#x110000;", b"&x;", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?",
          b"<!DOCTYPE a [", b"<!ENTITY e '&e;'>", b"\xef\xbb\xbf", b"\xff\xfe", b"null", b"true"]  # fmt: skip


def damaged(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with some bytes changed, cut, repeated, put in, or joined to another seed."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randrange(1, 12)]
            case 2:
                data[at:at] = rng.choice(PIECES) * rng.choice([1, 1, 2, 300])
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 60)]
            case 4:
                del data[at:]
            case 5:
                data += rng.choice(seeds)
    return bytes(data)


def outcome(content: bytes, name: str, **changes: Any) -> Tree | None:
    """What came of it; None for an error that a person is told."""
    try:
        return read_tree(content, name, **changes)
    except BadInput as error:
        told = error
    assert told.message
    assert told.fix
    return None


def json_records(content: bytes) -> int | None:
    """Entries of a whole JSON list that hold a value each; None where it is none, or has keys twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        value = json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return len(value) if isinstance(value, list) and value and all(json_filled(v) for v in value) else None


def json_filled(value: Any) -> bool:
    """Whether a value has a cell (or, where it is no object, is a reject)."""
    return not isinstance(value, dict) or any(
        isinstance(v, (int, float)) or (isinstance(v, str) and v) for v in value.values()
    )


def xml_records(content: bytes) -> int | None:
    """``p`` and ``SHOPITEM`` elements with a text, by lxml itself; None where it is not well-formed."""
    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root.tag != "SHOP" or root.getroottree().docinfo.doctype:
        return None
    return sum(any(text.strip() for text in item.itertext()) for item in root.findall("SHOPITEM"))


def fuzz_json(seconds: float, seed: int) -> None:
    rng, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        content = damaged(rng, JSON_SEEDS)
        outcome(content, rng.choice(["products.json", "products.jsonl"]))
        wanted = json_records(content)
        if wanted is not None and b"NaN" not in content and b"Infinity" not in content:
            tree = outcome(content, "products.json", record_path="$[*]", format="json", expand=None)
            assert tree is not None, content
            assert len(tree.records) + len(tree.bad) == wanted, content


def fuzz_xml(seconds: float, seed: int) -> None:
    rng, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        content = damaged(rng, XML_SEEDS)
        outcome(content, "feed.xml")
        wanted = xml_records(content)
        if wanted:
            tree = outcome(content, "feed.xml", record_path="SHOP/SHOPITEM", expand=None)
            assert tree is not None, content
            assert len(tree.records) + len(tree.bad) >= wanted, content


def test_damaged_json_for_a_while() -> None:
    fuzz_json(3, seed=1)


def test_damaged_xml_for_a_while() -> None:
    fuzz_xml(3, seed=1)


@pytest.mark.full
def test_damaged_json_for_two_minutes() -> None:
    fuzz_json(120, seed=int(time.time()))


@pytest.mark.full
def test_damaged_xml_for_two_minutes() -> None:
    fuzz_xml(120, seed=int(time.time()))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        # An encoding guessed by letters was UTF-16, which then missed its byte order mark.
        (JSON_SEEDS[3] + JSON_SEEDS[4] + b'","\xa8' + JSON_SEEDS[1], "products.json"),
        # The evidence for an encoding was cut off before the first byte that is any.
        (b"<SHOP><SHOPITEM>" + b"<!DOCTYPE a [" * 400 + b"\xff</SHOPITEM></SHOP>", "feed.xml"),
        # A type of JSON-LD that is no text.
        (b'{"@graph":[{"@type":{"@type":null},"sku":"A"}]}', "products.json"),
    ],
)
def test_what_fuzzing_found_stays_found(content: bytes, name: str) -> None:
    outcome(content, name)
