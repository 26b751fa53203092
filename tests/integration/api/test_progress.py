"""Live progress by server-sent events and WebSocket, from the job row: what is told, who may see it, how cheaply."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import websockets.asyncio.client
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from pim_platform.api import progress, progress_hub, standing
from pim_platform.api.progress_hub import ProgressHub, TooManyListeners
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.progress import percent
from pim_platform.storage.postgres import tenant_session
from pim_platform.storage.sealing import seal
from pim_platform.tenancy.keys import hash_key
from tests.integration.api.conftest import ACTOR, Api, assert_problem
from tests.support.imports import confirmed_job, import_bytes, run_job
from tests.support.people import make_person
from tests.support.served import served
from tests.support.stacks import wait_for


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_hub, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(progress_hub, "_SOON_SECONDS", 0.0)


def rows(count: int) -> bytes:
    return b"SKU,Name,Colour\n" + b"".join(b"S-%d,Name %d,red\n" % (i, i) for i in range(count))


def running(api: Api, job_id: UUID, stage: str, done: int, total: int) -> None:
    """Write progress into the job's row as an attempt's lease does."""
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        session.execute(
            text("UPDATE pim.import_jobs SET state = 'staging', progress = CAST(:p AS jsonb) WHERE id = :job"),
            {"job": job_id, "p": json.dumps({"stage": stage, "rows": done, "total": total})},
        )


def sent(text_of_stream: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream; comments left out."""
    found = []
    for block in text_of_stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def heard(socket: Any) -> list[dict[str, Any]]:
    """All messages until the socket is closed."""
    messages = []
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            messages.append(socket.receive_json())
    return messages


# --- what is told ------------------------------------------------------------------------------------------------


def test_a_finished_import_is_told_once_and_the_stream_ends(api: Api) -> None:
    job = import_bytes(api.workspace, api.tenant.id, rows(3))
    answer = api.get(f"/api/pim/import/{job.id}/events/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    ((name, told),) = sent(answer.text)
    assert (name, told["state"], told["percent"], told["ledger"]["created"]) == ("end", "done", 100, 3)
    assert progress.ProgressOut.model_validate(told)
    with api.client.websocket_connect(f"/ws/pim/import/{job.id}", headers=_bearer(api)) as socket:
        assert heard(socket) == [{"event": "end", "import": told}]


def _bearer(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.key}"}


def test_a_whole_import_is_followed_stage_by_stage_by_both(api: Api, app: FastAPI) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(2_000))
    streams: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    with served(app) as base:

        def by_events() -> None:
            with httpx.stream("GET", f"{base}/api/pim/import/{job_id}/events/", headers=_bearer(api), timeout=60) as s:
                streams["events"] = sent("".join(s.iter_text()))

        async def listen() -> None:
            url = f"ws{base[4:]}/ws/pim/import/{job_id}"
            async with websockets.asyncio.client.connect(url, additional_headers=_bearer(api)) as socket:
                messages = [json.loads(message) async for message in socket]
                assert socket.close_code == 1000
            streams["socket"] = [(one["event"], one.get("import", {})) for one in messages]

        threads = [threading.Thread(target=by_events), threading.Thread(target=lambda: asyncio.run(listen()))]
        for thread in threads:
            thread.start()
        run_job(api.workspace, api.tenant.id, job_id)
        for thread in threads:
            thread.join(60)
    for told in streams.values():
        assert told[-1][0] == "end"
        assert (told[-1][1]["state"], told[-1][1]["imported_count"]) == ("done", 2_000)
        assert {name for name, _ in told[:-1]} <= {"progress", "heartbeat"}
        percents = [state["percent"] for _, state in told if state]
        assert percents == sorted(percents)


def test_changes_are_told_as_the_row_changes_and_heartbeats_between(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_hub, "HEARTBEAT_SECONDS", 0.2)
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(3))
    with api.client.websocket_connect(f"/ws/pim/import/{job_id}", headers=_bearer(api)) as socket:
        assert _next_state(socket)["state"] == "confirmed"
        assert socket.receive_json() == {"event": "heartbeat"}
        running(api, job_id, "staging", 500, 1_000)
        told = _next_state(socket)
        assert (told["percent"], told["progress"]["rows"]) == (20, 500)
        running(api, job_id, "staging", 1_000, 1_000)
        assert _next_state(socket)["percent"] == 40
        with tenant_session(api.workspace.app, api.tenant.id) as session:
            session.execute(text("UPDATE pim.import_jobs SET state = 'cancelled' WHERE id = :job"), {"job": job_id})
        assert heard(socket)[-1]["event"] == "end"


def _next_state(socket: Any) -> dict[str, Any]:
    while True:
        message = socket.receive_json()
        if message["event"] != "heartbeat":
            found: dict[str, Any] = message["import"]
            return found


def test_waiting_for_a_person_is_told_and_the_connection_stays(api: Api, tents: str) -> None:
    job_id = UUID(api.upload(tents).json()["job_id"])
    with api.client.websocket_connect(f"/ws/pim/import/{job_id}", headers=_bearer(api)) as socket:
        first = socket.receive_json()
        assert (first["event"], first["import"]["state"]) == ("waiting", "mapping")
        cancel_job(api.workspace, api.tenant.id, job_id, ACTOR)
        assert [one["event"] for one in heard(socket)] == ["end"]


@pytest.mark.parametrize(
    ("state", "stage", "done", "expected"),
    [
        ("pending", None, 0, 0),
        ("mapping", None, 0, 0),
        ("staging", "staging", 250, 10),
        ("importing", "loading", 1_000, 55),
        ("importing", "writing", 500, 72),
        ("importing", "publishing", 0, 85),
        ("importing", "something new", 5, 0),
        ("done", "refreshing typed relations", 0, 100),
        ("failed", "writing", 500, 0),
    ],
)
def test_percent(state: str, stage: str | None, done: int, expected: int) -> None:
    assert percent(state, {"stage": stage, "rows": done, "total": 1_000}) == expected


# --- who may ------------------------------------------------------------------------------------------------------


def refused(client: TestClient, path: str, headers: dict[str, str] | None = None) -> Any:
    with pytest.raises(WebSocketDenialResponse) as found, client.websocket_connect(path, headers=headers or {}):
        pass
    return found.value


@pytest.fixture
def two(make_api: Callable[..., Api]) -> tuple[Api, Api, UUID]:
    """Two tenants, and the import of the first."""
    first, second = make_api("admin"), make_api("admin")
    return first, second, import_bytes(first.workspace, first.tenant.id, rows(2)).id


def test_another_tenants_import_is_unknown_by_every_way_in(two: tuple[Api, Api, UUID]) -> None:
    first, second, job_id = two
    assert_problem(second.get(f"/api/pim/import/{job_id}/events/"), 404, "unknown_job")
    assert_problem(second.post(f"/api/pim/import/{job_id}/ticket/"), 404, "unknown_job")
    answer = refused(second.client, f"/ws/pim/import/{job_id}", _bearer(second))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
    with second.client.websocket_connect(f"/ws/pim/import/{job_id}") as socket:
        socket.send_json({"authorization": f"Bearer {second.key}"})
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert (closed.value.code, closed.value.reason) == (4404, "unknown_job")
    for nobodys in (uuid4(), "nonsense"):
        assert refused(first.client, f"/ws/pim/import/{nobodys}", _bearer(first)).status_code == 404


@pytest.mark.parametrize("header", ["Bearer pim_" + "x" * 43, "Bearer ", "Basic abc", "nonsense"])
def test_a_credential_that_is_worth_nothing(two: tuple[Api, Api, UUID], header: str) -> None:
    first, _, job_id = two
    answer = refused(first.client, f"/ws/pim/import/{job_id}", {"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_a_key_in_the_query_opens_nothing(two: tuple[Api, Api, UUID]) -> None:
    first, _, job_id = two
    assert refused(first.client, f"/ws/pim/import/{job_id}?ticket={first.key}").status_code == 401
    with first.client.websocket_connect(f"/ws/pim/import/{job_id}?key={first.key}") as socket:
        socket.send_text("")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 4401


def test_an_expired_key_opens_nothing(two: tuple[Api, Api, UUID]) -> None:
    first, _, job_id = two
    expired = first.with_role("admin", days=-1)
    assert refused(first.client, f"/ws/pim/import/{job_id}", _bearer(expired)).status_code == 401


def test_the_first_message_may_say_who_calls(two: tuple[Api, Api, UUID]) -> None:
    first, _, job_id = two
    with first.client.websocket_connect(f"/ws/pim/import/{job_id}") as socket:
        socket.send_json({"authorization": f"Bearer {first.with_role('viewer').key}"})
        assert [one["event"] for one in heard(socket)] == ["end"]


@pytest.mark.parametrize(
    "hello", ["", "null", "[]", "{}", '{"authorization": 5}', '{"authorization": "Bearer \\u4e2d"}', "x" * 20_000]
)
def test_a_first_message_that_says_nothing(two: tuple[Api, Api, UUID], hello: str) -> None:
    first, _, job_id = two
    with first.client.websocket_connect(f"/ws/pim/import/{job_id}") as socket:
        socket.send_text(hello)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 4401


def test_who_says_nothing_is_let_go(two: tuple[Api, Api, UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HELLO_SECONDS", 0.1)
    first, _, job_id = two
    with (
        first.client.websocket_connect(f"/ws/pim/import/{job_id}") as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_json()
    assert closed.value.code == 4401


def test_a_ticket_opens_its_import_for_a_while(two: tuple[Api, Api, UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, job_id = two
    made = first.with_role("viewer").post(f"/api/pim/import/{job_id}/ticket/").json()
    assert made["expires_in"] == 60
    with first.client.websocket_connect(made["path"]) as socket:
        assert [one["event"] for one in heard(socket)] == ["end"]
    other = import_bytes(first.workspace, first.tenant.id, rows(1)).id
    wrong = {
        "another import": f"/ws/pim/import/{other}?ticket={made['ticket']}",
        "nonsense": f"/ws/pim/import/{job_id}?ticket=nonsense",
        "empty": f"/ws/pim/import/{job_id}?ticket=",
        "made for something else": f"/ws/pim/import/{job_id}?ticket="
        + seal(first.workspace.settings, "other", [str(job_id), str(first.tenant.id), "00", None, 0.0]),
        "used": made["path"],
    }
    for what, path in wrong.items():
        assert refused(first.client, path).status_code == 401, what
    theirs = hash_key(second.key).hex()
    forged = seal(first.workspace.settings, progress._PURPOSE, [str(job_id), str(first.tenant.id), theirs, None, 0.0])
    assert refused(first.client, f"/ws/pim/import/{job_id}?ticket={forged}").status_code == 401
    old = first.post(f"/api/pim/import/{job_id}/ticket/").json()
    monkeypatch.setattr(standing, "TICKET_SECONDS", -1)
    assert refused(first.client, old["path"]).status_code == 401, "it is a minute old"
    assert_problem(first.client.get(old["events_path"]), 401, "unauthorized")


def test_a_ticket_opens_the_events_of_its_import_once(two: tuple[Api, Api, UUID]) -> None:
    first, _, job_id = two
    made = first.with_role("viewer").post(f"/api/pim/import/{job_id}/ticket/").json()
    assert_problem(first.client.get(f"/api/pim/import/{uuid4()}/events/?ticket={made['ticket']}"), 401, "unauthorized")
    answer = first.client.get(made["events_path"])
    assert answer.status_code == 200
    assert [name for name, _ in sent(answer.text)] == ["end"]
    assert_problem(first.client.get(made["events_path"]), 401, "unauthorized")
    assert refused(first.client, made["path"]).status_code == 401, "the same ticket, used by the other way in"
    assert_problem(first.client.get(f"/api/pim/import/{job_id}/events/?ticket=nonsense"), 401, "unauthorized")
    assert_problem(first.client.get(f"/api/pim/import/{job_id}/?ticket={made['ticket']}"), 401, "unauthorized")


def test_a_ticket_is_worth_what_its_credential_is_worth_now(two: tuple[Api, Api, UUID]) -> None:
    first, _, job_id = two
    viewer = first.with_role("viewer")
    made = viewer.post(f"/api/pim/import/{job_id}/ticket/").json()
    end_key(viewer)
    assert refused(first.client, made["path"]).status_code == 401


# --- how long ------------------------------------------------------------------------------------------------------


def end_key(api: Api) -> None:
    """Revoke the key that ``api`` calls with."""
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        revoked = session.scalars(
            text(
                "UPDATE pim.api_keys SET revoked_at = clock_timestamp() WHERE tenant_id = :t AND key_hash = :hash "
                "RETURNING id"
            ),
            {"t": api.tenant.id, "hash": hash_key(api.key)},
        ).all()
        assert len(revoked) == 1


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked at with every word, and there is one all the time."""
    monkeypatch.setattr(progress, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(progress_hub, "HEARTBEAT_SECONDS", 0.05)


def closing_code(socket: Any) -> int:
    """What the server closes a WebSocket with, in the end."""
    while True:
        message = socket.receive()
        if message["type"] == "websocket.close":
            return int(message["code"])


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("way", ["header", "ticket", "first message"])
def test_a_socket_ends_with_its_key(api: Api, way: str) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(1))
    viewer = api.with_role("viewer")
    path, headers = f"/ws/pim/import/{job_id}", _bearer(viewer) if way == "header" else {}
    if way == "ticket":
        path = viewer.post(f"/api/pim/import/{job_id}/ticket/").json()["path"]
    with api.client.websocket_connect(path, headers=headers) as socket:
        if way == "first message":
            socket.send_json({"authorization": f"Bearer {viewer.key}"})
        assert _next_state(socket)["state"] == "confirmed"
        assert socket.receive_json() == {"event": "heartbeat"}, "looked at, and found in order"
        end_key(viewer)
        assert closing_code(socket) == 4401


@pytest.mark.usefixtures("checked")
def test_a_stream_ends_with_its_key(api: Api, app: FastAPI) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(1))
    viewer = api.with_role("viewer")
    with (
        served(app) as base,
        httpx.stream("GET", f"{base}/api/pim/import/{job_id}/events/", headers=_bearer(viewer), timeout=60) as stream,
    ):
        lines = stream.iter_lines()
        for line in lines:
            if line.startswith("data:"):
                end_key(viewer)
                break
        assert not [line for line in lines if line.startswith("event: end")], "it ends without an end of the import"


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("ends", ["login", "membership", "token"])
@pytest.mark.parametrize("by_ticket", [False, True], ids=["header", "ticket"])
def test_a_socket_ends_with_a_persons_login_membership_or_token(
    api: Api, app: FastAPI, ends: str, by_ticket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(1))
    ana = make_person(app, api.workspace, (api.tenant, "viewer"))
    assert ana.log_in().status_code == 200
    headers = {"Authorization": f"Bearer {ana.tokens['access_token']}"}
    path = f"/ws/pim/import/{job_id}"
    if by_ticket:
        path = api.client.post(f"/api/pim/import/{job_id}/ticket/", headers=headers).json()["path"]
        headers = {}
    with api.client.websocket_connect(path, headers=headers) as socket:
        assert _next_state(socket)["state"] == "confirmed"
        assert socket.receive_json() == {"event": "heartbeat"}
        if ends == "login":
            gone = api.client.post("/auth/logout", json={"refresh_token": ana.tokens["refresh_token"]})
            assert gone.status_code == 204
        elif ends == "membership":
            with tenant_session(api.workspace.app, api.tenant.id) as session:
                session.execute(text("DELETE FROM pim.memberships WHERE tenant_id = :t"), {"t": api.tenant.id})
        else:
            monkeypatch.setattr(standing.time, "time", lambda: 1e11)
        assert closing_code(socket) == (4403 if ends == "membership" else 4401)


# --- how cheaply --------------------------------------------------------------------------------------------------


@pytest.fixture
def queries(api: Api) -> Iterator[list[str]]:
    """What is asked of PostgreSQL about progress."""
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "import_jobs.progress" in statement:
            asked.append(threading.current_thread().name)

    event.listen(api.workspace.app, "before_cursor_execute", note)
    yield asked
    event.remove(api.workspace.app, "before_cursor_execute", note)


def test_many_listeners_share_one_look_and_no_thread_is_theirs(
    api: Api, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(3))
    others = [import_bytes(api.workspace, api.tenant.id, rows(1)).id for _ in range(3)]
    threads = threading.active_count()

    async def everybody() -> int:
        hub = ProgressHub(api.workspace.app)
        monkeypatch.setattr(progress_hub, "LOOK_SECONDS", 3_600.0)

        async def first_state(number: int) -> str:
            states = hub.follow(api.tenant.id, job_id if number else others[0])
            told = await anext(states)
            assert told is not None
            await asyncio.sleep(0.05)
            await states.aclose()
            return str(told["job_id"])

        found = await asyncio.gather(*(first_state(number) for number in range(150)))
        assert set(found) == {str(job_id), str(others[0])}
        assert hub._watches == {}, "nobody is left behind"
        return threading.active_count()

    queries.clear()
    assert asyncio.run(everybody()) <= threads + 2
    assert 1 <= len(queries) <= 3, "150 listeners, one look (and one for who came meanwhile)"


def test_there_is_an_end_to_listeners(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_hub, "TENANT_LISTENERS", 2)
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(1))

    async def three() -> None:
        hub = ProgressHub(api.workspace.app)
        kept = [hub.follow(api.tenant.id, job_id) for _ in range(2)]
        for states in kept:
            await anext(states)
        with pytest.raises(TooManyListeners):
            await anext(hub.follow(api.tenant.id, job_id))
        for states in kept:
            await states.aclose()
        assert await anext(hub.follow(api.tenant.id, job_id)) is not None

    asyncio.run(three())


def test_who_leaves_is_noticed(api: Api, app: FastAPI) -> None:
    job_id = confirmed_job(api.workspace, api.tenant.id, rows(1))

    def watched() -> int:
        """Listeners of this job alone: hubs of other tests' event loops go whenever they are collected."""
        return sum(
            watch.listeners
            for hubs in list(progress_hub._hubs.values())
            for hub in hubs.values()
            for (_, watched_id), watch in list(hub._watches.items())
            if watched_id == job_id
        )

    with served(app) as base:

        async def look_in() -> None:
            url = f"ws{base[4:]}/ws/pim/import/{job_id}"
            async with websockets.asyncio.client.connect(url, additional_headers=_bearer(api)) as socket:
                await socket.recv()
                wait_for(lambda: watched() == 1, "the listener to be there")

        asyncio.run(look_in())
        wait_for(lambda: watched() == 0, "the WebSocket's listener to be gone")
        with httpx.stream("GET", f"{base}/api/pim/import/{job_id}/events/", headers=_bearer(api)) as stream:
            assert stream.status_code == 200, stream.read()
            chunks = stream.iter_text()  # a discarded iterator closes the connection
            next(chunks)
            wait_for(lambda: watched() == 1, "the listener to be there")
        wait_for(lambda: watched() == 0, "the stream's listener to be gone")
