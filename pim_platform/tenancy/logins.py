"""Logins of people: a password becomes an access token and a refresh token, and both can end.

A login is a person's and reaches every tenant of theirs (design D22). A refresh token is used once; one that comes a
second time was copied by somebody, and ends the login for whoever has it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pim_platform.errors import Forbidden, InvalidRequest, PimError, Unauthorized
from pim_platform.settings import Settings
from pim_platform.storage.postgres import call_definer, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.guesses import count_guess, forgive_guess
from pim_platform.tenancy.keys import Caller, Role
from pim_platform.tenancy.passwords import hash_password, is_outdated, is_password
from pim_platform.tenancy.tokens import access_token, hash_secret, new_secret, not_valid, session_of

_REFRESH_PREFIX = "pimr_"
_aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guesses")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Belonging:
    """A tenant that a person belongs to, and the role there."""

    tenant_id: UUID
    slug: str
    name: str
    role: Role


@dataclass(frozen=True)
class Person:
    """Somebody who has logged in."""

    user_id: UUID
    email: str
    name: str
    tenants: tuple[Belonging, ...]
    actor: Actor

    def caller(self, slug: str | None) -> Caller:
        """This person in the tenant ``slug``, or in the only one there is.

        Raises InvalidRequest with code ``tenant_needed`` where there are several, Forbidden with code ``not_a_member``
        for a tenant that is not theirs, whether it exists or not.
        """
        fitting = [one for one in self.tenants if slug in (None, one.slug)]
        if len(fitting) > 1:
            raise InvalidRequest(
                "This user belongs to several tenants.",
                fix="Name one with the X-Tenant header; GET /api/pim/me/ lists them.",
                code="tenant_needed",
            )
        if not fitting:
            raise Forbidden(
                "This user does not belong to that tenant." if slug else "This user belongs to no tenant.",
                fix="GET /api/pim/me/ lists your tenants; an admin of another can invite you.",
                code="not_a_member",
            )
        (found,) = fitting
        return Caller(found.tenant_id, found.role, self.actor, tenant_slug=found.slug, user_id=self.user_id)


@dataclass(frozen=True)
class Tokens:
    """What a login gives; the secrets are shown this once."""

    person: Person
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_at: datetime


def log_in(engine: Engine, settings: Settings, email: str, password: str, actor: Actor) -> Tokens:
    """Check a password and begin a login.

    Raises Unauthorized for an unknown address and for a wrong password alike, after the same work; TooManyRequests
    where guesses come too fast.
    """
    person, known = _check(engine, email, password, actor)
    refresh, refresh_hash = new_secret(_REFRESH_PREFIX)
    started = call_definer(
        engine,
        "SELECT * FROM pim.start_session(:user, :known, :hash, :lifetime, CAST(:ip AS inet), :agent)",
        user=person.user_id,
        known=known,
        hash=refresh_hash,
        lifetime=timedelta(days=settings.login_days),
        ip=actor.ip,
        agent=actor.user_agent,
    )
    if not started:  # the password has changed since it was looked at
        raise _wrong_login()
    tell_tenants(engine, person, "user.login")
    return _tokens(settings, person, started[0]["session_id"], refresh, started[0]["expires_at"])


def check_login(engine: Engine, email: str, password: str, actor: Actor) -> Person:
    """Whose password that is; begins no login. Raises as :func:`log_in` does."""
    return _check(engine, email, password, actor)[0]


def _check(engine: Engine, email: str, password: str, actor: Actor) -> tuple[Person, str]:
    """The person, and the hash of the password as it is kept from now on."""
    email = email.strip().lower()
    guess = count_guess(engine, email, actor.ip)
    row = next(iter(call_definer(engine, "SELECT * FROM pim.find_account(:email)", email=email)), None)
    known = None if row is None else row["password_hash"]
    right = is_password(password, known)
    if row is not None and not right and guess.begins_waiting:
        # Later: the time it takes would tell the guesser that there is such an account.
        _aside.submit(_tell_of_guesses, engine, row, actor)
    if row is None or not right:
        raise _wrong_login()
    forgive_guess(engine, guess)
    kept: str = row["password_hash"]
    if is_outdated(kept):
        new = hash_password(password)
        values = {"user": row["user_id"], "old": kept, "new": new}
        (replaced,) = call_definer(engine, "SELECT pim.replace_password(:user, :old, :new) AS done", **values)
        kept = new if replaced["done"] else kept
    return _person(engine, row, actor), kept


def _wrong_login() -> Unauthorized:
    return Unauthorized(
        "The e-mail address or the password is wrong.",
        fix="Try again, or ask an admin for a link to set a new password.",
        code="wrong_login",
    )


def refresh_login(engine: Engine, settings: Settings, refresh_token: str, actor: Actor) -> Tokens:
    """Exchange a refresh token for the next one and an access token.

    Raises Unauthorized for one that is unknown, used, expired or of a login that ended, without saying which.
    """
    fresh, fresh_hash = new_secret(_REFRESH_PREFIX)
    (row,) = call_definer(
        engine,
        "SELECT * FROM pim.rotate_refresh_token(:old, :new)",
        old=hash_secret(refresh_token),
        new=fresh_hash,
    )
    if row["outcome"] == "reused":
        thief = replace(actor, name=f"user:{row['user_id']}")
        tell_tenants(engine, _of_user(engine, row["user_id"], thief), "user.refresh_token_reused")
    if row["outcome"] != "rotated":
        raise Unauthorized("The refresh token is not valid.", fix="Log in again.", code="invalid_refresh_token")
    person = person_of(engine, row["session_id"], actor)
    return _tokens(settings, person, row["session_id"], fresh, row["expires_at"])


def log_out(engine: Engine, refresh_token: str, actor: Actor, *, everywhere: bool = False) -> None:
    """End the login that a refresh token belongs to, or all of that person; says nothing of an unknown token."""
    (row,) = call_definer(
        engine,
        "SELECT pim.end_session(:hash, :everywhere) AS user_id",
        hash=hash_secret(refresh_token),
        everywhere=everywhere,
    )
    if row["user_id"] is not None:
        named = replace(actor, name=f"user:{row['user_id']}")
        tell_tenants(engine, _of_user(engine, row["user_id"], named), "user.logout", everywhere=everywhere)


def authenticate_token(engine: Engine, settings: Settings, token: str, actor: Actor) -> Person:
    """Whose access token this is. Raises Unauthorized, also where the login has ended since."""
    return person_of(engine, session_of(settings, token), actor)


def person_of(engine: Engine, session_id: UUID, actor: Actor) -> Person:
    """Whose login that is. Raises Unauthorized where it has ended."""
    rows = call_definer(engine, "SELECT * FROM pim.find_session(:id)", id=session_id)
    if not rows:
        raise not_valid()
    first = rows[0]
    tenants = tuple(
        Belonging(row["tenant_id"], row["slug"], row["tenant_name"], row["role"])
        for row in rows
        if row["tenant_id"] is not None
    )
    named = replace(actor, name=f"user:{first['user_id']}")
    return Person(first["user_id"], first["email"], first["user_name"], tenants, named)


def belongings(engine: Engine, user_id: UUID) -> tuple[Belonging, ...]:
    """The active tenants that a person belongs to, by slug."""
    rows = call_definer(engine, "SELECT * FROM pim.memberships_of(:user)", user=user_id)
    return tuple(Belonging(**row) for row in rows)


def tell_tenants(engine: Engine, person: Person, action: str, **details: str | bool) -> None:
    """Write what a person's account went through into the audit trail of every tenant that it opens."""
    for one in person.tenants:
        with tenant_session(engine, one.tenant_id) as session:
            record(session, person.actor, action, "user", str(person.user_id), **details)


def _tell_of_guesses(engine: Engine, row: Mapping[str, Any], actor: Actor) -> None:
    try:
        tell_tenants(engine, _person(engine, row, actor), "user.login_delayed")
    except (PimError, SQLAlchemyError):
        _log.exception("guesses at a password could not be written down")


def _of_user(engine: Engine, user_id: UUID, actor: Actor) -> Person:
    return Person(user_id, "", "", belongings(engine, user_id), actor)


def _person(engine: Engine, row: Mapping[str, Any], actor: Actor) -> Person:
    named = replace(actor, name=f"user:{row['user_id']}")
    return Person(row["user_id"], row["email"], row["name"], belongings(engine, row["user_id"]), named)


def _tokens(settings: Settings, person: Person, session_id: UUID, refresh: str, until: datetime) -> Tokens:
    token = access_token(settings, person.user_id, session_id)
    seconds = min(settings.access_token_seconds, int((until - datetime.now(UTC)).total_seconds()))
    return Tokens(person, token, max(seconds, 0), refresh, until)
