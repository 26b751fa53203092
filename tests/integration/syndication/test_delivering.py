"""Receivers as they are: slow, dead, moved, gone, failing now and then; and workers that are killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from pim_platform.local.parts import environment
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication import delivering
from pim_platform.syndication.deliveries import forget_deliveries, redeliver
from pim_platform.syndication.delivering import Report, deliver
from pim_platform.syndication.pacing import BROKEN_AFTER, SCHEDULE
from pim_platform.syndication.subscriptions import change_webhook, disable_webhook, enable_webhook, rotate_secret
from pim_platform.syndication.trying import try_webhook
from tests.integration.syndication.conftest import ACTOR, OUTSIDE, Shop
from tests.support.imports import import_bytes
from tests.support.receivers import Received, Receiver, Reply, receiver
from tests.support.stacks import WAIT_SECONDS, plain_environment, wait_for

PRODUCTS = ["product.created", "product.updated", "product.deleted"]


def run(shop: Shop, seconds: float = 30.0) -> Report:
    return deliver(shop.workspace, seconds=seconds)


def skus(server: Receiver) -> list[str]:
    return [json.loads(request.body)["data"]["sku"] for request in server.snapshot()]


def states(shop: Shop) -> Counter[str]:
    return Counter(delivery.state for delivery in shop.outbox())


def test_what_is_sent_is_signed_and_is_what_the_log_says(shop: Shop) -> None:
    with receiver(host=OUTSIDE) as server:
        _, secret = shop.subscribe(server.url + "/hook")
        shop.merge({"sku": "A", "name": "Alpha"})
        run(shop)
    (sent,) = server.requests
    (logged,) = shop.outbox()
    assert Verifier(secret).verify(sent.body, sent.headers) == logged.payload
    assert sent.headers["webhook-id"] == f"msg_{logged.id}"
    assert sent.headers["content-type"] == "application/json"
    assert (logged.state, logged.attempts, logged.status, logged.answer) == ("delivered", 1, 200, "thanks")
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(sent.body + b" ", sent.headers)


def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new_one(shop: Shop) -> None:
    with receiver(host=OUTSIDE) as server:
        webhook_id, old = shop.subscribe(server.url)
        with tenant_session(shop.workspace.app, shop.id) as session:
            _, new = rotate_secret(session, shop.workspace.settings, webhook_id, ACTOR)
        shop.merge({"sku": "A", "name": "Alpha"})
        run(shop)
        with tenant_session(shop.workspace.app, shop.id) as session:
            session.execute(text("UPDATE pim.webhooks SET old_secret_until = now() - interval '1 second'"))
        shop.merge({"sku": "A", "name": "Alpha 2"})
        run(shop)
    during, after = server.requests
    for secret in (old, new):
        Verifier(secret).verify(during.body, during.headers)
    Verifier(new).verify(after.body, after.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(old).verify(after.body, after.headers)


def test_secrets_are_not_readable_in_the_database(shop: Shop) -> None:
    webhook_id, secret = shop.subscribe("https://receiver.invalid/")
    assert secret.startswith("whsec_")
    assert secret not in shop.webhook(webhook_id).secret


def test_events_of_one_product_arrive_in_their_order_whatever_fails(shop: Shop) -> None:
    """Every third call fails; each product's versions must arrive as 1, 2, 3 ... nevertheless."""
    count = iter(range(10**6))
    taken: dict[str, list[int]] = defaultdict(list)
    guard = threading.Lock()

    def reply(request: Received) -> Reply:
        with guard:
            if next(count) % 3 == 0:
                return Reply(500)
            data = json.loads(request.body)["data"]
            taken[data["sku"]].append(data["version"])
            return Reply()

    names = [f"P-{number}" for number in range(8)]
    with receiver(reply, host=OUTSIDE) as server:
        shop.subscribe(server.url, PRODUCTS)
        for version in range(1, 6):
            shop.merge(*({"sku": name, "name": f"{name} version {version}"} for name in names))
        for _ in range(40):
            run(shop)
            if states(shop) == {"delivered": 40}:
                break
            shop.now()
    assert states(shop) == {"delivered": 40}
    assert dict(taken) == {name: [1, 2, 3, 4, 5] for name in names}


def test_a_delivery_that_is_refused_holds_up_its_own_product_only(shop: Shop) -> None:
    def reply(request: Received) -> Reply:
        return Reply(422 if json.loads(request.body)["data"]["sku"] == "BAD" else 200, b"no \x00 such thing")

    with receiver(reply, host=OUTSIDE) as server:
        shop.subscribe(server.url, PRODUCTS)
        shop.merge({"sku": "BAD", "name": "One"}, {"sku": "GOOD", "name": "One"})
        shop.merge({"sku": "BAD", "name": "Two"}, {"sku": "GOOD", "name": "Two"})
        run(shop)
    assert Counter(skus(server)) == {"BAD": 1, "GOOD": 2}
    bad = [d for d in shop.outbox() if d.payload["data"]["sku"] == "BAD"]
    assert [(d.state, d.attempts, d.status) for d in bad] == [("pending", 1, 422), ("pending", 0, None)]
    assert bad[0].answer == "no \ufffd such thing"
    assert "422" in (bad[0].error or "")


def test_a_delivery_that_fails_every_time_is_given_up_and_the_next_one_goes(shop: Shop) -> None:
    def reply(request: Received) -> Reply:
        return Reply(422 if json.loads(request.body)["data"]["version"] == 1 else 200)

    with receiver(reply, host=OUTSIDE) as server:
        webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
        shop.merge({"sku": "A", "name": "One"})
        shop.merge({"sku": "A", "name": "Two"})
        with tenant_session(shop.workspace.app, shop.id) as session:
            session.execute(
                text("UPDATE pim.webhook_deliveries SET attempts = :n WHERE event = 'product.created'"),
                {"n": len(SCHEDULE)},
            )
        run(shop)
        assert [d.state for d in shop.outbox()] == ["failed", "delivered"]
        again = shop.outbox()[0]
        with tenant_session(shop.workspace.app, shop.id) as session:
            redeliver(session, webhook_id, again.id, ACTOR)
        run(shop)
    ids = [request.headers["webhook-id"] for request in server.requests]
    assert (ids[0], len(ids)) == (ids[-1], 3)


def test_a_slow_receiver_delays_nobody_else(make_shop: Callable[..., Shop]) -> None:
    slow_shop, quick_shop = make_shop(), make_shop()
    served = threading.Event()

    def wait(_request: Received) -> Reply:
        assert served.wait(WAIT_SECONDS)
        return Reply()

    def quick(_request: Received) -> Reply:
        if len(fast.requests) == 20:
            served.set()
        return Reply()

    with receiver(wait, host=OUTSIDE) as slow, receiver(quick, host=OUTSIDE) as fast, ThreadPoolExecutor(1) as pool:
        slow_shop.subscribe(slow.url, PRODUCTS)
        quick_shop.subscribe(fast.url, PRODUCTS)
        slow_shop.merge(*({"sku": f"S-{n}", "name": "slow"} for n in range(20)))
        quick_shop.merge(*({"sku": f"Q-{n}", "name": "quick"} for n in range(20)))
        working = pool.submit(run, slow_shop)
        # The slow one answers nothing before the quick one has everything: else both would wait for ever.
        working.result(WAIT_SECONDS)
    assert (states(slow_shop), states(quick_shop)) == ({"delivered": 20}, {"delivered": 20})


def test_a_dead_receiver_is_left_in_peace_and_gets_everything_in_order_when_it_is_back(shop: Shop) -> None:
    with receiver(host=OUTSIDE) as server:
        pass
    webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
    shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(30)))
    shop.merge(*({"sku": f"P-{n}", "name": "Two"} for n in range(30)))
    run(shop)
    waiting = shop.outbox()
    assert states(shop) == {"pending": 60}
    assert sum(delivery.attempts for delivery in waiting) < 15, "the others are not worn out"
    found = shop.webhook(webhook_id)
    assert (found.state, found.pauses) == ("active", 1)
    assert found.failures >= BROKEN_AFTER
    assert found.paused_until is not None
    assert "cannot be reached" in next(d.error for d in waiting if d.error)

    with receiver(host=OUTSIDE, port=server.port) as back:
        run(shop)
        assert back.requests == [], "not before its pause is over"
        shop.now()
        run(shop)
    assert states(shop) == {"delivered": 60}
    versions: dict[str, list[int]] = defaultdict(list)
    for request in back.requests:
        data = json.loads(request.body)["data"]
        versions[data["sku"]].append(data["version"])
    assert set(map(tuple, versions.values())) == {(1, 2)}
    found = shop.webhook(webhook_id)
    assert (found.failures, found.pauses, found.paused_until) == (0, 0, None)


@pytest.mark.full
def test_a_receiver_that_stays_dead_is_suspended_loses_nothing_and_goes_on_when_enabled(shop: Shop) -> None:
    with receiver(host=OUTSIDE) as server:
        pass
    webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
    shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(10)))
    for _ in range(len(SCHEDULE) + 1):
        run(shop)
        shop.now()
    found = shop.webhook(webhook_id)
    assert found.state == "suspended"
    assert "failed" in (found.reason or "")
    shop.merge({"sku": "LATER", "name": "Meanwhile"})
    assert states(shop) == {"pending": 11}
    with receiver(host=OUTSIDE, port=server.port) as back:
        run(shop)
        assert back.requests == []
        with tenant_session(shop.workspace.app, shop.id) as session:
            enable_webhook(session, webhook_id, ACTOR)
        run(shop)
    assert states(shop) == {"delivered": 11}
    assert len(back.requests) == 11


def test_410_stops_at_once_and_keeps_nothing_new(shop: Shop) -> None:
    with receiver(lambda _: Reply(410), host=OUTSIDE) as server:
        webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
        shop.merge({"sku": "A", "name": "Alpha"})
        run(shop)
        found = shop.webhook(webhook_id)
        assert (found.state, found.reason) == ("gone", "The receiver answered 410 Gone.")
        shop.merge({"sku": "B", "name": "Beta"})
        shop.now()
        run(shop)
    assert len(server.requests) == 1
    assert len(shop.outbox()) == 1


def test_a_redirect_is_not_followed_inside(shop: Shop) -> None:
    with receiver() as inside, receiver(lambda _: Reply(307, headers={"Location": inside.url}), host=OUTSIDE) as server:
        shop.subscribe(server.url, PRODUCTS)
        shop.merge({"sku": "A", "name": "Alpha"})
        run(shop)
        assert inside.requests == []
    (delivery,) = shop.outbox()
    assert (delivery.state, delivery.status) == ("pending", 307)
    assert "Redirects are not followed" in (delivery.error or "")


def test_an_address_that_became_private_is_not_called(shop: Shop) -> None:
    with receiver() as inside:
        webhook_id, _ = shop.subscribe("https://receiver.invalid/", PRODUCTS)
        with tenant_session(shop.workspace.app, shop.id) as session:
            session.execute(text("UPDATE pim.webhooks SET url = :url"), {"url": inside.url})
        shop.merge({"sku": "A", "name": "Alpha"})
        run(shop)
        said = try_webhook(shop.workspace, shop.id, webhook_id, ACTOR)
        assert inside.requests == []
    assert "not on the public internet" in (shop.outbox()[0].error or "")
    assert (said.taken, said.status) == (False, None)


def test_a_receiver_may_ask_for_time(shop: Shop) -> None:
    with receiver(lambda _: Reply(429, headers={"Retry-After": "120"}), host=OUTSIDE) as server:
        webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
        shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(20)))
        run(shop)
        found = shop.webhook(webhook_id)
        assert found.paused_until is not None
        assert timedelta(seconds=100) < found.paused_until - found.updated_at < timedelta(seconds=200)
        assert len(server.requests) <= shop.workspace.settings.webhook_concurrency


@pytest.mark.full
def test_what_waits_goes_to_the_new_address(shop: Shop) -> None:
    webhook_id, _ = shop.subscribe("https://receiver.invalid/", PRODUCTS)
    shop.merge({"sku": "A", "name": "Alpha"})
    run(shop)
    with receiver(host=OUTSIDE) as server:
        with tenant_session(shop.workspace.app, shop.id) as session:
            change_webhook(session, shop.workspace.settings, webhook_id, url=server.url, actor=ACTOR)
        shop.now()
        run(shop)
    assert skus(server) == ["A"]


@pytest.mark.full
def test_disabling_stops_a_worker_in_the_middle(shop: Shop) -> None:
    def reply(_request: Received) -> Reply:
        if len(server.snapshot()) == 5:
            with tenant_session(shop.workspace.app, shop.id) as session:
                disable_webhook(session, webhook_id, ACTOR)
        return Reply()

    with receiver(reply, host=OUTSIDE) as server:
        webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
        shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(300)))
        run(shop)
        assert 5 <= len(server.requests) < 300
        stopped = len(server.requests)
        run(shop)
        assert len(server.requests) == stopped


def test_each_receiver_gets_what_its_tenant_did_and_nothing_else(make_shop: Callable[..., Shop]) -> None:
    shops = [make_shop() for _ in range(3)]
    with receiver(host=OUTSIDE) as server:
        for number, shop in enumerate(shops):
            shop.subscribe(f"{server.url}/{number}")
            shop.merge({"sku": "SAME", "name": f"Of shop {number}"})
        run(shops[0])
    told = {(request.path, json.loads(request.body)["data"]["name"]) for request in server.requests}
    assert told == {(f"/{number}", f"Of shop {number}") for number in range(3)}


def test_a_receiver_is_claimed_in_a_session_of_its_tenant_only(make_shop: Callable[..., Shop]) -> None:
    mine, other = make_shop(), make_shop()
    mine.subscribe("https://receiver.invalid/", PRODUCTS)
    webhook_id, _ = other.subscribe("https://receiver.invalid/", PRODUCTS)
    other.merge({"sku": "A", "name": "Alpha"})
    assert _is_due(other)
    for named in (mine.id, other.id):
        given = {"tenant": named, "webhook": webhook_id, "owner": "mine", "lease": 60.0, "most": 10}
        with tenant_session(mine.workspace.app, mine.id) as session:
            assert session.execute(delivering._CLAIM, given).all() == []
            assert session.execute(delivering._BATCH, given).all() == []
    assert other.webhook(webhook_id).lease_owner is None


@pytest.mark.full
def test_a_worker_that_is_killed_loses_nothing_and_its_receiver_is_served_again(shop: Shop) -> None:
    process: subprocess.Popen[bytes] | None = None
    started = threading.Event()

    def reply(_request: Received) -> Reply:
        assert started.wait(WAIT_SECONDS)
        if len(server.snapshot()) == 60 and process is not None and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)  # in the second batch, with calls under way
        return Reply()

    with receiver(reply, host=OUTSIDE) as server:
        webhook_id, _ = shop.subscribe(server.url, PRODUCTS)
        shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(120)))
        shop.merge(*({"sku": f"P-{n}", "name": "Two"} for n in range(120)))
        command = [sys.executable, "-m", "pim_platform.cli", "webhooks", "deliver"]
        process = subprocess.Popen(command, env=plain_environment() | environment(shop.workspace.settings))
        started.set()
        assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
        assert states(shop)["pending"] > 0
        run(shop)
        assert shop.webhook(webhook_id).lease_owner is not None, "as long as its lease is fresh nobody else serves it"
        wait_for(lambda: _is_due(shop), "the lease to grow old")
        run(shop)
    assert states(shop) == {"delivered": 240}
    first_seen = dict.fromkeys(
        (json.loads(r.body)["data"]["sku"], json.loads(r.body)["data"]["version"]) for r in server.requests
    )
    assert len(first_seen) == 240, "every event came, some of them twice"
    for number in range(120):
        assert [version for sku, version in first_seen if sku == f"P-{number}"] == [1, 2]


def _is_due(shop: Shop) -> bool:
    with tenant_session(shop.workspace.app, shop.id) as session:
        rows = session.execute(text("SELECT tenant_id FROM pim.webhooks_due(1000)"))
        return shop.id in set(rows.scalars())


@pytest.mark.full
def test_two_workers_do_not_serve_one_receiver_at_the_same_time(shop: Shop) -> None:
    with receiver(host=OUTSIDE) as server, ThreadPoolExecutor(3) as pool:
        shop.subscribe(server.url, PRODUCTS)
        shop.merge(*({"sku": f"P-{n}", "name": "One"} for n in range(100)))
        shop.merge(*({"sku": f"P-{n}", "name": "Two"} for n in range(100)))
        for working in [pool.submit(run, shop) for _ in range(3)]:
            working.result(WAIT_SECONDS)
    assert len(server.requests) == 200
    versions: dict[str, list[int]] = defaultdict(list)
    for request in server.requests:
        data = json.loads(request.body)["data"]
        versions[data["sku"]].append(data["version"])
    assert set(map(tuple, versions.values())) == {(1, 2)}


def test_a_test_call_tells_what_the_receiver_said(shop: Shop) -> None:
    with receiver(lambda _: Reply(500, b"out of order"), host=OUTSIDE) as server:
        webhook_id, secret = shop.subscribe(server.url)
        said = try_webhook(shop.workspace, shop.id, webhook_id, ACTOR)
    assert (said.taken, said.status, said.answer) == (False, 500, "out of order")
    assert Verifier(secret).verify(server.requests[0].body, server.requests[0].headers)["type"] == "webhook.test"
    assert shop.outbox() == []


def test_what_is_past_retention_goes_and_what_still_waited_is_counted(shop: Shop) -> None:
    webhook_id, _ = shop.subscribe("https://receiver.invalid/", PRODUCTS)
    shop.merge({"sku": "OLD", "name": "Old"}, {"sku": "SENT", "name": "Sent"})
    with tenant_session(shop.workspace.app, shop.id) as session:
        session.execute(
            text(
                "UPDATE pim.webhook_deliveries SET created_at = now() - interval '31 days', "
                "state = CASE payload -> 'data' ->> 'sku' WHEN 'SENT' THEN 'delivered' ELSE state END"
            )
        )
    shop.merge({"sku": "NEW", "name": "New"})
    before = forget_deliveries(shop.workspace, dry_run=True)
    assert (before.deliveries, before.waiting) >= (2, 1)
    assert len(shop.outbox()) == 3
    forget_deliveries(shop.workspace)
    assert [delivery.payload["data"]["sku"] for delivery in shop.outbox()] == ["NEW"]
    assert shop.webhook(webhook_id).dropped == 1


@pytest.mark.full
def test_an_import_of_100_000_products_is_told_product_by_product_by_a_few_statements(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.subscribe("https://receiver.invalid/", import_products=True)
    content = b"SKU,Name\n" + b"".join(b"S-%d,Name %d\n" % (n, n) for n in range(100_000))
    execute, statements = psycopg.Cursor.execute, itertools.count()

    def counting(self: Any, *given: Any, **more: Any) -> Any:
        next(statements)
        return execute(self, *given, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    import_bytes(shop.workspace, shop.id, content)
    assert next(statements) < 1_000
    with tenant_session(shop.workspace.app, shop.id) as session:
        rows = session.execute(text("SELECT event, count(*) FROM pim.webhook_deliveries GROUP BY 1")).all()
    assert {row.event: row.count for row in rows} == {"product.created": 100_000, "import.completed": 1}
