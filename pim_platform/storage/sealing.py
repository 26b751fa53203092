"""Secrets of users, such as the password of a feed, encrypted before they are stored; and tickets that expire.

The keys are never in the database: ``PIM_SECRET_KEYS``, or a password of the home, so a copy of the database tells
nothing. Fernet (AES-128-CBC with HMAC-SHA256) is used as its library makes it. A sealed text says what it is for, so
one that was made for one purpose is worth nothing for another.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pim_platform.errors import Misconfigured
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import secret

_HOME_SECRET = "sealing"  # noqa: S105  # the name of the home's password, not one


def seal(settings: Settings, purpose: str, value: Any) -> str:
    """Encrypt a JSON value for ``purpose``; printable, safe in URLs."""
    return _fernet(settings).encrypt(json.dumps([purpose, value]).encode()).decode()


def unseal(settings: Settings, purpose: str, sealed: str, *, seconds: int | None = None) -> Any:
    """The value that was sealed for ``purpose``; with ``seconds``, if that was no longer ago.

    Raises BrokenSeal where it is not ours, too old, made for something else, or the key is gone.
    """
    try:
        purposed = json.loads(_fernet(settings).decrypt(sealed.encode(), ttl=seconds))
    except (InvalidToken, ValueError) as error:
        raise BrokenSeal(
            "A stored secret cannot be read any more.",
            fix="Give it anew, or put the key it was stored with back into PIM_SECRET_KEYS.",
        ) from error
    if purposed[0] != purpose:
        raise BrokenSeal("A sealed value was used for something else.", fix="Give it anew.")
    return purposed[1]


class BrokenSeal(Misconfigured):
    """A sealed value cannot be opened."""

    code = "broken_seal"


def _fernet(settings: Settings) -> MultiFernet:
    given = settings.secret_keys.get_secret_value() if settings.secret_keys is not None else ""
    texts = [part.strip() for part in given.split(",") if part.strip()]
    if not texts:
        texts = [secret(settings.home_path, _HOME_SECRET)]
    # Any text of enough randomness is a key; Fernet itself wants 32 bytes in base64.
    keys = (base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for text in texts)
    return MultiFernet([Fernet(key) for key in keys])
