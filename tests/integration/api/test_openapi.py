"""The OpenAPI document: the file that is checked in is the one the code makes, and every operation keeps the rules.

Nothing here asks an engine; it lies beside the other tests of the API because a new route meets all of them.
"""

from __future__ import annotations

import difflib
import html
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pim_platform.api.app import create_app
from pim_platform.api.document import TAGS, text_of
from pim_platform.api.examples import UNKNOWN, bodies
from pim_platform.api.reference import page
from pim_platform.settings import Settings
from pim_platform.tenancy.keys import ROLES, SCOPES
from tests.support.route_walk import parameters

CHECKED_IN = Path(__file__).parents[3] / "docs" / "openapi.json"
JSON = ("application/json", "application/merge-patch+json")
#: Alias routes are deprecated; they keep the names of what they stand for.
OPEN_TAGS = {"health", "auth", "metrics"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_checked_in_document_is_what_the_code_makes(document: dict[str, Any]) -> None:
    made, kept = text_of(document), CHECKED_IN.read_text("utf-8") if CHECKED_IN.exists() else ""
    difference = list(difflib.unified_diff(kept.splitlines(), made.splitlines(), "docs/openapi.json", "the code"))
    assert not difference, "Run `make openapi` and look at the difference:\n" + "\n".join(difference[:80])


def test_every_body_and_every_answer_has_an_example_that_is_valid(document: dict[str, Any]) -> None:
    wrong = []
    for where, content in bodies(document):
        for kind, media in content.items():
            shown = [media["example"]] if "example" in media else []
            shown += [one["value"] for one in media.get("examples", {}).values()]
            if not shown and (kind in JSON or kind.startswith("text/")):
                wrong.append(f"{where}: {kind} has no example")
            if UNKNOWN in str(shown):
                wrong.append(
                    f"{where}: nothing is known of a text in {shown}; give the model or the field `examples`, or add "
                    "the field to pim_platform/api/examples.py"
                )
            if kind in JSON and media.get("schema"):
                schema = media["schema"] | {"components": document["components"]}
                validator = jsonschema_rs.Draft202012Validator(schema)
                wrong += [f"{where}: {shown}: {error.message}" for one in shown for error in validator.iter_errors(one)]
    assert not wrong, "\n".join(wrong)


def test_a_models_own_examples_are_valid(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        validator = jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]})
        for example in schema.get("examples", ()):
            assert validator.is_valid(example), f"{name}: {[error.message for error in validator.iter_errors(example)]}"


def test_what_takes_an_idempotency_key_says_so_and_nothing_else_does(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        named = "idempotency-key" in {one["name"].lower() for one in operation.get("parameters", ())}
        behind_a_credential = "x-role" in operation and "x-above-tenants" not in operation
        assert named == (method in ("POST", "PATCH") and behind_a_credential), f"{method} {path}"


def test_operation_ids_are_unique_and_plain(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    assert [one for one in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)+", one)] == []


def test_every_operation_keeps_the_conventions(document: dict[str, Any]) -> None:
    wrong = []
    for method, path, operation in _operations(document):
        faults = list(_faults(method, path, operation))
        wrong += [f"{method} {path}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)


def _faults(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    statuses = operation["responses"].keys()
    if path.startswith("/api/") != path.endswith("/"):
        yield "paths under /api/ end with a slash, others do not"
    if not re.fullmatch(r"(/[a-z0-9.-]+|/\{[a-z_]+\})+/?", path):
        yield "path segments are words in lower case with hyphens, or parameters in snake_case"
    if len(operation.get("tags", ())) != 1 or operation["tags"][0] not in TAGS:
        yield f"it has one tag of those in pim_platform/api/document.py, not {operation.get('tags')}"
    summary = operation.get("summary", "")
    if not 3 < len(summary) <= 60 or summary.endswith(".") or summary[0] != summary[0].upper():
        yield f"its summary is a short line without a full stop, not {summary!r}"
    if not operation.get("description", "").strip().endswith((".", "?", "`", ")")):
        yield "its description (the docstring) is sentences"
    for parameter in operation.get("parameters", ()):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", parameter["name"]) and parameter["in"] != "header":
            yield f"the parameter {parameter['name']} is not snake_case"
    if operation["tags"][0] not in OPEN_TAGS:
        if operation.get("x-role") not in ROLES:
            yield "it names no role (openapi_extra=needs(...))"
        if operation.get("x-scope", "any") not in (*SCOPES, "any", "unlimited"):
            yield f"it names a scope that there is not: {operation['x-scope']}"
        if missing := {"401", "403", "500", "503"} - statuses:
            yield f"it does not document {sorted(missing)} (documented(...))"
    if parameters(path) and method != "PUT" and "404" not in statuses:  # PUT may make what is not there
        yield "an id in its path may be unknown: document 404"
    if not any(status.startswith("2") for status in statuses):
        yield "it has no good answer"
    if "requestBody" in operation and (missing := {"400", "413", "422"} - statuses) and operation.get("x-role"):
        yield f"it reads a body, so that {sorted(missing)} can be answered"
    if method == "GET" and "requestBody" in operation:
        yield "a GET has no body"
    for parameter in operation.get("parameters", ()):
        plain = parameter["in"] == "path" and parameter["schema"].get("type") == "string"
        if not ("format" not in parameter["schema"] and plain) and "422" not in statuses:
            yield f"the parameter {parameter['name']} can be invalid: document 422"


def test_the_reference_page_shows_every_operation_with_a_command_and_an_example(document: dict[str, Any]) -> None:
    shown = page(document)
    assert set(re.findall(r'href="#([^"]+)"', shown)) <= set(re.findall(r'id="([^"]+)"', shown)), "a link leads nowhere"
    for method, path, operation in _operations(document):
        section = shown.partition(f'id="{operation["operationId"]}"')[2].partition("</section>")[0]
        command = html.unescape(re.findall(r"<pre>(curl .*?)</pre>", section, re.DOTALL)[0])
        words = shlex.split(command)
        assert words[-1].startswith("$PIM/"), command
        assert words[-1].count("$") == 1 + len(parameters(path)), command
        plain = method == "GET" or (method == "POST" and {"-d", "-F"} & set(words))
        assert ("-X" in words) == (not plain), command
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            json.loads(words[words.index("-d") + 1])
        answers = [a for s, a in operation["responses"].items() if s.startswith("2")]
        if any("application/json" in answer.get("content", {}) for answer in answers):
            assert "<summary>Example of 2" in section, f"{method} {path}"
