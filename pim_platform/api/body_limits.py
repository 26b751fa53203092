"""How long a request's body may be: what is longer is cut off with 413, however its length was declared."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive


def limited_body(headers: Headers, receive: Receive, limit: int) -> Receive:
    """``receive`` that raises HTTPException(413) once more than ``limit`` bytes came.

    Raises it at once where ``Content-Length`` says so already.
    """
    too_large = HTTPException(413, f"The body is larger than {limit:,} bytes")
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise too_large
        return message

    return receive_limited
