"""Landing: a file's bytes are stored once, hashed on the way, and an import job is made for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pim_platform.errors import InvalidRequest
from pim_platform.intake.dialect import parse_changes
from pim_platform.intake.models import ImportJob, Source
from pim_platform.intake.reject_policies import reject_limit
from pim_platform.intake.sources import ensure_source
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.object_store import Digest, SpooledFile, spool
from pim_platform.storage.postgres import tenant_session
from pim_platform.storage.scratch import scratch_folder
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.quotas import require_storage

Origin = Literal["cli", "api", "ui", "inbox", "feed"]
#: What becomes of products that a full feed holds no more (design D6).
AbsentRows = Literal["keep", "deactivate", "delete"]

#: Jobs in these states still have something to happen: the same file again means the same job (design D5).
UNFINISHED = ("pending", "mapping", "confirmed", "staging", "staged", "held", "importing")

_NAME_LENGTH = 255


@dataclass(frozen=True)
class Landed:
    """What became of a file: its job, and whether that is new.

    ``skipped``: the source skips what it has imported already; the job is the import that has this content.
    """

    job_id: UUID
    new: bool
    skipped: bool = False


def upload_key(tenant_id: UUID, sha256: str) -> str:
    """Where a file's bytes lie (design D21)."""
    return f"tenants/{tenant_id}/uploads/{sha256}/original"


def land(
    workspace: Workspace,
    tenant_id: UUID,
    content: BinaryIO | SpooledFile,
    *,
    filename: str,
    source: str,
    origin: Origin,
    actor: Actor,
    idempotency_key: str | None = None,
    dry_run: bool = False,
    reject_policy: str | None = None,
    full_feed: bool = False,
    absent_rows: AbsentRows | None = None,
    skip_unchanged: bool | None = None,
    same_while_unfinished: bool = True,
    dialect: Mapping[str, Any] | None = None,
) -> Landed:
    """Store a file and make its job.

    The same bytes from the same source give the same job while that is unfinished, and under the same
    ``idempotency_key`` for ever; else a new one. With ``skip_unchanged`` the content of the source's last accepted
    import makes none: a refresh that brings nothing new is skipped (design D5). A ``full_feed`` (or one of a source
    that sends only such) lists all that its source has; ``absent_rows`` says what becomes of the rest.
    ``skip_unchanged``, ``absent_rows`` and ``reject_policy`` (else ``skip``) are the source's where they are None.
    ``dialect``: fields of the file's dialect that are known; a job that still waits for its mapping is proposed
    anew with them. Raises InvalidRequest (too large, a key used for another file, an unknown policy,
    ``invalid_dialect``).
    """
    if reject_policy is not None:
        reject_limit(reject_policy)
    given = parse_changes(dialect) if dialect else None
    name = PurePosixPath(filename.replace("\\", "/")).name[:_NAME_LENGTH] or "upload"
    try:
        with (
            store_upload(workspace, tenant_id, content) as stored,
            tenant_session(workspace.app, tenant_id) as session,
        ):
            sender = ensure_source(session, source)
            source_id, full_feed = sender.id, full_feed or sender.full_feed
            upload_id = stored.ensure(session)
            known = _known(
                session, source_id, upload_id, idempotency_key, dry_run, full_feed, same=same_while_unfinished
            )
            if known is not None:
                if given and idempotency_key is None and known.state in ("pending", "mapping"):
                    known.state, known.given_dialect = "pending", given
                return Landed(known.id, new=False)
            skips = skips_unchanged(session, source, skip_unchanged)
            last = _accepted(session, sender, upload_id, full_feed) if skips and not dry_run and not given else None
            if last is not None:
                record(session, actor, "import.skipped", "import", str(last.id), filename=name)
                return Landed(last.id, new=False, skipped=True)
            job = ImportJob(
                tenant_id=tenant_id,
                source_id=source_id,
                upload_id=upload_id,
                filename=name,
                format=PurePosixPath(name).suffix.lstrip(".").lower() or "csv",
                origin=origin,
                actor=actor.name,
                idempotency_key=idempotency_key,
                dry_run=dry_run,
                reject_policy=reject_policy or sender.reject_policy or "skip",
                full_feed=full_feed,
                absent_rows=absent_rows,
                given_dialect=given,
            )
            session.add(job)
            session.flush()
            details = {"filename": name, "size_bytes": stored.digest.size}
            record(session, actor, "import.landed", "import", str(job.id), **details)
            return Landed(job.id, new=True)
    except IntegrityError:
        if idempotency_key is None:
            raise
        # Another request with the same key was faster; its job is the answer.
        with tenant_session(workspace.app, tenant_id) as session:
            found = _by_key(session, idempotency_key)
            if found is None:
                raise
            return Landed(found.id, new=False)


_KNOWN_BYTES = text("SELECT id FROM pim.uploads WHERE tenant_id = :tenant AND sha256 = :sha")


@dataclass(frozen=True)
class StoredUpload:
    """Bytes that lie in the object store, and the local copy that they came from."""

    workspace: Workspace
    path: Path
    digest: Digest
    key: str

    def ensure(self, session: Session) -> UUID:
        """The id of the upload's row, made where it is missing; from here on no collector removes its bytes.

        The row is locked until the session's transaction ends, and whoever removes bytes locks it too: what a
        collector took a moment before is stored again.
        """
        parameters = {
            "tenant": session.info["tenant_id"],
            "sha": self.digest.sha256,
            "size": self.digest.size,
            "key": self.key,
        }
        if session.scalar(_KNOWN_BYTES, parameters) is None:
            require_storage(session, self.digest.size)
        session.execute(
            text(
                "INSERT INTO pim.uploads (tenant_id, sha256, size_bytes, object_key) VALUES (:tenant, :sha, :size, "
                ":key) ON CONFLICT (tenant_id, sha256) DO NOTHING"
            ),
            parameters,
        )
        found: UUID = session.scalars(
            text("SELECT id FROM pim.uploads WHERE tenant_id = :tenant AND sha256 = :sha FOR KEY SHARE"), parameters
        ).one()
        if not self.workspace.objects.exists(self.key):
            self.workspace.objects.put_file(self.key, self.path, given_up=True)
        return found


@contextmanager
def store_upload(workspace: Workspace, tenant_id: UUID, content: BinaryIO | SpooledFile) -> Iterator[StoredUpload]:
    """Store a stream's bytes under their hash. Raises InvalidRequest where they are too many.

    A file that was spooled before is given up by its owner: it is neither copied nor hashed again.
    """
    with scratch_folder("land") as scratch:
        if isinstance(content, SpooledFile):
            path, digest = content.path, content.digest
        else:
            path = scratch / "original"
            digest = spool(content, path, limit=workspace.settings.max_upload_bytes)
        key = upload_key(tenant_id, digest.sha256)
        if not workspace.objects.exists(key):
            with tenant_session(workspace.app, tenant_id) as session:
                require_storage(session, digest.size)  # asked again where its row is made; bytes cost from here on
            workspace.objects.put_file(key, path, given_up=True)
        yield StoredUpload(workspace, path, digest, key)


def skips_unchanged(session: Session, source: str, wanted: bool | None) -> bool:
    """Whether the content of a source's last accepted import is skipped: as ``wanted``, else as the source says."""
    return ensure_source(session, source).skip_unchanged if wanted is None else wanted


def _by_key(session: Session, idempotency_key: str) -> ImportJob | None:
    return session.scalar(
        select(ImportJob).where(
            ImportJob.tenant_id == session.info["tenant_id"], ImportJob.idempotency_key == idempotency_key
        )
    )


def _accepted(session: Session, source: Source, upload_id: UUID, full_feed: bool) -> ImportJob | None:
    """The source's last accepted import, where it imported these bytes as the same kind of feed and is in force.

    An undone import is not: its source has another last one then, or none.
    """
    if source.last_accepted_job_id is None:
        return None
    last = session.get(ImportJob, (source.tenant_id, source.last_accepted_job_id))
    same = last is not None and (last.upload_id, last.full_feed, last.state) == (upload_id, full_feed, "done")
    return last if same else None


def _known(
    session: Session,
    source_id: UUID,
    upload_id: UUID,
    idempotency_key: str | None,
    dry_run: bool,
    full_feed: bool,
    *,
    same: bool,
) -> ImportJob | None:
    if idempotency_key is not None:
        found = _by_key(session, idempotency_key)
        if found is not None and found.upload_id != upload_id:
            raise InvalidRequest(
                f"The Idempotency-Key {idempotency_key!r} was used for another file.",
                fix="Send a new key with a new file.",
                code="idempotency_key_reused",
            )
        return found
    if not same:
        return None
    return session.scalar(
        select(ImportJob)
        .where(
            ImportJob.tenant_id == session.info["tenant_id"],
            ImportJob.source_id == source_id,
            ImportJob.upload_id == upload_id,
            ImportJob.dry_run == dry_run,
            ImportJob.full_feed == full_feed,
            ImportJob.state.in_(UNFINISHED),
        )
        .order_by(ImportJob.created_at.desc())
        .limit(1)
    )
