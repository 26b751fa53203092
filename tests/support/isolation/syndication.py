"""What alpha does with webhooks, beside bravo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pim_platform.errors import NotFound
from pim_platform.syndication import deliveries, subscriptions, trying
from tests.support.imports import ACTOR
from tests.support.isolation.pair import Two, case

_URL = "https://alpha.invalid/"


def _refused(call: Callable[[], Any]) -> None:
    with pytest.raises(NotFound):
        call()


def _made(two: Two, session: Any) -> Any:
    settings = two.workspace.settings
    return subscriptions.create_webhook(session, settings, url=_URL, events=["import.failed"], actor=ACTOR)[0]


@case("syndication.subscriptions.list_webhooks")
def _(two: Two) -> Any:
    with two.session() as session:
        found = subscriptions.list_webhooks(session)
    assert {webhook.tenant_id for webhook in found} == {two.a.id}
    return found


@case("syndication.subscriptions.get_webhook")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: subscriptions.get_webhook(session, two.b.webhook))
        return subscriptions.get_webhook(session, two.a.webhook)


@case("syndication.subscriptions.create_webhook")
def _(two: Two) -> Any:
    with two.session() as session:
        return _made(two, session)


@case("syndication.subscriptions.change_webhook")
def _(two: Two) -> Any:
    settings = two.workspace.settings
    with two.session() as session:
        _refused(
            lambda: subscriptions.change_webhook(session, settings, two.b.webhook, description="alpha's", actor=ACTOR)
        )
        return subscriptions.change_webhook(session, settings, two.a.webhook, description="alpha's", actor=ACTOR)


@case("syndication.subscriptions.delete_webhook")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: subscriptions.delete_webhook(session, two.b.webhook, ACTOR))
        subscriptions.delete_webhook(session, _made(two, session).id, ACTOR)


@case("syndication.subscriptions.disable_webhook")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: subscriptions.disable_webhook(session, two.b.webhook, ACTOR))
        return subscriptions.disable_webhook(session, _made(two, session).id, ACTOR)


@case("syndication.subscriptions.enable_webhook")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: subscriptions.enable_webhook(session, two.b.webhook, ACTOR))
        return subscriptions.enable_webhook(session, two.a.webhook, ACTOR)


@case("syndication.subscriptions.rotate_secret")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: subscriptions.rotate_secret(session, two.workspace.settings, two.b.webhook, ACTOR))
        return subscriptions.rotate_secret(session, two.workspace.settings, two.a.webhook, ACTOR)


@case("syndication.subscriptions.hurry")
def _(two: Two) -> Any:
    with two.session() as session:
        assert subscriptions.hurry(session, two.b.webhook) == 0
        return subscriptions.hurry(session, two.a.webhook)


@case("syndication.deliveries.list_deliveries")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: deliveries.list_deliveries(session, two.b.webhook))
        page = deliveries.list_deliveries(session, two.a.webhook)
        assert page.deliveries
        return [deliveries.get_delivery(session, two.a.webhook, found.id) for found in page.deliveries]


@case("syndication.deliveries.get_delivery")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: deliveries.get_delivery(session, two.b.webhook, two.b.delivery))
        _refused(lambda: deliveries.get_delivery(session, two.a.webhook, two.b.delivery))
        return deliveries.get_delivery(session, two.a.webhook, two.a.delivery)


@case("syndication.deliveries.redeliver")
def _(two: Two) -> Any:
    with two.session() as session:
        _refused(lambda: deliveries.redeliver(session, two.a.webhook, two.b.delivery, ACTOR))
        return deliveries.redeliver(session, two.a.webhook, two.a.delivery, ACTOR)


@case("syndication.trying.try_webhook")
def _(two: Two) -> Any:
    _refused(lambda: trying.try_webhook(two.workspace, two.a.id, two.b.webhook, ACTOR))
    said = trying.try_webhook(two.workspace, two.a.id, two.a.webhook, ACTOR)
    assert not said.taken
    return said
