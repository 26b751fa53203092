"""Rate limits, idempotent requests and quotas: what alpha does, bravo must neither see nor feel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from pim_platform.errors import NotFound, QuotaExceeded
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy import idempotency, quotas, rates
from tests.support.imports import ACTOR
from tests.support.isolation.pair import ABOVE_TENANTS, Two, case

ABOVE_TENANTS["tenancy.rates.take_for_address"] = "counts addresses that show no credential"
ABOVE_TENANTS["tenancy.rates.forget_requests"] = "forgets windows that have ended, whoever's they were"


@case("tenancy.rates.take_for_caller")
def _(two: Two) -> Any:
    caller = f"user:{uuid4()}"
    taken = [
        rates.take_for_caller(two.workspace.app, side.id, caller, default_quota=1, window=60) for side in (two.b, two.a)
    ]
    assert [one is not None and one.admitted for one in taken] == [True, True], "the same person in another tenant"
    return taken[1]


@case("tenancy.rates.set_key_limit")
def _(two: Two) -> Any:
    for key in (two.b.key[:12], str(uuid4())):
        with pytest.raises(NotFound):
            rates.set_key_limit(two.workspace.app, two.a.id, key, 0, actor=ACTOR)
    return rates.set_key_limit(two.workspace.app, two.a.id, two.a.key[:12], 5_000, actor=ACTOR)


def _claim(two: Two, side: Any, key: str, fingerprint: bytes = b"f") -> Any:
    return idempotency.claim(
        two.workspace.app,
        idempotency.Claim(side.id, "key:same", key),
        fingerprint,
        owner="me",
        lives=lambda _: True,
        retention=timedelta(hours=1),
    )


@case("tenancy.idempotency.claim")
def _(two: Two) -> Any:
    key = str(uuid4())
    first = _claim(two, two.a, key)
    assert isinstance(first, idempotency.Claim)
    assert isinstance(_claim(two, two.a, str(uuid4()), b"other"), idempotency.Claim)
    return first


@case("tenancy.idempotency.store_answer")
def _(two: Two) -> Any:
    key = str(uuid4())
    held = _claim(two, two.a, key)
    idempotency.store_answer(two.workspace.app, held, idempotency.Answer(200, {}, b"alpha"))
    return _claim(two, two.a, key)


@case("tenancy.idempotency.release")
def _(two: Two) -> Any:
    return idempotency.release(two.workspace.app, _claim(two, two.a, str(uuid4())))


@case("tenancy.idempotency.forget_answers")
def _(two: Two) -> Any:
    _claim(two, two.a, str(uuid4()))
    with two.session() as session:
        return idempotency.forget_answers(session, timedelta(0))


@case("tenancy.quotas.quotas_of")
def _(two: Two) -> Any:
    with two.session() as session:
        return quotas.quotas_of(session)


@case("tenancy.quotas.usage_of")
def _(two: Two) -> Any:
    with two.session() as session:
        own = quotas.usage_of(session)
    with tenant_session(two.workspace.app, two.b.id) as session:
        assert quotas.usage_of(session).storage_bytes != 0
    return own


@case("tenancy.quotas.quota_report")
def _(two: Two) -> Any:
    with two.session() as session:
        return quotas.quota_report(session)


@case("tenancy.quotas.set_quotas")
def _(two: Two) -> Any:
    quotas.set_quotas(two.workspace.app, two.a.id, quotas.Quotas(products=10**9), actor=ACTOR)
    quotas.set_quotas(two.workspace.app, two.a.id, quotas.Quotas(), actor=ACTOR)


@case("tenancy.quotas.require_products")
def _(two: Two) -> Any:
    _with_full_quota(two, lambda session: quotas.require_products(driver_connection(session), two.a.id, 10**6))


@case("tenancy.quotas.require_storage")
def _(two: Two) -> Any:
    _with_full_quota(two, lambda session: quotas.require_storage(session, 10**9))


@case("tenancy.quotas.require_job_slot")
def _(two: Two) -> Any:
    _with_full_quota(two, quotas.require_job_slot)


def _with_full_quota(two: Two, ask: Any) -> None:
    quotas.set_quotas(two.workspace.app, two.a.id, quotas.Quotas(1, 1, 0), actor=ACTOR)
    try:
        with pytest.raises(QuotaExceeded), two.session() as session:
            ask(session)
        with tenant_session(two.workspace.app, two.b.id) as session:
            quotas.require_storage(session, 1)
            quotas.require_job_slot(session)
    finally:
        quotas.set_quotas(two.workspace.app, two.a.id, quotas.Quotas(), actor=ACTOR)
