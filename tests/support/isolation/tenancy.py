"""Cases of ``pim_platform.tenancy``."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from pim_platform.errors import NotFound
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy import audit, keys, tenants, usage, users
from pim_platform.tenancy.models import ApiUsage
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Two, case, shown


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
    assert users.login(two.workspace.app, email, "long enough").tenant_id == two.a.id
    with two.session() as session:
        return [shown(row) for row in session.query(users.User).all()]


@case("tenancy.tenants.get_tenant")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        tenants.get_tenant(two.workspace.app, uuid4())
    return tenants.get_tenant(two.workspace.app, two.a.id)


@case("tenancy.tenants.set_confirm_policy")
def _(two: Two) -> Any:
    tenants.set_confirm_policy(two.workspace.app, two.a.id, "all_sure", actor=ACTOR)
    tenants.set_confirm_policy(two.workspace.app, two.a.id, "never", actor=ACTOR)
