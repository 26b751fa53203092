"""Access tokens: short-lived JSON Web Tokens (RFC 7519) that name a login and nothing else.

What the person may do is looked up at each request, so a role that changes or a login that ends takes effect at once;
the signature keeps strangers from asking the database.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

import jwt

from pim_platform.errors import Unauthorized
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import secret

_ALGORITHM = "HS256"
_ISSUER, _AUDIENCE = "pim-platform", "pim-api"
_TYPE = "at+jwt"  # RFC 9068: no other kind of JWT passes for one of these
_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "sid"]
_CLOCKS_DIFFER = 10.0  # seconds, between the host that made a token and the one that reads it
_BYTES = 32  # 256 random bits, as for API keys (design D22)


def new_secret(prefix: str) -> tuple[str, bytes]:
    """(a one-time secret with ``prefix``, the SHA-256 that is stored of it)."""
    made = prefix + secrets.token_urlsafe(_BYTES)
    return made, hash_secret(made)


def hash_secret(value: str) -> bytes:
    """SHA-256 of a secret of 256 random bits, which needs neither salt nor a slow hash."""
    return hashlib.sha256(value.encode()).digest()


def access_token(settings: Settings, user_id: UUID, session_id: UUID) -> str:
    """A signed token for the login ``session_id``, valid for ``PIM_ACCESS_TOKEN_SECONDS``."""
    now = datetime.now(UTC)
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(user_id),
        "sid": str(session_id),
        "iat": now,
        "exp": now + timedelta(seconds=settings.access_token_seconds),
    }
    return jwt.encode(claims, _key(settings), algorithm=_ALGORITHM, headers={"typ": _TYPE})


def session_of(settings: Settings, token: str) -> UUID:
    """The login that a token names. Raises Unauthorized for one that is not ours, was changed or has expired."""
    return login_of(settings, token)[0]


def login_of(settings: Settings, token: str) -> tuple[UUID, datetime]:
    """The login that a token names, and when the token ends. Raises Unauthorized as :func:`session_of` does."""
    try:
        found = jwt.decode_complete(
            token,
            _key(settings),
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            audience=_AUDIENCE,
            leeway=_CLOCKS_DIFFER,
            options={"require": _REQUIRED},
        )
        if found["header"].get("typ") != _TYPE:
            raise jwt.InvalidTokenError("another kind of token")
        return UUID(found["payload"]["sid"]), datetime.fromtimestamp(found["payload"]["exp"], UTC)
    except (jwt.InvalidTokenError, ValueError) as error:
        # Why stays unsaid: whoever forges tokens learns nothing.
        raise not_valid() from error


def not_valid() -> Unauthorized:
    """The answer to every token that is good for nothing."""
    return Unauthorized(
        "The access token is not valid.",
        fix="Get another with the refresh token at /auth/token, or log in again.",
    )


def _key(settings: Settings) -> str:
    given = settings.token_secret
    return given.get_secret_value() if given is not None else _home_secret(settings.home_path)


@cache
def _home_secret(home: Path) -> str:
    return secret(home, "tokens")  # reads a file, and this is asked for at every request
