"""``/docs``: the API reference as one plain page, made from the OpenAPI document; needs no script and no network."""

from __future__ import annotations

import html
import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pim_platform.api.headers import page_policy

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .4rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
.method { text-transform: uppercase; font-weight: 700; }
"""


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The reference page."""
    return HTMLResponse(page(request.app.openapi()), headers={"Content-Security-Policy": page_policy(_STYLE)})


def page(document: dict[str, Any]) -> str:
    """The OpenAPI document as an HTML page."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    links = "".join(
        f'<li><a href="#{_text(o["operationId"])}"><code>{m.upper()} {_text(p)}</code></a> {_text(o["summary"])}</li>'
        for p, m, o in operations
    )
    title = f"{_text(info['title'])} API {_text(info['version'])}"
    about = "".join(f"<p>{_text(part)}</p>" for part in info["description"].split("\n\n"))
    body = "".join(_operation(path, method, operation) for path, method, operation in operations)
    shapes = "".join(
        f'<section id="schema-{_text(name)}"><h3>{_text(name)}</h3><pre>{_json(schema)}</pre></section>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f'<header><h1>{title}</h1></header><main>{about}<p>For programs: <a href="/openapi.json">/openapi.json</a></p>'
        f'<nav aria-label="Operations"><ul>{links}</ul></nav>{body}<h2>Bodies</h2>{shapes}</main></body></html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    role, scope = operation.get("x-role"), operation.get("x-scope", "any")
    scoped = {"any": "", "unlimited": ", and a key without scopes"}.get(
        scope, f", and the scope <strong>{_text(scope)}</strong> where the key has scopes"
    )
    needs = (
        f"<p>Needs the role <strong>{_text(role)}</strong> or a stronger one{scoped}.</p>"
        if role
        else "<p>Needs no key.</p>"
    )
    parameters = "".join(
        f"<tr><td><code>{_text(p['name'])}</code></td><td>{_text(p['in'])}</td>"
        f"<td>{'required' if p.get('required') else 'optional'}</td><td>{_text(p.get('description', ''))}</td></tr>"
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
        f'<tr><th scope="row">{_text(status)}</th><td>{_text(response["description"])} {_shapes(response)}</td></tr>'
        for status, response in operation["responses"].items()
    )
    return (
        f'<section id="{_text(operation["operationId"])}"><h2>{_text(operation["summary"])}</h2>'
        f'<p><code><span class="method">{method}</span> {_text(path)}</code></p>'
        f"<p>{_text(operation.get('description', ''))}</p>{needs}{parameters}{request}<table><tbody>{answers}</tbody>"
        "</table></section>"
    )


def _shapes(response: dict[str, Any]) -> str:
    return ", ".join(shape for content in response.get("content", {}).values() if (shape := _shape(content)))


def _shape(content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("anyOf", []) if "$ref" in part), None)
    if reference is None:
        return ""
    name = _text(reference.rpartition("/")[2])
    return f'<a href="#schema-{name}">{name}</a>'


def _json(value: object) -> str:
    return _text(json.dumps(value, indent=2, ensure_ascii=False))


def _text(value: object) -> str:
    return html.escape(str(value))
