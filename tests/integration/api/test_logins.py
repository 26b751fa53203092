"""Logging in, staying logged in and being thrown out; guessing passwords; one person in two tenants."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from pim_platform.api.app import create_app
from pim_platform.errors import TooManyRequests
from pim_platform.storage.endpoints import Endpoints
from pim_platform.tenancy import logins
from pim_platform.tenancy.guesses import ACCOUNT_FREE, ADDRESS_FREE, Guess, count_guess, forgive_guess
from pim_platform.tenancy.passwords import is_outdated
from pim_platform.tenancy.tenants import TenantInfo
from tests.integration.api.conftest import Api, assert_problem
from tests.support.people import PASSWORD, Somebody, at_address, make_person, quick_passwords  # noqa: F401
from tests.support.stacks import wait_for

pytestmark = pytest.mark.usefixtures("quick_passwords")


@pytest.fixture
def ana(app: FastAPI, api: Api) -> Somebody:
    """An editor of one tenant, logged in."""
    somebody = make_person(app, api.workspace, (api.tenant, "editor"))
    assert somebody.log_in().status_code == 200
    return somebody


@pytest.fixture
def both(app: FastAPI, make_api: Callable[..., Api]) -> tuple[Somebody, Api, Api]:
    """An editor of one tenant who is a viewer of another, logged in; and an admin's key of each."""
    first, second = make_api("admin"), make_api("admin")
    somebody = make_person(app, first.workspace, (first.tenant, "editor"), (second.tenant, "viewer"))
    assert somebody.log_in().status_code == 200
    return somebody, first, second


def _actions(api: Api, kind: str = "user.*") -> list[str]:
    found = api.with_role("admin").get("/api/pim/audit/", params={"action": kind}).json()["entries"]
    return [entry["action"] for entry in found]


def _admin(api: Api, statement: str, *values: object) -> list[Any]:
    with psycopg.connect(Endpoints.of(api.workspace.settings).admin_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_password_opens_the_persons_tenant_with_the_persons_role(ana: Somebody, api: Api) -> None:
    assert ana.tokens["token_type"] == "Bearer"
    assert ana.tokens["tenants"] == [{"slug": api.tenant.slug, "name": api.tenant.name, "role": "editor"}]
    assert ana.get("/api/pim/products/").status_code == 200
    made = ana.request("POST", "/api/pim/products/bulk/", json={"products": [{"sku": "A", "name": "A"}]})
    assert made.status_code == 200
    assert_problem(ana.get("/api/pim/users/"), 403, "forbidden")
    assert api.get("/api/pim/products/").json()["products"][0]["sku"] == "A"


def test_an_unknown_address_and_a_wrong_password_are_answered_alike(ana: Somebody) -> None:
    wrong = ana.log_in("not the password")
    unknown = ana.client.post("/auth/token", json={"email": "nobody@example.com", "password": "not the password"})
    assert_problem(wrong, 401, "wrong_login")
    assert wrong.json() == unknown.json()


def test_an_address_is_the_same_however_it_is_spelled(ana: Somebody) -> None:
    body = {"grant_type": "password", "email": f" {ana.email.upper()} ", "password": PASSWORD}
    assert ana.client.post("/auth/token", json=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "a@b", "password": "x\\u0000"}',
        b'{"email": "a@b", "password": "\\ud800"}',
        b'{"email": "a@b", "password": {"$ne": ""}}',
        b'{"grant_type": ["password"], "email": "a@b", "password": "x"}',
        b'{"grant_type": "refresh_token"}',
        b'{"email": "a@b", "password": "' + b"x" * 300 + b'"}',
        b"[]",
        b"null",
        b"{",
        b"",
    ],
)
def test_what_is_no_login_is_refused_and_not_looked_up(app: FastAPI, body: bytes) -> None:
    answer = at_address(app).post("/auth/token", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] in ("bad_request", "invalid_request")


def test_a_refresh_token_works_once_and_the_next_one_too(ana: Somebody) -> None:
    first = dict(ana.tokens)
    second = ana.refresh().json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["refresh_expires_at"] == first["refresh_expires_at"], "a login does not live for ever"
    ana.tokens = second
    assert ana.get("/api/pim/me/").status_code == 200
    assert ana.refresh().status_code == 200


def test_a_refresh_token_that_comes_twice_ends_the_login_for_everybody_who_has_it(ana: Somebody, api: Api) -> None:
    stolen = ana.tokens["refresh_token"]
    thief = ana.refresh().json()
    assert_problem(ana.refresh(stolen), 401, "invalid_refresh_token")
    assert_problem(ana.refresh(thief["refresh_token"]), 401, "invalid_refresh_token")
    ana.tokens = thief
    assert_problem(ana.get("/api/pim/me/"), 401, "unauthorized")
    assert _actions(api)[0] == "user.refresh_token_reused"
    assert ana.log_in().status_code == 200, "the person gets in again"


def test_of_refreshes_at_once_at_most_one_succeeds(ana: Somebody) -> None:
    barrier = threading.Barrier(6)

    def refresh(_: int) -> int:
        barrier.wait()
        return ana.refresh().status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(refresh, range(6)))
    # The one that came first may find its login ended by the others already.
    assert statuses[0] in (200, 401)
    assert statuses[1:] == [401] * 5
    assert_problem(ana.get("/api/pim/me/"), 401, "unauthorized")


def test_what_is_stored_of_a_login_is_no_token(ana: Somebody, api: Api) -> None:
    rows = _admin(api, "SELECT t::text FROM pim.refresh_tokens t UNION ALL SELECT s::text FROM pim.login_sessions s")
    stored = str(rows) + str(_admin(api, "SELECT a::text FROM pim.audit_logs a WHERE tenant_id = %s", api.tenant.id))
    for secret in (ana.tokens["refresh_token"], ana.tokens["access_token"], PASSWORD):
        assert secret not in stored


def test_logging_out_ends_one_login_or_all(ana: Somebody) -> None:
    here, there = ana.tokens, ana.log_in().json()
    out = ana.client.post("/auth/logout", json={"refresh_token": here["refresh_token"]})
    assert out.status_code == 204
    ana.tokens = here
    assert ana.get("/api/pim/me/").status_code == 401
    assert ana.refresh().status_code == 401
    ana.tokens = there
    assert ana.get("/api/pim/me/").status_code == 200
    # Of a login that has ended, too: it proves who asks.
    ana.client.post("/auth/logout", json={"refresh_token": here["refresh_token"], "everywhere": True})
    assert ana.get("/api/pim/me/").status_code == 401
    assert ana.client.post("/auth/logout", json={"refresh_token": "pimr_unknown"}).status_code == 204


def test_a_login_ends_in_time(ana: Somebody, api: Api) -> None:
    _admin(api, "UPDATE pim.login_sessions SET expires_at = clock_timestamp() WHERE user_id = %s", ana.id)
    assert ana.get("/api/pim/me/").status_code == 401
    assert_problem(ana.refresh(), 401, "invalid_refresh_token")


def test_a_person_who_is_disabled_is_out_at_once(ana: Somebody, api: Api) -> None:
    _admin(api, "UPDATE pim.users SET active = false WHERE id = %s", ana.id)
    assert ana.get("/api/pim/me/").status_code == 401
    assert ana.refresh().status_code == 401
    assert_problem(ana.log_in(), 401, "wrong_login")


def test_a_password_that_changes_while_it_is_looked_at_begins_no_login(
    ana: Somebody, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A link that is used in between ends every login there is; this one would begin after it.
    def changed(*args: Any) -> None:
        forgive_guess(*args)
        _admin(api, "UPDATE pim.users SET password_hash = 'another' WHERE id = %s", ana.id)

    monkeypatch.setattr(logins, "forgive_guess", changed)
    before = _admin(api, "SELECT count(*) FROM pim.login_sessions WHERE user_id = %s", ana.id)
    assert_problem(ana.log_in(), 401, "wrong_login")
    assert _admin(api, "SELECT count(*) FROM pim.login_sessions WHERE user_id = %s", ana.id) == before


def test_a_hash_of_old_parameters_is_replaced_when_its_password_comes(ana: Somebody, api: Api) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    _admin(api, "UPDATE pim.users SET password_hash = %s WHERE id = %s", old, ana.id)
    assert ana.log_in().status_code == 200
    ((now,),) = _admin(api, "SELECT password_hash FROM pim.users WHERE id = %s", ana.id)
    assert now != old
    assert not is_outdated(now)
    assert ana.log_in().status_code == 200


# --- one person, two tenants -----------------------------------------------------------------------------------------


def test_a_person_of_two_tenants_names_one(both: tuple[Somebody, Api, Api]) -> None:
    ana, first, second = both
    assert_problem(ana.get("/api/pim/products/"), 400, "tenant_needed")
    product = {"products": [{"sku": "S", "name": "of the first"}]}
    bulk = "/api/pim/products/bulk/"
    assert ana.request("POST", bulk, first.tenant.slug, json=product).status_code == 200
    assert_problem(ana.request("POST", bulk, second.tenant.slug, json=product), 403, "forbidden")
    assert len(ana.get("/api/pim/products/", first.tenant.slug).json()["products"]) == 1
    assert ana.get("/api/pim/products/", second.tenant.slug).json()["products"] == []


def test_a_tenant_of_somebody_else_and_one_that_there_is_not_are_answered_alike(
    both: tuple[Somebody, Api, Api], make_tenant: Callable[..., TenantInfo]
) -> None:
    ana, first, second = both
    foreign = ana.get("/api/pim/products/", make_tenant().slug)
    unknown = ana.get("/api/pim/products/", "there-is-none")
    assert_problem(foreign, 403, "not_a_member")
    assert foreign.json() == unknown.json()
    # A key stays in its tenant, whatever it names.
    for slug in (second.tenant.slug, "there-is-none"):
        assert_problem(first.get("/api/pim/products/", headers={"X-Tenant": slug}), 403, "not_a_member")
    assert first.get("/api/pim/products/", headers={"X-Tenant": first.tenant.slug}).status_code == 200


def test_me_tells_a_person_where_it_may_go(both: tuple[Somebody, Api, Api]) -> None:
    ana, first, second = both
    told = ana.get("/api/pim/me/").json()
    assert (told["kind"], told["user"]["email"], told["tenant"]) == ("user", ana.email, None)
    assert {(one["slug"], one["role"]) for one in told["tenants"]} == {
        (first.tenant.slug, "editor"),
        (second.tenant.slug, "viewer"),
    }
    assert ana.get("/api/pim/me/", second.tenant.slug).json()["tenant"]["role"] == "viewer"
    assert_problem(ana.get("/api/pim/me/", "there-is-none"), 403, "not_a_member")
    listed = ana.get("/api/pim/tenants/").json()["tenants"]
    assert {one["slug"] for one in listed} == {first.tenant.slug, second.tenant.slug}
    assert [one["slug"] for one in first.get("/api/pim/tenants/").json()["tenants"]] == [first.tenant.slug]
    assert ana.get(f"/api/pim/tenants/{first.tenant.slug}/", first.tenant.slug).status_code == 200
    assert_problem(ana.get(f"/api/pim/tenants/{first.tenant.slug}/", second.tenant.slug), 404, "unknown_tenant")


def test_a_role_that_changes_and_a_membership_that_ends_hold_from_the_next_request_on(
    both: tuple[Somebody, Api, Api],
) -> None:
    ana, first, second = both
    path = f"/api/pim/users/{ana.id}/"
    assert ana.get("/api/pim/users/", first.tenant.slug).status_code == 403
    assert first.request("PATCH", path, json={"role": "admin"}).json()["role"] == "admin"
    assert ana.get("/api/pim/users/", first.tenant.slug).status_code == 200
    assert ana.get("/api/pim/users/", second.tenant.slug).status_code == 403, "only there"
    with_key = make_person(_app_of(first), first.workspace, (first.tenant, "admin"))
    assert with_key.log_in().status_code == 200
    assert with_key.request("DELETE", path).status_code == 204
    assert_problem(ana.get("/api/pim/products/", first.tenant.slug), 403, "not_a_member")
    assert ana.get("/api/pim/products/").status_code == 200, "the other tenant is the only one now"


def _app_of(api: Api) -> FastAPI:
    found = api.client.app
    assert isinstance(found, FastAPI)
    return found


# --- guesses ---------------------------------------------------------------------------------------------------------


def test_guesses_make_a_stranger_wait_but_not_the_person_at_a_known_address(app: FastAPI, ana: Somebody) -> None:
    stranger = Somebody(at_address(app), ana.email, ana.id)
    statuses = [stranger.log_in("a wild guess").status_code for _ in range(ACCOUNT_FREE + 1)]
    assert set(statuses) == {401}
    refused = stranger.log_in("a wild guess")
    assert_problem(refused, 429, "too_many_guesses")
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert stranger.log_in(PASSWORD).status_code == 429, "the right one is not looked at either"
    assert ana.log_in().status_code == 200, "where the person logged in before"
    assert "user.login_delayed" not in str(refused.json())


def _guess(api: Api, email: str, address: str | None) -> float:
    """Count a guess as logging in does, without hashing; returns the seconds to wait, 0 where it was admitted."""
    try:
        count_guess(api.workspace.app, email, address)
    except TooManyRequests as refused:
        return refused.retry_after
    return 0.0


def test_an_address_that_nobody_has_makes_one_wait_alike(api: Api) -> None:
    waits = [_guess(api, "nobody-here@example.com", f"198.51.100.{n}") for n in range(ACCOUNT_FREE + 2)]
    assert waits[:-1] == [0.0] * (ACCOUNT_FREE + 1)
    assert 1 < waits[-1] <= 2


@pytest.mark.parametrize("addresses", [["192.0.2.77"], [f"2001:db8:7:8::{n:x}" for n in range(1, 9)]])
def test_guesses_at_many_accounts_from_one_network_make_it_wait(ana: Somebody, api: Api, addresses: list[str]) -> None:
    waits = [
        _guess(api, f"user{n}-{addresses[0]}@example.org", addresses[n % len(addresses)])
        for n in range(ADDRESS_FREE + 2)
    ]
    assert waits[:-1] == [0.0] * (ADDRESS_FREE + 1)
    assert 1 < waits[-1] <= 2
    assert ana.log_in().status_code == 200, "others elsewhere do not"


def test_who_has_no_address_shares_none(api: Api) -> None:
    assert [_guess(api, f"socket{n}@example.org", None) for n in range(ADDRESS_FREE + 5)] == [0.0] * (ADDRESS_FREE + 5)


def test_guesses_are_counted_by_all_processes_together(app: FastAPI, ana: Somebody, api: Api) -> None:
    for turn in range(ACCOUNT_FREE + 1):
        assert _guess(api, ana.email, f"198.51.100.{100 + turn}") == 0.0
    for application in (app, create_app(api.workspace.settings)):
        assert Somebody(at_address(application), ana.email, ana.id).log_in("a guess").status_code == 429


def test_guesses_at_once_all_count(app: FastAPI, ana: Somebody) -> None:
    count = 2 * ACCOUNT_FREE
    barrier = threading.Barrier(count)
    clients = [at_address(app) for _ in range(count)]

    def guess(number: int) -> int:
        barrier.wait()
        return Somebody(clients[number], ana.email, ana.id).log_in(f"a wild guess {number}").status_code

    with ThreadPoolExecutor(count) as pool:
        statuses = list(pool.map(guess, range(count)))
    assert statuses.count(401) == ACCOUNT_FREE + 1
    assert statuses.count(429) == count - ACCOUNT_FREE - 1


def test_guesses_and_logins_at_once_never_wait_for_each_other_in_a_circle(api: Api) -> None:
    emails, addresses = [f"crowd{n}@example.org" for n in range(3)], ["203.0.113.50", "203.0.113.51"]

    def crowd(number: int) -> None:
        chance = random.Random(number)
        for _ in range(40):
            email, address = chance.choice(emails), chance.choice(addresses)
            if chance.random() < 0.5:
                _guess(api, email, address)
            else:
                forgive_guess(api.workspace.app, Guess.of(email, address))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(crowd, range(8)))


def test_nobody_waits_for_long_and_everything_is_forgotten(api: Api) -> None:
    def guess() -> float:
        return _guess(api, "patient@example.org", "203.0.113.9")

    for _ in range(14):
        guess()
        _admin(api, "UPDATE pim.login_throttles SET blocked_until = NULL WHERE failures > %s", ACCOUNT_FREE)
    guess()
    assert 299 < guess() <= 300
    _admin(api, "UPDATE pim.login_throttles SET failed_at = now() - interval '25 hours', blocked_until = NULL")
    assert [guess() for _ in range(ACCOUNT_FREE + 1)] == [0.0] * (ACCOUNT_FREE + 1)


def test_the_trail_tells_admins_of_logins_and_of_guessing(app: FastAPI, ana: Somebody, api: Api) -> None:
    stranger = Somebody(at_address(app), ana.email, ana.id)
    for _ in range(ACCOUNT_FREE + 3):
        stranger.log_in("a wild guess")
    wait_for(lambda: "user.login_delayed" in _actions(api), "the trail to tell of guesses")
    assert _actions(api)[:2] == ["user.login_delayed", "user.login"], "once, not once per guess"


def test_a_known_address_guesses_no_better(ana: Somebody) -> None:
    statuses = [ana.log_in("a wild guess").status_code for _ in range(ACCOUNT_FREE + 2)]
    assert statuses == [401] * (ACCOUNT_FREE + 1) + [429]
