"""Examples of every body in the OpenAPI document: one small shop's tents run through all of them.

A model that has ``examples`` of its own is shown by the first of them; a field that has, likewise. Everything else is
put together here from what fields of that name are called across the API, so that a new route usually has its example
without anybody writing one. Belongs here: the vocabulary, and walking a schema. ``tests/integration/api`` checks that
each example is valid and that no text was left without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: What a text is called for which nobody has an example; a test finds it.
UNKNOWN = "(no example)"

_JOB = "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11"
_PRODUCT = "0199b6c2-9d04-7b1a-a7f2-5d2c8e90b3a4"
_OTHER = "0199b6c2-9d05-7f0e-9a41-1b7c2f6d8e55"
_TIME = "2027-03-01T09:30:00Z"
_DIALECT = {"encoding": "utf-8", "delimiter": ",", "header_row": 0}
_DATA = {"price": {"amount": 299.9, "currency": "EUR"}, "colour": "red", "weight_kg": 2.4}
_RAW = {"SKU": "TENT-2", "Product Name": "Tent for two", "Price": "299.90"}
_MAPPING = {"SKU": "sku", "Product Name": "name", "Price": "price"}
_FIELD = {"name": "price", "type": "price", "required": False, "description": "Retail price"}

#: Examples by the name of a field, or by `Model.field` where the name means something else there.
_FIELDS: dict[str, Any] = {
    "action": "update",
    "active": True,
    "actor": "key:0199b6c2-1f00-7d4e-8a55-9c3e2b1a0f77",
    "ai_readability_score": 0.82,
    "api_provider": "anthropic",
    "attempt": 1,
    "becomes": {"amount": 279.9, "currency": "EUR"},
    "brand": "Acme",
    "by": 0,
    "code": "unknown_job",
    "colour": "red",
    "column": "Price",
    "component": None,
    "confidence": 1.0,
    "currency": "EUR",
    "cursor": "dGVudC0y",
    "data": _DATA,
    "decimal": ".",
    "default_currency": "EUR",
    "default_locale": "en-US",
    "description": "Retail price",
    "dialect": _DIALECT,
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "email": "ana@example.com",
    "error": "'abc' is no price.",
    "error_code": "not_a_price",
    "errors": [],
    "event": "product.updated",
    "field": "price",
    "filename": "spring.csv",
    "fingerprint": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
    "format": "csv",
    "from": 5,
    "groupings": [],
    "headers": ["SKU", "Product Name", "Price"],
    "id": _PRODUCT,
    "images": None,
    "job_id": _JOB,
    "later": None,
    "locale": "en-US",
    "mapping": _MAPPING,
    "member": None,
    "merged_data": [],
    "message": "Input should be less than or equal to 1000",
    "name": "Tent for two",
    "new": {"amount": 299.9, "currency": "EUR"},
    "next_after": None,
    "next_cursor": None,
    "notices": ["1 column was decided without Claude: no key is set (PIM_ANTHROPIC_API_KEY)."],
    "now": {"amount": 299.9, "currency": "EUR"},
    "old": {"amount": 279.9, "currency": "EUR"},
    "option": None,
    "other_product_id": None,
    "parent": None,
    "parent_id": None,
    "parent_sku": None,
    "path": "query.limit",
    "precision": 0.98,
    "precision_high": 0.99,
    "precision_low": 0.95,
    "preview": False,
    "product_id": _PRODUCT,
    "progress": {},
    "raw_data": _RAW,
    "reason": None,
    "reason_code": None,
    "reject_policy": "stop_above:5%",
    "reject_reasons": {"not_a_price": 1},
    "repairs": {},
    "request_id": "spring-2027-upload",
    "row": 3,
    "row_count": 6,
    "row_count_exact": True,
    "sample_rows": [_RAW],
    "schema_version": 1,
    "separator": None,
    "sku": "TENT-2",
    "skus": ["TENT-1", "TENT-2"],
    "source": "acme",
    "status": "ok",
    "stored_sku": "tent-2",
    "suggested_mapping": _MAPPING,
    "suggestion": "Write an amount such as 299.90.",
    "target": "price",
    "tier": "alias",
    "title": "Not Found",
    "token": "eyJhbGciOiJIUzI1NiJ9.e30.x2",
    "undoes_job_id": None,
    "undone_by_job_id": None,
    "unit": None,
    "url": "https://shop.example.com/hooks/pim",
    "user_id": _OTHER,
    "value": "abc",
    "variant_group": None,
    "version": 3,
    "BulkError.row": 2,
    "ColumnOut.reason": "the header is a known name of this field",
    "ColumnOut.source": "Price",
    "ColumnOut.type": "price",
    "ConfirmSchema.fields": [_FIELD],
    "ConfirmIn.columns": None,
    "ConfirmIn.groupings": None,
    "ConfirmIn.dialect": None,
    "DiffSummary.fields": {"price": {"update": 2}},
    "DiffSummary.lines": 2,
    "DiffSummary.products": {"create": 0, "update": 2, "unchanged": 3},
    "DiffSummary.rows": {"read": 6, "rejected": 1, "superseded": 0, "merged": 0},
    "FieldOut.name": "price",
    "FieldOut.type": "price",
    "Grouping.reason": "rows without a name continue the product above them",
    "Merge.kind": "import",
    "ProductOut.source": "csv",
    "ProductDetail.source": "csv",
    "Ready.parts": {"postgres": "ok", "clickhouse": "ok"},
    "Ready.ready": True,
    "RelatedProduct.id": _OTHER,
    "Step.to": 10,
    "ImportOut.imported_count": 5,
    "ImportDetail.imported_count": 5,
    "UploadOut.state": "mapping",
    "UploadOut.reason_code": "waiting",
    "UploadOut.reason": "The mapping waits for a person (policy never).",
    "Body_imports_upload.absent": "deactivate",
    "Body_imports_upload.dialect": '{"delimiter": ","}',
    "Body_imports_upload.reject_policy": "skip",
    "Body_imports_upload.skip_unchanged": False,
}

_MODELS: dict[str, Any] = {
    "Ledger": {"read": 6, "created": 1, "updated": 2, "unchanged": 2, "rejected": 1, "superseded": 0, "merged": 0},
    "PriceChanges": {"buckets": [{"from": 5, "to": 10, "count": 2}], "not_comparable": 0},
    "Collisions": {"count": 1, "examples": [{"row": 3, "sku": "Tent-2", "stored_sku": "TENT-2"}]},
    "Problem": {
        "type": "urn:pim-platform:problem:unknown_job",
        "title": "Not Found",
        "status": 404,
        "detail": f"There is no import job {_JOB}.",
        "code": "unknown_job",
        "fix": "Check the id; uploading a file answers with it.",
    },
}

#: A job that is done, for every model of a job.
_DONE = {"state": "done", "status": "done", "kind": "file", "origin": "api", "absent_rows": "keep"}

_FORMATS: dict[str, Any] = {
    "uuid": _OTHER,
    "date-time": _TIME,
    "date": _TIME[:10],
    "uri": "https://shop.example.com/feeds/spring.csv",
    "email": "ana@example.com",
    "binary": "SKU,Product Name,Price\nTENT-2,Tent for two,299.90\n",
}

#: Of bodies that are neither JSON nor a form.
_TEXTS = {
    "text/csv": "sku,name,price\nTENT-2,Tent for two,299.90\n",
    "text/plain": "ok\n",
    "text/event-stream": 'event: job\ndata: {"state": "done"}\n\n',
    "application/jsonl": '{"sku": "TENT-2", "name": "Tent for two"}\n',
    "application/x-ndjson": '{"sku": "TENT-2", "name": "Tent for two"}\n',
}
_JSON = ("application/json", "multipart/form-data", "application/x-www-form-urlencoded", "application/merge-patch+json")


def complete(document: dict[str, Any]) -> None:
    """Give every body and every good answer of the document an ``example``, unless it has one."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if "examples" in schema:
            schema["examples"] = [_whole(example, schema, schemas) for example in schema["examples"]]
    for _, content in bodies(document):
        for kind, media in content.items():
            plain = kind.partition(";")[0]
            if "example" in media or "examples" in media:
                continue
            if plain in _JSON and media.get("schema"):
                media["example"] = _whole(_example(media["schema"], schemas, "", ""), media["schema"], schemas)
            elif plain in _TEXTS:
                media["example"] = _TEXTS[plain]
    schemas["Problem"].setdefault("examples", [_MODELS["Problem"]])


def _whole(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example with its nulls again, where the schema asks for them: FastAPI takes them out of its document."""
    if "$ref" in schema:
        return _whole(example, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for option in schema.get("anyOf", ()):
        if _fits(example, option, schemas) or ("$ref" in option and isinstance(example, dict)):
            return _whole(example, option, schemas)
    if isinstance(example, list):
        return [_whole(one, schema.get("items", {}), schemas) for one in example]
    if not isinstance(example, dict):
        return example
    parts = schema.get("properties", {})
    rest = schema.get("additionalProperties")
    whole = {
        key: _whole(value, parts.get(key) or (rest if isinstance(rest, dict) else {}), schemas)
        for key, value in example.items()
    }
    missing = (name for name in schema.get("required", ()) if name not in whole)
    return whole | {name: None for name in missing if _fits(None, parts.get(name, {}), schemas)}


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body that can be sent and each good answer: where it is, and its ``content``."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            if "requestBody" in operation:
                yield f"{where} body", operation["requestBody"]["content"]
            for status, response in operation["responses"].items():
                if status.startswith("2") and "content" in response:
                    yield f"{where} {status}", response["content"]


def _example(schema: dict[str, Any], schemas: dict[str, Any], model: str, name: str) -> Any:
    """A value that ``schema`` allows; ``name`` is the field of ``model`` that it is for."""
    schema = _spelled(schema)
    if "examples" in schema:
        return schema["examples"][0]
    if "example" in schema:
        return schema["example"]
    for known in (f"{model}.{name}", name):
        if known in _FIELDS and _fits(_FIELDS[known], schema, schemas):
            return _FIELDS[known]
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        return _MODELS[target] if target in _MODELS else _example(schemas[target], schemas, target, "")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _DONE[name] if _DONE.get(name) in schema["enum"] else schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        wanted = next((option for option in options if option.get("type") != "null"), options[0])
        return _example(wanted, schemas, model, name)
    if "properties" in schema or schema.get("type") == "object":
        title = schema.get("title", model)
        whole = {
            key: _example(part, schemas, title.replace(" ", ""), key)
            for key, part in schema.get("properties", {}).items()
        }
        needed = schema.get("required", ())
        return {key: value for key, value in whole.items() if value is not None or key in needed}
    return _plain(schema, schemas, model, name)


def _plain(schema: dict[str, Any], schemas: dict[str, Any], model: str, name: str) -> Any:
    if schema.get("default") is not None:
        return schema["default"]
    match schema.get("type"):
        case "array":
            items = schema.get("items", {})
            known = {"type", "$ref", "anyOf", "oneOf", "enum", "const", "examples"} & items.keys()
            return [_example(items, schemas, model, name.removesuffix("s"))] if known else []
        case "integer":
            return max(int(schema.get("minimum", 0)), 1)
        case "number":
            return 1.5
        case "boolean":
            return False
        case "string":
            if schema.get("contentMediaType") == "application/octet-stream":
                return _FORMATS["binary"]
            return _FORMATS.get(schema.get("format", ""), UNKNOWN)
        case "null":
            return None
        case _:
            return "red"  # a value of any kind: what a product's field holds


_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def _spelled(schema: dict[str, Any]) -> dict[str, Any]:
    """Several types in one keyword, as the alternatives that they are."""
    if isinstance(schema.get("type"), list):
        rest = {key: value for key, value in schema.items() if key != "type"}
        return {"anyOf": [rest | {"type": kind} for kind in schema["type"]]}
    return schema


def _fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """Whether ``value`` is of a kind that ``schema`` allows, as far as its type tells."""
    schema = _spelled(schema)
    if "$ref" in schema:
        return _fits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return any(_fits(value, option, schemas) for option in options)
    kind = schema.get("type")
    if kind is None:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "object" and isinstance(value, dict) and "properties" in schema:
        return set(schema.get("required", ())) <= value.keys()
    if kind == "array" and isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(
            _fits(v, schema.get("items", {}), schemas) for v in value
        )
    return isinstance(value, _KINDS[kind])
