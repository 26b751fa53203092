"""How often passwords may be guessed, counted in PostgreSQL so that all processes of the API count together.

A guess is counted before the password is looked at and forgiven where it was right, so guesses at once all count.
Some are free; after them each makes the next wait twice as long, up to a bound. Guesses are counted per account and
per network address. A person at an address where their login succeeded before is counted apart: whoever guesses
from elsewhere delays only strangers, and nobody is locked out for longer than the bound.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Engine

from pim_platform.errors import TooManyRequests
from pim_platform.storage.postgres import call_definer

#: Guesses at one account before waiting begins (OWASP suggests 3 to 5), and from one network address, which
#: many people may share.
ACCOUNT_FREE, ADDRESS_FREE = 5, 20
#: Longest waits. 288 guesses a day at one account find no password of ten characters.
ACCOUNT_LONGEST, ADDRESS_LONGEST = timedelta(minutes=5), timedelta(minutes=15)

_IPV6_NETWORK = 64  # one customer's line (RFC 6177)


@dataclass(frozen=True)
class Guess:
    """A guess at the password of somebody from somewhere."""

    account: bytes
    address: bytes
    pair: bytes
    count: int = 0
    """Guesses in a row at this account, this one included."""

    @classmethod
    def of(cls, email: str, ip: str | None) -> Guess:
        """One that is not counted yet."""
        # Whoever comes through a Unix socket has no address: then there is none that others could use up.
        place = f"of {email}" if ip is None else _network(ip)
        return cls(_bucket("account", email), _bucket("address", place), _bucket("pair", email, place))

    @property
    def begins_waiting(self) -> bool:
        """Whether it is the first after which one has to wait."""
        return self.count == ACCOUNT_FREE + 1


def count_guess(engine: Engine, email: str, ip: str | None) -> Guess:
    """Count a guess at the password of ``email``, whether there is such an account or not.

    Raises TooManyRequests with code ``too_many_guesses`` where it comes too early; then it is not counted.
    """
    guess = Guess.of(email, ip)
    (row,) = call_definer(
        engine,
        "SELECT * FROM pim.count_login(:account, :address, :pair, :account_free, :address_free, "
        ":account_longest, :address_longest)",
        account=guess.account,
        address=guess.address,
        pair=guess.pair,
        account_free=ACCOUNT_FREE,
        address_free=ADDRESS_FREE,
        account_longest=ACCOUNT_LONGEST,
        address_longest=ADDRESS_LONGEST,
    )
    if row["wait_seconds"] > 0:
        raise TooManyRequests(
            "There were too many attempts to log in.",
            fix="Wait as long as Retry-After says, or ask an admin for a link to set a new password.",
            code="too_many_guesses",
            retry_after=row["wait_seconds"],
        )
    return replace(guess, count=row["guesses"])


def forgive_guess(engine: Engine, guess: Guess) -> None:
    """It was the person: count the guess no more, and know the person at this address from now on."""
    call_definer(
        engine,
        "SELECT pim.forgive_login(:account, :address, :pair)",
        account=guess.account,
        address=guess.address,
        pair=guess.pair,
    )


def _bucket(*parts: str) -> bytes:
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def _network(ip: str) -> str:
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), _IPV6_NETWORK), strict=False))
    return str(address)
