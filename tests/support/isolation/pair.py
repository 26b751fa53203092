"""Two tenants with the same SKUs, and the register of what alpha does beside bravo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from pim_platform.catalog import products
from pim_platform.intake import cancelling, confirming, feeds, jobs, proposing, sources
from pim_platform.intake.models import Feed, ImportJob
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.syndication import deliveries, subscriptions
from pim_platform.syndication.models import EVENTS
from pim_platform.tenancy import invitations, keys, usage, users
from pim_platform.tenancy.tenants import TenantInfo, create_tenant
from tests.support.imports import ACTOR, import_bytes, land_bytes

CONTENT = "SKU,Name,Colour,Price\nX-1,{0} one,{0} red,{1}.5\nX-2,{0} two,{0} blue,{1}.25\n"
CONFIRM = {
    "mapping": {"SKU": "sku", "Name": "name", "Colour": "tone", "Price": "price"},
    "fields": [{"name": "tone"}, {"name": "price", "type": "price"}],
}


NOBODY = UUID(int=0)


@dataclass
class Side:
    """One tenant of the pair, and the ids of what it has."""

    tenant: TenantInfo
    word: str
    done: UUID
    waiting: UUID
    key: str
    user: str
    product_ids: list[UUID] = field(default_factory=list)
    webhook: UUID = NOBODY
    delivery: UUID = NOBODY

    @property
    def id(self) -> UUID:
        return self.tenant.id


@dataclass
class Two:
    """Alpha calls every function; bravo must neither be seen nor touched by it."""

    workspace: Workspace
    a: Side
    b: Side

    def session(self) -> Any:
        return tenant_session(self.workspace.app, self.a.id)

    def land(self, content: bytes | None = None) -> UUID:
        body = content or f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n".encode()
        return land_bytes(self.workspace, self.a.id, body)

    def proposed(self) -> UUID:
        job_id = self.land()
        proposing.propose_job(self.workspace, self.a.id, job_id)
        return job_id

    def confirmed(self) -> UUID:
        job_id = self.proposed()
        confirming.confirm_job(self.workspace, self.a.id, job_id, actor=ACTOR, mapping=CONFIRM["mapping"])  # type: ignore[arg-type]
        return job_id

    def done(self) -> ImportJob:
        with self.session() as session:
            return jobs.get_job(session, self.a.done)


def _spend_and_teach(workspace: Workspace, tenant_id: UUID) -> None:
    """Spend a tenant's budget of today, and teach it a header that nobody else has."""
    usage.reserve(workspace.app, tenant_id, Decimal(1), default_budget=1.0, endpoint="bravo")
    job_id = land_bytes(workspace, tenant_id, b"SKU,Name,only bravo's\nX-1,bravo one,bravo\n", source="bravo-only")
    proposing.propose_job(workspace, tenant_id, job_id)
    confirming.confirm_job(
        workspace,
        tenant_id,
        job_id,
        actor=ACTOR,
        mapping={"SKU": "sku", "Name": "name", "only bravo's": "bravo_field"},
        fields=[{"name": "bravo_field"}],
    )
    cancelling.cancel_job(workspace, tenant_id, job_id, ACTOR)
    with tenant_session(workspace.app, tenant_id) as session:
        feeds.allow_host(workspace.settings, session, "bravo.example", actor=ACTOR)
        source = sources.find_source(session, "bravo-only")
        session.add(Feed(tenant_id=tenant_id, source_id=source.id, url="https://bravo.example/feed.csv"))


def make_side(workspace: Workspace, word: str, price: int) -> Side:
    tenant = create_tenant(
        workspace.app, f"{word}{uuid4().hex[:10]}", currency="EUR", locale="en-US", timezone="UTC", actor=ACTOR
    )
    with tenant_session(workspace.app, tenant.id) as session:
        url = f"https://{word}.invalid/"
        webhook, _ = subscriptions.create_webhook(
            session, workspace.settings, url=url, events=EVENTS, import_products=True, actor=ACTOR
        )
    job = import_bytes(workspace, tenant.id, CONTENT.format(word, price).encode(), confirm=CONFIRM)
    waiting = land_bytes(workspace, tenant.id, CONTENT.format(f"{word} waiting", price).encode())
    proposing.propose_job(workspace, tenant.id, waiting)
    key = keys.create_key(workspace.app, tenant.id, role="admin", name=f"{word} key", actor=ACTOR)
    if word == "bravo":
        _spend_and_teach(workspace, tenant.id)
    user = f"{word}-{uuid4().hex[:8]}@example.com"
    users.create_user(
        workspace.app, tenant.id, email=user, name=word, password="long enough", role="editor", actor=ACTOR
    )
    with tenant_session(workspace.app, tenant.id) as session:
        invitations.invite(session, workspace.settings, email=f"{word}-guest@example.com", role="viewer", actor=ACTOR)
    side = Side(tenant, word, job.id, waiting, key, user)
    with tenant_session(workspace.app, tenant.id) as session:
        side.product_ids = [product.id for product in products.list_products(session).products]
        side.webhook = webhook.id
        side.delivery = deliveries.list_deliveries(session, webhook.id).deliveries[0].id
    return side


def shown(value: Any) -> str:
    """Everything a value would tell a reader."""
    if isinstance(value, ImportJob) or hasattr(value, "__table__"):
        return repr({column.name: getattr(value, column.key) for column in value.__table__.columns})
    if isinstance(value, dict):
        return repr({key: shown(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return repr([shown(entry) for entry in value])
    return repr(value)


Case = Callable[[Two], Any]
CASES: dict[str, Case] = {}
#: Functions that stand above tenants by design, and why that tells nobody anything about a tenant.
ABOVE_TENANTS = {
    "tenancy.tenants.create_tenant": "makes a tenant",
    "tenancy.tenants.list_tenants": "for operators and sensors; never behind a tenant's key",
    "tenancy.tenants.find_tenant": "the same, for one slug",
    "tenancy.keys.authenticate": "finds whose key this is; tested below",
    "tenancy.keys.caller_of_hash": "the same, by the key's hash; tested in test_progress",
    "tenancy.logins.log_in": "finds whose login this is; a login is a person's and reaches that person's tenants only",
    "tenancy.logins.check_login": "the same; tested below",
    "tenancy.logins.refresh_login": "prolongs a login; tested in test_logins",
    "tenancy.logins.log_out": "ends a login; tested in test_logins",
    "tenancy.logins.authenticate_token": "finds whose token this is; tested in test_logins",
    "tenancy.logins.person_of": "the same, for a login",
    "tenancy.logins.belongings": "a person's own tenants",
    "tenancy.logins.tell_tenants": "writes into the trail of each of a person's tenants",
    "tenancy.guesses.count_guess": "counts digests of addresses; before any tenant is known",
    "tenancy.guesses.forgive_guess": "the same",
    "tenancy.rates.is_first_use": "counts names that are secrets themselves; knows no tenant",
    "tenancy.tokens.access_token": "signs; has no database",
    "tenancy.tokens.session_of": "checks a signature; has no database",
    "tenancy.tokens.login_of": "the same",
    "tenancy.invitations.accept_invitation": "whoever holds the link is told where it leads; tested in test_users",
    "tenancy.users.use_password_link": "whoever holds the link sets that person's password; tested in test_users",
    "tenancy.users.make_operator_link": "for the operator's command line; never behind a tenant's key",
    "tenancy.users.change_password": "a person's own; tested in test_users",
    "tenancy.users.end_logins": "for the operator's command line; never behind a tenant's key",
    "syndication.deliveries.forget_deliveries": "the collector's, for operators and a schedule; tested beside it",
    "syndication.delivering.deliver": "the worker serves every tenant, each in a session of its own; tested beside it",
    "syndication.subscriptions.secrets_of": "decrypts what it is given; has no database",
    "intake.collecting.collect": "the collector, for operators and a schedule; tested beside it",
    "intake.assisting.assist_without_server": "for a file without a tenant; has no database",
    "intake.mapping.claude.api_key": "reads a setting",
    "intake.mapping.claude.ask": "asks what it is given; has no database",
    "intake.mapping.claude.cost_of": "arithmetic",
    "intake.mapping.claude.worst_cost": "arithmetic",
    "tenancy.bootstrap.first_start": "makes the first tenant of an empty installation",
}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return add
