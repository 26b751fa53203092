"""Errors as RFC 9457 problem details: what is wrong, where, and what to do about it.

Belongs here: turning every exception into an answer, and describing those answers in the OpenAPI
document. Does not belong here: raising them.
"""

from __future__ import annotations

import http
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pim_platform.api.headers import FIXED
from pim_platform.api.request_ids import HEADER, request_id
from pim_platform.errors import PimError, TransientError

MEDIA_TYPE = "application/problem+json"

#: Statuses that differ from their exception's own.
_STATUS = {"too_large": 413, "tenant_needed": 400}
#: Seconds a client is asked to wait where trying again may help.
_RETRY_SECONDS = 5

_Responses = dict[int | str, dict[str, Any]]

_PLACE = ("file", "row", "column", "value", "expected", "errors")
_log = logging.getLogger(__name__)


class InvalidPart(BaseModel):
    """One part of a request that cannot be right."""

    path: str = Field(description="Where it is, such as `body.products.3.sku` or `query.limit`.")
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` and `fix` are for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="URN made of the code.", examples=["urn:pim-platform:problem:unknown_job"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no import job 0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11."])
    code: str = Field(examples=["unknown_job"])
    fix: str = Field(examples=["Check the id; uploading a file answers with it."])
    file: str | None = Field(None, description="Place of the fault, where it has one: file,")
    row: int | None = Field(None, description="record number in it (the header is 1),")
    column: str | None = Field(None, description="column or field,")
    value: Any = Field(None, description="the value that was found,")
    expected: Any = Field(None, description="and what would have been right.")
    errors: list[InvalidPart] | None = Field(None, description="Every invalid part of the request.")
    request_id: str | None = Field(None, description="With status 500: quote it when you report the defect.")


def answer(
    status: int, code: str, detail: str, fix: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """A problem as a response."""
    body = {
        "type": f"urn:pim-platform:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "fix": fix,
        **{key: value for key, value in more.items() if value is not None},
    }
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def pim_problem(error: PimError) -> Response:
    """An error of the platform's own tree as a problem."""
    status = _STATUS.get(error.code, error.http_status)
    headers = {}
    if isinstance(error, TransientError):
        wait = _RETRY_SECONDS if error.retry_after is None else math.ceil(error.retry_after)
        headers["Retry-After"] = str(max(1, wait))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="pim"'
    place = {key: error.place[key] for key in _PLACE if key in error.place}
    return answer(status, error.code, error.message, error.fix, headers=headers, **place)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error as a problem."""

    def known(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PimError)
        return pim_problem(error)

    app.add_exception_handler(PimError, known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = [
        {"path": ".".join(map(str, part["loc"])), "message": str(part.get("ctx", {}).get("error", part["msg"]))}
        for part in error.errors()
    ]
    first = parts[0]
    return answer(
        422,
        "invalid_request",
        f"{first['path']}: {first['message']}.",
        "Correct the parts that `errors` names; /docs says what each may hold.",
        column=first["path"],
        errors=parts,
    )


_HTTP = {
    400: ("bad_request", "Send a body of the content type that /docs names, whole and well formed."),
    404: ("unknown_path", "See /docs for the paths there are."),
    405: ("method_not_allowed", "Use a method that the Allow header names."),
    413: ("too_large", "Send less at once."),
}


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
    }.get(error.status_code)
    return http_problem(error, detail)


def http_problem(error: HTTPException, detail: str | None = None) -> Response:
    """An error of the web framework as a problem; ``detail`` says it better than the error does."""
    code, fix = _HTTP.get(error.status_code, ("http_error", "See /docs."))
    detail = detail or f"{str(error.detail).rstrip('.')}."
    return answer(error.status_code, code, detail, fix, headers=error.headers)


def _unexpected(request: Request, error: Exception) -> Response:
    number = request_id(request)
    _log.error("request %s failed: %s", number, type(error).__name__, exc_info=error)
    return answer(
        500,
        "internal",
        "Something failed that should not have.",
        "Try again; if it stays, report the request_id.",
        headers={HEADER: number} | FIXED,  # this answer is made outside of the middleware that sets them
        request_id=number,
    )


_DESCRIPTIONS = {
    400: "The body cannot be parsed, or a user of several tenants names none (`tenant_needed`).",
    401: "No key or token, or one that is unknown, expired or revoked.",
    403: "The role or the scopes do not allow it, or the user does not belong to the tenant that is named.",
    404: "No such thing for this caller.",
    409: "The present state does not allow it, or another writer is at work (then with `Retry-After`).",
    412: "If-Match or If-None-Match does not hold: somebody wrote meanwhile; `expected` is the ETag of now.",
    413: "The body is too large.",
    422: "Something in the request or the file is wrong; the problem names the place and the fix.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "A defect; the problem carries the request id.",
    502: "The server that the request's URL names does not answer; `Retry-After` says when to try again.",
    503: "An engine does not answer; `Retry-After` says when to try again.",
}


def documented(*statuses: int, ok: _Responses | None = None) -> _Responses:
    """OpenAPI responses of a route that needs a key and may answer these problems besides; ``ok``: its good ones."""
    return (ok or {}) | described((400, 401, 403, *statuses, 429, 500, 503))


def described(statuses: Sequence[int]) -> _Responses:
    """OpenAPI responses for exactly these problems."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
