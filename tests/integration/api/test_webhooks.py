"""Webhooks by API: subscribing, trying out, reading the log, delivering again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from standardwebhooks.webhooks import Webhook as Verifier

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from pim_platform.syndication.delivering import deliver
from tests.integration.api.conftest import Api, assert_problem
from tests.support.receivers import Reply, receiver

HOOKS = "/api/pim/webhooks/"


@pytest.fixture
def hooks(workspace: Workspace, make_api: Callable[..., Api]) -> Iterator[Api]:
    """An admin of a tenant, of an API whose webhooks may call 127.0.0.2."""
    api = make_api("admin")
    settings = workspace.settings.model_copy(
        update={"outbound_allow_http": True, "outbound_private_networks": "127.0.0.2/32"}
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Api(client, Workspace(settings), api.tenant, api.key)


def test_from_a_subscription_to_a_delivery_and_its_repetition(hooks: Api) -> None:
    with receiver(lambda _: Reply(204, b""), host="127.0.0.2") as server:
        made = hooks.post(HOOKS, json={"url": server.url, "events": ["product.updated", "product.created"]})
        assert made.status_code == 201, made.text
        webhook, secret = made.json()["id"], made.json()["secret"]
        assert made.json()["events"] == ["product.created", "product.updated"]
        hooks.post("/api/pim/products/bulk/", json={"products": [{"sku": "A", "name": "Alpha"}]})
        deliver(hooks.workspace, seconds=20)
        log = hooks.get(f"{HOOKS}{webhook}/deliveries/").json()
        (entry,) = log["deliveries"]
        assert (entry["state"], entry["status"], entry["event"]) == ("delivered", 204, "product.created")
        detail = hooks.get(f"{HOOKS}{webhook}/deliveries/{entry['id']}/").json()
        assert Verifier(secret).verify(server.requests[0].body, server.requests[0].headers) == detail["payload"]
        again = hooks.post(f"{HOOKS}{webhook}/deliveries/{entry['id']}/redeliver/")
        assert (again.status_code, again.json()["state"]) == (202, "pending")
        deliver(hooks.workspace, seconds=20)
        assert [r.headers["webhook-id"] for r in server.requests] == [f"msg_{entry['id']}"] * 2


def test_the_secret_is_shown_once_and_a_new_one_when_it_is_rotated(hooks: Api) -> None:
    made = hooks.post(HOOKS, json={"url": "https://receiver.invalid/", "events": ["import.failed"]}).json()
    assert made["secret"].startswith("whsec_")
    shown = hooks.get(HOOKS).text + hooks.get(f"{HOOKS}{made['id']}/").text + hooks.get("/api/pim/audit/").text
    assert 'secret":' not in hooks.get(f"{HOOKS}{made['id']}/").text
    assert made["secret"] not in shown
    rotated = hooks.post(f"{HOOKS}{made['id']}/rotate-secret/").json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != made["secret"]


def test_a_test_call_answers_what_the_receiver_said(hooks: Api) -> None:
    with receiver(lambda _: Reply(503, b"closed for today"), host="127.0.0.2") as server:
        made = hooks.post(HOOKS, json={"url": server.url, "events": ["import.failed"]}).json()
        said = hooks.post(f"{HOOKS}{made['id']}/test/")
    assert said.status_code == 200
    assert (said.json()["delivered"], said.json()["status"], said.json()["answer"]) == (False, 503, "closed for today")
    gone = hooks.post(f"{HOOKS}{made['id']}/test/").json()
    assert (gone["status"], gone["delivered"]) == (None, False)
    assert "cannot be reached" in gone["error"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "ftp://receiver.invalid/",
        "https://user:pass@receiver.invalid/",
        "https://receiver.invalid:25/",
        "nonsense",
    ],
)
def test_an_address_inside_is_refused_with_the_reason(hooks: Api, url: str) -> None:
    answer = hooks.post(HOOKS, json={"url": url, "events": ["import.failed"]})
    assert_problem(answer, 422, "address_refused")
    assert hooks.get(HOOKS).json()["webhooks"] == []


def test_changing_disabling_enabling_deleting(hooks: Api) -> None:
    made = hooks.post(HOOKS, json={"url": "https://receiver.invalid/", "events": ["import.failed"]}).json()
    path = f"{HOOKS}{made['id']}/"
    changed = hooks.request("PATCH", path, json={"events": ["product.deleted"], "import_products": True}).json()
    assert (changed["events"], changed["import_products"]) == (["product.deleted"], True)
    assert changed["url"] == "https://receiver.invalid/"
    assert_problem(hooks.request("PATCH", path, json={"url": "https://10.0.0.1/"}), 422, "address_refused")
    assert hooks.post(path + "disable/").json()["state"] == "disabled"
    assert hooks.post(path + "enable/").json()["state"] == "active"
    assert hooks.request("DELETE", path).status_code == 204
    assert_problem(hooks.get(path), 404, "unknown_webhook")
    assert_problem(hooks.post(path + "test/"), 404, "unknown_webhook")


def test_the_log_is_paged_newest_first(hooks: Api) -> None:
    made = hooks.post(HOOKS, json={"url": "https://receiver.invalid/", "events": ["product.created"]}).json()
    hooks.post("/api/pim/products/bulk/", json={"products": [{"sku": f"S{n}", "name": "x"} for n in range(7)]})
    path, seen, cursor = f"{HOOKS}{made['id']}/deliveries/", [], None
    while True:
        page = hooks.get(path, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [entry["id"] for entry in page["deliveries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert hooks.get(path, params={"state": "delivered"}).json()["deliveries"] == []
    assert_problem(hooks.get(path, params={"cursor": "bm90IGEgbnVtYmVy"}), 422, "invalid_request")


def test_an_unknown_event_is_refused(hooks: Api) -> None:
    answer = hooks.post(HOOKS, json={"url": "https://receiver.invalid/", "events": ["product.sold"]})
    assert_problem(answer, 422, "invalid_request")


def test_only_an_admin_manages_webhooks(hooks: Api) -> None:
    for role in ("viewer", "editor"):
        assert hooks.with_role(role).get(HOOKS).status_code == 403
