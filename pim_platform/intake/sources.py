"""Sources: where a tenant's files come from (design D1)."""

from __future__ import annotations

import re

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pim_platform.errors import InvalidRequest, NotFound
from pim_platform.intake.models import Source
from pim_platform.intake.reject_policies import reject_limit

_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def ensure_source(session: Session, slug: str) -> Source:
    """The session's tenant's source of that slug, made at first use. Raises InvalidRequest."""
    slug = slug.strip().lower()
    if not _SLUG.fullmatch(slug):
        raise InvalidRequest(
            f"{slug!r} cannot name a source.", fix="Use a-z, 0-9, and - _ . inside, up to 63 characters.", value=slug
        )
    session.execute(
        text(
            "INSERT INTO pim.sources (tenant_id, slug, name) VALUES (:tenant, :slug, :slug) "
            "ON CONFLICT (tenant_id, slug) DO NOTHING"
        ),
        {"tenant": session.info["tenant_id"], "slug": slug},
    )
    return session.scalars(
        select(Source).where(Source.tenant_id == session.info["tenant_id"], Source.slug == slug)
    ).one()


def find_source(session: Session, slug: str) -> Source:
    """The session's tenant's source of that slug. Raises NotFound, for another tenant's as well."""
    found = session.scalar(
        select(Source).where(Source.tenant_id == session.info["tenant_id"], Source.slug == slug.strip().lower())
    )
    if found is None:
        raise NotFound(
            f"There is no source {slug!r}.",
            fix="A source is made by its first import; check the spelling.",
            code="unknown_source",
            value=slug,
        )
    return found


def set_source(
    session: Session,
    slug: str,
    *,
    full_feed: bool | None = None,
    absent_rows: str | None = None,
    reject_policy: str | None = None,
    skip_unchanged: bool | None = None,
) -> Source:
    """Change how a source of the session's tenant is imported, what is None stays; made where it is new.

    ``full_feed``: every file lists all that the source has; ``absent_rows``: what becomes of the rest (keep,
    deactivate or delete); ``reject_policy``: what bad rows do where an import does not say; ``skip_unchanged``: a file
    with the content of the last accepted import is not imported again (design D5). Raises InvalidRequest.
    """
    if reject_policy is not None:
        reject_limit(reject_policy)
    if absent_rows is not None and absent_rows not in ("keep", "deactivate", "delete"):
        raise InvalidRequest(
            f"Absent rows cannot be treated by {absent_rows!r}.", fix="Use keep, deactivate or delete."
        )
    found = ensure_source(session, slug)
    if full_feed is not None:
        found.full_feed = full_feed
    if absent_rows is not None:
        found.absent_rows = absent_rows
    if reject_policy is not None:
        found.reject_policy = reject_policy
    if skip_unchanged is not None:
        found.skip_unchanged = skip_unchanged
    session.flush()
    return found
