"""Fetching: a file comes from a URL instead of from somebody's hand, and goes the same way from there.

What a server says of a file (``ETag``, ``Last-Modified``) is kept with the import it became, and sent the next time: as
long as that import is on its way or in force, 304 means that there is nothing to do. Bytes go into a scratch file and
from there into the object store, so a fetch that dies leaves nothing but scratch. What fails leaves the catalogue as it
is: a feed that is gone removes no product, and one that shrank is held by the rule for absent rows.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pim_platform.errors import BadInput, Conflict, EngineUnavailable, PimError, RemoteUnavailable
from pim_platform.intake.confirming import confirm_by_policy
from pim_platform.intake.feeds import credentials_of, fetch_policy, find_feed, next_due
from pim_platform.intake.landing import UNFINISHED, Origin, land
from pim_platform.intake.lease import is_alive, this_process
from pim_platform.intake.models import Feed, FetchedFile, ImportJob, Source
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.sources import ensure_source, find_source
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.object_store import SpooledFile
from pim_platform.storage.outbound import Downloaded, Policy, download
from pim_platform.storage.postgres import tenant_session
from pim_platform.storage.scratch import clear_dead_scratch, scratch_folder
from pim_platform.tenancy.audit import Actor, record
from pim_platform.tenancy.models import Tenant

Outcome = Literal["landed", "not_modified", "skipped", "failed"]

#: Tries of one fetch, where trying again may help at once; what takes longer to pass is tried again when it is due.
_TRIES = 3
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to.

    ``landed``: the file is the job's, which is ``new`` unless the same bytes were on their way already;
    ``not_modified`` (the server said so) and ``skipped`` (its bytes say so): the job has this content already;
    ``failed``: ``error_code`` and ``error`` say why, and there is a job only where the file came but cannot be read.
    """

    outcome: Outcome
    job_id: UUID | None
    http_status: int | None
    new: bool = False
    error_code: str | None = None
    error: str | None = None
    transient: bool = False
    retry_after: float | None = None
    """Seconds that the server asked to be left alone for."""


def fetch_url(
    workspace: Workspace,
    tenant_id: UUID,
    url: str,
    *,
    source: str,
    origin: Origin,
    actor: Actor,
    conditional: bool,
    seconds: float | None = None,
    credentials: list[str] | None = None,
    **options: Any,
) -> Fetched:
    """Fetch a file for a source and land it; with ``conditional`` only if it is another than the last one.

    ``credentials``: user and password, or a token. ``options`` are those of
    :func:`pim_platform.intake.landing.land`. Raises AddressRefused (also where a redirect leads where it must not),
    RemoteRefused, RemoteUnavailable after some tries, and what landing raises. Nothing is kept of what failed.
    """
    clear_dead_scratch()
    with tenant_session(workspace.app, tenant_id) as session:
        policy = fetch_policy(workspace.settings, session, url)
        source_id = ensure_source(session, source).id
        known = _still_valid(session, source_id, url) if conditional else None
    with scratch_folder("fetch") as folder, SpooledFile(folder / "fetched") as into:
        got = _download(
            workspace,
            url,
            into,
            policy,
            _headers(known, credentials),
            seconds or workspace.settings.outbound_fetch_seconds,
        )
        if got.status == 304:
            if known is None:
                raise RemoteUnavailable(
                    "The server answered 304 to a request that asked for the file.", fix="Try again later."
                )
            return Fetched("not_modified", known.job_id, got.status)
        into.close()  # all of it is in the file now
        landed = land(
            workspace,
            tenant_id,
            into,
            filename=got.file_name,
            source=source,
            origin=origin,
            actor=actor,
            **options,
        )
    if not options.get("dry_run"):
        _remember(workspace, tenant_id, source_id, url, got, landed.job_id)
    return Fetched("skipped" if landed.skipped else "landed", landed.job_id, got.status, new=landed.new)


def _download(
    workspace: Workspace, url: str, into: SpooledFile, policy: Policy, headers: Mapping[str, str], seconds: float
) -> Downloaded:
    again = Retrying(
        retry=retry_if_exception(_may_pass_at_once),
        stop=stop_after_attempt(_TRIES),
        wait=_pause,
        reraise=True,
    )

    def once() -> Downloaded:
        into.restart()
        limit = workspace.settings.max_upload_bytes
        return download(url, into, policy, max_bytes=limit, seconds=seconds, headers=headers)

    return again(once)


def _may_pass_at_once(error: BaseException) -> bool:
    return isinstance(error, RemoteUnavailable) and (error.retry_after or 0.0) <= _LONGEST_PAUSE_SECONDS


def _pause(state: RetryCallState) -> float:
    usual = wait_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)(state)
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RemoteUnavailable) else None
    return max(usual, asked or 0.0)


def _headers(known: FetchedFile | None, credentials: list[str] | None) -> dict[str, str]:
    sent = {"Accept": "*/*"}
    if known is not None and known.etag is not None:
        sent["If-None-Match"] = known.etag
    if known is not None and known.last_modified is not None:
        sent["If-Modified-Since"] = known.last_modified
    if credentials is not None:
        # Two are user and password, one is a token. The caller drops it where a redirect leads to another origin.
        both = base64.b64encode(":".join(credentials).encode()).decode()
        sent["Authorization"] = f"Basic {both}" if len(credentials) > 1 else f"Bearer {credentials[0]}"
    return sent


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _still_valid(session: Session, source_id: UUID, url: str) -> FetchedFile | None:
    """What was said of the file that was fetched last, where what became of it is on its way or in force.

    Else the server must send it again: an import that failed or was undone left nothing of it in the catalogue.
    """
    own = session.info["tenant_id"]
    known = session.get(FetchedFile, (own, source_id, _digest(url)))
    if known is None or (known.etag is None and known.last_modified is None):
        return None
    job = session.get_one(ImportJob, (own, known.job_id))
    last = session.get_one(Source, (own, source_id)).last_accepted_job_id
    return known if job.state in UNFINISHED or (job.state == "done" and job.id == last) else None


def _remember(workspace: Workspace, tenant_id: UUID, source_id: UUID, url: str, got: Downloaded, job_id: UUID) -> None:
    values = {
        "etag": got.etag,
        "last_modified": got.last_modified,
        "job_id": job_id,
        "fetched_at": func.clock_timestamp(),
    }
    key = {"tenant_id": tenant_id, "source_id": source_id, "url_sha256": _digest(url)}
    with tenant_session(workspace.app, tenant_id) as session:
        session.execute(
            insert(FetchedFile).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
        )


def fetch_feed(workspace: Workspace, tenant_id: UUID, slug: str, *, actor: Actor) -> Fetched:
    """Fetch a source's file from where its feed says, propose its mapping and confirm it where the policy allows.

    What becomes of it is written into the feed's row, failures too, together with when it is due again. Raises
    NotFound, Conflict (``already_fetching``), EngineUnavailable.
    """
    feed, source = _claim(workspace, tenant_id, slug)
    with _beating(workspace, feed):
        try:
            found = _fetch(workspace, feed, source, actor)
        except EngineUnavailable:
            raise  # nothing can be noted: the lease grows old, and the feed is due again
        except PimError as error:
            status = error.place.get("status")
            found = Fetched(
                "failed",
                None,
                status,
                error_code=error.code,
                error=str(error),
                transient=error.transient,
                retry_after=error.retry_after if isinstance(error, RemoteUnavailable) else None,
            )
        except BaseException as error:
            found = Fetched("failed", None, None, error_code="internal", error=type(error).__name__, transient=True)
            with suppress(EngineUnavailable):
                _settle(workspace, feed, found, actor)
            raise
    _settle(workspace, feed, found, actor)
    return found


def _fetch(workspace: Workspace, feed: Feed, source: str, actor: Actor) -> Fetched:
    credentials = credentials_of(workspace.settings, feed)
    found = fetch_url(
        workspace,
        feed.tenant_id,
        feed.url,
        source=source,
        origin="feed",
        actor=actor,
        conditional=True,
        credentials=credentials,
    )
    if found.outcome != "landed" or found.job_id is None:
        return found
    try:
        propose_job(workspace, feed.tenant_id, found.job_id)
        confirm_by_policy(workspace, feed.tenant_id, found.job_id)
    except BadInput as error:  # the job has failed with it
        return Fetched("failed", found.job_id, found.http_status, error_code=error.code, error=str(error))
    return found


def _claim(workspace: Workspace, tenant_id: UUID, slug: str) -> tuple[Feed, str]:
    with tenant_session(workspace.app, tenant_id) as session:
        source = find_source(session, slug)
        feed = find_feed(session, source, lock=True)
        now = _now(session)
        fresh = timedelta(seconds=workspace.settings.lease_timeout_seconds)
        if feed.lease_at is not None and now - feed.lease_at < fresh and is_alive(feed.lease_owner) is not False:
            raise Conflict(
                f"The file of {source.slug!r} is being fetched.",
                fix="Wait for it; the source shows what became of it.",
                code="already_fetching",
            )
        feed.lease_at, feed.lease_owner = now, this_process()
        return feed, source.slug


def _now(session: Session) -> datetime:
    found = session.scalar(select(func.clock_timestamp()))
    assert isinstance(found, datetime)
    return found


@contextmanager
def _beating(workspace: Workspace, feed: Feed) -> Iterator[None]:
    """Keep the feed's lease fresh while the block runs: a download may take an hour."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(workspace.settings.lease_heartbeat_seconds):
            with suppress(SQLAlchemyError, EngineUnavailable), tenant_session(workspace.app, feed.tenant_id) as session:
                session.execute(
                    text(
                        "UPDATE pim.feeds SET lease_at = clock_timestamp() "
                        "WHERE tenant_id = :tenant AND source_id = :source AND lease_owner = :owner"
                    ),
                    {"tenant": feed.tenant_id, "source": feed.source_id, "owner": feed.lease_owner},
                )

    thread = threading.Thread(target=beat, name=f"feed-{feed.source_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _settle(workspace: Workspace, feed: Feed, found: Fetched, actor: Actor) -> None:
    """Write what became of a fetch into the feed's row, unless another one has taken it over or it is gone."""
    with tenant_session(workspace.app, feed.tenant_id) as session:
        row = session.get(Feed, (feed.tenant_id, feed.source_id), with_for_update=True)
        if row is None or row.lease_owner != feed.lease_owner:
            return
        row.lease_at, row.lease_owner = None, None
        if row.url != feed.url:  # somebody gave it another address meanwhile, and it is due
            return
        now = _now(session)
        row.failures = row.failures + 1 if found.outcome == "failed" else 0
        zone = session.get_one(Tenant, feed.tenant_id).timezone
        retries = row.failures if found.transient else 0
        rhythm = (row.interval_seconds, row.cron, zone, now.astimezone(UTC))
        row.due_at = next_due(*rhythm, retries=retries, wait=found.retry_after or 0.0)
        row.fetched_at, row.outcome, row.http_status = now, found.outcome, found.http_status
        row.error_code, row.error, row.job_id = found.error_code, found.error, found.job_id
        if found.outcome == "failed":
            record(session, actor, "feed.failed", "source", str(feed.source_id), error_code=found.error_code)
    if found.outcome == "failed":
        _log.warning("feed of source %s failed: %s", feed.source_id, found.error_code)
