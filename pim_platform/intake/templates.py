"""Mapping templates: what a source's files of one header were confirmed with, listed and forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pim_platform.errors import NotFound
from pim_platform.intake.mapping import Mapping
from pim_platform.intake.models import MappingTemplate, Source
from pim_platform.tenancy.audit import Actor, record


@dataclass(frozen=True)
class Template:
    """A saved mapping: files of ``source`` whose header has this ``fingerprint`` get it without being asked."""

    source: str
    fingerprint: str
    mapping: Mapping
    job_id: UUID
    updated_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The names that API and CLI show."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "headers": self.mapping.headers,
            "mapping": self.mapping.flat(),
            "columns": [column.model_dump() for column in self.mapping.columns],
            "job_id": self.job_id,
            "updated_at": self.updated_at,
        }


def list_templates(session: Session, source: str | None = None) -> list[Template]:
    """The saved mappings of the session's tenant, newest first; of one source, if given."""
    tenant_id = session.info["tenant_id"]
    query = (
        select(MappingTemplate, Source.slug)
        .join(Source, (Source.tenant_id == MappingTemplate.tenant_id) & (Source.id == MappingTemplate.source_id))
        .where(MappingTemplate.tenant_id == tenant_id)
        .order_by(MappingTemplate.updated_at.desc(), Source.slug, MappingTemplate.header_fingerprint)
    )
    if source is not None:
        query = query.where(Source.slug == source)
    return [
        Template(
            slug,
            row.header_fingerprint,
            Mapping.model_validate({"columns": row.mapping}),
            row.job_id,
            row.updated_at,
        )
        for row, slug in session.execute(query)
    ]


def delete_template(session: Session, source: str, fingerprint: str, *, actor: Actor) -> None:
    """Forget a saved mapping: the next file of that header is proposed anew. Raises NotFound.

    What people decided about its columns stays as feedback.
    """
    tenant_id = session.info["tenant_id"]
    found = session.execute(
        delete(MappingTemplate)
        .where(
            MappingTemplate.tenant_id == tenant_id,
            MappingTemplate.header_fingerprint == fingerprint,
            MappingTemplate.source_id.in_(
                select(Source.id).where(Source.tenant_id == tenant_id, Source.slug == source)
            ),
        )
        .returning(MappingTemplate.source_id)
    ).first()
    if found is None:
        raise NotFound(
            "There is no such mapping template.",
            fix="List the templates: each has its source and its fingerprint.",
            code="unknown_template",
        )
    record(session, actor, "mapping_template.deleted", "mapping_template", fingerprint, source=source)
