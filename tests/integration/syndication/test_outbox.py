"""What is told: events are written with the change that they are about, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from sqlalchemy import text

from pim_platform.catalog.deleting import Author, Selection, delete_products
from pim_platform.catalog.scores import Score, write_scores
from pim_platform.errors import UnreadableFile
from pim_platform.intake.confirming import confirm_by_policy
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.removing import delete_selection
from pim_platform.intake.undoing import undo_job
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication.subscriptions import disable_webhook
from tests.integration.syndication.conftest import ACTOR, Shop
from tests.support.imports import import_bytes, land_bytes

URL = "https://receiver.invalid/hook"
FILE = b"SKU,Name,Colour\nA,Alpha,red\nB,Beta,blue\n"


def test_api_writes_tell_of_each_product_in_the_order_of_commits(shop: Shop) -> None:
    shop.subscribe(URL)
    shop.write({"sku": "A", "name": "Alpha", "weight": 1.5}, {"sku": "B", "name": "Beta"})
    shop.write({"sku": "a", "name": "Alpha 2"}, {"sku": "B", "name": "Beta"})
    delete_selection(shop.workspace, shop.id, Selection(skus=("A",)), actor=ACTOR, origin="api")

    made, _, changed, deleted = sorted(shop.outbox(), key=lambda d: (d.number, d.event))
    assert [made.event, changed.event, deleted.event] == ["product.created", "product.updated", "product.deleted"]
    assert made.ordering_key == changed.ordering_key == deleted.ordering_key
    assert made.payload["data"]["product"]["data"] == {"weight": 1.5}
    assert changed.payload["type"] == "product.updated"
    data = changed.payload["data"]
    assert data["changes"] == [{"field": "name", "old": "Alpha", "new": "Alpha 2"}]
    assert (data["sku"], data["source"], data["actor"], data["request_id"]) == ("A", "api", ACTOR.name, ACTOR.trace_id)
    assert deleted.payload["data"]["name"] == "Alpha 2"


def test_an_import_is_one_event_with_counts_and_a_link(shop: Shop) -> None:
    shop.subscribe(URL)
    job = import_bytes(shop.workspace, shop.id, FILE)
    (event,) = shop.outbox()
    assert event.event == "import.completed"
    data = event.payload["data"]
    assert data["ledger"] == {
        "read": 2, "created": 2, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0, "merged": 0,
    }  # fmt: skip
    assert data["links"]["import"] == f"/api/pim/import/{job.id}/"


def test_who_opts_in_is_told_of_each_product_of_an_import_and_its_undo(shop: Shop) -> None:
    shop.subscribe(URL, ["product.created", "product.deleted"], import_products=True)
    shop.subscribe(URL, ["product.created", "product.deleted"])
    job = import_bytes(shop.workspace, shop.id, FILE)
    assert shop.told() == ["product.created"] * 2
    undo_job(shop.workspace, shop.id, job.id, actor=ACTOR, origin="api")
    assert shop.told() == ["product.created"] * 2 + ["product.deleted"] * 2


@pytest.mark.full
def test_an_undo_is_told_as_one_import_and_what_it_brings_back_in_force_is_not_told_again(shop: Shop) -> None:
    shop.subscribe(URL)
    job = import_bytes(shop.workspace, shop.id, FILE)
    undone = undo_job(shop.workspace, shop.id, job.id, actor=ACTOR, origin="api")
    undo_job(shop.workspace, shop.id, undone.job.id, actor=ACTOR, origin="api")
    assert [(d.event, d.payload["data"]["kind"]) for d in shop.outbox()] == [
        ("import.completed", "file"),
        ("import.completed", "undo"),
        ("import.completed", "undo"),
    ]


def test_the_undo_of_a_bulk_delete_tells_of_each_product_as_the_delete_did(shop: Shop) -> None:
    shop.subscribe(URL)
    shop.merge({"sku": "A", "name": "Alpha"})
    gone = delete_selection(shop.workspace, shop.id, Selection(everything=True), actor=ACTOR, origin="api")
    undo_job(shop.workspace, shop.id, gone.job.id, actor=ACTOR, origin="api")
    assert shop.told() == ["product.created", "product.deleted", "product.created"]
    assert shop.outbox()[-1].payload["data"]["product"]["active"] is True


def test_a_file_that_cannot_be_read_is_told_with_the_reason(shop: Shop) -> None:
    shop.subscribe(URL, ["import.failed"])
    job_id = land_bytes(shop.workspace, shop.id, b"\x00\x01\x02\x03" * 100)
    with pytest.raises(UnreadableFile):
        propose_job(shop.workspace, shop.id, job_id)
    (event,) = shop.outbox()
    assert event.payload["data"]["job_id"] == str(job_id)
    assert event.payload["data"]["reason"]


def test_what_waits_for_a_person_is_told_and_what_a_policy_confirms_is_not(make_shop: Callable[..., Shop]) -> None:
    waiting, sure = make_shop(policy="never"), make_shop(policy="all_sure")
    for shop in (waiting, sure):
        shop.subscribe(URL, ["import.needs_confirmation"])
        job_id = land_bytes(shop.workspace, shop.id, b"SKU,Name\nA,Alpha\n")
        propose_job(shop.workspace, shop.id, job_id)
        confirm_by_policy(shop.workspace, shop.id, job_id)
    (event,) = waiting.outbox()
    assert event.payload["data"]["state"] == "mapping"
    assert "policy never" in event.payload["data"]["reason"]
    assert sure.told() == []


def test_an_import_that_a_quota_keeps_waiting_is_told(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(policy="all_sure")
    shop.subscribe(URL, ["import.needs_confirmation"])
    with tenant_session(shop.workspace.app, shop.id) as session:
        session.execute(text("UPDATE pim.tenants SET max_concurrent_jobs = 0"))
    job_id = land_bytes(shop.workspace, shop.id, FILE)
    propose_job(shop.workspace, shop.id, job_id)
    assert not confirm_by_policy(shop.workspace, shop.id, job_id)
    (event,) = shop.outbox()
    assert event.payload["data"]["reason_code"] == "quota_exceeded"


def test_a_dry_run_that_is_ready_waits_for_a_person(shop: Shop) -> None:
    shop.subscribe(URL)
    import_bytes(shop.workspace, shop.id, FILE, dry_run=True)
    assert [(d.event, d.payload["data"]["state"]) for d in shop.outbox()] == [("import.needs_confirmation", "staged")]


def test_what_is_rolled_back_is_not_told(shop: Shop) -> None:
    shop.subscribe(URL)
    shop.merge({"sku": "A", "name": "Alpha"})
    with tenant_session(shop.workspace.app, shop.id) as session:
        delete_products(session, Selection(everything=True), Author("api", ACTOR.name))
        session.rollback()
    assert shop.told() == ["product.created"]


def test_scores_of_a_language_model_are_not_told(shop: Shop) -> None:
    shop.subscribe(URL)
    shop.merge({"sku": "A", "name": "Alpha"})
    with tenant_session(shop.workspace.app, shop.id) as session:
        assert write_scores(session, [Score(1, None, "a", 50.0)]).updated == 1
    assert shop.told() == ["product.created"]


def test_only_chosen_events_are_kept_and_none_for_a_disabled_webhook(shop: Shop) -> None:
    webhook_id, _ = shop.subscribe(URL, ["product.deleted"])
    shop.merge({"sku": "A", "name": "Alpha"})
    assert shop.told() == []
    with tenant_session(shop.workspace.app, shop.id) as session:
        disable_webhook(session, webhook_id, ACTOR)
    delete_selection(shop.workspace, shop.id, Selection(everything=True), actor=ACTOR, origin="api")
    assert shop.told() == []


def test_numbers_keep_their_digits(shop: Shop) -> None:
    shop.subscribe(URL)
    shop.write({"sku": "A", "name": "Alpha", "weight": Decimal("0.12345678901234567890123")})
    (event,) = shop.outbox()
    assert event.payload["data"]["product"]["data"]["weight"] == Decimal("0.12345678901234567890123")
