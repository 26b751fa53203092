"""A product as one JSON document, the way programs write it: checked, laid flat, staged as a record of a file is.

The columns of a product stand in the document by their names; the tenant's fields stand beside them or in ``data``,
as reads show them. So what a read answered can be changed and sent back: members that only the platform writes may be
among it, as long as they say what is so. Nothing else is taken that the schema does not know.
"""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from typing import Any

import polars as pl

from pim_platform.catalog.merge_patch import merge_patch
from pim_platform.catalog.models import Product
from pim_platform.catalog.products import as_json
from pim_platform.catalog.schema import PRODUCT_COLUMNS, ProductSchema
from pim_platform.errors import InvalidRequest
from pim_platform.intake.staging import stage_records
from pim_platform.intake.vocabulary import LOCALE, bcp47

#: Members that reads show and no document may change. Of a related product only ``parent_sku`` is written.
READ_ONLY = (
    "id", "parent_id", "source", "ai_readability_score", "version", "created_at", "updated_at", "parent", "variants",
    "more_variants", "raw_data", "merged_data", "provenance",
)  # fmt: skip
#: Of these a document may say anything: they are about other things than the product itself.
_ABOUT = frozenset({"parent", "variants", "more_variants", "raw_data", "merged_data", "provenance"})

#: What a column is that a document leaves out. Without a value would be no product.
_DEFAULTS: dict[str, Any] = {"active": True, "kind": "simple"}


def flat(document: Any, schema: ProductSchema, product: Product | None = None) -> dict[str, Any]:
    """``{column or field: value}`` of a document; None where it says null.

    ``product`` is the one that it is about. Raises InvalidRequest naming every member that cannot be, with code
    ``unknown_field``, ``read_only``, ``given_twice`` or ``not_an_object``.
    """
    if not isinstance(document, AbstractMapping):
        raise _refused("not_an_object", "body", document, "an object", "Send the product as a JSON object.")
    known = {field.name for field in schema.fields}
    now = as_json(product) if product is not None else {}
    given: dict[str, Any] = {}
    problems: list[InvalidRequest] = []
    for name, value in document.items():
        if name in known or name in PRODUCT_COLUMNS:
            given[name] = value
        elif name == "data":
            continue
        elif name not in READ_ONLY:
            problems.append(_unknown(name, value, schema))
        elif name not in _ABOUT and not _same(value, now.get(name)):
            fix = "Leave it out, or send it as it was read."
            problems.append(_refused("read_only", name, value, now.get(name), fix))
    fields = document.get("data", {})
    if fields is None:  # as RFC 7396 has it: the member goes, and all that is in it
        fields = {name: None for name in (product.data if product is not None else ()) if name in known}
    if not isinstance(fields, AbstractMapping):
        problems.append(_refused("not_an_object", "data", fields, "an object", "Send the fields as an object."))
        fields = {}
    for name, value in fields.items():
        if name in given:
            fix = "Send it in `data` or beside the columns, not in both."
            problems.append(_refused("given_twice", name, value, "one value", fix))
        elif name in known:
            given[name] = value
        else:
            problems.append(_unknown(name, value, schema))
    if problems:
        raise told_together(problems)
    return given


def patched(product: Product, patch: AbstractMapping[str, Any], schema: ProductSchema) -> dict[str, Any]:
    """What ``patch``, flat, makes of the columns and fields that it names; None where nothing is left."""
    result: dict[str, Any] = {}
    for name, value in patch.items():
        now = product.data.get(name)
        field = schema.field(name)
        if field is not None and field.localizable:
            value, now = _by_locale(value, schema), _by_locale(now, schema)
        changed = merge_patch(now, value)
        result[name] = None if changed == {} else changed
    return result


def _by_locale(value: Any, schema: ProductSchema) -> Any:
    """The value of a localizable field as an object keyed by BCP 47 locale; any other is the default locale's."""
    if value is None:
        return None
    if isinstance(value, dict) and all(LOCALE.fullmatch(str(key)) for key in value):
        return {bcp47(str(key)): one for key, one in value.items()}
    return {bcp47(schema.default_locale): value}


def whole(given: AbstractMapping[str, Any], schema: ProductSchema) -> dict[str, Any]:
    """The record of a product that is nothing but ``given``: required fields and columns left out are named too."""
    record: dict[str, Any] = {n: value for n, value in given.items() if value is not None or n in ("sku", "name")}
    for name, value in _DEFAULTS.items():
        record.setdefault(name, value)
    for name in ("variant_group", "parent_sku", *(field.name for field in schema.fields if field.required)):
        record.setdefault(name, None)
    return record


def staged_document(record: AbstractMapping[str, Any], schema: ProductSchema) -> pl.DataFrame:
    """One record in the staged layout, by the rules that files have. Raises InvalidRequest naming all that is wrong."""
    for name in ("sku", "name", *_DEFAULTS):
        if name in record and (record[name] is None or not str(record[name]).strip()):
            fix = "A product always has one; leave the member out to keep it."
            raise _refused("missing_value", name, record[name], f"a value for {name}", fix)
    staged, rejects = stage_records([record], schema, default_currency=schema.default_currency)
    if rejects.height:
        raise _rejected(rejects.row(0, named=True))
    return staged


def _rejected(reject: dict[str, Any]) -> InvalidRequest:
    """A reject of staging as an error; several problems of a record are joined by ``; `` there."""
    columns = str(reject["column"]).split("; ")
    several = len(columns) > 1
    codes = str(reject["error_code"]).split("; ")
    expected = None if several else str(reject["error"]).rpartition(", expected ")[2]
    parts = str(reject["error"]).split("; ")
    if len(parts) != len(columns):  # a value holds the sign itself
        parts = [str(reject["error"])] * len(columns)
    errors = [{"path": f"body.{name}", "message": part} for name, part in zip(columns, parts, strict=True)]
    return InvalidRequest(
        f"{reject['error']}.",
        fix=f"{str(reject['suggestion'])[:1].upper()}{str(reject['suggestion'])[1:]}.",
        code=codes[0],
        column=columns[0],
        value=reject["value"] if not several else None,
        expected=expected,
        errors=errors,
    )


def _unknown(name: str, value: Any, schema: ProductSchema) -> InvalidRequest:
    known = ", ".join(sorted(field.name for field in schema.fields)) or "none yet"
    fix = f"Add the field to the schema (POST /api/pim/schema/changes/), or use one of its fields: {known}."
    return _refused("unknown_field", name, value, "a field of the schema", fix)


def _refused(code: str, name: str, value: Any, expected: Any, fix: str) -> InvalidRequest:
    shown = value if value is None or isinstance(value, str | int | bool) else str(value)
    shown = shown[:200] if isinstance(shown, str) else shown
    return InvalidRequest(
        f"{name}: {shown!r}, expected {expected}.", fix=fix, code=code, column=name, value=shown, expected=expected
    )


def told_together(problems: list[InvalidRequest]) -> InvalidRequest:
    """One error for several: the first one, with all of them as its parts."""
    first = problems[0]
    first.place["errors"] = [
        {"path": f"body.{problem.place.get('column')}", "message": problem.message} for problem in problems
    ]
    return first


def _same(value: Any, now: Any) -> bool:
    if value == now:
        return True
    if isinstance(value, str) and isinstance(now, str):  # times may be written with Z
        return value.replace("Z", "+00:00") == now
    return False
