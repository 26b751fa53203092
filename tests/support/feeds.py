"""A supplier's web server of a test, whose file changes, and workspaces that may fetch from this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pim_platform.intake.feeds import allow_host
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR
from tests.support.receivers import Received, Receiver, Reply, receiver


@dataclass
class Shop:
    """What the server has: its file, and other answers by path."""

    server: Receiver
    content: bytes = b"SKU,Name\nA-1,Alpha\nB-1,Beta\n"
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    """Answers given one after another; the last one stays. Without any: the file, with its ETag."""

    @property
    def url(self) -> str:
        return f"{self.server.url}/feeds/products.csv"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def asked(self) -> list[Received]:
        return self.server.snapshot()

    def reply(self, request: Received) -> Reply:
        path = request.path.partition("?")[0]
        if self.replies.get(path):
            answers = self.replies[path]
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if request.headers.get("if-none-match") == self.etag:
            return Reply(304, b"", {"ETag": self.etag})
        return Reply(200, self.content, {"ETag": self.etag, "Content-Type": "text/csv"})


@contextmanager
def shop() -> Iterator[Shop]:
    """A running server."""
    made: list[Shop] = []
    with receiver(lambda request: made[0].reply(request)) as server:
        made.append(Shop(server))
        yield made[0]


def fetching_workspace(workspace: Workspace) -> Workspace:
    """The same engines, and private addresses may be called."""
    return Workspace(workspace.settings.model_copy(update={"outbound_allow_private": True}))


def allow(workspace: Workspace, tenant: TenantInfo, *hosts: str) -> None:
    with tenant_session(workspace.app, tenant.id) as session:
        for host in hosts or ("127.0.0.1",):
            allow_host(workspace.settings, session, host, actor=ACTOR)
