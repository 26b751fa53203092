"""Reject policies: what bad rows do to their import. ``skip``, ``stop_first`` or ``stop_above:N%``."""

from __future__ import annotations

import re

from pim_platform.errors import InvalidRequest


def reject_limit(policy: str) -> float | None:
    """The share of rejects that a policy allows, 0 to 1; None for any. Raises InvalidRequest for what is no policy."""
    if policy == "skip":
        return None
    if policy == "stop_first":
        return 0.0
    match = re.fullmatch(r"stop_above:(\d+(?:\.\d+)?)%", policy)
    if match and float(match[1]) <= 100:
        return float(match[1]) / 100
    raise InvalidRequest(
        f"The reject policy {policy!r} is unknown.",
        fix="Use skip, stop_first or stop_above:N% with N from 0 to 100.",
        value=policy,
        expected="skip, stop_first or stop_above:N%",
    )
