"""People, invitations, password links, keys, the tenant's settings and the audit trail, as admins handle them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fastapi import FastAPI

from pim_platform.storage.endpoints import Endpoints
from pim_platform.tenancy.guesses import ACCOUNT_FREE, count_guess
from pim_platform.tenancy.users import make_operator_link
from tests.integration.api.conftest import ACTOR, TENTS, Api, assert_problem
from tests.support.imports import import_bytes
from tests.support.people import PASSWORD, Somebody, at_address, make_person, quick_passwords  # noqa: F401

pytestmark = pytest.mark.usefixtures("quick_passwords")

NEW = "staple under a full moon"


@pytest.fixture
def boss(make_api: Callable[..., Api]) -> Api:
    """An admin's key."""
    return make_api("admin")


def _invited(api: Api, email: str, role: str = "editor") -> dict[str, Any]:
    answer = api.post("/api/pim/users/invitations/", json={"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _new_email() -> str:
    return f"{uuid4().hex[:12]}@example.com"


def _admin(api: Api, statement: str, *values: object) -> None:
    with psycopg.connect(Endpoints.of(api.workspace.settings).admin_url, autocommit=True) as connection:
        connection.execute(statement, values)


# --- invitations -----------------------------------------------------------------------------------------------------


def test_somebody_new_accepts_an_invitation_once(app: FastAPI, boss: Api) -> None:
    email, client = _new_email(), at_address(app)
    made = _invited(boss, email.upper(), "reviewer")
    listed = boss.get("/api/pim/users/invitations/").json()["invitations"]
    assert [one["email"] for one in listed] == [email]
    assert made["token"] not in str(listed), "shown once"
    body = {"token": made["token"], "name": "Ben", "password": PASSWORD}
    assert_problem(client.post("/auth/invitation", json=body | {"password": "short"}), 422, "weak_password")
    assert_problem(client.post("/auth/invitation", json=body | {"name": " "}), 422, "name_needed")
    joined = client.post("/auth/invitation", json=body)
    assert joined.json() == {
        "email": email,
        "tenant": {"slug": boss.tenant.slug, "name": boss.tenant.name, "role": "reviewer"},
    }
    assert_problem(client.post("/auth/invitation", json=body), 404, "unknown_link")
    members = boss.get("/api/pim/users/").json()["users"]
    assert [(one["email"], one["name"], one["role"]) for one in members] == [(email, "Ben", "reviewer")]
    assert client.post("/auth/token", json={"email": email, "password": PASSWORD}).status_code == 200
    again = boss.post("/api/pim/users/invitations/", json={"email": email, "role": "editor"})
    assert_problem(again, 409, "already_member")


def test_an_invitation_ends_when_it_is_taken_back_replaced_or_old(app: FastAPI, boss: Api) -> None:
    email, client = _new_email(), at_address(app)
    replaced, revoked = _invited(boss, email), _invited(boss, email)
    path = f"/api/pim/users/invitations/{revoked['id']}/"
    assert boss.request("DELETE", path).status_code == 204
    assert_problem(boss.request("DELETE", path), 404, "unknown_invitation")
    old = _invited(boss, email)
    _admin(boss, "UPDATE pim.invitations SET expires_at = now() WHERE id = %s", old["id"])
    for one in (replaced, revoked, old):
        body = {"token": one["token"], "name": "Ben", "password": PASSWORD}
        assert_problem(client.post("/auth/invitation", json=body), 404, "unknown_link")
    assert boss.get("/api/pim/users/invitations/").json()["invitations"] == []


def test_somebody_who_exists_gets_a_further_membership_with_their_own_password_only(
    app: FastAPI, make_api: Callable[..., Api]
) -> None:
    first, second = make_api("admin"), make_api("admin")
    ana = make_person(app, first.workspace, (first.tenant, "editor"))
    assert ana.log_in().status_code == 200
    known, unknown = _invited(second, ana.email), _invited(second, _new_email())
    assert known.keys() == unknown.keys(), "an admin learns nothing about who else uses the installation"
    assert second.get("/api/pim/users/").json()["users"] == []
    body = {"token": known["token"], "name": "Mallory", "password": NEW}
    assert_problem(ana.client.post("/auth/invitation", json=body), 401, "wrong_login")
    assert ana.get("/api/pim/me/").json()["tenants"][0]["slug"] == first.tenant.slug
    accepted = ana.client.post("/auth/invitation", json=body | {"password": PASSWORD})
    assert accepted.json()["tenant"]["slug"] == second.tenant.slug
    assert ana.get("/api/pim/me/").status_code == 401, "what a login was good for has grown: log in again"
    assert {one["slug"] for one in ana.log_in().json()["tenants"]} == {first.tenant.slug, second.tenant.slug}
    (member,) = second.get("/api/pim/users/").json()["users"]
    assert (member["id"], member["name"]) == (str(ana.id), "Ana"), "it is the same person, by the own name"


def test_what_is_missing_is_missed_alike_of_somebody_who_exists_and_of_somebody_who_does_not(
    app: FastAPI, make_api: Callable[..., Api]
) -> None:
    first, second = make_api("admin"), make_api("admin")
    ana, client = make_person(app, first.workspace, (first.tenant, "editor")), at_address(app)
    for lacking in ({"name": " "}, {"password": "short"}, {"password": "aaaaaaaaaaaa"}):
        answers = []
        for email in (ana.email, _new_email()):
            body = {"token": _invited(second, email)["token"], "name": "Ben", "password": NEW} | lacking
            answers.append(client.post("/auth/invitation", json=body))
        assert [answer.status_code for answer in answers] == [422, 422]
        assert answers[0].json() == answers[1].json()


def test_wrong_passwords_for_an_invitation_count_as_guesses(app: FastAPI, make_api: Callable[..., Api]) -> None:
    first, second = make_api("admin"), make_api("admin")
    ana = make_person(app, first.workspace, (first.tenant, "editor"))
    body = {"token": _invited(second, ana.email)["token"], "name": "Ana", "password": NEW}
    client = at_address(app)
    statuses = [client.post("/auth/invitation", json=body).status_code for _ in range(ACCOUNT_FREE + 2)]
    assert statuses[-1] == 429


def test_of_accepting_at_once_one_succeeds(app: FastAPI, boss: Api) -> None:
    body = {"token": _invited(boss, _new_email())["token"], "name": "Ben", "password": PASSWORD}
    barrier, clients = threading.Barrier(4), [at_address(app) for _ in range(4)]

    def accept(number: int) -> int:
        barrier.wait()
        return clients[number].post("/auth/invitation", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(accept, range(4)))
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {404, 409}
    assert len(boss.get("/api/pim/users/").json()["users"]) == 1


# --- roles -----------------------------------------------------------------------------------------------------------


def test_the_last_admin_stays_one(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "admin"))
    path = f"/api/pim/users/{ana.id}/"
    ana.log_in()
    assert_problem(ana.request("DELETE", path), 409, "last_admin")
    assert_problem(boss.request("PATCH", path, json={"role": "editor"}), 409, "last_admin")
    assert boss.request("PATCH", path, json={"role": "admin"}).status_code == 200
    make_person(app, boss.workspace, (boss.tenant, "admin"))
    assert ana.request("DELETE", path).status_code == 204, "there is another one now"
    assert_problem(ana.get("/api/pim/products/"), 403, "not_a_member")
    assert_problem(boss.get(path), 404, "unknown_user")


def test_two_admins_who_remove_each_other_at_once_leave_one(app: FastAPI, boss: Api) -> None:
    people = [make_person(app, boss.workspace, (boss.tenant, "admin")) for _ in range(2)]
    for one in people:
        one.log_in()
    barrier = threading.Barrier(2)

    def remove(number: int) -> int:
        barrier.wait()
        return people[number].request("DELETE", f"/api/pim/users/{people[1 - number].id}/").status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(remove, range(2)))
    assert statuses[0] == 204
    assert statuses[1] in (403, 409)
    assert len(boss.get("/api/pim/users/").json()["users"]) == 1


def test_people_are_listed_in_pages(app: FastAPI, boss: Api) -> None:
    emails = sorted(make_person(app, boss.workspace, (boss.tenant, "viewer")).email for _ in range(3))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = boss.get("/api/pim/users/", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["email"] for one in page["users"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == emails
    assert_problem(boss.get("/api/pim/users/", params={"cursor": "\u00e4"}), 422, "invalid_request")


# --- password links --------------------------------------------------------------------------------------------------


def _link(api: Api, somebody: Somebody) -> Any:
    return api.post(f"/api/pim/users/{somebody.id}/password-link/")


def test_a_link_sets_a_password_once_and_ends_every_login(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "editor"))
    ana.log_in()
    earlier, link = _link(boss, ana).json()["token"], _link(boss, ana).json()["token"]
    client = at_address(app)
    assert_problem(client.post("/auth/password", json={"token": earlier, "password": NEW}), 404, "unknown_link")
    weak = client.post("/auth/password", json={"token": link, "password": "short"})
    assert_problem(weak, 422, "weak_password")
    assert client.post("/auth/password", json={"token": link, "password": NEW}).status_code == 204
    assert_problem(client.post("/auth/password", json={"token": link, "password": PASSWORD}), 404, "unknown_link")
    assert ana.get("/api/pim/me/").status_code == 401
    assert ana.log_in().status_code == 401
    assert ana.log_in(NEW).status_code == 200
    actions = [entry["action"] for entry in boss.get("/api/pim/audit/", params={"action": "user.*"}).json()["entries"]]
    assert "user.password_changed" in actions
    assert "user.password_link_made" in actions


def test_a_link_is_the_way_in_for_somebody_whom_others_guesses_keep_waiting(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "editor"))
    for number in range(ACCOUNT_FREE + 1):
        count_guess(boss.workspace.app, ana.email, f"203.0.113.{number}")
    assert_problem(ana.log_in(), 429, "too_many_guesses")
    link = _link(boss, ana).json()["token"]
    assert ana.client.post("/auth/password", json={"token": link, "password": NEW}).status_code == 204
    assert ana.log_in(NEW).status_code == 200


def test_a_link_ends_in_time(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "editor"))
    link = _link(boss, ana).json()["token"]
    _admin(boss, "UPDATE pim.password_links SET expires_at = now() WHERE user_id = %s", ana.id)
    answer = at_address(app).post("/auth/password", json={"token": link, "password": NEW})
    assert_problem(answer, 404, "unknown_link")


def test_an_admin_of_one_tenant_does_not_become_the_person_in_another(
    app: FastAPI, make_api: Callable[..., Api]
) -> None:
    first, second = make_api("admin"), make_api("admin")
    ana = make_person(app, first.workspace, (first.tenant, "editor"))
    before = _link(first, ana).json()["token"]
    invitation = _invited(second, ana.email, "admin")["token"]
    accepting = {"token": invitation, "name": "Ana", "password": PASSWORD}
    joined = ana.client.post("/auth/invitation", json=accepting)
    assert joined.status_code == 200
    client = at_address(app)
    used = client.post("/auth/password", json={"token": before, "password": NEW})
    assert_problem(used, 404, "unknown_link")
    assert_problem(_link(first, ana), 409, "operator_needed")
    assert ana.log_in().status_code == 200, "the password is what it was"
    by_operator, _ = make_operator_link(first.workspace.app, first.workspace.settings, ana.email, actor=ACTOR)
    assert client.post("/auth/password", json={"token": by_operator, "password": NEW}).status_code == 204
    assert ana.log_in(NEW).status_code == 200


def test_a_person_changes_the_own_password_knowing_the_present_one(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "viewer"))
    ana.log_in()
    path, body = "/api/pim/me/password/", {"current_password": PASSWORD, "new_password": NEW}
    assert_problem(ana.request("POST", path, json=body | {"current_password": "x"}), 401, "wrong_login")
    assert_problem(ana.request("POST", path, json=body | {"new_password": ana.email}), 422, "weak_password")
    assert ana.request("POST", path, json=body).status_code == 204
    assert ana.get("/api/pim/me/").status_code == 401
    assert ana.log_in(NEW).status_code == 200


def test_a_change_of_password_that_is_sent_again_changes_nothing_twice(app: FastAPI, boss: Api) -> None:
    ana = make_person(app, boss.workspace, (boss.tenant, "viewer"))
    ana.log_in()
    path, body = "/api/pim/me/password/", {"current_password": PASSWORD, "new_password": NEW}
    old = {"Authorization": f"Bearer {ana.tokens['access_token']}", "Idempotency-Key": "a-1"}
    assert ana.client.post(path, json=body, headers=old).status_code == 204
    again = ana.client.post(path, json=body, headers=old)
    assert_problem(again, 401, "unauthorized")
    assert "idempotency-replayed" not in again.headers
    assert ana.log_in(NEW).status_code == 200
    new = {"Authorization": f"Bearer {ana.tokens['access_token']}"}
    assert_problem(ana.client.post(path, json=body, headers=old | new), 401, "wrong_login")
    assert ana.log_in(NEW).status_code == 200, "the password is what the first made it"


# --- keys ------------------------------------------------------------------------------------------------------------


def _as(api: Api, key: str) -> Api:
    return Api(api.client, api.workspace, api.tenant, key)


def test_a_key_is_shown_once_and_listed_without_itself(boss: Api) -> None:
    body = {"name": "scores", "role": "editor", "scopes": ["scores:write", "products:read"]}
    answer = boss.post("/api/pim/keys/", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["scopes"] == ["products:read", "scores:write"]
    assert made["key"].startswith(made["prefix"])
    listed = boss.get("/api/pim/keys/").text
    assert made["id"] in listed
    assert made["key"] not in listed + boss.get(f"/api/pim/keys/{made['id']}/").text + boss.get("/api/pim/audit/").text
    scored = _as(boss, made["key"])
    assert scored.get("/api/pim/products/").status_code == 200
    assert_problem(scored.get("/api/pim/import/"), 403, "scope_missing")
    me = scored.get("/api/pim/me/").json()
    assert (me["kind"], me["key"]["id"], me["scopes"]) == ("key", made["id"], ["products:read", "scores:write"])
    assert boss.get(f"/api/pim/keys/{made['id']}/").json()["last_used_at"] is not None


def test_a_key_that_is_revoked_or_over_opens_nothing(boss: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = boss.post("/api/pim/keys/", json={"name": "n", "role": "viewer", "expires_at": soon}).json()
    mine = _as(boss, made["key"])
    assert mine.get("/api/pim/products/").status_code == 200
    for _ in range(2):
        assert boss.request("DELETE", f"/api/pim/keys/{made['id']}/").json()["state"] == "revoked"
    assert_problem(mine.get("/api/pim/products/"), 401, "unauthorized")
    for moment in (datetime.now(UTC) - timedelta(seconds=1), datetime(9999, 1, 1, tzinfo=UTC)):
        refused = boss.post("/api/pim/keys/", json={"name": "n", "expires_at": moment.isoformat()})
        assert_problem(refused, 422, "invalid_request")


def test_a_key_with_scopes_makes_nobody_stronger_than_itself(app: FastAPI, boss: Api) -> None:
    limited = _as(
        boss, boss.post("/api/pim/keys/", json={"name": "l", "role": "admin", "scopes": ["admin"]}).json()["key"]
    )
    ana = make_person(app, boss.workspace, (boss.tenant, "viewer"))
    assert limited.get("/api/pim/users/").status_code == 200
    for scopes in (None, ["products:read"], ["admin", "products:read"]):
        assert_problem(limited.post("/api/pim/keys/", json={"name": "n", "scopes": scopes}), 403, "scope_missing")
    assert limited.post("/api/pim/keys/", json={"name": "n", "scopes": ["admin"]}).status_code == 201
    invitation = {"email": _new_email(), "role": "admin"}
    path = f"/api/pim/users/{ana.id}/"
    assert_problem(limited.post("/api/pim/users/invitations/", json=invitation), 403, "scope_missing")
    assert_problem(limited.request("PATCH", path, json={"role": "admin"}), 403, "scope_missing")
    assert_problem(limited.post(f"{path}password-link/"), 403, "scope_missing")


# --- the tenant and its trail ----------------------------------------------------------------------------------------


def test_an_admin_changes_the_tenants_settings_and_the_trail_tells(boss: Api) -> None:
    import_bytes(boss.workspace, boss.tenant.id, TENTS.encode())
    path = f"/api/pim/tenants/{boss.tenant.slug}/"
    version = boss.get("/api/pim/schema/").json()["version"]
    changes = {
        "name": "Tents & Co",
        "default_currency": "SEK",
        "default_locale": "sv_se",
        "timezone": "Europe/Stockholm",
    }
    changed = boss.request("PATCH", path, json=changes | {"claude_daily_budget_usd": 0.25}).json()
    assert changed["default_locale"] == "sv-SE"
    assert (changed["name"], changed["claude_daily_budget_usd"]) == ("Tents & Co", 0.25)
    assert changed["confirm_policy"] == "never", "what is left out stays"
    schema = boss.get("/api/pim/schema/").json()
    assert (schema["version"], schema["default_currency"], schema["default_locale"]) == (version + 1, "SEK", "sv-SE")
    assert boss.request("PATCH", path, json={"claude_daily_budget_usd": None}).json()["claude_daily_budget_usd"] is None
    for wrong in ({"default_currency": "kr"}, {"timezone": "Mars/Olympus"}, {"slug": "mine"}, {"name": ""}):
        assert boss.request("PATCH", path, json=wrong).status_code == 422, wrong
    entry = boss.get("/api/pim/audit/", params={"action": "tenant.changed"}).json()["entries"][0]
    assert entry["details"]["changes"]["timezone"] == "Europe/Stockholm"
    assert boss.with_role("viewer").get(path).json()["name"] == "Tents & Co"


def test_the_trail_is_read_in_pages_and_by_what_is_asked(boss: Api) -> None:
    for number in range(5):
        boss.post("/api/pim/keys/", json={"name": f"key {number}"}, headers={"X-Request-ID": f"request-{number}"})
    wanted: dict[str, Any] = {"action": "key.created", "limit": 2}
    names: list[str] = []
    while True:
        page = boss.get("/api/pim/audit/", params=wanted).json()
        names += [entry["details"]["name"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        wanted["cursor"] = page["next_cursor"]
    assert names == [f"key {number}" for number in reversed(range(5))] + ["test"]

    def found(**given: str) -> list[str]:
        return [one["details"]["name"] for one in boss.get("/api/pim/audit/", params=given).json()["entries"]]

    assert found(trace_id="request-3") == ["key 3"]
    me = boss.get("/api/pim/me/").json()["key"]["id"]
    assert len(found(actor=f"key:{me}")) == 5
    at = boss.get("/api/pim/audit/", params={"trace_id": "request-2"}).json()["entries"][0]["at"]
    assert found(action="key.*", since=at)[-1] == "key 2"
    assert found(action="key.*", until=at)[0] == "key 1"
    assert found(action="key.*", actor="key:nobody") == []
    assert_problem(boss.get("/api/pim/audit/", params={"cursor": "nonsense"}), 422, "invalid_request")
    assert_problem(boss.get("/api/pim/audit/", params={"since": "2027-01-01T00:00:00"}), 422, "invalid_request")
