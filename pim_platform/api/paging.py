"""What routes that answer page by page ask for and answer, as ``Annotated`` aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from pim_platform.api.dependencies import Text

CursorQuery = Annotated[Text | None, Query(description="`next_cursor` of the page before.")]
#: For lists that a tenant has some dozens of; others say a limit of their own.
LimitQuery = Annotated[int, Query(ge=1, le=500)]
NextCursor = Annotated[str | None, Field(description="Send it as `cursor` for the next page; null at the end.")]
