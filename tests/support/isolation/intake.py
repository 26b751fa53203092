"""Cases of ``pim_platform.intake``."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from pim_platform.catalog import deleting, preview, products, schemas
from pim_platform.errors import BadInput, Conflict, NotFound
from pim_platform.intake import (
    assisting,
    bulk,
    cancelling,
    confirming,
    feedback,
    feeds,
    fetching,
    inbox,
    jobs,
    landing,
    lease,
    manifests,
    previews,
    progress,
    promoting,
    proposing,
    publishing,
    raw_rows,
    removing,
    reworking,
    running,
    sources,
    templates,
    undoing,
)
from pim_platform.intake.models import Feed, ImportJob, MappingAnswer, MappingFeedback, Source
from pim_platform.intake.proposal import Proposal, propose
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from tests.support.claude import choosing, stand_in
from tests.support.imports import ACTOR, import_bytes, run_job
from tests.support.isolation.pair import CASES, CONFIRM, CONTENT, Two, case, shown


@case("intake.jobs.get_job")
def _(two: Two) -> Any:
    with two.session() as session:
        for foreign in (two.b.done, two.b.waiting):
            with pytest.raises(NotFound):
                jobs.get_job(session, foreign)
        return jobs.get_job(session, two.a.done, lock=True)


@case("intake.jobs.list_jobs")
def _(two: Two) -> Any:
    with two.session() as session:
        found = jobs.list_jobs(session, limit=1000)
        assert two.a.done in {job.id for job in found}
        return found


@case("intake.jobs.job_json")
def _(two: Two) -> Any:
    with two.session() as session:
        return jobs.job_json(session, jobs.get_job(session, two.a.done))


@case("intake.landing.land")
def _(two: Two) -> Any:
    # Bravo's very bytes, under a key bravo might have used: a job and an upload of alpha's own all the same.
    body = CONTENT.format("bravo", 9).encode()
    landed = landing.land(
        two.workspace,
        two.a.id,
        io.BytesIO(body),
        filename="f.csv",
        source="test",
        origin="api",
        actor=ACTOR,
        idempotency_key=f"k-{uuid4()}",
    )
    assert (landed.new, landed.skipped) == (True, False)
    assert landed.job_id not in (two.b.done, two.b.waiting)
    cancelling.cancel_job(two.workspace, two.a.id, landed.job_id, ACTOR)
    # Bravo imported these bytes and skips what it has; alpha has not.
    fresh = landing.land(
        two.workspace,
        two.a.id,
        io.BytesIO(body),
        filename="f.csv",
        source="test",
        origin="api",
        actor=ACTOR,
        skip_unchanged=True,
        same_while_unfinished=False,
    )
    assert (fresh.new, fresh.skipped) == (True, False)
    cancelling.cancel_job(two.workspace, two.a.id, fresh.job_id, ACTOR)


@case("intake.landing.upload_key")
def _(two: Two) -> Any:
    assert str(two.a.id) in landing.upload_key(two.a.id, "0" * 64)


@case("intake.sources.ensure_source")
def _(two: Two) -> Any:
    with two.session() as session:
        found = sources.ensure_source(session, "test")
        assert found.tenant_id == two.a.id
        return found


@case("intake.proposing.propose_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.propose_job(two.workspace, two.a.id, two.b.waiting)
    return proposing.propose_job(two.workspace, two.a.id, two.land())


@case("intake.proposing.propose_again")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.propose_again(two.workspace, two.a.id, two.b.waiting, {"delimiter": ","})
    return proposing.propose_again(two.workspace, two.a.id, two.proposed(), {"delimiter": ","})


@case("intake.proposing.fail_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        proposing.fail_job(two.workspace, two.a.id, two.b.waiting, BadInput("no"))
    proposing.fail_job(two.workspace, two.a.id, two.proposed(), BadInput("no"))


@case("intake.confirming.confirm_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        confirming.confirm_job(two.workspace, two.a.id, two.b.waiting, actor=ACTOR)
    return confirming.confirm_job(two.workspace, two.a.id, two.proposed(), actor=ACTOR)


@case("intake.confirming.confirm_by_policy")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        confirming.confirm_by_policy(two.workspace, two.a.id, two.b.waiting)
    return confirming.confirm_by_policy(two.workspace, two.a.id, two.proposed())


@case("intake.cancelling.cancel_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        cancelling.cancel_job(two.workspace, two.a.id, two.b.waiting, ACTOR)
    return cancelling.cancel_job(two.workspace, two.a.id, two.proposed(), ACTOR)


@case("intake.lease.claim")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        lease.claim(two.workspace, two.a.id, two.b.waiting)
    return lease.claim(two.workspace, two.a.id, two.confirmed())


@case("intake.running.attempt")
def _(two: Two) -> Any:
    with pytest.raises(NotFound), running.attempt(two.workspace, two.a.id, two.b.waiting):
        pytest.fail("a foreign job was opened")
    return run_job(two.workspace, two.a.id, two.confirmed())


def _stage_by_stage(two: Two, last: str) -> Any:
    job_id = two.confirmed()
    lease.claim(two.workspace, two.a.id, job_id)
    with running.attempt(two.workspace, two.a.id, job_id) as (job, held):
        result: Any = running.stage_job(two.workspace, job, held)
        for step in ("merge_job", "publish_job", "finish_job"):
            if last == "stage_job":
                break
            result = getattr(running, step)(two.workspace, job, held)
            job = result if isinstance(result, ImportJob) else job
            if step == last:
                break
    return result


for _step in ("stage_job", "merge_job", "publish_job", "finish_job"):
    CASES[f"intake.running.{_step}"] = lambda two, step=_step: _stage_by_stage(two, step)


@case("intake.manifests.job_folder")
def _(two: Two) -> Any:
    assert str(two.a.id) in manifests.job_folder(two.a.id, two.a.done)


@case("intake.manifests.attempt_folder")
def _(two: Two) -> Any:
    assert str(two.a.id) in manifests.attempt_folder(two.a.id, two.a.done, 1)


@case("intake.manifests.read_manifest")
def _(two: Two) -> Any:
    return manifests.read_manifest(two.workspace, two.done())


@case("intake.manifests.write_manifest")
def _(two: Two) -> Any:
    job = two.done()
    manifests.write_manifest(two.workspace, job, manifests.read_manifest(two.workspace, job))


@case("intake.manifests.kept_by")
def _(two: Two) -> Any:
    return manifests.kept_by(two.workspace, two.done(), [1])


@case("intake.manifests.merged_attempts")
def _(two: Two) -> Any:
    found = manifests.merged_attempts(two.workspace, two.done())
    assert len(found) == 1
    return found


def _staged(two: Two) -> ImportJob:
    """A dry run of alpha's that waits with its preview."""
    content = f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n".encode()
    return import_bytes(two.workspace, two.a.id, content, dry_run=True, confirm={"mapping": CONFIRM["mapping"]})


@case("intake.previews.store_preview")
def _(two: Two) -> Any:
    previews.store_preview(two.workspace, two.done(), preview.Preview("0", 0, [], 0, []), {"digest": "0"})


@case("intake.previews.preview_summary")
def _(two: Two) -> Any:
    return previews.preview_summary(two.workspace, _staged(two))


@case("intake.previews.preview_files")
def _(two: Two) -> Any:
    with previews.preview_files(two.workspace, _staged(two)) as files:
        return preview.read_lines(files).rows()


@case("intake.promoting.promote_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        promoting.promote_job(two.workspace, two.a.id, two.b.done, ACTOR)
    job = _staged(two)
    promoting.promote_job(two.workspace, two.a.id, job.id, ACTOR)
    return run_job(two.workspace, two.a.id, job.id)


@case("intake.promoting.adopt_staged")
def _(two: Two) -> Any:
    return promoting.adopt_staged(two.workspace, _staged(two))


@case("intake.promoting.why_moved")
def _(two: Two) -> Any:
    return promoting.why_moved(two.workspace, _staged(two), [])


def _with_a_reject(two: Two) -> ImportJob:
    content = f"SKU,Name,Colour,Price\nX-1,alpha {uuid4()},,\n,alpha nobody,,\n".encode()
    return import_bytes(two.workspace, two.a.id, content, confirm={"mapping": CONFIRM["mapping"]})


@case("intake.reworking.rework_job")
def _(two: Two) -> Any:
    content = io.BytesIO(b"SKU,Name,Colour,Price,row\nX-3,alpha corrected,,,3\n")
    with pytest.raises(NotFound):
        reworking.rework_job(two.workspace, two.a.id, two.b.done, content, filename="a.csv", actor=ACTOR)
    job = _with_a_reject(two)
    reworking.rework_job(two.workspace, two.a.id, job.id, content, filename="a.csv", actor=ACTOR)
    done = run_job(two.workspace, two.a.id, job.id)
    assert done.rows_rejected == 0
    return done


@case("intake.reworking.still_rejected")
def _(two: Two) -> Any:
    with TemporaryDirectory() as folder:
        found = reworking.still_rejected(two.workspace, _with_a_reject(two), [], [], None, Path(folder))
    assert found.replaced == 1
    return found


@case("intake.reworking.known_groups")
def _(two: Two) -> Any:
    found = reworking.known_groups(two.workspace, _with_a_reject(two))
    assert found == []
    return found


@case("intake.landing.store_upload")
def _(two: Two) -> Any:
    with (
        landing.store_upload(two.workspace, two.a.id, io.BytesIO(b"alpha bytes")) as stored,
        two.session() as session,
    ):
        return stored.ensure(session)


@case("intake.running.write_rejects")
def _(two: Two) -> Any:
    content = b"SKU,Name,Colour,Price\n,alpha nobody,,\n"
    job = import_bytes(two.workspace, two.a.id, content, confirm={"mapping": CONFIRM["mapping"]})
    path = two.workspace.settings.home_path / f"rejects-{uuid4()}.csv"
    assert running.write_rejects(two.workspace, job, path) == 1
    return path.read_text()


@case("intake.manifests.forget_other_attempts")
def _(two: Two) -> Any:
    manifests.forget_other_attempts(two.workspace, two.done())


@case("intake.raw_rows.raw_row")
def _(two: Two) -> Any:
    import_bytes(two.workspace, two.a.id, b"SKU,Name\nRAW-1,alpha raw\n")  # no other case writes it by API
    with two.session() as session:
        product = products.find_product(session, "RAW-1")
    assert product is not None
    found = raw_rows.raw_row(two.workspace, product)
    assert found is not None
    return found


@case("intake.raw_rows.merged_rows")
def _(two: Two) -> Any:
    with two.session() as session:
        product = products.get_product(session, two.a.product_ids[1])
    found = raw_rows.merged_rows(two.workspace, product)
    assert found == []
    return found


@case("intake.bulk.bulk_upsert")
def _(two: Two) -> Any:
    given = [{"sku": "X-1", "name": "alpha bulk"}, {"sku": f"N-{uuid4()}", "name": "alpha new"}]
    result = bulk.bulk_upsert(two.workspace, two.a.id, given, actor=ACTOR)
    assert result.ledger["created"] == 1
    return result


# Both tenants' commits have the same numbers, and their products the same SKUs.

AUTHOR = deleting.Author("cli", "test")
ALL = deleting.Selection(everything=True)


@case("intake.publishing.publish_now")
def _(two: Two) -> Any:
    return publishing.publish_now(two.workspace, two.a.id)


@case("intake.removing.delete_selection")
def _(two: Two) -> Any:
    return removing.delete_selection(
        two.workspace, two.a.id, deleting.Selection(skus=("nobody's",)), actor=ACTOR, origin="cli"
    )


@case("intake.removing.full_feed_of")
def _(two: Two) -> Any:
    with two.session() as session:
        manifest = manifests.read_manifest(two.workspace, two.done())
        with removing.full_feed_of(two.workspace, session, two.done(), manifest) as feed:
            return feed


@case("intake.removing.release_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        removing.release_job(two.workspace, two.a.id, two.b.waiting, ACTOR)
    with pytest.raises(Conflict):
        removing.release_job(two.workspace, two.a.id, two.a.waiting, ACTOR)


@case("intake.sources.find_source")
def _(two: Two) -> Any:
    with two.session() as session:
        return sources.find_source(session, "test")


@case("intake.sources.set_source")
def _(two: Two) -> Any:
    with two.session() as session:
        return sources.set_source(session, "alpha-only", full_feed=True, absent_rows="keep")


@case("intake.sources.create_source")
def _(two: Two) -> Any:
    settings = sources.SourceSettings(name="alpha's", priority=7)
    with two.session() as session:
        return sources.create_source(session, f"a{uuid4().hex[:8]}", settings, actor=ACTOR)


@case("intake.sources.change_source")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        sources.change_source(session, "bravo-only", sources.SourceSettings(priority=7), actor=ACTOR)
    with two.session() as session:
        return sources.change_source(session, "test", sources.SourceSettings(trust=0.5), actor=ACTOR)


@case("intake.sources.delete_source")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        sources.delete_source(session, "bravo-only", actor=ACTOR)
    slug = f"a{uuid4().hex[:8]}"
    with two.session() as session:
        sources.ensure_source(session, slug)
        sources.delete_source(session, slug, actor=ACTOR)


@case("intake.sources.list_sources")
def _(two: Two) -> Any:
    with two.session() as session:
        page = sources.list_sources(session, limit=1000)
        assert page.sources
        return page.sources


@case("intake.sources.source_json")
def _(two: Two) -> Any:
    with two.session() as session:
        return sources.source_json(session, sources.find_source(session, "test"))


def _alphas_feed(two: Two) -> str:
    slug = f"a{uuid4().hex[:8]}"
    with two.session() as session:
        feeds.allow_host(two.workspace.settings, session, "192.0.2.1", actor=ACTOR)
    feed = feeds.FeedSettings(url="https://192.0.2.1/alpha.csv")
    # An address of documentation is not public, so that nobody is called.
    with pytest.raises(BadInput):
        feeds.set_feed(two.workspace, two.a.id, slug, feed, actor=ACTOR)
    with two.session() as session:
        source = sources.ensure_source(session, slug)
        session.add(Feed(tenant_id=two.a.id, source_id=source.id, url=feed.url))
    return slug


@case("intake.feeds.set_feed")
def _(two: Two) -> Any:
    _alphas_feed(two)


@case("intake.feeds.credentials_of")
def _(two: Two) -> Any:
    return feeds.credentials_of(two.workspace.settings, Feed(url="https://alpha.example/"))


@case("intake.feeds.find_feed")
def _(two: Two) -> Any:
    slug = _alphas_feed(two)
    with two.session() as session:
        return feeds.find_feed(session, sources.find_source(session, slug)).url


@case("intake.feeds.remove_feed")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        feeds.remove_feed(session, "bravo-only", actor=ACTOR)
    with two.session() as session:
        feeds.remove_feed(session, _alphas_feed(two), actor=ACTOR)


@case("intake.feeds.ask_for_fetch")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        feeds.ask_for_fetch(session, "bravo-only", actor=ACTOR)
    slug = _alphas_feed(two)
    with two.session() as session:
        return feeds.ask_for_fetch(session, slug, actor=ACTOR)


@case("intake.feeds.list_hosts")
def _(two: Two) -> Any:
    with two.session() as session:
        return feeds.list_hosts(session)


@case("intake.feeds.allow_host")
def _(two: Two) -> Any:
    with two.session() as session:
        return feeds.allow_host(two.workspace.settings, session, "alpha.example", actor=ACTOR)


@case("intake.feeds.forget_host")
def _(two: Two) -> Any:
    with two.session() as session, pytest.raises(NotFound):
        feeds.forget_host(session, "bravo.example", actor=ACTOR)


@case("intake.feeds.fetch_policy")
def _(two: Two) -> Any:
    with two.session() as session:
        feeds.allow_host(two.workspace.settings, session, "alpha.example", actor=ACTOR)
        return feeds.fetch_policy(two.workspace.settings, session, "https://alpha.example/").hosts


@case("intake.fetching.fetch_url")
def _(two: Two) -> Any:
    with pytest.raises(BadInput):
        fetching.fetch_url(
            two.workspace, two.a.id, "https://bravo.example/x", source="s", origin="api", actor=ACTOR, conditional=False
        )


@case("intake.fetching.fetch_feed")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        fetching.fetch_feed(two.workspace, two.a.id, "bravo-only", actor=ACTOR)
    return fetching.fetch_feed(two.workspace, two.a.id, _alphas_feed(two), actor=ACTOR)


@case("intake.landing.skips_unchanged")
def _(two: Two) -> Any:
    with two.session() as session:
        return landing.skips_unchanged(session, "test", None)


@case("intake.progress.progress_of")
def _(two: Two) -> Any:
    with two.session() as session:
        found = progress.progress_of(session, [two.a.done, two.b.done])
        assert set(found) == {two.a.done}
        return found


@case("intake.undoing.commits_of")
def _(two: Two) -> Any:
    with two.session() as session:
        return undoing.commits_of(session, jobs.get_job(session, two.a.done))


@case("intake.undoing.conflicts_of_undo")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.conflicts_of_undo(two.workspace, two.a.id, two.b.done)
    with pytest.raises(Conflict):
        undoing.conflicts_of_undo(two.workspace, two.a.id, two.a.done)


@case("intake.undoing.preview_undo_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.preview_undo_job(two.workspace, two.a.id, two.b.done)
    return undoing.preview_undo_job(two.workspace, two.a.id, two.a.done)


@case("intake.undoing.undo_job")
def _(two: Two) -> Any:
    with pytest.raises(NotFound):
        undoing.undo_job(two.workspace, two.a.id, two.b.done, actor=ACTOR, origin="cli")
    gone = removing.delete_selection(two.workspace, two.a.id, ALL, actor=ACTOR, origin="cli")
    done = undoing.undo_job(two.workspace, two.a.id, gone.job.id, actor=ACTOR, origin="cli")
    assert done.counts.recreated == gone.deleted
    return done


def _open_proposal() -> Proposal:
    """A proposal with a column that nothing explains."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "open.csv"
        path.write_text("SKU,Name,zq7\nX-1,one,red\nX-2,two,blue\nX-3,three,red\n")
        return propose(path)


@case("intake.assisting.assist")
def _(two: Two) -> Any:
    with stand_in() as server:
        server.script = choosing({"zq7": {"field": "color"}})
        asking = Workspace(server.settings(two.workspace.settings))
        with two.session() as session:
            schema = schemas.current_schema(session)
        proposal = _open_proposal()
        for _ in range(2):
            found = assisting.assist(asking, two.a.id, two.a.waiting, proposal, schema, {})
        assert len(server.asked) == 1, "the second time alpha's own answer is taken"
        with two.session() as session:
            kept = list(session.scalars(select(MappingAnswer)))
            assert {row.tenant_id for row in kept} == {two.a.id}
        return found


@case("intake.feedback.remember_feedback")
def _(two: Two) -> Any:
    with two.session() as session:
        job = jobs.get_job(session, two.a.waiting)
        proposed = proposing.suggested_mapping(job)
        feedback.remember_feedback(session, job, proposed, proposed, actor="test", evidence="policy")
        session.flush()
        return [shown(row) for row in session.scalars(select(MappingFeedback))]


@case("intake.feedback.learned_columns")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        job = jobs.get_job(session, two.b.waiting)
        if not feedback.learned_columns(session, job, ["only bravo's"]):
            pytest.fail("bravo has taught it (see `two`)")
    with two.session() as session:
        found = feedback.learned_columns(session, jobs.get_job(session, two.a.waiting), ["only bravo's", "Colour"])
        assert set(found) == {"colour"}
        return found


@case("intake.feedback.mapping_accuracy")
def _(two: Two) -> Any:
    with two.session() as session:
        source = session.scalar(select(Source.id).where(Source.slug == "test"))
        found = feedback.mapping_accuracy(session, source)
        own = session.scalar(
            text("SELECT count(*) FROM pim.mapping_feedback WHERE tenant_id = :t AND evidence = 'person'"),
            {"t": two.a.id},
        )
        assert sum(one.columns for one in feedback.mapping_accuracy(session)) == own
        return found


@case("intake.templates.list_templates")
def _(two: Two) -> Any:
    with two.session() as session:
        found = templates.list_templates(session, "test")
        assert found
        return found


@case("intake.templates.delete_template")
def _(two: Two) -> Any:
    with tenant_session(two.workspace.app, two.b.id) as session:
        theirs = {one.fingerprint for one in templates.list_templates(session)}
    with two.session() as session:
        own = {one.fingerprint for one in templates.list_templates(session)}
        for fingerprint in theirs - own:
            with pytest.raises(NotFound):
                templates.delete_template(session, "test", fingerprint, actor=ACTOR)
        # The same header from a source of the same name: alpha's own goes, bravo's stays.
        templates.delete_template(session, "test", min(theirs & own), actor=ACTOR)
        session.rollback()


@case("intake.inbox.take")
def _(two: Two) -> Any:
    key = f"inbox/{two.a.tenant.slug}/s/{uuid4()}.csv"
    two.workspace.objects.put_bytes(key, b"SKU,Name\nX-1,alpha dropped\n")
    return inbox.take(two.workspace, inbox.Dropped(key, str(uuid4()), two.a.tenant.slug, "s", "a.csv"))
