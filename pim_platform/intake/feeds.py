"""Feeds: from where a source's file is fetched, when, and with which credentials; and the hosts a tenant allows.

A file is fetched only of hosts that an admin of the tenant has allowed, as far as the operator's setting
``PIM_OUTBOUND_FETCH_HOSTS`` allows them too: nothing is, before somebody says so. Credentials are stored encrypted, and
nobody is shown them again. Fetching itself is :mod:`pim_platform.intake.fetching`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pim_platform.errors import AddressRefused, InvalidRequest, NotFound
from pim_platform.intake.models import Feed, FetchHost, Source
from pim_platform.intake.sources import ensure_source, find_source
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings
from pim_platform.storage.addresses import parse_url, without_query
from pim_platform.storage.outbound import Policy, check_address
from pim_platform.storage.postgres import tenant_session
from pim_platform.storage.sealing import seal, unseal
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant

#: What feeds' credentials are sealed for.
CREDENTIALS = "feed-credentials"

_HOST = re.compile(r"(\*\.)?(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|[0-9a-f:.]{2,45}")
_CRON_PARTS = 5
_FIRST_RETRY = timedelta(minutes=1)
_LAST_RETRY = timedelta(hours=6)
_MAXIMUM_HOSTS = 1_000


class Basic(BaseModel):
    """User name and password (RFC 7617)."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["basic"]
    user: str = Field(min_length=1, max_length=200, pattern=r"^[^:\x00-\x1f\x7f]+$")
    password: SecretStr = Field(max_length=1_000)


class Bearer(BaseModel):
    """A token (RFC 6750)."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["bearer"]
    token: SecretStr = Field(min_length=1, max_length=4_000)

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("a token is printable ASCII without blanks")
        return token


class FeedSettings(BaseModel):
    """Where a source's file is fetched, and when; without a rhythm only when somebody asks."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"url": "https://feeds.example.com/products.csv", "interval_seconds": 3600},
                {
                    "url": "https://feeds.example.com/all.xml.gz",
                    "cron": "30 5 * * 1-5",
                    "auth": {"kind": "basic", "user": "acme", "password": "..."},
                },
            ]
        },
    )

    url: str = Field(min_length=1, max_length=2_000, description="https://..., of a host that the tenant allows.")
    interval_seconds: int | None = Field(None, ge=60, le=31_622_400, description="Fetched again after so long.")
    cron: str | None = Field(
        None, max_length=100, description="Or at these times: minute, hour, day, month, weekday, in the tenant's zone."
    )
    auth: Annotated[Basic | Bearer, Field(discriminator="kind")] | None = Field(
        None,
        description="Credentials that are sent to the URL's host and to no other; stored encrypted and never shown. "
        "Left out: those that are kept stay as long as the host does; null: none.",
    )

    @field_validator("cron")
    @classmethod
    def _valid_cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            next_time(cron, "UTC", datetime.now(UTC))
        return cron

    @model_validator(mode="after")
    def _one_rhythm(self) -> FeedSettings:
        if self.interval_seconds is not None and self.cron is not None:
            raise ValueError("give interval_seconds or cron, not both")
        return self


def next_time(cron: str, zone: str, after: datetime) -> datetime:
    """The first time after ``after`` that a cron expression of five parts names in a time zone.

    Raises InvalidRequest where it is none, or names a time that never comes.
    """
    try:
        if len(cron.split()) != _CRON_PARTS:
            raise CroniterError("it has not five parts")
        found: datetime = croniter(cron, after.astimezone(ZoneInfo(zone))).get_next(datetime)
    except (CroniterError, ValueError, KeyError) as error:
        raise InvalidRequest(
            f"The cron expression {cron[:100]!r} names no time: {error}.",
            fix="Write minute, hour, day, month and weekday, such as `30 5 * * 1-5`.",
            code="invalid_cron",
            column="cron",
            value=cron[:100],
        ) from error
    return found.astimezone(UTC)


def next_due(
    interval_seconds: int | None, cron: str | None, zone: str, now: datetime, *, retries: int = 0, wait: float = 0.0
) -> datetime | None:
    """When a feed is fetched next; None: not by itself. A pure decision.

    ``retries``: how often in a row it failed in a way that may pass; each time it waits twice as long before it tries
    again, but never longer than its rhythm. ``wait``: seconds that the server asked to be left alone for; that is the
    one thing that puts the rhythm off.
    """
    if interval_seconds is not None:
        regular = now + timedelta(seconds=interval_seconds)
    elif cron is not None:
        regular = next_time(cron, zone, now)
    else:
        return None
    if retries:
        soon: timedelta = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(retries - 1, 20))
        regular = min(regular, now + soon)
    return max(regular, now + timedelta(seconds=wait))


def set_feed(workspace: Workspace, tenant_id: UUID, slug: str, feed: FeedSettings, *, actor: Actor) -> Source:
    """Say where a source's file is fetched and when; replaces what was said before. The source is made where it is new.

    Credentials that are kept go to the host they were given for, so another host needs new ones. Raises
    AddressRefused, InvalidRequest.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        policy = fetch_policy(workspace.settings, session, feed.url)
    target = check_address(feed.url, policy)
    with tenant_session(workspace.app, tenant_id) as session:
        source = ensure_source(session, slug)
        zone = session.get_one(Tenant, tenant_id).timezone
        now = session.scalar(select(func.clock_timestamp())) or datetime.now(UTC)
        values: dict[str, Any] = {
            "url": target.url,
            "interval_seconds": feed.interval_seconds,
            "cron": feed.cron,
            "due_at": None if next_due(feed.interval_seconds, feed.cron, zone, now) is None else now,
            "failures": 0,
        }
        known = session.get(Feed, (tenant_id, source.id), with_for_update=True)
        if "auth" in feed.model_fields_set:
            values |= _sealed(workspace.settings, feed)
        elif known is not None and known.auth_kind is not None and _origin(known.url) != target.origin:
            raise InvalidRequest(
                f"The credentials that are kept were given for {without_query(known.url)!r}, which is another host.",
                fix="Give `auth` for this one: credentials, or null.",
                column="auth",
                code="credentials_needed",
            )
        if known is None:
            known = Feed(tenant_id=tenant_id, source_id=source.id)
            session.add(known)
        elif known.url != target.url:
            values |= dict.fromkeys(("fetched_at", "outcome", "http_status", "error_code", "error", "job_id"))
        for name, value in values.items():
            setattr(known, name, value)
        session.flush()
        details = {name: values[name] for name in ("interval_seconds", "cron")} | {"auth": known.auth_kind}
        record(session, actor, "feed.set", "source", str(source.id), url=without_query(target.url), **details)
        return source


def _origin(url: str) -> tuple[str, str, int]:
    return parse_url(url, allow_http=True).origin


def _sealed(settings: Settings, feed: FeedSettings) -> dict[str, str | None]:
    if feed.auth is None:
        return {"auth_kind": None, "credentials": None}
    if isinstance(feed.auth, Basic):
        plain = [feed.auth.user, feed.auth.password.get_secret_value()]
    else:
        plain = [feed.auth.token.get_secret_value()]
    return {"auth_kind": feed.auth.kind, "credentials": seal(settings, CREDENTIALS, plain)}


def credentials_of(settings: Settings, feed: Feed) -> list[str] | None:
    """User and password, or a token; None where the feed needs none. Raises BrokenSeal."""
    if feed.credentials is None:
        return None
    found: list[str] = unseal(settings, CREDENTIALS, feed.credentials)
    return found


def find_feed(session: Session, source: Source, *, lock: bool = False) -> Feed:
    """The feed of a source; with ``lock`` its row is held until the transaction ends. Raises NotFound."""
    found = session.get(Feed, (source.tenant_id, source.id), with_for_update=lock)
    if found is None:
        raise NotFound(
            f"The source {source.slug!r} is not fetched from anywhere.",
            fix="Say where: PUT /api/pim/sources/{source}/feed/, or `pim source feed`.",
            code="unknown_feed",
            value=source.slug,
        )
    return found


def remove_feed(session: Session, slug: str, *, actor: Actor) -> None:
    """Fetch a source's file no more; its credentials are gone. Raises NotFound."""
    source = find_source(session, slug)
    session.delete(find_feed(session, source, lock=True))
    record(session, actor, "feed.removed", "source", str(source.id), slug=source.slug)


def ask_for_fetch(session: Session, slug: str, *, actor: Actor) -> Source:
    """Let a source's file be fetched as soon as the stack comes to it. Raises NotFound."""
    source = find_source(session, slug)
    find_feed(session, source, lock=True).due_at = func.clock_timestamp()
    session.flush()
    session.expire_all()
    record(session, actor, "feed.asked", "source", str(source.id), slug=source.slug)
    return source


# --- hosts ------------------------------------------------------------------------------------------------


def list_hosts(session: Session) -> list[FetchHost]:
    """The hosts that the session's tenant's files may be fetched from, by name."""
    query = select(FetchHost).where(FetchHost.tenant_id == session.info["tenant_id"])
    return list(session.scalars(query.order_by(FetchHost.host.collate("C")).limit(_MAXIMUM_HOSTS)))


def allow_host(settings: Settings, session: Session, host: str, *, actor: Actor) -> FetchHost:
    """Allow the session's tenant's files to be fetched from a host; ``*.example.com``: from all below example.com.

    Raises InvalidRequest for what is no host, AddressRefused where the operator's setting leaves it out.
    """
    wanted = host.strip().lower().rstrip(".")
    if not _HOST.fullmatch(wanted):
        raise InvalidRequest(
            f"{host[:100]!r} is no host.", fix="Write feeds.example.com or *.example.com, without scheme and path.",
            column="host", value=host[:100],
        )  # fmt: skip
    outer = Policy.for_fetches(settings).hosts
    if not _within(wanted, outer):
        raise AddressRefused(
            f"Files are not fetched from {wanted!r} in this installation.",
            fix=f"Allowed: {', '.join(outer)}. The operator adds hosts in PIM_OUTBOUND_FETCH_HOSTS.",
            column="host",
            value=wanted,
        )
    if len(list_hosts(session)) >= _MAXIMUM_HOSTS:
        raise InvalidRequest(f"There are {_MAXIMUM_HOSTS} hosts already.", fix="Use *.example.com, or remove some.")
    own = session.info["tenant_id"]
    statement = insert(FetchHost).values(tenant_id=own, host=wanted, actor=actor.name).on_conflict_do_nothing()
    if session.execute(statement.returning(FetchHost.host)).first() is not None:
        record(session, actor, "fetch_host.allowed", "fetch_host", wanted)
    return session.get_one(FetchHost, (own, wanted))


def forget_host(session: Session, host: str, *, actor: Actor) -> None:
    """Allow a host no longer: what is fetched from it fails from now on. Raises NotFound."""
    wanted = host.strip().lower()
    gone = session.execute(
        delete(FetchHost)
        .where(FetchHost.tenant_id == session.info["tenant_id"], FetchHost.host == wanted)
        .returning(FetchHost.host)
    ).first()
    if gone is None:
        raise NotFound(
            f"The host {wanted[:100]!r} is not allowed.", fix="List the hosts that are.", code="unknown_host"
        )
    record(session, actor, "fetch_host.forgotten", "fetch_host", wanted)


def _within(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a host, or a pattern of hosts, lies within what is allowed; an empty list allows all."""
    return not allowed or any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in allowed)


def fetch_policy(settings: Settings, session: Session, url: str) -> Policy:
    """The rules for fetching ``url`` for the session's tenant, redirects included.

    Raises AddressRefused where the tenant, or the operator, does not allow its host.
    """
    outer = Policy.for_fetches(settings)
    target = outer.check_url(url)
    allowed = tuple(one.host for one in list_hosts(session) if _within(one.host, outer.hosts))
    if not allowed or not _within(target.host, allowed):
        raise AddressRefused(
            f"Files may not be fetched from {target.host!r}: it is not among the tenant's hosts.",
            fix="An admin allows it with POST /api/pim/fetch-hosts/ or `pim source hosts --allow HOST`.",
            code="host_not_allowed",
            value=without_query(url),
            expected=list(allowed),
        )
    return replace(outer, hosts=allowed)
