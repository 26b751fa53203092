"""People of a tenant and their roles, as its admins see and change them; passwords and the links that set them.

A person may belong to several tenants. Each tenant decides about its own role only; the password is the person's, so
a tenant may make a link for it only while the person belongs to no other: its admin could become that person there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, InvalidRequest, NotFound, Unauthorized
from pim_platform.settings import Settings
from pim_platform.storage.postgres import anonymous_session, call_definer, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.cursors import paged, read_cursor
from pim_platform.tenancy.guesses import Guess, count_guess, forgive_guess
from pim_platform.tenancy.keys import Role, check_role
from pim_platform.tenancy.logins import Person, belongings, tell_tenants
from pim_platform.tenancy.models import Membership, Tenant, User
from pim_platform.tenancy.passwords import check_password, hash_password, is_password
from pim_platform.tenancy.tokens import hash_secret, new_secret

_LINK_PREFIX = "piml_"
#: Longest address by RFC 5321, section 4.5.3.1.3.
MAXIMUM_EMAIL = 254


@dataclass(frozen=True)
class Member:
    """A person in one tenant."""

    id: UUID
    email: str
    name: str
    role: Role
    joined_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


def normalise_email(email: str) -> str:
    """An address as it is stored: trimmed, lower case. Raises InvalidRequest for what is none."""
    found = email.strip().lower()
    local, _, host = found.rpartition("@")
    if not local or not host or len(found) > MAXIMUM_EMAIL or any(char.isspace() or ord(char) < 32 for char in found):
        raise InvalidRequest(
            f"{email!r} is not an e-mail address.", fix="Write name@host.", column="email", value=email
        )
    return found


def create_user(
    engine: Engine, tenant_id: UUID, *, email: str, name: str, password: str, role: Role, actor: Actor
) -> UUID:
    """Make a user with a role in one tenant; returns the id. Raises InvalidRequest, Conflict."""
    email = normalise_email(email)
    check_role(role)
    check_password(password, email=email, name=name)
    hashed = hash_password(password)
    try:
        with tenant_session(engine, tenant_id) as session:
            return add_user(session, email=email, name=name, password_hash=hashed, role=role, actor=actor)
    except IntegrityError as error:
        raise Conflict(f"A user {email!r} exists already.", fix="Use another address.", code="user_exists") from error


def add_user(session: Session, *, email: str, name: str, password_hash: str, role: Role, actor: Actor) -> UUID:
    """Insert a user with a role in the session's tenant; IntegrityError where the address is taken."""
    user_id: UUID = session.scalars(text("SELECT uuidv7()")).one()
    # No RETURNING: the user is visible to the tenant only once the membership stands.
    session.execute(
        text("INSERT INTO pim.users (id, email, name, password_hash) VALUES (:id, :email, :name, :hash)"),
        {"id": user_id, "email": email, "name": name, "hash": password_hash},
    )
    session.add(Membership(tenant_id=session.info["tenant_id"], user_id=user_id, role=role))
    session.flush()
    record(session, actor, "user.created", "user", str(user_id), role=role)
    return user_id


def list_members(session: Session, *, cursor: str | None = None, limit: int = 100) -> tuple[list[Member], str | None]:
    """A page of the people of the session's tenant, by address, and the cursor of the next. Raises InvalidRequest."""
    query = _members(session)
    if cursor is not None:
        query = query.where(User.email > read_cursor(cursor))
    rows = session.execute(query.order_by(User.email).limit(limit + 1))
    return paged([Member(*row) for row in rows], limit, lambda member: member.email)


def get_member(session: Session, user_id: UUID) -> Member:
    """A person of the session's tenant. Raises NotFound, also for somebody of another tenant."""
    row = session.execute(_members(session).where(User.id == user_id)).first()
    if row is None:
        raise _unknown(str(user_id))
    return Member(*row)


def find_member(session: Session, email: str) -> Member:
    """The person of that address in the session's tenant. Raises NotFound."""
    row = session.execute(_members(session).where(User.email == email.strip().lower())).first()
    if row is None:
        raise _unknown(email)
    return Member(*row)


def _members(session: Session) -> Any:
    return (
        select(User.id, User.email, User.name, Membership.role, Membership.created_at)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.tenant_id == session.info["tenant_id"])
    )


def _unknown(value: str) -> NotFound:
    return NotFound(
        f"This tenant has no user {value}.", fix="GET /api/pim/users/ lists them.", code="unknown_user", value=value
    )


def change_role(session: Session, user_id: UUID, role: Role, *, actor: Actor) -> Member:
    """Give a person of the session's tenant another role; it holds from their next request on.

    Raises NotFound, and Conflict with code ``last_admin`` where nobody would be left who may do such things.
    """
    check_role(role)
    row = _held(session, user_id, keeps_admin=role == "admin")
    if row.role != role:
        record(session, actor, "user.role_changed", "user", str(user_id), role=role, before=row.role)
        row.role = role
        session.flush()
    return get_member(session, user_id)


def remove_member(session: Session, user_id: UUID, *, actor: Actor) -> None:
    """Take a person out of the session's tenant at once; other tenants of theirs stay. Raises as ``change_role``."""
    row = _held(session, user_id, keeps_admin=False)
    record(session, actor, "user.removed", "user", str(user_id), role=row.role)
    session.delete(row)


def _held(session: Session, user_id: UUID, *, keeps_admin: bool) -> Membership:
    """The membership, with the tenant's row locked: two admins must not remove each other at the same time."""
    tenant_id = session.info["tenant_id"]
    session.execute(select(Tenant.id).where(Tenant.id == tenant_id).with_for_update(key_share=True))
    row = session.get(Membership, (tenant_id, user_id))
    if row is None:
        raise _unknown(str(user_id))
    if row.role == "admin" and not keeps_admin:
        others = session.scalar(
            select(func.count())
            .select_from(Membership)
            .join(User, User.id == Membership.user_id)
            .where(
                Membership.tenant_id == tenant_id,
                Membership.role == "admin",
                Membership.user_id != user_id,
                User.active,
            )
        )
        if not others:
            raise Conflict(
                "This is the tenant's last admin.", fix="Make somebody else an admin first.", code="last_admin"
            )
    return row


# --- passwords -----------------------------------------------------------------------------------------------------


def make_password_link(
    engine: Engine, settings: Settings, tenant_id: UUID, user_id: UUID, *, actor: Actor
) -> tuple[str, datetime]:
    """The secret of a one-time link to set a person's password, and until when it holds; earlier ones end.

    For an admin of a tenant. Raises NotFound for somebody else's user, and Conflict with code ``operator_needed``
    where the password is not this tenant's alone to reset.
    """
    with tenant_session(engine, tenant_id) as session:
        member = get_member(session, user_id)
        link, hashed = new_secret(_LINK_PREFIX)
        until = session.scalar(
            text("SELECT pim.make_password_link(:user, :tenant, :hash, :lifetime, :maker)"),
            {
                "user": member.id,
                "tenant": tenant_id,
                "hash": hashed,
                "lifetime": timedelta(hours=settings.password_link_hours),
                "maker": actor.name,
            },
        )
        if until is None:
            raise Conflict(
                "The password of this user is not this tenant's alone to reset.",
                fix="Ask the operator of the installation: `pim user reset EMAIL`.",
                code="operator_needed",
            )
        record(session, actor, "user.password_link_made", "user", str(user_id))
    return link, until


def make_operator_link(engine: Engine, settings: Settings, email: str, *, actor: Actor) -> tuple[str, datetime]:
    """The same for the operator of the installation, for any user. Raises NotFound."""
    person = _account(engine, email, actor)
    link, hashed = new_secret(_LINK_PREFIX)
    (made,) = call_definer(
        engine,
        "SELECT pim.make_password_link(:user, NULL, :hash, :lifetime, :maker) AS until",
        user=person.user_id,
        hash=hashed,
        lifetime=timedelta(hours=settings.password_link_hours),
        maker=actor.name,
    )
    tell_tenants(engine, person, "user.password_link_made")
    return link, made["until"]


def _account(engine: Engine, email: str, actor: Actor) -> Person:
    """The user of that address, in whatever tenants, as the operator means them. Raises InvalidRequest, NotFound."""
    email = normalise_email(email)
    row = next(iter(call_definer(engine, "SELECT user_id FROM pim.find_account(:email)", email=email)), None)
    if row is None:
        raise NotFound(f"There is no user {email!r}.", fix="See `pim user list`.", code="unknown_user", value=email)
    return Person(row["user_id"], email, "", belongings(engine, row["user_id"]), actor)


def use_password_link(engine: Engine, link: str, password: str, *, actor: Actor) -> None:
    """Set a password with a one-time link; every login of that person ends.

    Raises InvalidRequest for a weak password (the link holds then), NotFound with code ``unknown_link`` for a link
    that is unknown, used or expired, without saying which.
    """
    unknown = NotFound("This link does not hold any more.", fix="Ask an admin for another.", code="unknown_link")
    hashed = hash_secret(link)
    row = next(iter(call_definer(engine, "SELECT * FROM pim.find_password_link(:hash)", hash=hashed)), None)
    if row is None:
        raise unknown
    check_password(password, email=row["email"], name=row["name"])
    (used,) = call_definer(
        engine, "SELECT pim.use_password_link(:hash, :new) AS done", hash=hashed, new=hash_password(password)
    )
    if not used["done"]:
        raise unknown
    # The way out for somebody whom another's guesses keep waiting at a new address.
    forgive_guess(engine, Guess.of(row["email"], actor.ip))
    _tell_password_changed(engine, row["user_id"], row["email"], actor, by="link")


def change_password(engine: Engine, person: Person, present: str, password: str, *, actor: Actor) -> None:
    """Set one's own password, knowing the present one; every login of that person ends, this one too.

    Raises Unauthorized for a wrong present password, which counts as a guess, InvalidRequest for a weak new one.
    """
    guess = count_guess(engine, person.email, actor.ip)
    row = next(iter(call_definer(engine, "SELECT * FROM pim.find_account(:email)", email=person.email)), None)
    known = None if row is None else row["password_hash"]
    wrong = Unauthorized("The present password is wrong.", fix="Try again.", code="wrong_login")
    if not is_password(present, known):
        raise wrong
    forgive_guess(engine, guess)
    check_password(password, email=person.email, name=person.name)
    new = hash_password(password)
    with anonymous_session(engine) as session:
        values = {"user": person.user_id, "old": known, "new": new}
        if not session.scalar(text("SELECT pim.replace_password(:user, :old, :new)"), values):
            raise wrong
        session.execute(text("SELECT pim.end_sessions(:user, 'password_changed')"), values)
    _tell_password_changed(engine, person.user_id, person.email, actor, by="user")


def end_logins(engine: Engine, email: str, *, actor: Actor) -> int:
    """End every login of a user, for the operator; returns how many. Raises NotFound."""
    person = _account(engine, email, actor)
    (done,) = call_definer(engine, "SELECT pim.end_sessions(:user, 'operator') AS ended", user=person.user_id)
    tell_tenants(engine, person, "user.logins_ended")
    return int(done["ended"])


def _tell_password_changed(engine: Engine, user_id: UUID, email: str, actor: Actor, *, by: str) -> None:
    named = Actor(f"user:{user_id}", actor.ip, actor.user_agent, actor.trace_id)
    person = Person(user_id, email, "", belongings(engine, user_id), named)
    tell_tenants(engine, person, "user.password_changed", by=by)
