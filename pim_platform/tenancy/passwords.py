"""Passwords: which are good enough, and how they are kept (argon2id). Knows no tables."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from pim_platform.errors import InvalidRequest

#: NIST SP 800-63B asks for at least 8 characters; longer is our choice.
MINIMUM_PASSWORD = 10
#: It asks that 64 be possible; the bound keeps a body of megabytes from being hashed.
MAXIMUM_PASSWORD = 256
_DISTINCT = 5

#: RFC 9106, section 4, second recommended option: 3 passes over 64 MiB in 4 lanes, about 50 ms of a core.
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hash_password(password: str) -> str:
    """The argon2id hash of a password, with its salt and parameters. Takes tens of milliseconds of work."""
    return _hasher.hash(_spelled(password))


def is_password(password: str, known: str | None) -> bool:
    """Whether ``known`` is the hash of ``password``. None is never, after as much work as any other."""
    try:
        _hasher.verify(_nobodys() if known is None else known, _spelled(password))
    except (VerificationError, InvalidHashError):
        return False
    return known is not None


def is_outdated(known: str) -> bool:
    """Whether a hash was made with other parameters than those in use now."""
    return _hasher.check_needs_rehash(known)


def check_password(password: str, *, email: str, name: str = "") -> None:
    """Raise InvalidRequest with code ``weak_password`` for one that is too short, too long or too easy to guess."""
    spelled = _spelled(password)
    if len(spelled) < MINIMUM_PASSWORD:
        raise _weak("The password is too short.", f"Use {MINIMUM_PASSWORD} characters or more.")
    if len(password) > MAXIMUM_PASSWORD:
        raise _weak("The password is too long.", f"Use {MAXIMUM_PASSWORD} characters or fewer.")
    if len(set(spelled)) < _DISTINCT:
        raise _weak("The password repeats the same few characters.", "Use several words, or let a program make one.")
    known = {part.casefold() for part in (email, email.partition("@")[0], name)}
    if spelled.casefold() in known:
        raise _weak("The password is the name or the address.", "Use several words, or let a program make one.")


def _weak(what: str, fix: str) -> InvalidRequest:
    return InvalidRequest(what, fix=fix, code="weak_password", column="password")


def _spelled(password: str) -> str:
    """One spelling of what looks alike, whatever keyboard it comes from (NIST SP 800-63B, section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_urlsafe())
