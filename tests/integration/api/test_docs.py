"""docs/api/pim.md is true: it names every route and no other, every role's routes, and codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "docs" / "api" / "pim.md").read_text()


def test_the_reference_names_every_route_and_no_other(app, text):
    told = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`", text))
    known = {(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods}
    assert told == known


def test_the_reference_names_codes_that_exist(text):
    table = text.partition("| status | `code` | when |")[2].partition("\n\n")[0]
    codes = {code for line in table.splitlines()[2:] for code in re.findall(r"`([a-z_]+)`", line.split("|")[2])}
    source = "".join(path.read_text() for path in (ROOT / "pim_platform").rglob("*.py"))
    assert len(codes) > 20
    assert {code for code in codes if f'"{code}"' not in source} == set()
