"""``pim source``: settings, feeds and hosts from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from pim_platform.cli import sources
from pim_platform.cli import tenant as tenant_cli
from pim_platform.errors import PimError
from pim_platform.intake.feeds import credentials_of, find_feed
from pim_platform.intake.sources import find_source, set_source
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.feeds import shop
from tests.support.receivers import Reply

Pim = Callable[..., str]


@pytest.fixture
def pim(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Pim:
    """Runs a command in this process; returns what it says. A process of its own takes seconds for each."""
    settings = workspace.settings.model_copy(update={"outbound_allow_private": True})
    monkeypatch.setattr(tenant_cli, "get_settings", lambda: settings)

    def run(*arguments: str, given: str = "", fails: int = 0) -> str:
        done = CliRunner().invoke(sources.source, list(arguments), input=given)
        if isinstance(done.exception, PimError):  # as main() does
            assert done.exception.exit_code == fails
            return str(done.exception)
        assert done.exit_code == fails, done.output
        return done.output

    return run


def test_a_feed_from_the_command_line(pim: Pim, workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> None:
    tenant = make_tenant("all_sure")
    own = ("--tenant", tenant.slug)
    with shop() as supplier:
        assert "not among the tenant's hosts" in pim("feed", "acme", *own, "--url", supplier.url, fails=2)
        pim("hosts", *own, "--allow", "127.0.0.1")
        told = pim("feed", "acme", *own, "--url", supplier.url, "--user", "ada", given="s3cret\n")
        assert "s3cret" not in told
        found = json.loads(pim("fetch", "acme", *own, "--json"))
        assert (found["outcome"], found["http_status"], found["new"]) == ("landed", 200, True)
        assert "nothing new" in pim("fetch", "acme", *own)
        supplier.replies["/feeds/products.csv"] = [Reply(404)]
        assert "404" in pim("fetch", "acme", *own, fails=2)
    with tenant_session(workspace.app, tenant.id) as session:
        feed = find_feed(session, find_source(session, "acme"))
        assert credentials_of(workspace.settings, feed) == ["ada", "s3cret"]
    shown = json.loads(pim("show", "acme", *own, "--json"))
    assert (shown["feed"]["last"]["outcome"], shown["feed"]["auth"]) == ("failed", "basic")
    pim("feed", "acme", *own, "--remove")
    (listed,) = json.loads(pim("list", *own, "--json"))["sources"]
    assert (listed["slug"], listed["feed"]) == ("acme", None)


def test_settings_from_the_command_line(pim: Pim, workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> None:
    tenant = make_tenant()
    own = ("--tenant", tenant.slug)
    with tenant_session(workspace.app, tenant.id) as session:
        set_source(session, "acme", dialect={"format": "csv", "changes": {"delimiter": ";"}})
    told = pim("set", "acme", *own, "--full-feed", "--absent", "delete", "--forget-dialect")
    assert told.startswith("source acme: full feeds, absent rows: delete, bad rows: skip")
    with tenant_session(workspace.app, tenant.id) as session:
        assert find_source(session, "acme").dialect is None
    pim("delete", "acme", *own)
    assert "no source" in pim("show", "acme", *own, fails=2)
