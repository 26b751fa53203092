"""Entity tags of products, and the conditions that a request makes with them (RFC 9110, section 13).

A tag is ``"<product>.<version>.<digest of the answer>"``. Whole it says that an answer is the same byte for byte, for
``If-None-Match`` of a read; its first two parts say that the product is the same, which is what a write must know.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Header, Request

from pim_platform.catalog.models import Product
from pim_platform.errors import PreconditionFailed
from pim_platform.intake.writing import Precondition

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_DIGITS = 12

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="Write only where the product is still the one with this ETag; `*`: where there is one.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Do nothing where the product has this ETag; a read answers 304 then."),
]


def tag_of(product: Product, body: bytes) -> str:
    """The ETag of an answer that shows a product."""
    return f'"{_state(product)}.{hashlib.sha256(body).hexdigest()[:_DIGITS]}"'


def _state(product: Product) -> str:
    return f"{product.id.hex[-_DIGITS:]}.{product.version}"


def not_modified(request: Request, tag: str) -> bool:
    """Whether a read may answer 304: the client has this very answer."""
    given = request.headers.get("if-none-match")
    return given is not None and (given.strip() == "*" or tag in {f'"{text}"' for _, text in _TAG.findall(given)})


def precondition(request: Request) -> Precondition | None:
    """What the headers of a write ask of the product; None where they ask nothing.

    It raises PreconditionFailed (412, ``changed_meanwhile``) and names the tag of the present state. A weak tag never
    matches: it does not promise that nothing changed.
    """
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is None and unwanted is None:
        return None

    def check(product: Product) -> None:
        state = _state(product)
        if wanted is not None and wanted.strip() != "*" and state not in _states(wanted):
            raise _changed(product, "It is not the one that If-Match names.")
        if unwanted is not None and (unwanted.strip() == "*" or state in _states(unwanted)):
            raise _changed(product, "It is one that If-None-Match rules out.")

    return check


def _states(header: str) -> set[str]:
    return {text.rpartition(".")[0] if text.count(".") > 1 else text for weak, text in _TAG.findall(header) if not weak}


def _changed(product: Product, why: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"Product {product.sku!r} is at version {product.version}. {why}",
        fix="Read the product again, make the change to what it is now, and send the ETag of that.",
        expected=f'"{_state(product)}"',
    )
