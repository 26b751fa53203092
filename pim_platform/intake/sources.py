"""Sources: where a tenant's files come from (design D1), and how those of each are imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from pim_platform.catalog.models import Product
from pim_platform.errors import Conflict, InvalidRequest, NotFound
from pim_platform.intake.dialect import Format, parse_changes
from pim_platform.intake.models import Feed, ImportJob, MappingFeedback, MappingTemplate, Source
from pim_platform.intake.reject_policies import reject_limit
from pim_platform.storage.addresses import without_query
from pim_platform.tenancy.audit import Actor, record

_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")

#: Sources on one page of a listing at most.
MAXIMUM_PAGE = 1_000


class RememberedDialect(BaseModel):
    """What people said of a source's files of one format (see :mod:`pim_platform.intake.remembered`)."""

    model_config = ConfigDict(extra="forbid")

    format: Format
    changes: dict[str, Any] = Field(description="Fields of the dialect, such as `delimiter` or `header_row`.")

    @field_validator("changes")
    @classmethod
    def _known(cls, changes: dict[str, Any]) -> dict[str, Any]:
        return parse_changes(changes)


class SourceSettings(BaseModel):
    """What can be said of a source; what is not given stays as it is, or gets what stands here where it is new."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=200, description="For people; left out of a new source: its slug.")
    priority: int = Field(50, ge=0, le=100, description="Whose value stands where sources differ: the higher.")
    trust: float = Field(0.5, ge=0, le=1, description="How much the source is believed, 0 to 1.")
    default_currency: str | None = Field(
        None, pattern="^[A-Z]{3}$", description="Of prices that name none, ISO 4217; null: the tenant's."
    )
    confirm_policy: Literal["never", "saved_mapping_fits", "all_sure"] | None = Field(
        None, description="When a proposal is confirmed without a person; null: the tenant's policy."
    )
    full_feed: bool = Field(False, description="Every file lists all that the source has.")
    absent_rows: Literal["keep", "deactivate", "delete"] = Field(
        "keep", description="What becomes of products that a full feed holds no more."
    )
    reject_policy: str | None = Field(
        None, max_length=40, description="What bad rows do: `skip`, `stop_first`, `stop_above:N%`; null: `skip`."
    )
    skip_unchanged: bool = Field(False, description="A file with the content of the last accepted import makes none.")
    dialect: RememberedDialect | None = Field(
        None, description="What people said of its files' dialect and confirmed, used for the next; null forgets it."
    )

    @field_validator("name")
    @classmethod
    def _storable(cls, name: str) -> str:
        if "\x00" in name:
            raise ValueError("the character NUL cannot be stored")
        return name.strip()

    @field_validator("reject_policy")
    @classmethod
    def _policy(cls, policy: str | None) -> str | None:
        if policy is not None:
            reject_limit(policy)
        return policy


def parse_settings(given: dict[str, Any]) -> SourceSettings:
    """Settings of a source that somebody gave. Raises InvalidRequest naming the first that cannot be right."""
    try:
        return SourceSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidRequest(
            f"A source's {place} cannot be {first['input']!r}: {first['msg']}.",
            fix="The API's document of /api/pim/sources/ says what each may hold.",
            column=place,
            value=str(first["input"]),
        ) from error


def _checked(slug: str) -> str:
    slug = slug.strip().lower()
    if not _SLUG.fullmatch(slug):
        raise InvalidRequest(
            f"{slug!r} cannot name a source.", fix="Use a-z, 0-9, and - _ . inside, up to 63 characters.", value=slug
        )
    return slug


def ensure_source(session: Session, slug: str) -> Source:
    """The session's tenant's source of that slug, made at first use. Raises InvalidRequest."""
    slug = _checked(slug)
    _insert(session, slug)
    return session.scalars(
        select(Source).where(Source.tenant_id == session.info["tenant_id"], Source.slug == slug)
    ).one()


def _insert(session: Session, slug: str) -> bool:
    made = session.execute(
        text(
            "INSERT INTO pim.sources (tenant_id, slug, name) VALUES (:tenant, :slug, :slug) "
            "ON CONFLICT (tenant_id, slug) DO NOTHING RETURNING id"
        ),
        {"tenant": session.info["tenant_id"], "slug": slug},
    )
    return made.first() is not None


def find_source(session: Session, slug: str, *, lock: bool = False) -> Source:
    """The session's tenant's source of that slug; with ``lock`` its row is held until the transaction ends.

    Raises NotFound, for another tenant's as well.
    """
    query = select(Source).where(Source.tenant_id == session.info["tenant_id"], Source.slug == slug.strip().lower())
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound(
            f"There is no source {slug!r}.",
            fix="A source is made by its first import; check the spelling.",
            code="unknown_source",
            value=slug,
        )
    return found


def create_source(session: Session, slug: str, settings: SourceSettings, *, actor: Actor) -> Source:
    """Make a source of the session's tenant. Raises InvalidRequest, Conflict (``source_exists``)."""
    slug = _checked(slug)
    if not _insert(session, slug):
        raise Conflict(
            f"There is a source {slug!r} already.", fix="Change it with PATCH, or use another slug.",
            code="source_exists", value=slug,
        )  # fmt: skip
    found = find_source(session, slug)
    _apply(found, settings)
    session.flush()
    record(session, actor, "source.created", "source", str(found.id), slug=slug, **_told(settings))
    return found


def change_source(session: Session, slug: str, settings: SourceSettings, *, actor: Actor) -> Source:
    """Change what ``settings`` name of a source of the session's tenant; the rest stays. Raises NotFound."""
    found = find_source(session, slug, lock=True)
    _apply(found, settings)
    session.flush()
    record(session, actor, "source.changed", "source", str(found.id), slug=found.slug, **_told(settings))
    return found


def set_source(session: Session, slug: str, *, actor: Actor | None = None, **given: Any) -> Source:
    """Change how a source of the session's tenant is imported; made where it is new.

    ``given``: fields of :class:`SourceSettings`; what is None stays. Raises InvalidRequest.
    """
    settings = parse_settings({name: value for name, value in given.items() if value is not None})
    ensure_source(session, slug)
    return change_source(session, slug, settings, actor=actor or Actor("system"))


def _apply(source: Source, settings: SourceSettings) -> None:
    for name, value in settings.model_dump(exclude_unset=True).items():
        setattr(source, name, value if name != "name" or value else source.slug)


def _told(settings: SourceSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_unset=True)


def delete_source(session: Session, slug: str, *, actor: Actor) -> None:
    """Delete a source that nothing refers to, and its feed. Raises NotFound, Conflict (``source_in_use``)."""
    found = find_source(session, slug, lock=True)
    own = session.info["tenant_id"]
    for model, what in (
        (ImportJob, "imports"),
        (MappingTemplate, "saved mappings"),
        (MappingFeedback, "decisions about columns"),
        (Product, "products"),
    ):
        query = select(model.source_id).where(model.tenant_id == own, model.source_id == found.id).limit(1)
        if session.scalar(query) is not None:
            raise Conflict(
                f"The source {found.slug!r} has {what}.",
                fix="A source stays as long as anything came from it; stop its feed where it has one.",
                code="source_in_use",
                value=found.slug,
            )
    session.execute(delete(Source).where(Source.tenant_id == own, Source.id == found.id))
    record(session, actor, "source.deleted", "source", str(found.id), slug=found.slug)


@dataclass(frozen=True)
class SourcePage:
    """Some sources in the order of their slugs; ``next_cursor`` is None at the end."""

    sources: list[dict[str, Any]]
    next_cursor: str | None


def list_sources(
    session: Session, *, cursor: str | None = None, limit: int = 100, whole_urls: bool = False
) -> SourcePage:
    """Sources of the session's tenant as :func:`source_json` shows them, those after the slug ``cursor``."""
    slug = Source.slug.collate("C")
    query = select(Source).where(Source.tenant_id == session.info["tenant_id"]).order_by(slug)
    if cursor is not None:
        query = query.where(slug > cursor)
    found = list(session.scalars(query.limit(limit + 1)))
    shown = found[:limit]
    return SourcePage(_as_json(session, shown, whole_urls), shown[-1].slug if len(found) > limit else None)


def source_json(session: Session, source: Source, *, whole_urls: bool = False) -> dict[str, Any]:
    """A source as API and CLI show it, with its last accepted import and its feed.

    Without ``whole_urls`` the feed's URL is shown without its query, which may hold a token.
    """
    return _as_json(session, [source], whole_urls)[0]


def _as_json(session: Session, sources: Sequence[Source], whole_urls: bool) -> list[dict[str, Any]]:
    own = session.info["tenant_id"]
    last = [source.last_accepted_job_id for source in sources]
    jobs = select(ImportJob).where(ImportJob.tenant_id == own, ImportJob.id.in_([one for one in last if one]))
    feeds = select(Feed).where(Feed.tenant_id == own, Feed.source_id.in_([source.id for source in sources]))
    by_id: dict[UUID | None, ImportJob] = {job.id: job for job in session.scalars(jobs)} if any(last) else {}
    by_source = {feed.source_id: feed for feed in session.scalars(feeds)}
    return [
        _own(source)
        | {
            "last_accepted_import": _accepted(by_id.get(source.last_accepted_job_id)),
            "feed": _feed(by_source.get(source.id), whole_urls),
        }
        for source in sources
    ]


def _own(source: Source) -> dict[str, Any]:
    names = ("slug", *SourceSettings.model_fields, "created_at")
    return {name: getattr(source, name) for name in names}


def _accepted(job: ImportJob | None) -> dict[str, Any] | None:
    if job is None:
        return None
    return {
        "job_id": job.id,
        "filename": job.filename,
        "finished_at": job.finished_at,
        "imported_count": job.imported_count,
    }


def _feed(feed: Feed | None, whole_urls: bool) -> dict[str, Any] | None:
    if feed is None:
        return None
    last = None
    if feed.fetched_at is not None:
        last = {
            "at": feed.fetched_at,
            "outcome": feed.outcome,
            "http_status": feed.http_status,
            "error_code": feed.error_code,
            "error": feed.error,
            "job_id": feed.job_id,
        }
    return {
        "url": feed.url if whole_urls else without_query(feed.url),
        "interval_seconds": feed.interval_seconds,
        "cron": feed.cron,
        "auth": feed.auth_kind,
        "due_at": feed.due_at,
        "failures": feed.failures,
        "last": last,
    }
