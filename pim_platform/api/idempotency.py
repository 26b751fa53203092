"""``Idempotency-Key`` on requests that change something: done once, answered the same however often they are sent.

After draft-ietf-httpapi-idempotency-key-header-07: the same key with the same request gets the first answer again,
with another request 422, while the first is at work 409. Keys belong to a tenant and a caller. What failed without
changing anything is not kept: the key is free again, so that a corrected request may use it. A route above tenants
takes none: an answer is kept in a tenant, with its row level security and its retention, and such a request has none.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal

from fastapi import Request, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from pim_platform.api.logs import logger
from pim_platform.api.problems import pim_problem
from pim_platform.errors import Conflict, EngineUnavailable, InvalidRequest, PimError
from pim_platform.intake.lease import is_alive, this_process
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.idempotency import Answer, Claim, claim, marks, release, store_answer
from pim_platform.tenancy.keys import Caller

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
METHODS = ("POST", "PATCH")

#: What becomes of a route's answers: kept and given again; given anew by the route, whose job remembers the key; or
#: not kept, because there is a secret in it that is shown once.
Keeping = Literal["answer", "job", "nothing"]

#: The draft's form is a quoted string (RFC 8941, 3.3.3); most clients send it bare.
_KEY = re.compile(r'(?P<quote>"?)(?P<key>[\x21\x23-\x5b\x5d-\x7e]{1,200})(?P=quote)')
#: Fields of an answer that are told again; the others are of their own request.
_KEPT_FIELDS = ("content-type", "content-disposition", "content-language", "etag", "location", "last-modified")
_CHUNK = 1024 * 1024

#: Claims that this process is working on. One that is its own and not here was left behind by a request that ended.
_working: set[Claim] = set()

_log = logger("pim.api")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def parse_key(given: str) -> str:
    """The key of a header field. Raises InvalidRequest."""
    found = _KEY.fullmatch(given.strip())
    if found is None:
        raise InvalidRequest(
            f"{HEADER} is no key.",
            fix="Send 1 to 200 printable ASCII characters without blanks, such as a UUID.",
            column=f"header.{HEADER.lower()}",
        )
    return found["key"]


async def once(request: Request, caller: Caller, given: str, inner: Handler, keeping: Keeping) -> Response:
    """The answer of ``inner`` to a request under a key, or the one it gave before.

    Raises what ``inner`` raises, and InvalidRequest, Conflict or RequestInProgress for the key.
    """
    try:
        return await _once(request, caller, given, inner, keeping)
    finally:
        await request.close()  # the files of its form, where nobody came to read them


async def _once(request: Request, caller: Caller, given: str, inner: Handler, keeping: Keeping) -> Response:
    workspace: Workspace = request.app.state.workspace
    engine = workspace.app
    wanted = Claim(caller.tenant_id, caller.actor.name, parse_key(given))
    fingerprint = await _fingerprint(request)
    asked = functools.partial(
        claim,
        engine,
        wanted,
        fingerprint,
        owner=this_process(),
        lives=functools.partial(_lives, wanted),
        retention=timedelta(hours=workspace.settings.idempotency_retention_hours),
        request_id=caller.actor.trace_id,
    )
    held = await run_in_threadpool(asked)
    if isinstance(held, Answer):
        return _replayed(held)
    _working.add(held)
    try:
        return await _done(request, engine, held, inner, keeping)
    finally:
        _working.discard(held)


async def _done(request: Request, engine: Engine, held: Claim, inner: Handler, keeping: Keeping) -> Response:
    try:
        with marks(held):
            response = await inner(request)
    except PimError as error:
        if not await run_in_threadpool(release, engine, held):
            await _keep(engine, held, pim_problem(error), keeping)
        raise
    except BaseException:
        # Where something was changed nothing is kept, and whoever asks again is told that the outcome is unknown.
        release(engine, held)  # at once: there may be no loop to come back to
        raise
    await _keep(engine, held, response, keeping)
    return response


async def _keep(engine: Engine, held: Claim, response: Response, keeping: Keeping) -> None:
    body = getattr(response, "body", None)  # a stream has none
    answer = Answer(
        response.status_code,
        {name: response.headers[name] for name in _KEPT_FIELDS if name in response.headers},
        bytes(body) if body is not None and keeping == "answer" else None,
    )
    try:
        if body is None and await run_in_threadpool(release, engine, held):
            return  # a download that changed nothing
        await run_in_threadpool(store_answer, engine, held, answer)
    except (SQLAlchemyError, EngineUnavailable) as error:
        # It is done, and its caller shall hear so. Whoever asks again is told that the outcome is unknown.
        _log.warning("an answer could not be kept under its Idempotency-Key", error=type(error).__name__)


def _lives(wanted: Claim, owner: str) -> bool | None:
    if owner == this_process():
        return any((one.tenant_id, one.caller, one.key) == (wanted.tenant_id, wanted.caller, wanted.key) for one in
                   _working)  # fmt: skip
    return is_alive(owner)


def _replayed(answer: Answer) -> Response:
    if answer.body is None:
        raise Conflict(
            f"The request under this {HEADER} was done, and answered with {answer.status}; the answer was not kept.",
            fix="Read what it made; if its secret is lost, make another one under a new key.",
            code="idempotency_answer_not_kept",
            value=answer.status,
        )
    return Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"})


async def _fingerprint(request: Request) -> bytes:
    """SHA-256 of what a request asks for: method, path, query, and its body or the parts of its form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    digest = hashlib.sha256()
    _add(digest, request.method, request.url.path, request.url.query, kind)
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        form = await request.form()
        await run_in_threadpool(_add_form, digest, form)  # boundaries differ each time; the parts do not
    else:
        digest.update(await request.body())
    return digest.digest()


def _add_form(digest: Any, form: FormData) -> None:
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            _add(digest, "file", name, value.filename or "", value.content_type or "")
            while chunk := value.file.read(_CHUNK):
                digest.update(chunk)
            digest.update(str(value.size).encode())
            value.file.seek(0)
        else:
            _add(digest, "field", name, value)


def _add(digest: Any, *texts: str) -> None:
    """Add texts so that no two lists of them are the same bytes."""
    for one in texts:
        encoded = one.encode(errors="surrogateescape")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)


def describe_key(method: str, operation: dict[str, Any], responses: dict[int | str, dict[str, Any]]) -> None:
    """Put the key's header field and its problems into the OpenAPI operation of a route that takes one.

    ``responses`` describes 409 and 422.
    """
    if method.upper() not in METHODS or "x-role" not in operation or "x-above-tenants" in operation:
        return
    parameters = operation.setdefault("parameters", [])
    if not any(one["in"] == "header" and one["name"].lower() == HEADER.lower() for one in parameters):
        parameters.append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
                "description": "The same key with the same request is done once and answered the same again.",
            }
        )
    for status, response in responses.items():
        operation["responses"].setdefault(str(status), response)
