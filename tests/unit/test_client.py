"""The client's manners towards a server that refuses, hurries it, or is away; the server's answers are scripted."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from pim_platform.client import Client
from pim_platform.errors import ApiProblem, ApiUnreachable

BUSY = {"detail": "Another import writes.", "code": "tenant_busy", "fix": "Try again.", "status": 409}
NOW = {"Retry-After": "0"}


class Script:
    """A server that answers what it was told to, in turn, and keeps what it was sent."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers: Iterator[httpx.Response | Exception] = iter(answers)
        self.seen: list[tuple[httpx.Request, bytes]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request, request.read()))
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def client() -> Iterator[Callable[..., tuple[Client, Script]]]:
    made = []

    def make(*answers: httpx.Response | Exception, **options: Any) -> tuple[Client, Script]:
        script = Script(*answers)
        made.append(Client("http://pim.test", "pim_k", transport=httpx.MockTransport(script), **options))
        return made[-1], script

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "first",
    [
        httpx.Response(409, json=BUSY, headers=NOW),
        httpx.Response(429, json={"code": "too_many_requests"}, headers=NOW),
        httpx.Response(503, text="upstream is away", headers=NOW),
    ],
    ids=["busy", "too many", "away"],
)
def test_it_waits_as_asked_and_sends_the_same_key_again(client, first):
    pim, server = client(first, httpx.Response(200, json={"created": 1}))
    (result,) = pim.upsert([{"sku": "A", "name": "A"}])
    assert result == {"created": 1}
    keys = {request.headers["idempotency-key"] for request, _ in server.seen}
    assert len(server.seen) == 2
    assert len(keys) == 1, "the second try must not count as another request"


def test_every_post_has_a_key_of_its_own(client):
    pim, server = client(httpx.Response(200, json={}), httpx.Response(200, json={}), httpx.Response(200, json={}))
    pim.confirm("1")
    pim.confirm("1")
    pim.import_("1")
    first, second, third = (request.headers.get("idempotency-key") for request, _ in server.seen)
    assert first != second
    assert third is None


def test_it_gives_up_with_the_servers_own_words(client):
    pim, server = client(*[httpx.Response(409, json=BUSY, headers=NOW)] * 3, attempts=3)
    with pytest.raises(ApiProblem, match=r"Another import writes\. Try again\.") as raised:
        pim.promote("1")
    assert len(server.seen) == 3
    assert (raised.value.code, raised.value.http_status, raised.value.exit_code) == ("tenant_busy", 409, 2)


def test_what_will_not_pass_is_not_tried_again(client):
    body = {"detail": "No.", "code": "already_confirmed", "fix": "Look.", "row": 3, "column": "Price"}
    pim, server = client(httpx.Response(409, json=body, headers={"X-Request-ID": "r1"}))
    with pytest.raises(ApiProblem) as raised:
        pim.confirm("1")
    assert len(server.seen) == 1
    assert raised.value.place == {"row": 3, "column": "Price"}
    assert raised.value.request_id == "r1"
    assert raised.value.problem == body


def test_an_answer_that_is_no_problem_document_is_told_as_it_came(client):
    pim, _ = client(httpx.Response(404, text="<html>nginx</html>"))
    with pytest.raises(ApiProblem, match="404 Not Found") as raised:
        pim.schema()
    assert raised.value.code == "http_error"


def test_a_file_is_sent_from_its_start_again(client):
    pim, server = client(httpx.ConnectError("refused"), httpx.Response(201, json={"job_id": "1"}))
    content = io.BytesIO(b"SKU,Name\nA,Alpha\n")
    pim.upload(content, filename="a.csv", source="acme", dry_run=True, dialect={"delimiter": ","}, absent=None)
    first, second = (body for _, body in server.seen)
    assert b"SKU,Name\nA,Alpha\n" in first
    boundary = [request.headers["content-type"].partition("boundary=")[2].encode() for request, _ in server.seen]
    assert first.replace(boundary[0], b"") == second.replace(boundary[1], b"")
    assert b'name="dry_run"\r\n\r\ntrue' in first
    assert b'name="dialect"\r\n\r\n{"delimiter": ","}' in first
    assert b"absent" not in first


def test_what_cannot_be_rewound_is_sent_once(client):
    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return False

        def readinto(self, buffer: Any) -> int:
            return 0

    pim, server = client(httpx.ConnectError("refused"), httpx.Response(201, json={"job_id": "1"}))
    with pytest.raises(ApiUnreachable):
        pim.upload(Pipe(), filename="a.csv")
    assert len(server.seen) == 1


def test_a_server_that_is_not_there(client):
    pim, _ = client(httpx.ConnectError("connection refused"), attempts=1)
    with pytest.raises(ApiUnreachable, match="does not answer: connection refused"):
        pim.schema()


def test_pages_are_followed_to_the_end(client):
    pages = [{"products": [{"sku": "A"}], "next_cursor": "c1"}, {"products": [{"sku": "B"}], "next_cursor": None}]
    pim, server = client(*(httpx.Response(200, json=page) for page in pages))
    assert [product["sku"] for product in pim.products(limit=1)] == ["A", "B"]
    assert [str(request.url.query, "ascii") for request, _ in server.seen] == ["limit=1", "limit=1&cursor=c1"]


def test_many_products_go_ten_thousand_at_a_time(client):
    pim, server = client(httpx.Response(200, json={}), httpx.Response(200, json={}))
    list(pim.upsert({"sku": str(number)} for number in range(10_001)))
    assert [body.count(b'"sku"') for _, body in server.seen] == [10_000, 1]


def test_numbers_keep_their_digits_both_ways(client):
    pim, server = client(httpx.Response(200, content=b'{"created": 0.12345678901234567890}'))
    (result,) = pim.upsert([{"sku": "A", "weight": Decimal("1.00000000000000000001")}])
    assert b"1.00000000000000000001" in server.seen[0][1]
    assert result["created"] == Decimal("0.12345678901234567890")


def test_a_download_that_breaks_leaves_no_file(client, tmp_path):
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise httpx.ReadError("gone")

    pim, server = client(httpx.Response(200, stream=Broken()))
    with pytest.raises(ApiUnreachable):
        pim.rejects("1", tmp_path / "rejects.csv")
    assert list(tmp_path.iterdir()) == []
    assert len(server.seen) == 1


def test_importing_it_loads_nothing_of_the_platform():
    script = (
        "import sys, pim_platform.client; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'fastapi', 'dagster', 'sqlalchemy', 'polars', 'pydantic', 'psycopg', 'chdb'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
