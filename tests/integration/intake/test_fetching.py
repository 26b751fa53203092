"""Feeds against real servers: what is new is imported, what is not is left alone, what fails changes nothing."""

from __future__ import annotations

import base64
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text
from tenacity import RetryCallState

from pim_platform.errors import AddressRefused, Conflict, InvalidRequest, NotFound, RemoteRefused, RemoteUnavailable
from pim_platform.intake import fetching
from pim_platform.intake.feeds import (
    Basic,
    Bearer,
    FeedSettings,
    allow_host,
    ask_for_fetch,
    find_feed,
    forget_host,
    remove_feed,
    set_feed,
)
from pim_platform.intake.fetching import Fetched, fetch_feed, fetch_url
from pim_platform.intake.jobs import list_jobs
from pim_platform.intake.models import Feed, ImportJob, Upload
from pim_platform.intake.sources import find_source, set_source
from pim_platform.intake.undoing import undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.local.parts import environment
from pim_platform.storage.postgres import anonymous_session, tenant_session
from pim_platform.tenancy.models import AuditLog
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.feeds import Shop, allow, fetching_workspace, shop
from tests.support.imports import ACTOR, import_bytes, run_job
from tests.support.receivers import Reply, receiver
from tests.support.stacks import wait_for

MakeTenant = Callable[..., TenantInfo]


@pytest.fixture
def outbound(workspace: Workspace) -> Workspace:
    return fetching_workspace(workspace)


@pytest.fixture
def tenant(outbound: Workspace, make_tenant: MakeTenant) -> TenantInfo:
    made = make_tenant("all_sure")
    allow(outbound, made)
    return made


@pytest.fixture
def supplier() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_FIRST_PAUSE_SECONDS", 0.0)


def feed(workspace: Workspace, tenant: TenantInfo, url: str, **given: Any) -> None:
    set_feed(workspace, tenant.id, "acme", FeedSettings.model_validate({"url": url} | given), actor=ACTOR)


def fetch(workspace: Workspace, tenant: TenantInfo) -> Fetched:
    return fetch_feed(workspace, tenant.id, "acme", actor=ACTOR)


def row(workspace: Workspace, tenant: TenantInfo) -> Feed:
    with tenant_session(workspace.app, tenant.id) as session:
        return find_feed(session, find_source(session, "acme"))


def jobs(workspace: Workspace, tenant: TenantInfo) -> list[ImportJob]:
    with tenant_session(workspace.app, tenant.id) as session:
        return list_jobs(session)


def fetched_and_imported(workspace: Workspace, tenant: TenantInfo) -> ImportJob:
    found = fetch(workspace, tenant)
    assert (found.outcome, found.error) == ("landed", None)
    assert found.job_id is not None
    return run_job(workspace, tenant.id, found.job_id)


def test_a_feed_becomes_an_import_and_is_asked_for_again_only_if_it_changed(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop
) -> None:
    feed(outbound, tenant, supplier.url, interval_seconds=3600)
    job = fetched_and_imported(outbound, tenant)
    assert (job.state, job.origin, job.filename, job.rows_created) == ("done", "feed", "products.csv", 2)
    again = fetch(outbound, tenant)
    assert (again.outcome, again.job_id, again.http_status) == ("not_modified", job.id, 304)
    assert supplier.asked()[-1].headers["if-none-match"] == supplier.etag
    supplier.content += b"C-1,Gamma\n"
    assert fetched_and_imported(outbound, tenant).rows_created == 1
    assert len(jobs(outbound, tenant)) == 2


def test_the_row_says_what_became_of_it_and_when_it_is_due(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop
) -> None:
    feed(outbound, tenant, supplier.url, interval_seconds=3600)
    found = fetch(outbound, tenant)
    told = row(outbound, tenant)
    assert (told.outcome, told.http_status, told.error, told.job_id) == ("landed", 200, None, found.job_id)
    assert told.fetched_at is not None
    assert told.due_at == told.fetched_at + timedelta(seconds=3600)
    assert (told.lease_at, told.lease_owner, told.failures) == (None, None, 0)


def test_what_failed_or_was_undone_is_sent_again_although_it_did_not_change(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop
) -> None:
    feed(outbound, tenant, supplier.url)
    job = fetched_and_imported(outbound, tenant)
    undo_job(outbound, tenant.id, job.id, actor=ACTOR, origin="cli")
    again = fetched_and_imported(outbound, tenant)
    assert again.id != job.id
    # Another file was accepted since: the older content has come back, and that is news (A, B, A).
    import_bytes(outbound, tenant.id, b"SKU,Name\nA-1,Otherwise\n", source="acme")
    assert fetch(outbound, tenant).outcome == "landed"


def test_a_server_without_etags_is_read_and_its_bytes_decide(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop
) -> None:
    supplier.replies["/feeds/products.csv"] = [Reply(200, supplier.content)]
    with tenant_session(outbound.app, tenant.id) as session:
        set_source(session, "acme", skip_unchanged=True)
    feed(outbound, tenant, supplier.url)
    job = fetched_and_imported(outbound, tenant)
    again = fetch(outbound, tenant)
    assert (again.outcome, again.job_id, again.http_status) == ("skipped", job.id, 200)
    assert "if-none-match" not in supplier.asked()[-1].headers
    assert len(jobs(outbound, tenant)) == 1


@pytest.mark.parametrize(
    ("reply", "code", "status", "transient"),
    [
        (Reply(404), "remote_refused", 404, False),
        (Reply(401), "remote_refused", 401, False),
        (Reply(503), "remote_unavailable", 503, True),
        (Reply(200, b""), "empty_file", 200, False),
    ],
    ids=["gone", "refused", "out of order", "empty"],
)
def test_what_fails_is_told_with_a_fix_and_removes_nothing(
    outbound: Workspace,
    tenant: TenantInfo,
    supplier: Shop,
    reply: Reply,
    code: str,
    status: int,
    transient: bool,
) -> None:
    with tenant_session(outbound.app, tenant.id) as session:
        set_source(session, "acme", full_feed=True, absent_rows="delete")
    feed(outbound, tenant, supplier.url, interval_seconds=86_400)
    fetched_and_imported(outbound, tenant)
    supplier.replies["/feeds/products.csv"] = [reply]
    found = fetch(outbound, tenant)
    assert (found.outcome, found.error_code, found.http_status) == ("failed", code, status)
    told = row(outbound, tenant)
    assert (told.outcome, told.error_code, told.http_status, told.failures) == ("failed", code, status, 1)
    assert told.error
    assert told.fetched_at is not None
    wait = timedelta(seconds=60) if transient else timedelta(days=1)
    assert told.due_at == told.fetched_at + wait
    with tenant_session(outbound.app, tenant.id) as session:
        assert session.scalar(text("SELECT count(*) FROM pim.products WHERE tenant_id = :t"), {"t": tenant.id}) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_is_left_alone_as_long_as_it_asks(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop, status: int
) -> None:
    feed(outbound, tenant, supplier.url, interval_seconds=60)
    for number, (field, seconds) in enumerate({"7200": 7_200, "99999999": 86_400}.items(), start=1):
        supplier.replies["/feeds/products.csv"] = [Reply(status, b"", {"Retry-After": field})]
        found = fetch(outbound, tenant)
        assert (found.outcome, found.http_status, found.retry_after) == ("failed", status, seconds)
        assert len(supplier.asked()) == number, "it is not asked again at once"
        told = row(outbound, tenant)
        assert told.fetched_at is not None
        assert told.due_at == told.fetched_at + timedelta(seconds=seconds)
        assert f"{seconds} s" in (told.error or "")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    supplier.replies["/feeds/products.csv"] = [
        Reply(status, b"", {"Retry-After": format_datetime(until, usegmt=True)}),
    ]
    fetch(outbound, tenant)
    due_at = row(outbound, tenant).due_at
    assert due_at is not None
    assert due_at >= until - timedelta(seconds=1), "HTTP tells whole seconds"
    supplier.replies.clear()
    assert fetch(outbound, tenant).outcome == "landed", "who asks for the file now gets it"
    told = row(outbound, tenant)
    assert told.fetched_at is not None
    assert told.due_at == told.fetched_at + timedelta(seconds=60)


def test_a_wait_that_is_short_is_waited_for_within_the_fetch(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    pause = fetching._pause

    def note(state: RetryCallState) -> float:
        paused.append(pause(state))
        return 0.0

    monkeypatch.setattr(fetching, "_pause", note)
    supplier.replies["/feeds/products.csv"] = [
        Reply(503, b"", {"Retry-After": "4"}),
        Reply(429, b"", {"Retry-After": "soon"}),
        Reply(200, supplier.content),
    ]
    feed(outbound, tenant, supplier.url)
    assert fetch(outbound, tenant).outcome == "landed"
    assert paused == [4.0, 0.0]


def test_a_feed_that_shrank_is_held(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    with tenant_session(outbound.app, tenant.id) as session:
        set_source(session, "acme", full_feed=True, absent_rows="delete")
    supplier.content = b"SKU,Name\n" + b"".join(b"S-%d,Name %d\n" % (i, i) for i in range(10))
    feed(outbound, tenant, supplier.url)
    fetched_and_imported(outbound, tenant)
    supplier.content = b"SKU,Name\nS-1,Name 1\n"
    held = fetched_and_imported(outbound, tenant)
    assert held.state == "held"


def test_what_may_pass_is_tried_again_at_once(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    supplier.replies["/feeds/products.csv"] = [Reply(502), Reply(503), Reply(200, supplier.content)]
    feed(outbound, tenant, supplier.url)
    assert fetch(outbound, tenant).outcome == "landed"
    assert len(supplier.asked()) == 3


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        (
            {"kind": "basic", "user": "ada", "password": "top:secret"},
            "Basic " + base64.b64encode(b"ada:top:secret").decode(),
        ),
        ({"kind": "bearer", "token": "t0ps3cret"}, "Bearer t0ps3cret"),
    ],
    ids=["basic", "bearer"],
)
def test_credentials_are_sent_and_never_kept_or_shown_in_the_clear(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop, auth: dict[str, str], sent: str, caplog: Any
) -> None:
    feed(outbound, tenant, supplier.url, auth=auth)
    fetch(outbound, tenant)
    assert supplier.asked()[0].headers["authorization"] == sent
    secret = auth.get("password") or auth["token"]
    with tenant_session(outbound.app, tenant.id) as session:
        rows = [str(session.execute(text(f"SELECT * FROM pim.{table}")).all()) for table in ("feeds", "audit_logs")]
    assert not any(secret in told for told in [*rows, caplog.text])
    assert secret not in repr(FeedSettings.model_validate({"url": supplier.url, "auth": auth}))


def test_credentials_stay_with_their_host(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    allow(outbound, tenant, "localhost")
    feed(outbound, tenant, supplier.url, auth={"kind": "bearer", "token": "t0ps3cret"})
    feed(outbound, tenant, f"{supplier.url}?more=1", interval_seconds=60)
    assert row(outbound, tenant).auth_kind == "bearer"
    with pytest.raises(InvalidRequest) as refused:
        feed(outbound, tenant, f"http://localhost:{supplier.server.port}/")
    assert refused.value.code == "credentials_needed"
    feed(outbound, tenant, f"http://localhost:{supplier.server.port}/", auth=None)
    assert row(outbound, tenant).credentials is None
    # Nor do they follow a redirect to another origin.
    feed(outbound, tenant, supplier.url, auth={"kind": "bearer", "token": "t0ps3cret"})
    with receiver(lambda _: Reply(200, b"SKU,Name\nA-1,Alpha\n")) as elsewhere:
        supplier.replies["/feeds/products.csv"] = [Reply(302, headers={"Location": f"{elsewhere.url}/x.csv"})]
        assert fetch(outbound, tenant).outcome == "landed"
        assert "authorization" not in elsewhere.snapshot()[0].headers


def test_only_hosts_that_the_tenant_allows(
    outbound: Workspace, tenant: TenantInfo, make_tenant: MakeTenant, supplier: Shop
) -> None:
    with pytest.raises(AddressRefused) as refused:
        feed(outbound, make_tenant(), supplier.url)
    assert refused.value.code == "host_not_allowed"
    assert supplier.asked() == []
    feed(outbound, tenant, supplier.url)
    supplier.replies["/feeds/products.csv"] = [
        Reply(302, headers={"Location": f"http://localhost:{supplier.server.port}/feeds/products.csv"})
    ]
    assert fetch(outbound, tenant).error_code == "address_refused"
    with tenant_session(outbound.app, tenant.id) as session:
        forget_host(session, "127.0.0.1", actor=ACTOR)
    assert fetch(outbound, tenant).error_code == "host_not_allowed"


def test_the_operator_draws_the_outer_line(workspace: Workspace, make_tenant: MakeTenant) -> None:
    settings = workspace.settings.model_copy(update={"outbound_fetch_hosts": "*.supplier.example, feeds.example.com"})
    tenant = make_tenant()
    with tenant_session(workspace.app, tenant.id) as session:
        for fine in ("*.cz.supplier.example", "a.supplier.example", "FEEDS.example.com."):
            allow_host(settings, session, fine, actor=ACTOR)
        for wrong in ("*.example.com", "supplier.example", "192.0.2.1"):
            with pytest.raises(AddressRefused):
                allow_host(settings, session, wrong, actor=ACTOR)
        for nothing in ("https://feeds.example.com/", "a b", "", "*", "*."):
            with pytest.raises(InvalidRequest):
                allow_host(settings, session, nothing, actor=ACTOR)


def test_loopback_is_refused_where_it_is_not_opened_for_development(
    workspace: Workspace, make_tenant: MakeTenant, supplier: Shop
) -> None:
    closed = Workspace(workspace.settings.model_copy(update={"outbound_allow_http": True}))
    tenant = make_tenant("all_sure")
    allow(closed, tenant)
    with pytest.raises(AddressRefused):
        fetch_url(closed, tenant.id, supplier.url, source="s", origin="api", actor=ACTOR, conditional=False)
    assert supplier.asked() == []
    assert jobs(closed, tenant) == []


class _BreaksOff(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nSKU,Name\nA-1,Alpha\n")


def test_a_download_that_breaks_off_leaves_nothing(outbound: Workspace, tenant: TenantInfo) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _BreaksOff) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/feed.csv"
        with pytest.raises(RemoteUnavailable, match="cannot be reached"):
            fetch_url(outbound, tenant.id, url, source="s", origin="api", actor=ACTOR, conditional=False)
        server.shutdown()
    with tenant_session(outbound.app, tenant.id) as session:
        assert session.scalar(select(func.count()).select_from(Upload)) == 0
    assert list(outbound.objects.list(f"tenants/{tenant.id}/")) == []


def test_too_much_is_refused(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    small = Workspace(outbound.settings.model_copy(update={"max_upload_bytes": 10}))
    with pytest.raises(RemoteRefused) as refused:
        fetch_url(small, tenant.id, supplier.url, source="s", origin="api", actor=ACTOR, conditional=False)
    assert refused.value.code == "too_large"
    assert jobs(small, tenant) == []


KILLED = """
import sys
from uuid import UUID
from pim_platform.intake.fetching import fetch_feed
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import get_settings
from pim_platform.tenancy.audit import Actor
fetch_feed(Workspace(get_settings()), UUID(sys.argv[1]), "acme", actor=Actor("test"))
"""


def test_a_fetch_that_is_killed_leaves_no_half_upload_and_the_next_one_takes_over(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop, tmp_path: Path
) -> None:
    began = tmp_path / "began"

    def slowly(_request: Any) -> Reply:
        began.touch()
        time.sleep(1)
        return Reply(200, b"SKU,Name\n" + b"A-1,Alpha\n" * 100)

    with receiver(slowly) as slow:
        feed(outbound, tenant, f"{slow.url}/feed.csv", interval_seconds=60)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tenant.id)],
            env=os.environ | environment(outbound.settings) | {"PIM_OUTBOUND_ALLOW_PRIVATE": "true"},
        )
        wait_for(began.exists, "the fetch to begin")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert row(outbound, tenant).lease_owner is not None, "it died with the lease"
    assert jobs(outbound, tenant) == []
    assert list(outbound.objects.list(f"tenants/{tenant.id}/")) == []
    feed(outbound, tenant, supplier.url)
    assert fetch(outbound, tenant).outcome == "landed"


def test_two_do_not_fetch_the_same_at_once(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    feed(outbound, tenant, supplier.url)
    claimed, _ = fetching._claim(outbound, tenant.id, "acme")
    with pytest.raises(Conflict) as busy:
        fetch(outbound, tenant)
    assert busy.value.code == "already_fetching"
    with tenant_session(outbound.app, tenant.id) as session:
        find_feed(session, find_source(session, "acme")).lease_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert claimed.lease_owner
    assert fetch(outbound, tenant).outcome == "landed"


def due(workspace: Workspace, tenant: TenantInfo) -> list[str]:
    with anonymous_session(workspace.app) as session:
        rows = session.execute(text("SELECT * FROM pim.feeds_due('60 s')")).mappings().all()
    return [one["source_slug"] for one in rows if one["tenant_slug"] == tenant.slug]


def test_the_sensor_sees_what_is_due_and_nobody_fetches(
    outbound: Workspace, tenant: TenantInfo, supplier: Shop
) -> None:
    feed(outbound, tenant, supplier.url)
    assert due(outbound, tenant) == [], "without a rhythm it waits to be asked for"
    feed(outbound, tenant, supplier.url, cron="30 5 * * 1-5")
    assert due(outbound, tenant) == ["acme"], "a new one is fetched at once"
    fetching._claim(outbound, tenant.id, "acme")
    assert due(outbound, tenant) == []
    with tenant_session(outbound.app, tenant.id) as session:
        session.execute(text("UPDATE pim.feeds SET lease_at = NULL, lease_owner = NULL"))
    fetch(outbound, tenant)
    assert due(outbound, tenant) == []
    with tenant_session(outbound.app, tenant.id) as session:
        ask_for_fetch(session, "acme", actor=ACTOR)
    assert due(outbound, tenant) == ["acme"]
    with tenant_session(outbound.app, tenant.id) as session:
        remove_feed(session, "acme", actor=ACTOR)
    assert due(outbound, tenant) == []
    with pytest.raises(NotFound):
        fetch(outbound, tenant)


def test_the_trail_tells_of_feeds(outbound: Workspace, tenant: TenantInfo, supplier: Shop) -> None:
    feed(outbound, tenant, f"{supplier.url}?token=s3cret", auth={"kind": "basic", "user": "ada", "password": "s3cret"})
    supplier.replies["/feeds/products.csv"] = [Reply(404)]
    fetch(outbound, tenant)
    with tenant_session(outbound.app, tenant.id) as session:
        found = session.scalars(select(AuditLog).where(AuditLog.tenant_id == tenant.id)).all()
    actions = [entry.action for entry in found]
    assert {"fetch_host.allowed", "feed.set", "feed.failed"} <= set(actions)
    assert "s3cret" not in str([entry.details for entry in found]) + str(row(outbound, tenant).error)


def test_settings_of_feeds_hide_their_secrets() -> None:
    assert "secret" not in repr([Basic(kind="basic", user="a", password=SecretStr("secret"))])
    assert "secret" not in repr([Bearer(kind="bearer", token=SecretStr("secret"))])
