"""Sources: where a tenant's files come from (design D1)."""

from __future__ import annotations

import re

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pim_platform.errors import InvalidRequest
from pim_platform.intake.models import Source

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
