"""Cases of ``pim_platform.tenancy``."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError

from pim_platform.errors import NotFound
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy import audit, invitations, keys, logins, tenants, usage, users
from pim_platform.tenancy.models import ApiUsage
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Side, Two, case, shown


@case("tenancy.usage.reserve")
def _(two: Two) -> Any:
    asked = {"default_budget": 1.0, "endpoint": "/v1/messages"}
    # Bravo's budget is spent; that is no matter of alpha's.
    with tenant_session(two.workspace.app, two.b.id) as session:
        assert usage.daily_budget(session, 1.0).left == 0
    assert usage.reserve(two.workspace.app, two.b.id, Decimal("0.01"), **asked) is None  # type: ignore[arg-type]
    found = usage.reserve(two.workspace.app, two.a.id, Decimal("0.01"), **asked)  # type: ignore[arg-type]
    assert found is not None
    return found


@case("tenancy.usage.settle")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        row = session.scalars(select(ApiUsage)).first()
        assert row is not None
        theirs = usage.Reservation(row.id, row.created_at, Decimal(0))
    usage.settle(two.workspace.app, two.a.id, theirs, cost=Decimal(0), outcome="stolen")  # changes no row


@case("tenancy.usage.daily_budget")
def _(two: Two) -> Any:
    with two.session() as session:
        found = usage.daily_budget(session, 1.0)
        assert found.spent < Decimal("0.5")
        return found


@case("tenancy.usage.daily_costs")
def _(two: Two) -> Any:
    with two.session() as session:
        everyones = session.execute(text("SELECT DISTINCT tenant_id FROM pim.v_api_daily_costs")).scalars()
        assert set(everyones) <= {two.a.id}, "the view shows what its reader may see"
        return usage.daily_costs(session, date(2020, 1, 1))


@case("tenancy.usage.set_daily_budget")
def _(two: Two) -> Any:
    usage.set_daily_budget(two.workspace.app, two.a.id, Decimal("0.5"), actor=ACTOR)
    usage.set_daily_budget(two.workspace.app, two.a.id, None, actor=ACTOR)


@case("tenancy.usage.own_budget")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        usage.set_own_budget(session, Decimal("0.25"), actor=ACTOR)
        with two.session() as other:
            assert usage.own_budget(other) != Decimal("0.25")
        session.rollback()


@case("tenancy.usage.set_own_budget")
def _(two: Two) -> Any:
    with two.session() as session:
        usage.set_own_budget(session, Decimal("0.5"), actor=ACTOR)
        usage.set_own_budget(session, None, actor=ACTOR)


@case("tenancy.audit.record")
def _(two: Two) -> Any:
    with two.session() as session:
        audit.record(session, ACTOR, "test.recorded", "test", None)
        session.flush()
        return [shown(row) for row in session.query(audit.AuditLog).all()]


@case("tenancy.keys.create_key")
def _(two: Two) -> Any:
    key = keys.create_key(two.workspace.app, two.a.id, role="viewer", name="n", actor=ACTOR)
    assert keys.authenticate(two.workspace.app, key).tenant_id == two.a.id


@case("tenancy.users.create_user")
def _(two: Two) -> Any:
    email = f"{uuid4().hex}@example.com"
    users.create_user(
        two.workspace.app, two.a.id, email=email, name="n", password="long enough", role="viewer", actor=ACTOR
    )
    (only,) = logins.check_login(two.workspace.app, email, "long enough", ACTOR).tenants
    assert only.tenant_id == two.a.id
    with two.session() as session:
        rows = session.execute(text("SELECT id, email, name, active, created_at FROM pim.users")).mappings().all()
        with pytest.raises(ProgrammingError, match="permission denied"), session.begin_nested():
            session.execute(text("SELECT password_hash FROM pim.users"))
        return [dict(row) for row in rows]


def _user_of(two: Two, side: Side) -> UUID:
    with tenant_session(two.workspace.app, side.id) as session:
        return users.find_member(session, side.user).id


@case("tenancy.users.add_user")
def _(two: Two) -> Any:
    email = f"{uuid4().hex}@example.com"
    with two.session() as session:
        return users.add_user(session, email=email, name="n", password_hash="x", role="viewer", actor=ACTOR)


@case("tenancy.users.list_members")
def _(two: Two) -> Any:
    with two.session() as session:
        found, _ = users.list_members(session)
    assert two.a.user in {member.email for member in found}
    return found


@case("tenancy.users.get_member")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        users.get_member(session, _user_of(two, two.b))
    with two.session() as session:
        return users.get_member(session, _user_of(two, two.a))


@case("tenancy.users.find_member")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        users.find_member(session, two.b.user)
    with two.session() as session:
        return users.find_member(session, two.a.user)


@case("tenancy.users.change_role")
def _(two: Two) -> Any:
    theirs = _user_of(two, two.b)
    with two.session() as session, pytest.raises(NotFound):
        users.change_role(session, theirs, "viewer", actor=ACTOR)
    with two.session() as session:
        return users.change_role(session, _user_of(two, two.a), "editor", actor=ACTOR)


@case("tenancy.users.remove_member")
def _(two: Two) -> Any:
    theirs = _user_of(two, two.b)
    with two.session() as session, pytest.raises(NotFound):
        users.remove_member(session, theirs, actor=ACTOR)


@case("tenancy.users.make_password_link")
def _(two: Two) -> Any:
    theirs = _user_of(two, two.b)
    with pytest.raises(NotFound):
        users.make_password_link(two.workspace.app, two.workspace.settings, two.a.id, theirs, actor=ACTOR)
    mine = _user_of(two, two.a)
    return users.make_password_link(two.workspace.app, two.workspace.settings, two.a.id, mine, actor=ACTOR)


@case("tenancy.invitations.invite")
def _(two: Two) -> Any:
    # Bravo's user is invited as somebody unknown would be.
    with two.session() as session:
        found, link = invitations.invite(
            session, two.workspace.settings, email=f"{uuid4().hex}@example.com", role="viewer", actor=ACTOR
        )
        theirs, _ = invitations.invite(session, two.workspace.settings, email=two.b.user, role="viewer", actor=ACTOR)
        invitations.revoke_invitation(session, theirs.id, actor=ACTOR)
    assert link not in shown(found)
    return found


@case("tenancy.invitations.list_invitations")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        assert invitations.list_invitations(session)[0]
    with two.session() as session:
        return invitations.list_invitations(session)


@case("tenancy.invitations.revoke_invitation")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        theirs = invitations.list_invitations(session)[0][0].id
    with two.session() as session, pytest.raises(NotFound):
        invitations.revoke_invitation(session, theirs, actor=ACTOR)


@case("tenancy.audit.read_audit")
def _(two: Two) -> Any:
    with two.session() as session:
        page = audit.read_audit(session, limit=audit.MAXIMUM_PAGE)
    assert page.entries
    return page


@case("tenancy.tenants.change_tenant")
def _(two: Two) -> Any:
    with two.session() as session:
        return tenants.change_tenant(session, tenants.TenantSettings(name="alpha's"), actor=ACTOR)


@case("tenancy.keys.make_key")
def _(two: Two) -> Any:
    found, key = keys.make_key(two.workspace.app, two.a.id, role="viewer", name="n", actor=ACTOR)
    assert key not in shown(found)
    return found


@case("tenancy.keys.list_keys")
def _(two: Two) -> Any:
    with two.session() as session:
        found, _ = keys.list_keys(session)
    assert "alpha key" in {key.name for key in found}
    return found


def _key_of(two: Two, side: Side) -> UUID:
    with tenant_session(two.workspace.app, side.id) as session:
        return keys.list_keys(session)[0][0].id


@case("tenancy.keys.get_key")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        keys.get_key(session, _key_of(two, two.b))
    with two.session() as session:
        return keys.get_key(session, _key_of(two, two.a))


@case("tenancy.keys.revoke_key")
def _(two: Two) -> Any:
    theirs = _key_of(two, two.b)
    with two.session() as session, pytest.raises(NotFound):
        keys.revoke_key(session, theirs, actor=ACTOR)
    made, _ = keys.make_key(two.workspace.app, two.a.id, role="viewer", name="n", actor=ACTOR)
    with two.session() as session:
        return keys.revoke_key(session, made.id, actor=ACTOR)


@case("tenancy.tenants.get_tenant")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        tenants.get_tenant(two.workspace.app, uuid4())
    return tenants.get_tenant(two.workspace.app, two.a.id)
