"""People: users, their roles in tenants, and their passwords (argon2)."""

from __future__ import annotations

from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from pim_platform.errors import Conflict, InvalidRequest, Unauthorized
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.keys import Caller, Role
from pim_platform.tenancy.models import Membership, User

#: NIST SP 800-63B asks for at least 8 characters; longer is our choice.
MINIMUM_PASSWORD = 10

_hasher = PasswordHasher()


def create_user(
    engine: Engine, tenant_id: UUID, *, email: str, name: str, password: str, role: Role, actor: Actor
) -> UUID:
    """Make a user with a role in one tenant; returns the id. Raises InvalidRequest, Conflict."""
    if "@" not in email:
        raise InvalidRequest(f"{email!r} is not an e-mail address.", fix="Write name@host.", value=email)
    if len(password) < MINIMUM_PASSWORD:
        raise InvalidRequest("The password is too short.", fix=f"Use {MINIMUM_PASSWORD} characters or more.")
    with anonymous_session(engine) as session:
        user_id: UUID = session.scalars(text("SELECT uuidv7()")).one()
    try:
        with tenant_session(engine, tenant_id) as session:
            # No RETURNING: the user is visible to the tenant only once the membership stands.
            session.execute(
                text("INSERT INTO pim.users (id, email, name, password_hash) VALUES (:id, :email, :name, :hash)"),
                {"id": user_id, "email": email.lower(), "name": name, "hash": _hasher.hash(password)},
            )
            session.add(Membership(tenant_id=tenant_id, user_id=user_id, role=role))
            record(session, actor, "user.created", "user", str(user_id), role=role)
    except IntegrityError as error:
        raise Conflict(f"A user {email!r} exists already.", fix="Use another address.", code="user_exists") from error
    return user_id


def login(engine: Engine, email: str, password: str, *, tenant_slug: str | None = None) -> Caller:
    """Check a password. A user of several tenants names one, else InvalidRequest (design D22).

    Raises Unauthorized for an unknown address and for a wrong password alike.
    """
    with anonymous_session(engine) as session:
        rows = session.execute(text("SELECT * FROM pim.find_login(:email)"), {"email": email.lower()}).mappings().all()
    wrong = Unauthorized(
        "The e-mail address or the password is wrong.", fix="Try again or ask an admin for a new password."
    )
    if not rows:
        _hasher.hash(password)  # as much work as for a known address, so that time does not tell them apart
        raise wrong
    try:
        _hasher.verify(rows[0]["password_hash"], password)
    except VerificationError as error:
        raise wrong from error
    fitting = [row for row in rows if tenant_slug in (None, row["slug"])]
    if not fitting:
        raise wrong
    if len(fitting) > 1:
        raise InvalidRequest(
            "This user belongs to several tenants.", fix="Name one with the X-Tenant header.", code="tenant_needed"
        )
    row = fitting[0]
    return Caller(row["tenant_id"], row["role"], Actor(f"user:{row['user_id']}"))


__all__ = ["MINIMUM_PASSWORD", "User", "create_user", "login"]
