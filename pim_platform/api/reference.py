"""``/docs``: the API reference as one plain page, made from the OpenAPI document; needs no script and no network."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pim_platform.api.headers import page_policy

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .75rem; white-space: pre-wrap; border-radius: .4rem; margin: .5rem 0; }
section.operation { border-top: 1px solid var(--line); margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
td, th { overflow-wrap: anywhere; }
.method { text-transform: uppercase; font-weight: 700; }
nav ul { list-style: none; padding: 0; columns: 20rem; }
nav li { break-inside: avoid; padding-bottom: .3rem; }
nav li code { display: block; }
summary { cursor: pointer; padding: .2rem 0; }
.old { opacity: .7; }
"""

_AUTH = """<section id="calling"><h2>How to call it</h2>
<p>Examples are for a shell with two variables: <code>PIM</code>, the address of this API, and <code>PIM_KEY</code>.</p>
<ul>
<li><strong>Who calls.</strong> <code>Authorization: Bearer ...</code> with an API key (<code>pim_...</code>; an
admin makes them under <a href="#keys">keys</a>, or the operator with <code>pim key create</code>) or with the access
token of a person from <a href="#auth">/auth/token</a>. A key belongs to one tenant; a person of several names one in
<code>X-Tenant</code>.</li>
<li><strong>What it may.</strong> Each operation names the least role, viewer &lt; reviewer &lt; editor &lt; admin, and
a scope, which only matters for keys that are limited to some.</li>
<li><strong>Twice is once.</strong> Send an <code>Idempotency-Key</code> of your own with what changes something, and
you may send it again after a broken connection.</li>
<li><strong>Too much.</strong> <code>RateLimit</code> in every answer says what is left; <code>429</code>,
<code>503</code> and <code>409 tenant_busy</code> say with <code>Retry-After</code> when to try again.</li>
<li><strong>What went wrong</strong> is a <a href="#schema-Problem">Problem</a> with a stable <code>code</code>, what to
do about it in <code>fix</code>, and the place. Quote <code>X-Request-ID</code> when you ask for help.</li>
</ul></section>"""


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The reference page."""
    return HTMLResponse(page(request.app.openapi()), headers={"Content-Security-Policy": page_policy(_STYLE)})


def page(document: dict[str, Any]) -> str:
    """The OpenAPI document as an HTML page."""
    info = document["info"]
    abouts = {tag["name"]: tag["description"] for tag in document.get("tags", ())}
    places = list(abouts)
    operations = sorted(_operations(document), key=lambda one: places.index(one[0]))
    groups = [(tag, list(found)) for tag, found in groupby(operations, key=lambda one: one[0])]
    links = "".join(_links(tag, found) for tag, found in groups)
    title = f"{_text(info['title'])} API {_text(info['version'])}"
    about = "".join(f"<p>{_code(part)}</p>" for part in info["description"].split("\n\n"))
    body = "".join(
        f'<h2 id="{_text(tag)}">{_text(tag)}</h2><p>{_code(abouts[tag])}</p>'
        + "".join(_operation(path, method, operation) for _, path, method, operation in found)
        for tag, found in groups
    )
    shapes = "".join(
        f'<section id="schema-{_text(name)}"><details><summary><code>{_text(name)}</code> '
        f"{_code(schema.get('description', ''))}</summary><pre>{_json(schema)}</pre></details></section>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<header><h1>{title}</h1></header><main>{about}"
        f'<p>For programs: <a href="/openapi.json">/openapi.json</a></p>{_AUTH}'
        f'<nav aria-label="Operations"><h2>Operations</h2>{links}</nav>{body}<h2 id="bodies">Bodies</h2>{shapes}'
        "</main></body></html>"
    )


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield operation["tags"][0], path, method, operation


def _links(tag: str, found: list[tuple[str, str, str, dict[str, Any]]]) -> str:
    items = "".join(
        f'<li{_old(o)}><a href="#{_text(o["operationId"])}">{_text(o["summary"])}</a> '
        f"<code>{m.upper()} {_text(p)}</code></li>"
        for _, p, m, o in found
    )
    return f'<h3><a href="#{_text(tag)}">{_text(tag)}</a></h3><ul>{items}</ul>'


def _old(operation: dict[str, Any]) -> str:
    return ' class="old"' if operation.get("deprecated") else ""


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{_text(p['name'])}</code></td><td>{_text(p['in'])}</td>"
        f"<td>{'required' if p.get('required') else _default(p['schema'])}</td>"
        f"<td>{_code(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    if parameters:
        heads = "".join(f'<th scope="col">{head}</th>' for head in ("Parameter", "In", "", "Meaning"))
        parameters = f"<table><thead><tr>{heads}</tr></thead><tbody>{parameters}</tbody></table>"
    request = "".join(
        f"<p>Body, <code>{_text(kind)}</code>: {_shape(content)}</p>"
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    answers = "".join(
        f'<tr><th scope="row">{_text(status)}</th><td>{_code(response["description"])} {_shapes(response)}</td></tr>'
        for status, response in operation["responses"].items()
    )
    deprecated = "<p><strong>Deprecated.</strong></p>" if operation.get("deprecated") else ""
    return (
        f'<section class="operation" id="{_text(operation["operationId"])}"><h3>{_text(operation["summary"])}</h3>'
        f'<p><code><span class="method">{method}</span> {_text(path)}</code></p>{deprecated}'
        f"{_paragraphs(operation.get('description', ''))}{_needs(operation)}"
        f"<pre>{_text(curl(path, method, operation))}</pre>"
        f"{parameters}{request}<table><tbody>{answers}</tbody></table>{_examples(operation)}</section>"
    )


def _needs(operation: dict[str, Any]) -> str:
    role, scope = operation.get("x-role"), operation.get("x-scope", "any")
    if not role:
        return "<p>Needs no key.</p>"
    scoped = {"any": "", "unlimited": ", and a key without scopes"}.get(
        scope, f", and the scope <strong>{_text(scope)}</strong> where the key has scopes"
    )
    return f"<p>Needs the role <strong>{_text(role)}</strong> or a stronger one{scoped}.</p>"


def curl(path: str, method: str, operation: dict[str, Any]) -> str:
    """A command that calls the operation with its example body; ids of the path are shell variables."""
    words = ["curl"]
    content = operation.get("requestBody", {}).get("content", {})
    kind = next(iter(content), None)
    if method.upper() not in ("GET", "POST") or (method.upper() == "POST" and kind is None):
        words.append(f"-X {method.upper()}")
    if operation.get("x-role"):
        words.append('-H "Authorization: Bearer $PIM_KEY"')
    example = next(iter(_shown(content[kind])), None) if kind else None
    if kind == "multipart/form-data":
        words += [
            "-F file=@products.csv" if name == "file" else f"-F {shlex.quote(f'{name}={_form(value)}')}"
            for name, value in (example or {}).items()
            if name in ("file", "source")
        ]
    elif kind == "application/x-www-form-urlencoded":
        words += [f"-d {shlex.quote(f'{name}={_form(value)}')}" for name, value in (example or {}).items()]
    elif kind:
        words.append(f'-H "Content-Type: {kind}"')
        words.append(f"-d {shlex.quote(json.dumps(example, ensure_ascii=False))}")
    address = re.sub(r"\{(\w+)\}", lambda found: "$" + found[1].upper(), path)
    return " ".join([*words, f'"$PIM{address}"'])


def _form(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _shown(media: dict[str, Any]) -> list[Any]:
    """The examples of a body."""
    if "example" in media:
        return [media["example"]]
    return [one["value"] for one in media.get("examples", {}).values()]


def _examples(operation: dict[str, Any]) -> str:
    """The good answers as they look."""
    found = []
    for status, response in operation["responses"].items():
        for kind, media in response.get("content", {}).items() if status.startswith("2") else ():
            for example in _shown(media)[:1]:
                text = _text(example) if isinstance(example, str) else _json(example)
                found.append(
                    f"<details><summary>Example of {_text(status)}, <code>{_text(kind)}</code></summary>"
                    f"<pre>{text}</pre></details>"
                )
    return "".join(found)


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "optional" if default is None else f"<code>{_text(json.dumps(default))}</code>"


def _shapes(response: dict[str, Any]) -> str:
    return ", ".join(shape for content in response.get("content", {}).values() if (shape := _shape(content)))


def _shape(content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("anyOf", []) if "$ref" in part), None)
    if reference is None:
        return ""
    name = _text(reference.rpartition("/")[2])
    return f'<a href="#schema-{name}">{name}</a>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_code(part)}</p>" for part in text.split("\n\n"))


def _code(text: str) -> str:
    """Text with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _json(value: object) -> str:
    return _text(json.dumps(value, indent=2, ensure_ascii=False))


def _text(value: object) -> str:
    return html.escape(str(value))
