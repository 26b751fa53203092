"""JSON Merge Patch (RFC 7396), as a pure function over JSON values."""

from __future__ import annotations

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """``target`` after ``patch`` (RFC 7396, section 2): objects are merged, null removes, anything else replaces.

    Neither argument is changed.

    >>> merge_patch({"amount": 5, "currency": "EUR"}, {"amount": 6})
    {'amount': 6, 'currency': 'EUR'}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
