"""Rate limits: what is left is told, one too many is refused, and who has no credential is counted by address."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient

from pim_platform.api.app import create_app
from pim_platform.intake.workspace import Workspace
from pim_platform.tenancy.keys import make_key
from pim_platform.tenancy.rates import set_key_limit
from tests.integration.api.conftest import ACTOR, Api

PRODUCTS = "/api/pim/products/"


def address() -> str:
    """One of a network for documentation (RFC 3849) that no other test has."""
    return f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"


@contextmanager
def limited(workspace: Workspace, host: str = "testclient", **values: int) -> Iterator[TestClient]:
    """A client at ``host`` of an API with other limits."""
    settings = workspace.settings.model_copy(update=values)
    with TestClient(create_app(settings), client=(host, 50_000)) as client:
        yield client


def fields(answer: httpx.Response) -> tuple[str, int, int]:
    """The policy, what is left, and the seconds: both fields are lists of one item (RFC 9651)."""
    found = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found, answer.headers["ratelimit"]
    return found[1], int(found[2]), int(found[3])


def test_each_answer_says_what_is_left_and_one_too_many_is_refused(api: Api, problem: Callable[..., Any]) -> None:
    with limited(api.workspace, rate_limit_requests=3, rate_limit_seconds=3_600) as client:
        mine = Api(client, api.workspace, api.tenant, api.key)
        answers = [mine.get(path) for path in (PRODUCTS, "/api/pim/schema/", "/api/pim/import/none/", PRODUCTS)]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 429]
    assert [fields(answer)[:2] for answer in answers] == [("requests", left) for left in (2, 1, 0, 0)]
    assert all(answer.headers["ratelimit-policy"] == '"requests";q=3;w=3600' for answer in answers)
    refused = answers[-1]
    problem(refused, 429, "rate_limited")
    assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
    assert int(refused.headers["retry-after"]) >= fields(refused)[2], "not before the window ends"


def test_a_window_ends_and_another_begins(api: Api) -> None:
    with limited(api.workspace, rate_limit_requests=1, rate_limit_seconds=1) as client:
        mine = Api(client, api.workspace, api.tenant, api.key)
        seen = [mine.get(PRODUCTS).status_code for _ in range(2)]
        while mine.get(PRODUCTS).status_code == 429:
            pass
    assert seen[0] == 200


def test_keys_and_tenants_have_limits_of_their_own(api: Api, make_api: Callable[..., Api]) -> None:
    with limited(api.workspace, rate_limit_requests=1, rate_limit_seconds=3_600) as client:
        for one in (api, api.with_role("viewer"), make_api()):
            mine = Api(client, api.workspace, one.tenant, one.key)
            assert [mine.get(PRODUCTS).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(("own", "statuses"), [(None, [200, 429, 429]), (2, [200, 200, 429]), (0, [200, 200, 200])])
def test_a_keys_own_limit_comes_before_the_installations(api: Api, own: int | None, statuses: list[int]) -> None:
    _, key = make_key(api.workspace.app, api.tenant.id, role="viewer", name="k", actor=ACTOR, rate_limit=own)
    with limited(api.workspace, rate_limit_requests=1, rate_limit_seconds=3_600) as client:
        answers = [Api(client, api.workspace, api.tenant, key).get(PRODUCTS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == statuses
    assert ("ratelimit" in answers[0].headers) == (own != 0), "no limit, no fields"


def test_a_limit_is_changed_by_what_is_shown_of_a_key(api: Api) -> None:
    with limited(api.workspace, rate_limit_requests=1, rate_limit_seconds=3_600) as client:
        mine = Api(client, api.workspace, api.tenant, api.key)
        set_key_limit(api.workspace.app, api.tenant.id, api.key[:12], 3, actor=ACTOR)
        assert [mine.get(PRODUCTS).status_code for _ in range(3)] == [200, 200, 200]
        set_key_limit(api.workspace.app, api.tenant.id, api.key[:12], None, actor=ACTOR)
        assert mine.get(PRODUCTS).status_code == 429


def test_who_shows_no_valid_key_is_counted_by_address_and_valid_keys_there_are_not(
    api: Api, problem: Callable[..., Any]
) -> None:
    with limited(
        api.workspace, address(), rate_limit_address_requests=2, rate_limit_seconds=3_600, rate_limit_requests=0
    ) as client:
        wrong = {"Authorization": "Bearer pim_" + "x" * 43}
        answers = [client.get(PRODUCTS, headers=headers) for headers in (wrong, {}, wrong)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        problem(answers[-1], 429, "rate_limited")
        assert fields(answers[0])[0] == "address"
        assert Api(client, api.workspace, api.tenant, api.key).get(PRODUCTS).status_code == 200
        assert client.get("/docs").status_code == 429, "open doors count the same address"
        assert client.get("/health/live").status_code == 200, "probes are not counted"
        assert client.get("/health/ready").status_code == 200


def test_an_ipv6_customer_has_one_limit_for_its_whole_network(api: Api) -> None:
    network = address().removesuffix("::1")
    seen = []
    for host in (f"{network}::1", f"{network}:ffff::2", address()):
        with limited(api.workspace, host, rate_limit_address_requests=1, rate_limit_seconds=3_600) as client:
            seen.append(client.get("/docs").status_code)
    assert seen == [200, 429, 200]


def test_bodies_of_open_doors_are_small(api: Api, problem: Callable[..., Any]) -> None:
    with limited(api.workspace) as client:
        problem(client.post("/auth/token", content=b"x" * 65_537), 413, "too_large")
        sent = iter([b"x" * 40_000, b"x" * 40_000])  # without a Content-Length
        problem(client.post("/auth/token", content=sent), 413, "too_large")
