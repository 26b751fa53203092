"""Cursors of pages: where the next page begins, as a text that nobody needs to read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from pim_platform.errors import InvalidRequest

_Row = TypeVar("_Row")


def paged(rows: Sequence[_Row], limit: int, mark: Callable[[_Row], str]) -> tuple[list[_Row], str | None]:
    """The first ``limit`` of ``rows``, and the cursor of the next page where there are more: ask for one row more.

    ``mark`` tells where a row stands in the order of the list.
    """
    shown = list(rows[:limit])
    if len(rows) <= limit:
        return shown, None
    return shown, base64.urlsafe_b64encode(mark(shown[-1]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """What ``mark`` told of the last row of the page before. Raises InvalidRequest."""
    try:
        found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise not_ours(cursor) from error
    if "\x00" in found:
        raise not_ours(cursor)
    return found


def read_id_cursor(cursor: str) -> UUID:
    """The same where rows are marked by their ids."""
    try:
        return UUID(read_cursor(cursor))
    except ValueError as error:
        raise not_ours(cursor) from error


def not_ours(cursor: str) -> InvalidRequest:
    """The error for a cursor that no page has given."""
    return InvalidRequest(
        "The cursor is none of ours.", fix="Take next_cursor of the page before.", column="cursor", value=cursor[:200]
    )
