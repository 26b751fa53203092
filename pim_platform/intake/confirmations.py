"""What somebody was shown and may confirm by a token, once, within an hour (bulk edits and deletes, schema changes).

The request is kept with its token, so what is confirmed is what was shown and nothing that is sent later.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from pim_platform.errors import Conflict, NotFound
from pim_platform.intake.models import Confirmation, ImportJob

Kind = Literal["edit", "delete", "schema"]

#: How long a person may look at a preview.
LIFETIME = timedelta(hours=1)
#: Used and expired ones are kept so long, for an answer that says so.
_KEPT = timedelta(days=1)

_TOKEN_BYTES = 24


def ask_confirmation(session: Session, kind: Kind, request: dict[str, Any], actor: str) -> Confirmation:
    """Keep a request of the session's tenant and give it a token; tokens of long ago are forgotten."""
    tenant_id = session.info["tenant_id"]
    session.execute(
        delete(Confirmation).where(
            Confirmation.tenant_id == tenant_id, Confirmation.expires_at < datetime.now(UTC) - _KEPT
        )
    )
    made = Confirmation(
        tenant_id=tenant_id,
        token=f"confirm_{secrets.token_urlsafe(_TOKEN_BYTES)}",
        kind=kind,
        request=request,
        actor=actor,
        expires_at=datetime.now(UTC) + LIFETIME,
    )
    session.add(made)
    session.flush()
    return made


def find_confirmation(session: Session, kind: Kind, token: str) -> Confirmation:
    """The confirmation of that token, its row locked until the transaction ends.

    Raises NotFound (``unknown_token``, also for another tenant's), Conflict (``already_confirmed`` with the job as
    value, ``token_expired``).
    """
    found = session.scalar(
        select(Confirmation)
        .where(
            Confirmation.tenant_id == session.info["tenant_id"],
            Confirmation.token == token,
            Confirmation.kind == kind,
        )
        .with_for_update()
    )
    if found is None:
        raise NotFound("There is no such token.", fix="Ask for a preview; it answers with one.", code="unknown_token")
    if found.used_at is not None:
        raise Conflict(
            "This was confirmed already.",
            fix="Ask for a preview to do it again.",
            code="already_confirmed",
            value=str(found.job_id) if found.job_id else None,
        )
    if found.expires_at < datetime.now(UTC):
        raise Conflict("The token has expired.", fix="Ask for a preview again.", code="token_expired")
    return found


def use_confirmation(found: Confirmation, job: ImportJob | None) -> None:
    """Note that a confirmation is used up, and by which job."""
    found.used_at, found.job_id = func.clock_timestamp(), job.id if job is not None else None
