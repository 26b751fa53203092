"""Every route of the application, called with another tenant's ids, no key, and keys that must not open it.

Two tenants hold the same SKUs with different values. No answer to one, body or headers, may hold a value of the
other; whatever one does with the other's ids, nothing that the other sees may change; and what a tenant sees, its
counts too, is the same whether it is alone or not.

**A new route** needs one line in ``CASES``, or the suite fails and prints the line to start from. A new parameter
in a path needs one line in ``IDS`` as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import ROLES, SCOPES, Role, create_key
from pim_platform.tenancy.tenants import TenantInfo
from pim_platform.tenancy.users import create_user
from tests.integration.api.conftest import ACTOR, Api, assert_problem
from tests.support.imports import run_job
from tests.support.people import make_person
from tests.support.route_walk import Answer, Case, Key, call, parameters, routes, said, still

SECRETS = ("zzfirstsecret", "yysecondsecret")
#: Fields that are of one answer alone; a file that is made for each answer has its own date and ETag.
OWN_FIELDS = ("x-request-id",)
OWN_FIELDS_OF = {"/api/pim/import/{job_id}/rejects/": ("x-request-id", "etag", "last-modified")}
POWER = {role: strength for strength, role in enumerate(reversed(ROLES))}


def _file() -> dict[str, Any]:
    return {"files": {"file": ("mine.csv", "SKU,Name\nS-1,Mine\n", "text/csv")}}


def _json(body: Any) -> Callable[[], dict[str, Any]]:
    """The options of a call with a JSON body; `{product_id}` and the like in it are filled in."""
    return lambda: {"json": body}


CASES: dict[Key, Case] = {
    ("POST", "/api/pim/import/csv/"): Case(201, _file),
    ("GET", "/api/pim/import/"): Case(200),
    ("GET", "/api/pim/import/{job_id}/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/confirm/"): Case(404, _json({}), "unknown_job"),
    ("POST", "/api/pim/import/{job_id}/cancel/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/rejects/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/rejects/"): Case(404, _file, "unknown_job"),
    ("GET", "/api/pim/import/{job_id}/diff/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/diff/summary/"): Case(404, code="unknown_job"),
    ("POST", "/api/pim/import/{job_id}/promote/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/undo/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/conflicts/"): Case(404, code="unknown_job", job="undo_id"),
    ("POST", "/api/pim/import/{job_id}/release/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/import/{job_id}/changes/"): Case(404, code="unknown_job"),
    ("GET", "/api/pim/products/"): Case(200, lambda: {"params": {"sort": "-name"}}),
    ("POST", "/api/pim/products/search/"): Case(200, _json({"q": "s-1", "filter": {"active": True}}), reads=True),
    ("GET", "/api/pim/products/facets/"): Case(200, lambda: {"params": {"facets": "color,import,source_id"}}),
    ("POST", "/api/pim/products/facets/"): Case(200, _json({"facets": ["color", "kind"], "q": "s-1"}), reads=True),
    ("GET", "/api/pim/products/{product_id}/history/"): Case(404, code="unknown_product"),
    ("POST", "/api/pim/products/bulk-delete/preview/"): Case(404, _json({"job_id": "{job_id}"}), "unknown_job"),
    ("POST", "/api/pim/products/bulk-delete/"): Case(404, _json({"token": "{delete_token}"}), "unknown_token"),
    ("POST", "/api/pim/products/bulk-edit/preview/"): Case(
        404,
        _json({"job_id": "{job_id}", "operations": [{"op": "set", "field": "active", "value": False}]}),
        "unknown_job",
    ),
    ("POST", "/api/pim/products/bulk-edit/"): Case(404, _json({"token": "{edit_token}"}), "unknown_token"),
    ("GET", "/api/pim/products/{product_id}/"): Case(404, code="unknown_product"),
    ("PUT", "/api/pim/products/scores/"): Case(
        200, _json({"scores": [{"id": "{product_id}", "score": 5}, {"sku": "nobody's", "score": 5}]}), figures=True
    ),
    ("POST", "/api/pim/products/"): Case(201, _json({"sku": "S-77", "name": "Made"})),
    ("PUT", "/api/pim/products/{product_id}/"): Case(404, _json({"name": "Mine"}), "unknown_product"),
    ("PATCH", "/api/pim/products/{product_id}/"): Case(404, _json({"name": "Mine"}), "unknown_product"),
    ("DELETE", "/api/pim/products/{product_id}/"): Case(404, code="unknown_product"),
    ("POST", "/api/pim/products/bulk/"): Case(200, _json({"products": [{"sku": "S-1", "name": "Mine"}]})),
    ("GET", "/api/pim/export/"): Case(200),
    ("POST", "/api/pim/export/"): Case(200, _json({"format": "jsonl"})),
    ("GET", "/api/pim/schema/"): Case(200),
    ("GET", "/api/pim/schema/versions/"): Case(200, figures=True),
    ("GET", "/api/pim/schema/versions/{version}/"): Case(200),
    ("POST", "/api/pim/schema/changes/"): Case(
        404, _json({"token": "{schema_token}", "accept": True}), "unknown_token"
    ),
    ("GET", "/api/pim/mapping/accuracy/"): Case(200, figures=True),
    ("GET", "/api/pim/mapping/costs/"): Case(200, figures=True),
    ("GET", "/api/pim/mapping/templates/"): Case(200),
    ("DELETE", "/api/pim/mapping/templates/{source}/{fingerprint}/"): Case(404, code="unknown_template"),
    ("GET", "/api/pim/sources/"): Case(200),
    ("POST", "/api/pim/sources/"): Case(201, lambda: {"json": {"slug": f"made-{uuid4().hex[:8]}"}}),
    ("GET", "/api/pim/sources/{source}/"): Case(404, code="unknown_source"),
    ("PATCH", "/api/pim/sources/{source}/"): Case(404, _json({"name": "Mine"}), "unknown_source"),
    ("DELETE", "/api/pim/sources/{source}/"): Case(404, code="unknown_source"),
    # Nobody is called: neither tenant allows a host.
    ("POST", "/api/pim/import/url/"): Case(422, _json({"url": "https://192.0.2.1/x.csv"}), "host_not_allowed"),
    ("PUT", "/api/pim/sources/{source}/feed/"): Case(
        422, _json({"url": "https://192.0.2.1/x.csv"}), "host_not_allowed"
    ),
    ("DELETE", "/api/pim/sources/{source}/feed/"): Case(404, code="unknown_source"),
    ("POST", "/api/pim/sources/{source}/fetch/"): Case(404, code="unknown_source"),
    ("GET", "/api/pim/fetch-hosts/"): Case(200),
    ("POST", "/api/pim/fetch-hosts/"): Case(200, _json({"host": "mine.example.com"})),
    ("DELETE", "/api/pim/fetch-hosts/{host}/"): Case(404, code="unknown_host"),
    ("GET", "/api/pim/users/"): Case(200),
    ("GET", "/api/pim/users/invitations/"): Case(200),
    ("POST", "/api/pim/users/invitations/"): Case(
        201, lambda: {"json": {"email": f"{uuid4().hex}@example.com", "role": "viewer"}}
    ),
    ("DELETE", "/api/pim/users/invitations/{invitation_id}/"): Case(404, code="unknown_invitation"),
    ("GET", "/api/pim/users/{user_id}/"): Case(404, code="unknown_user"),
    ("PATCH", "/api/pim/users/{user_id}/"): Case(404, _json({"role": "editor"}), "unknown_user"),
    ("DELETE", "/api/pim/users/{user_id}/"): Case(404, code="unknown_user"),
    ("POST", "/api/pim/users/{user_id}/password-link/"): Case(404, code="unknown_user"),
    ("GET", "/api/pim/keys/"): Case(200, figures=True),
    ("POST", "/api/pim/keys/"): Case(201, _json({"name": "made", "role": "viewer", "scopes": ["admin"]})),
    ("GET", "/api/pim/keys/{key_id}/"): Case(404, code="unknown_key"),
    ("DELETE", "/api/pim/keys/{key_id}/"): Case(404, code="unknown_key"),
    ("GET", "/api/pim/tenants/"): Case(200, figures=True),
    ("GET", "/api/pim/tenants/{slug}/"): Case(404, code="unknown_tenant", figures=True),
    ("PATCH", "/api/pim/tenants/{slug}/"): Case(404, _json({"timezone": "Europe/Berlin"}), "unknown_tenant"),
    # Of people: an export is written down as well, though it only reads.
    ("GET", "/api/pim/audit/"): Case(200, lambda: {"params": {"action": "user.*"}}),
    ("GET", "/api/pim/me/"): Case(200, figures=True),
    ("POST", "/api/pim/me/password/"): Case(
        409, _json({"current_password": "x", "new_password": "long enough"}), "person_needed"
    ),
    ("GET", "/api/pim/webhooks/"): Case(200),
    ("POST", "/api/pim/webhooks/"): Case(201, _json({"url": "https://mine.invalid/", "events": ["import.failed"]})),
    ("GET", "/api/pim/webhooks/{webhook_id}/"): Case(404, code="unknown_webhook"),
    ("PATCH", "/api/pim/webhooks/{webhook_id}/"): Case(404, _json({"description": "Mine"}), "unknown_webhook"),
    ("POST", "/api/pim/webhooks/{webhook_id}/enable/"): Case(404, code="unknown_webhook"),
    ("POST", "/api/pim/webhooks/{webhook_id}/disable/"): Case(404, code="unknown_webhook"),
    ("POST", "/api/pim/webhooks/{webhook_id}/rotate-secret/"): Case(404, code="unknown_webhook"),
    ("POST", "/api/pim/webhooks/{webhook_id}/test/"): Case(404, code="unknown_webhook"),
    ("GET", "/api/pim/webhooks/{webhook_id}/deliveries/"): Case(404, code="unknown_webhook", figures=True),
    ("GET", "/api/pim/webhooks/{webhook_id}/deliveries/{delivery_id}/"): Case(404, code="unknown_webhook"),
    ("POST", "/api/pim/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver/"): Case(404, code="unknown_webhook"),
    ("DELETE", "/api/pim/webhooks/{webhook_id}/"): Case(404, code="unknown_webhook"),
    ("GET", "/api/pim/import/{job_id}/events/"): Case(404, code="unknown_job", figures=True),
    ("POST", "/api/pim/import/{job_id}/ticket/"): Case(404, code="unknown_job"),
    ("WS", "/ws/pim/import/{job_id}"): Case(404, figures=True, role="viewer", scope="imports:read"),
    ("POST", "/api/pim/import/{job_id}/undo/"): Case(404, code="unknown_job"),
    ("GET", "/api/products/"): Case(200),
    ("POST", "/api/products/"): Case(201, lambda: {"json": {"sku": f"S-{uuid4().hex[:8]}", "name": "Mine"}}),
    ("GET", "/api/products/{product_id}/"): Case(404, code="unknown_product", figures=True),
    ("PUT", "/api/products/{product_id}/"): Case(404, _json({"active": False}), "unknown_product"),
    ("DELETE", "/api/products/{product_id}/"): Case(404, code="unknown_product"),
    ("POST", "/api/products/upload/"): Case(202, _file),
    ("GET", "/api/products/upload/{job_id}/status/"): Case(404, code="unknown_job", figures=True),
    ("GET", "/api/webhooks/"): Case(200),
    ("POST", "/api/webhooks/"): Case(422, _json({"url": "http://x", "event_type": "product.created"})),
    ("PUT", "/api/webhooks/{webhook_id}/"): Case(404, _json({"enabled": False}), "unknown_webhook"),
    ("DELETE", "/api/webhooks/{webhook_id}/"): Case(404, code="unknown_webhook"),
    ("POST", "/api/webhooks/{webhook_id}/test/"): Case(404, code="unknown_webhook"),
    # Last: there is nothing to see afterwards.
    ("DELETE", "/api/products/bulk-delete/"): Case(200),
}

#: Routes that need no key, and why that is right.
PUBLIC: dict[Key, str] = {
    ("GET", "/health/live"): "a supervisor asks it and has no key; it says only that the process answers",
    ("GET", "/health/ready"): "a load balancer asks it; it says only whether the engines answer",
    ("GET", "/metrics"): "monitoring has no tenant: it shows a token, or runs on this machine; no label names a tenant",
    ("GET", "/docs"): "the same for everybody: made from the code",
    ("GET", "/openapi.json"): "the same for everybody: made from the code",
    ("POST", "/auth/token"): "where people get their token; a wrong password and an unknown address answer alike",
    ("POST", "/auth/logout"): "the refresh token in the body is the credential; answers alike whatever it is",
    ("POST", "/auth/password"): "the one-time link in the body is the credential",
    ("POST", "/auth/invitation"): "the invitation in the body is the credential",
}

#: Makes what a parameter of a path names, for one tenant: its API as admin, its secret, the ids made so far -> the id.
IDS: dict[str, Callable[[Api, str, dict[str, str]], str]] = {
    "source": lambda _api, secret, _ids: f"supplier-of-{secret[:2]}",
    "job_id": lambda api, secret, ids: _imported(api, secret, ids["source"]),
    "product_id": lambda api, _secret, _ids: api.get("/api/pim/products/").json()["products"][0]["id"],
    "fingerprint": lambda api, _secret, _ids: api.get("/api/pim/mapping/templates/").json()["templates"][0][
        "fingerprint"
    ],
    "host": lambda api, secret, _ids: api.post("/api/pim/fetch-hosts/", json={"host": f"{secret}.example.com"}).json()[
        "host"
    ],
    "slug": lambda api, _secret, _ids: api.tenant.slug,
    "user_id": lambda api, secret, _ids: str(
        create_user(
            api.workspace.app,
            api.tenant.id,
            email=f"{secret}-{uuid4().hex[:8]}@example.com",
            name=secret,
            password="long enough",
            role="viewer",
            actor=ACTOR,
        )
    ),
    "invitation_id": lambda api, secret, _ids: api.post(
        "/api/pim/users/invitations/", json={"email": f"guest-of-{secret}@example.com", "role": "viewer"}
    ).json()["id"],
    "key_id": lambda api, secret, _ids: api.post("/api/pim/keys/", json={"name": f"key of {secret}"}).json()["id"],
    "undo_id": lambda api, secret, ids: _undone(api, secret, ids["source"]),
    "webhook_id": lambda api, secret, _ids: _subscribed(api, secret),
    "delivery_id": lambda api, _secret, ids: api.get(f"/api/pim/webhooks/{ids['webhook_id']}/deliveries/").json()[
        "deliveries"
    ][0]["id"],
    "version": lambda api, _secret, _ids: str(api.get("/api/pim/schema/").json()["version"]),
    "schema_token": lambda api, secret, _ids: api.post(
        "/api/pim/schema/changes/", json={"changes": [{"op": "remove", "name": f"{secret}_field"}]}
    ).json()["token"],
    "delete_token": lambda api, _secret, _ids: _token(api, "delete", {}),
    "edit_token": lambda api, _secret, _ids: _token(
        api, "edit", {"operations": [{"op": "set", "field": "active", "value": False}]}
    ),
}


def _imported(api: Api, secret: str, source: str) -> str:
    """A dry run that was promoted, with a reject."""
    content = (
        f"SKU,Name,Shade,{secret}_field\nS-1,Name {secret},dark {secret},v {secret}\n"
        f"S-2,Other {secret},light {secret},w {secret}\n,{secret},,x\n"
    )
    job_id: str = api.upload(content, name=f"{secret}.csv", source=source, dry_run="true").json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    assert api.post(f"/api/pim/import/{job_id}/promote/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    return job_id


def _undone(api: Api, secret: str, source: str) -> str:
    """An undo that met a product somebody had changed."""
    job_id = api.upload("SKU,Name\nX-9,Changed later\n", source=source).json()["job_id"]
    assert api.post(f"/api/pim/import/{job_id}/confirm/").status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    api.post("/api/pim/products/bulk/", json={"products": [{"sku": "X-9", "name": f"Kept {secret}"}]})
    undo_id: str = api.post(f"/api/pim/import/{job_id}/undo/").json()["job"]["job_id"]
    return undo_id


def _subscribed(api: Api, secret: str) -> str:
    """A webhook that has been told something; its host has no address."""
    body = {"url": f"https://{secret}.invalid/hook", "events": ["product.created"]}
    webhook_id: str = api.post("/api/pim/webhooks/", json=body).json()["id"]
    api.post("/api/pim/products/bulk/", json={"products": [{"sku": "W-1", "name": f"Told {secret}"}]})
    return webhook_id


def _token(api: Api, kind: str, more: dict[str, Any]) -> str:
    """Confirms a bulk operation on everything that the tenant has."""
    token: str = api.post(f"/api/pim/products/bulk-{kind}/preview/", json={"all": True} | more).json()["token"]
    return token


@dataclass(frozen=True)
class Side:
    """A tenant with a catalogue and a finished import, and the ids of what it has."""

    api: Api
    secret: str
    ids: dict[str, str]

    def call(self, key: Key, ids: dict[str, str]) -> Answer:
        """Call a route with this tenant's key and these ids."""
        return call(self.api.client, key, CASES[key], ids, {"Authorization": f"Bearer {self.api.key}"})

    def leaked(self, answer: Answer, request: str = "") -> list[str]:
        """What of this tenant ``answer`` holds, unless the request said it."""
        own = {self.secret, self.api.tenant.slug, str(self.api.tenant.id), *self.ids.values()}
        own.discard(self.ids["version"])  # a small number, which any answer may hold
        return sorted(value for value in own if value in answer.text + answer.headers and value not in request)

    def shown(self) -> dict[Key, str]:
        """Everything that this tenant can read, without what moves by itself."""
        return {
            key: still(self.call(key, self.ids).text, case.changing)
            for key, case in CASES.items()
            if case.reads or key[0] in ("GET", "WS")
        }


@dataclass(frozen=True)
class Pair:
    """Two tenants, and what the first saw while it was alone."""

    first: Side
    second: Side
    alone: dict[Key, str]

    def both_ways(self) -> Iterator[tuple[Side, Side]]:
        yield self.first, self.second
        yield self.second, self.first


@pytest.fixture(scope="module")
def app(workspace: Workspace) -> FastAPI:
    """The application without rate limits: a walk is a thousand requests in a few seconds."""
    unlimited = {"rate_limit_requests": 0, "rate_limit_address_requests": 0}
    return create_app(workspace.settings.model_copy(update=unlimited))


@pytest.fixture(scope="module")
def make_side(
    app: FastAPI, workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> Iterator[Callable[..., Side]]:
    """Makes a tenant that has something of everything."""
    with TestClient(app, raise_server_exceptions=False) as client:

        def make(secret: str) -> Side:
            tenant = make_tenant()
            api = Api(
                client, workspace, tenant, create_key(workspace.app, tenant.id, role="admin", name="a", actor=ACTOR)
            )
            ids: dict[str, str] = {}
            for name, give in IDS.items():
                ids[name] = str(give(api, secret, ids))
            return Side(api, secret, ids)

        yield make


@pytest.fixture(scope="module")
def pair(make_side: Callable[..., Side]) -> Pair:
    """Shared by the tests in which nothing of a tenant's own may change."""
    first = make_side(SECRETS[0])
    alone = first.shown()
    return Pair(first, make_side(SECRETS[1]), alone)


def _difference(before: dict[Key, str], after: dict[Key, str]) -> str:
    found = []
    for key, told in before.items():
        if told != after[key]:
            lines = difflib.unified_diff(told.splitlines(), after[key].splitlines(), lineterm="", n=1)
            found.append(" ".join(key) + "\n" + "\n".join(lines))
    return "\n".join(found)


def test_every_route_has_its_case(app: FastAPI) -> None:
    known = routes(app)
    missing = [key for key in known if key not in CASES and key not in PUBLIC]
    lines = "\n".join(f'    ("{method}", "{path}"): Case(404, code="unknown_..."),' for method, path in missing)
    assert not missing, (
        "These routes are not walked. Add each to CASES in tests/integration/api/test_isolation.py, with the status "
        "and the problem's code that another tenant's ids get (200 where it takes no ids), or to PUBLIC with the "
        f"reason why it needs no key:\n{lines}"
    )
    gone = [key for key in [*CASES, *PUBLIC] if key not in known]
    assert not gone, f"CASES or PUBLIC name routes that are not there (any more): {gone}"
    unmade = {name for _, path in CASES for name in parameters(path) if name not in IDS}
    assert not unmade, (
        f"Nothing makes a value for {sorted(unmade)}: add a line to IDS in tests/integration/api/test_isolation.py, "
        '`"name": lambda api, secret, ids: ...`, which makes one for a tenant and returns its id.'
    )


def test_every_route_says_who_may_call_it(app: FastAPI) -> None:
    document = app.openapi()["paths"]
    for (method, path), extra in routes(app).items():
        where = f"{method} {path}"
        if (method, path) in PUBLIC:
            assert "x-role" not in extra, f"{where} is in PUBLIC but needs a key"
            continue
        if method == "WS":
            assert CASES[method, path].role in ROLES, f"{where}: give its case a role"
            continue
        assert extra.get("x-role") in ROLES, f"{where} names no role: use KeyRoute and openapi_extra=needs(...)"
        operation = document.get(path, {}).get(method.lower())
        if operation:
            assert operation["security"] == [{"key": []}], where
            assert {"401", "403", "500", "503"} <= operation["responses"].keys(), where


def test_nothing_of_another_tenant_is_read_or_changed(app: FastAPI, pair: Pair) -> None:
    wrong: list[str] = []
    difference = _difference(pair.alone, pair.first.shown())
    assert not difference, f"what a tenant sees depends on what another one has:\n{difference}"
    for side, other in pair.both_ways():
        before = other.shown()
        for key, case in CASES.items():
            where = " ".join(key)
            answer = side.call(key, other.ids)
            if answer.status != case.foreign:
                wrong.append(f"{where} answers another tenant's ids with {answer.status}: {answer.text[:500]}")
            if leaked := other.leaked(answer, said(key, case, other.ids)):
                wrong.append(f"{where} with another tenant's ids tells {leaked}: {answer.text[:500]}")
            if case.code and answer.response is not None and answer.status == case.foreign:
                assert_problem(answer.response, case.foreign, case.code)
            if not (case.reads or key[0] in ("GET", "WS")):
                continue
            own = side.call(key, side.ids)
            if own.status != (101 if key[0] == "WS" else case.own):
                wrong.append(f"{where} answers the tenant's own ids with {own.status}: {own.text[:500]}")
            if not case.figures and side.secret not in own.text:
                wrong.append(f"{where} shows nothing of the tenant's own (figures=True?): {own.text[:500]}")
            if leaked := other.leaked(own):
                wrong.append(f"{where} tells {leaked} of another tenant: {own.text[:500]}")
        difference = _difference(before, other.shown())
        if difference:
            wrong.append(f"one tenant's calls with another's ids changed what that one sees:\n{difference}")
    assert not wrong, "\n\n".join(wrong)


def test_no_key_and_keys_that_are_worth_nothing(app: FastAPI, pair: Pair) -> None:
    side = pair.first
    revoked = side.api.with_role("admin")
    with tenant_session(side.api.workspace.app, side.api.tenant.id) as session:
        session.execute(
            text("UPDATE pim.api_keys SET revoked_at = clock_timestamp() WHERE tenant_id = :tenant AND prefix = :key"),
            {"tenant": side.api.tenant.id, "key": revoked.key[:12]},
        )
    worthless = {
        "no key": {},
        "an expired key": {"Authorization": f"Bearer {side.api.with_role('admin', days=-1).key}"},
        "a revoked key": {"Authorization": f"Bearer {revoked.key}"},
    }
    malformed = [  # each route meets one of these
        ("an unknown key", {"Authorization": "Bearer pim_" + "x" * 43}),
        ("an empty key", {"Authorization": "Bearer "}),
        ("a key under another scheme", {"Authorization": f"Basic {side.api.key}"}),
    ]
    before = side.shown()
    for number, (key, case) in enumerate(CASES.items()):
        for name, given in [*worthless.items(), malformed[number % len(malformed)]]:
            where = f"{' '.join(key)} with {name}"
            answer = call(side.api.client, key, case, side.ids, given)
            assert not side.leaked(answer, said(key, case, side.ids)), where
            if key[0] == "WS":
                assert answer.status not in (101, 1000), where
                continue
            assert answer.response is not None
            assert answer.status == 401, f"{where}: {answer.status} {answer.text}"
            assert_problem(answer.response, 401, "unauthorized")
            assert answer.response.headers["www-authenticate"].startswith("Bearer"), where
    assert not _difference(before, side.shown()), "somebody without a key changed something"


def test_a_credential_of_another_tenant_cannot_name_this_one(app: FastAPI, pair: Pair) -> None:
    side, other = pair.first, pair.second
    member = make_person(app, other.api.workspace, (other.api.tenant, "admin"))
    assert member.log_in().status_code == 200
    credentials = {"a key": other.api.key, "the token of a member": member.tokens["access_token"]}
    known = routes(app)
    before = side.shown()
    for key, case in CASES.items():
        if known[key].get("x-above-tenants"):
            continue  # about the person or the key itself, whatever tenant is named
        for name, credential in credentials.items():
            where = f"{' '.join(key)} with {name} of another tenant"
            given = {"Authorization": f"Bearer {credential}", "X-Tenant": side.api.tenant.slug}
            answer = call(side.api.client, key, case, side.ids, given)
            assert not side.leaked(answer, said(key, case, side.ids) + side.api.tenant.slug), where
            _assert_refused(answer, key, "not_a_member", where)
    assert not _difference(before, side.shown()), "somebody of another tenant changed something"


def test_a_role_too_weak_and_a_missing_scope_open_nothing(app: FastAPI, pair: Pair) -> None:
    side = pair.first
    weaker = {role: side.api.with_role(role).key for role in ROLES}
    lacking = {scope: side.api.with_role("admin", scopes=set(SCOPES) - {scope}).key for scope in SCOPES}
    lacking["unlimited"] = side.api.with_role("admin", scopes=SCOPES).key
    before = side.shown()
    for key, case in CASES.items():
        role, scope = _needed(app, key)
        refused = {f"the role {one}": (weaker[one], "forbidden") for one in ROLES if POWER[one] < POWER[role]}
        if scope in lacking:
            refused[f"every scope but {scope}"] = (lacking[scope], "scope_missing")
        for name, (credential, code) in refused.items():
            where = f"{' '.join(key)} with {name}"
            answer = call(side.api.client, key, case, side.ids, {"Authorization": f"Bearer {credential}"})
            assert not side.leaked(answer, said(key, case, side.ids)), where
            _assert_refused(answer, key, code, where)
    assert not _difference(before, side.shown()), "a key too weak changed something"


def test_the_role_and_scope_that_a_route_names_are_enough(app: FastAPI, make_side: Callable[..., Side]) -> None:
    side, other = make_side(SECRETS[0]), make_side(SECRETS[1])
    for key, case in CASES.items():
        role, scope = _needed(app, key)
        scopes = None if scope == "unlimited" else [] if scope == "any" else [scope]
        credential = side.api.with_role(role, scopes=scopes or None).key
        answer = call(side.api.client, key, case, side.ids, {"Authorization": f"Bearer {credential}"})
        assert answer.status not in (401, 403), f"{role} with {scope} may {' '.join(key)}: {answer.text}"
        assert answer.status < 500 or key[0] == "WS", f"{' '.join(key)}: {answer.text}"
        assert not other.leaked(answer), f"{' '.join(key)}: {answer.text}"


def _needed(app: FastAPI, key: Key) -> tuple[Role, str]:
    """The role and the scope that a route asks for."""
    case, extra = CASES[key], routes(app)[key]
    return case.role or extra["x-role"], case.scope or extra.get("x-scope", "any")


def _assert_refused(answer: Answer, key: Key, code: str, where: str) -> None:
    if key[0] == "WS" and answer.response is None:
        assert answer.status not in (101, 1000), where
        return
    assert answer.response is not None
    assert answer.status == 403, f"{where}: {answer.status} {answer.text}"
    assert_problem(answer.response, 403, code)


def test_head_is_get_without_its_body_whoever_calls(app: FastAPI, pair: Pair) -> None:
    side, other = pair.first, pair.second
    bearer = {"Authorization": f"Bearer {side.api.key}"}
    callers = [("its own ids", side.ids, bearer), ("another's ids", other.ids, bearer), ("no key", side.ids, {})]
    wrong = []
    for key, case in [*CASES.items(), *((key, Case(200)) for key in PUBLIC)]:
        if key[0] != "GET":
            continue
        for name, ids, headers in callers:
            where = f"HEAD {key[1]} with {name}"
            told, full = (call(side.api.client, (method, key[1]), case, ids, headers) for method in ("HEAD", "GET"))
            if told.status != full.status:
                wrong.append(f"{where} answers {told.status}, GET {full.status}")
            if told.text:
                wrong.append(f"{where} has a body")
            if name != "its own ids" and (leaked := other.leaked(told, said(key, case, ids))):
                wrong.append(f"{where} tells {leaked}")
            own_fields = OWN_FIELDS_OF.get(key[1], OWN_FIELDS)
            if told.headers_without(*own_fields) != full.headers_without(*own_fields):
                wrong.append(f"{where} says {told.headers}, GET {full.headers}")
    assert not wrong, "\n".join(wrong)


def test_who_needs_no_key_tells_nothing_of_a_tenant(app: FastAPI, pair: Pair) -> None:
    for method, path in PUBLIC:
        answer = pair.first.api.client.request(method, path)
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
        if method == "GET" and path != "/metrics":
            assert answer.status_code == 200, f"{method} {path}: {answer.text}"
        for side, _ in pair.both_ways():
            told = side.leaked(Answer(answer.status_code, answer.text, str(answer.headers)))
            assert not told, f"{method} {path} tells {told}"


def test_somebody_of_two_tenants_meets_in_one_nothing_of_the_other(app: FastAPI, pair: Pair) -> None:
    first, second = pair.first, pair.second
    ana = make_person(app, first.api.workspace, (first.api.tenant, "admin"), (second.api.tenant, "admin"))
    assert ana.log_in().status_code == 200
    headers = {"Authorization": f"Bearer {ana.tokens['access_token']}", "X-Tenant": first.api.tenant.slug}
    before = second.shown()
    for key, case in CASES.items():
        if key[0] == "WS":  # the same way in: `routes.admit`
            continue
        where = " ".join(key)
        # Of the person itself, both tenants may be told to the person.
        above = routes(app)[key].get("x-above-tenants")
        known = {second.api.tenant.slug} if above else set()
        answer = call(ana.client, key, case, second.ids, headers)
        # Where no id is named, it is done in the first: 200 or 201, as it has been done before or not.
        fitting = {200, 201, case.foreign} if case.foreign < 300 else {case.foreign}
        assert above or answer.status in fitting, f"{where}: {answer.status} {answer.text[:300]}"
        assert set(second.leaked(answer, said(key, case, second.ids))) <= known, where
        if key[0] == "GET":
            own = call(ana.client, key, case, first.ids, headers)
            # Some of the first's own is deleted by now, by the calls above.
            assert own.status in (case.own, 404, 409), f"{where}: {own.text[:300]}"
            assert set(second.leaked(own)) <= known, where
    assert not _difference(before, second.shown()), "nothing of the other tenant has changed"
