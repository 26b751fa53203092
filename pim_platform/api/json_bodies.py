"""JSON bodies, read and answered exactly: decimals keep their digits, what PostgreSQL cannot hold is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from pim_platform.storage import exact_json

#: Decimal orders of magnitude that a number may have either way, as in binary64. Written out as digits,
#: `1e999999999` is a gigabyte.
_MAGNITUDE = 308


def exact_answer(model: type[BaseModel], content: Any) -> Response:
    """An answer whose numbers keep their digits: FastAPI's own serialiser writes a Decimal as a string.

    Raises pydantic.ValidationError where ``content`` is not what the route's ``model`` says.
    """
    checked = model.model_validate(content).model_dump(by_alias=True)
    return Response(exact_json.dumps(checked, default=to_jsonable_python), media_type="application/json")


def read_json(content: bytes) -> Any:
    """The value in ``content``; numbers with a point or an exponent become Decimal (design D16).

    Raises json.JSONDecodeError for what is no JSON, and for NaN, Infinity, NUL characters, half surrogate pairs
    and bytes that are no UTF-8 as well.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _refused("the body is not UTF-8") from error
    try:
        value = json.loads(text, parse_float=_number, parse_int=_integer, parse_constant=_no_constant)
    except RecursionError as error:
        raise _refused("the body is nested too deeply") from error
    if "\\u" in text:  # only escapes can spell these
        _refuse_unstorable(value)
    return value


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if abs(value.adjusted()) > _MAGNITUDE:
        raise _refused("a number is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAGNITUDE:
        raise _refused("a number is out of range")
    return int(text)


def _no_constant(name: str) -> NoReturn:
    raise _refused(f"{name} is not JSON")


def _refuse_unstorable(value: Any) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused("a string holds half a surrogate pair") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise _refused("a string holds the character NUL")


def _refused(why: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(why, "", 0)  # the one error that FastAPI takes for the client's fault
