"""Invitations: a role in one tenant for whoever has the link, be it a new person or one who has a login already.

An admin is answered alike for both, so nobody learns who else uses the installation. A person who exists proves with
the password that they are it, and all their logins end: what another tenant's admin may have got hold of must not
reach this tenant too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, InvalidRequest, NotFound, Unauthorized
from pim_platform.settings import Settings
from pim_platform.storage.postgres import call_definer, tenant_session
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.cursors import paged, read_id_cursor
from pim_platform.tenancy.guesses import count_guess, forgive_guess
from pim_platform.tenancy.keys import Role, check_role
from pim_platform.tenancy.models import Invitation, Membership, User
from pim_platform.tenancy.passwords import check_password, hash_password, is_password
from pim_platform.tenancy.tokens import hash_secret, new_secret
from pim_platform.tenancy.users import add_user, normalise_email

_PREFIX = "pimi_"


@dataclass(frozen=True)
class InvitationInfo:
    """An invitation that nobody has accepted yet."""

    id: UUID
    email: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Accepted:
    """Where an accepted invitation leads."""

    tenant_slug: str
    tenant_name: str
    email: str
    role: Role


def invite(session: Session, settings: Settings, *, email: str, role: Role, actor: Actor) -> tuple[InvitationInfo, str]:
    """Invite somebody into the session's tenant; returns the invitation and its secret, shown this once.

    An earlier one of the same address ends. Raises InvalidRequest; Conflict with code ``already_member``.
    """
    email = normalise_email(email)
    check_role(role)
    tenant_id = session.info["tenant_id"]
    member = select(func.count()).select_from(Membership).join(User, User.id == Membership.user_id)
    if session.scalar(member.where(Membership.tenant_id == tenant_id, User.email == email)):
        raise Conflict(
            f"{email} belongs to this tenant already.", fix="Change the role instead.", code="already_member"
        )
    session.execute(
        update(Invitation)
        .where(
            Invitation.tenant_id == tenant_id,
            Invitation.email == email,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=func.clock_timestamp())
    )
    link, hashed = new_secret(_PREFIX)
    row = Invitation(
        tenant_id=tenant_id,
        email=email,
        role=role,
        token_hash=hashed,
        created_by=actor.name,
        expires_at=datetime.now(UTC) + timedelta(days=settings.invitation_days),
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            f"{email} is being invited already.", fix="Look at the open invitations.", code="already_invited"
        ) from error
    record(session, actor, "user.invited", "invitation", str(row.id), email=email, role=role)
    return _info(row), link


def list_invitations(
    session: Session, *, cursor: str | None = None, limit: int = 100
) -> tuple[list[InvitationInfo], str | None]:
    """A page of the open invitations of the session's tenant, newest first, and the next's cursor.

    Raises InvalidRequest for a cursor that is none.
    """
    query = select(Invitation).where(
        Invitation.tenant_id == session.info["tenant_id"],
        Invitation.accepted_at.is_(None),
        Invitation.revoked_at.is_(None),
        Invitation.expires_at > func.clock_timestamp(),
    )
    if cursor is not None:
        query = query.where(Invitation.id < read_id_cursor(cursor))
    rows = session.scalars(query.order_by(Invitation.id.desc()).limit(limit + 1))
    return paged([_info(row) for row in rows], limit, lambda invitation: str(invitation.id))


def revoke_invitation(session: Session, invitation_id: UUID, *, actor: Actor) -> None:
    """Take an open invitation back. Raises NotFound with code ``unknown_invitation``."""
    row = session.get(Invitation, (session.info["tenant_id"], invitation_id))
    if row is None or row.accepted_at is not None or row.revoked_at is not None:
        raise NotFound(
            f"There is no open invitation {invitation_id}.",
            fix="GET /api/pim/users/invitations/ lists them.",
            code="unknown_invitation",
            value=str(invitation_id),
        )
    row.revoked_at = datetime.now(UTC)
    record(session, actor, "user.invitation_revoked", "invitation", str(invitation_id), email=row.email)


def accept_invitation(engine: Engine, link: str, *, password: str, name: str, actor: Actor) -> Accepted:
    """Accept an invitation: as a new person with ``name`` and a password, or as one who exists, with their password.

    Raises NotFound with code ``unknown_link`` for a link that is unknown, used, revoked or expired; Unauthorized for
    a wrong password of somebody who exists, which counts as a guess; InvalidRequest for a weak one or no name.
    """
    hashed = hash_secret(link)
    found = next(iter(call_definer(engine, "SELECT * FROM pim.find_invitation(:hash)", hash=hashed)), None)
    if found is None:
        raise _unknown_link()
    email: str = found["email"]
    # Of everybody, before anything is looked up: an admin who tries the own invitations learns nothing by leaving
    # something out.
    if not name.strip():
        raise InvalidRequest("A name is missing.", fix="Send the person's name.", code="name_needed", column="name")
    check_password(password, email=email)
    account = next(iter(call_definer(engine, "SELECT * FROM pim.find_account(:email)", email=email)), None)
    known = hash_password(password) if account is None else _prove(engine, account, password, actor)
    taken = Conflict("This invitation was accepted already.", fix="Log in.", code="already_member")
    try:
        with tenant_session(engine, found["tenant_id"]) as session:
            row = session.scalar(
                select(Invitation)
                .where(Invitation.tenant_id == found["tenant_id"], Invitation.id == found["invitation_id"])
                .with_for_update()
            )
            if row is None or row.accepted_at is not None or row.revoked_at is not None:
                raise _unknown_link()
            row.accepted_at = datetime.now(UTC)
            if account is None:
                user_id = add_user(
                    session,
                    email=email,
                    name=name.strip(),
                    password_hash=known,
                    role=found["role"],
                    actor=actor,
                )
            else:
                user_id = account["user_id"]
                _join(session, account, found["role"])
            named = Actor(f"user:{user_id}", actor.ip, actor.user_agent, actor.trace_id)
            record(session, named, "user.joined", "user", str(user_id), role=found["role"])
    except IntegrityError as error:
        raise taken from error
    return Accepted(found["slug"], found["tenant_name"], email, found["role"])


def _prove(engine: Engine, account: Mapping[str, Any], password: str, actor: Actor) -> str:
    """The hash of a person's password, which ``password`` is."""
    guess = count_guess(engine, account["email"], actor.ip)
    known: str = account["password_hash"]
    if not is_password(password, known):
        raise Unauthorized(
            "There is a login for this address already, and the password is not its.",
            fix="Send the password that you log in with, or ask the operator for a link to set a new one.",
            code="wrong_login",
        )
    forgive_guess(engine, guess)
    return known


def _join(session: Session, account: Mapping[str, Any], role: Role) -> None:
    # Holds the account to the end of the transaction: a password link of another tenant waits, and then is void.
    values = {"user": account["user_id"], "hash": account["password_hash"]}
    if not session.scalar(text("SELECT pim.replace_password(:user, :hash, :hash)"), values):
        raise Unauthorized("The password has just changed.", fix="Try again with the new one.", code="wrong_login")
    session.add(Membership(tenant_id=session.info["tenant_id"], user_id=account["user_id"], role=role))
    session.flush()
    session.execute(text("SELECT pim.end_sessions(:user, 'joined_tenant')"), values)


def _unknown_link() -> NotFound:
    return NotFound("This invitation does not hold any more.", fix="Ask for another.", code="unknown_link")


def _info(row: Invitation) -> InvitationInfo:
    role = cast("Role", row.role)
    return InvitationInfo(row.id, row.email, role, row.created_by, row.created_at, row.expires_at)
