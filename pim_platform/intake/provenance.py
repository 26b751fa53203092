"""Where a product comes from: the write that made it what it is, and the one that created it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from pim_platform.catalog.models import Product

_JOBS = text("""
SELECT j.id, j.kind, coalesce(a.filename, j.filename), s.slug, coalesce(a.merged_at, j.finished_at, j.created_at),
       coalesce(a.actor, j.actor)
FROM pim.import_jobs j JOIN pim.sources s ON s.tenant_id = j.tenant_id AND s.id = j.source_id
LEFT JOIN pim.import_attempts a ON a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.commit_seq = :seq
WHERE j.tenant_id = :tenant AND j.id = :job
""")

#: The job of a commit: of one of its merges, or of a job that has no merges of its own.
_JOB_OF_COMMIT = text("""
SELECT job_id FROM pim.import_attempts WHERE tenant_id = :tenant AND commit_seq = :seq
UNION ALL SELECT id FROM pim.import_jobs WHERE tenant_id = :tenant AND commit_seq = :seq
LIMIT 1
""")

_AUTHOR = text("""
SELECT actor, request_id FROM pim.product_changes
WHERE tenant_id = :tenant AND commit_seq = :seq AND product_id = :product LIMIT 1
""")


@dataclass(frozen=True)
class Write:
    """One write of a product: by a job (an import, an undo, a bulk edit) or by a request of the API."""

    commit_seq: int
    at: datetime
    source: str | None = None
    job_id: UUID | None = None
    job_kind: str | None = None
    filename: str | None = None
    row: int | None = None
    actor: str | None = None
    request_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The write as the API shows it."""
        return {
            "commit": self.commit_seq,
            "at": self.at.isoformat(),
            "source": self.source,
            "job_id": str(self.job_id) if self.job_id else None,
            "job_kind": self.job_kind,
            "filename": self.filename,
            "row": self.row,
            "actor": self.actor,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Provenance:
    """The last write of a product, and the one that created it; None where it was before such things were kept."""

    last: Write
    created: Write | None


def provenance(session: Session, product: Product) -> Provenance:
    """Who wrote a product of the session's tenant last, and who created it.

    ``row`` is the record of the file, ``source`` the slug of the import's source, else the door (``api``, ``ui``).
    Who wrote by request is known as long as the change log is kept; a creation by request keeps no author.
    """
    last = _write(session, product, product.commit_seq, product.job_id, product.updated_at, row=product.source_row)
    if product.created_seq == product.commit_seq:
        return Provenance(last, last)
    if not product.created_seq:
        return Provenance(last, None)
    given = {"tenant": session.info["tenant_id"], "seq": product.created_seq}
    job_id = session.scalar(_JOB_OF_COMMIT, given)
    return Provenance(last, _write(session, product, product.created_seq, job_id, product.created_at, row=None))


def _write(
    session: Session, product: Product, seq: int, job_id: UUID | None, at: datetime, *, row: int | None
) -> Write:
    given = {"tenant": session.info["tenant_id"], "seq": seq, "job": job_id, "product": product.id}
    author = session.execute(_AUTHOR, given).first()
    actor, request_id = author if author is not None else (None, None)
    job = session.execute(_JOBS, given).first() if job_id is not None else None
    if job is None:
        door = product.source if seq == product.commit_seq else None
        return Write(seq, at, source=door, actor=actor, request_id=request_id)
    _, kind, filename, slug, merged_at, by = job
    return Write(seq, merged_at or at, slug, job_id, kind, filename, row, actor or by, request_id)
