"""How long another server asks to be left alone (``Retry-After``, RFC 9110, 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def asked_to_wait(retry_after: str | None, *, longest: float, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` asks for, as a number or as a date, at most ``longest``; None: it asks nothing.

    ``date``: the answer's own ``Date``, from which a date is counted, so that clocks that differ do no harm. What
    cannot be read asks nothing; a date that is past asks for 0.
    """
    text = (retry_after or "").strip()
    if not text:
        return None
    if text.isdecimal():
        return min(float(text), longest)
    until = _time_of(text)
    if until is None:
        return None
    now = _time_of(date or "") or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), longest)


def _time_of(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
