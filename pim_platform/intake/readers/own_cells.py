"""Values of JSON Lines and Parquet in the platform's own notation as the cells of it (see ``catalog.notation``)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import simplejson

from pim_platform.catalog.notation import guarded, parse_header
from pim_platform.intake.readers.flattening import Cell, Flat
from pim_platform.intake.readers.json_text import Number
from pim_platform.intake.readers.plain_text import plain_text


def own_record(record: dict[str, Any]) -> Flat:
    """A record of JSON: a column per field, however its value is nested, and one per member of any other object."""
    flat = Flat()
    for key, value in record.items():
        if isinstance(value, dict) and parse_header(key) is None:  # what a reject file tells of a record
            for name, inner in value.items():
                flat.put(f"{key}.{name}", Cell([own_cell(inner)]))
        else:
            flat.put(key, Cell([own_cell(value)]))
    return flat


def own_cell(value: Any) -> str:
    """One value as a cell; "" for none.

    >>> own_cell("=1"), own_cell({"amount": Decimal("1.50"), "currency": "EUR"}), own_cell(["a", "b"])
    ("'=1", 'EUR 1.50', '["a","b"]')
    """
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
        return f"{value['currency']} {plain_text(value['amount'])}"
    if isinstance(value, (dict, list)):
        return str(simplejson.dumps(_written(value), ensure_ascii=False, separators=(",", ":")))
    return plain_text(value)


def _written(value: Any) -> Any:
    """The value with its numbers as they were written."""
    if isinstance(value, Number):
        return simplejson.RawJSON(str(value))
    if isinstance(value, Decimal):
        return simplejson.RawJSON(plain_text(value))
    if isinstance(value, dict):
        return {str(key): _written(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_written(inner) for inner in value]
    return value
