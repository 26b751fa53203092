"""The OpenAPI document as it is published: problems instead of FastAPI's own errors, tags told, examples everywhere.

``pim openapi`` writes it to ``docs/openapi.json``; a test compares the two, so that no route changes unseen.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from pim_platform.api.examples import complete
from pim_platform.api.idempotency import describe_key
from pim_platform.api.problems import Problem, described

_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")

#: What FastAPI says of a good answer that says nothing of itself.
_UNTOLD = "Successful Response"

#: What each group of operations is about. A tag that is not here fails a test.
TAGS = {
    "imports": "A product file on its way into the catalogue: upload, confirm, follow, compare, undo.",
    "products": "The catalogue: read, write, search, delete.",
    "schema": "The fields that products may have.",
    "mapping": "What columns of files mean: saved mappings, how right proposals were, what they cost.",
    "sources": "Where files come from, and how the files of each are imported.",
    "exports": "The catalogue, or what a filter finds of it, as a file.",
    "webhooks": "Who is told of changes, and what became of each delivery.",
    "users": "Who belongs to the tenant, with which role.",
    "keys": "API keys: made, listed, revoked.",
    "tenants": "The tenant itself: its settings and quotas.",
    "audit": "Who did what, when, from where.",
    "me": "Who the caller is and what it may do.",
    "auth": "Logging in with a password.",
    "health": "Whether this process lives and can serve.",
    "metrics": "Figures for monitoring.",
    "aliases": "Paths and names of the first importer, deprecated: a thin translation of the others.",
}


def describe(app: FastAPI) -> None:
    """Make ``app.openapi`` answer the published document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _published(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def text_of(document: dict[str, Any]) -> str:
    """The document as the file ``docs/openapi.json`` holds it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _published(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    model = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= model.pop("$defs", {}) | {"Problem": model}
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    used = set()
    for method, operation in (found for methods in document["paths"].values() for found in methods.items()):
        used.update(operation.get("tags", ()))
        # FastAPI promises its own 422 for every parameter, also for texts that cannot be wrong.
        if _FASTAPI_OWN[0] in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
        for status, response in operation["responses"].items():
            if response["description"] == _UNTOLD:
                response["description"] = f"{HTTPStatus(int(status)).phrase}."
        describe_key(method, operation, described((409, 422)))
    document["tags"] = [{"name": name, "description": about} for name, about in TAGS.items() if name in used]
    complete(document)
    return document
