"""Bad input: each a clear error with code, place and fix, and the same told by the job's row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from pim_platform.errors import BadInput, Conflict, InvalidMapping, InvalidRequest, NotFound, PimError, UnreadableFile
from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.inbox import Dropped, take
from pim_platform.intake.jobs import get_job, parse_job_id
from pim_platform.intake.lease import claim
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo, find_tenant
from tests.support.imports import ACTOR, import_bytes, land_bytes, run_job

MakeTenant = Callable[..., TenantInfo]

GOOD = b"SKU,Name,Colour\nA,Alpha,red\nB,Beta,blue\n"


def job_of(workspace: Workspace, tenant_id: UUID, job_id: UUID) -> ImportJob:
    with tenant_session(workspace.app, tenant_id) as session:
        return get_job(session, job_id)


def clear(error: PimError) -> None:
    """Said in a sentence, with a code and a fix."""
    assert error.message
    assert error.fix
    assert error.code not in ("error", "bad_input")


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"", "empty_file", "empty"),
        (b"\n\n \n", "empty_file", ""),
        (b"SKU,Name,Price\n", "header_only", "no records"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 40, "not_text", ""),
        (b"\x00\x01\x02\xff\xfe\xfd" * 500, "not_text", ""),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 20, "not_text", ""),
    ],
    ids=["nothing", "blank lines", "header only", "program", "noise", "PDF"],
)
def test_a_file_without_records_fails_its_job_and_says_why(
    workspace: Workspace, make_tenant: MakeTenant, content: bytes, code: str, says: str
) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, content, filename="odd.csv")

    with pytest.raises(UnreadableFile) as caught:
        propose_job(workspace, tenant.id, job_id)

    clear(caught.value)
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.place["file"] == "odd.csv"
    assert "odd.csv" in caught.value.message
    job = job_of(workspace, tenant.id, job_id)
    assert (job.state, job.reason_code, job.reason) == ("failed", code, str(caught.value))
    assert job.finished_at is not None
    with pytest.raises(Conflict) as confirming:
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
    assert confirming.value.code == "job_failed"
    clear(confirming.value)


def test_a_file_without_a_sku_column_waits_and_cannot_be_confirmed_as_it_is(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, b"Title,Colour\nAlpha,red\nAlpha,blue\n")
    assert propose_job(workspace, tenant.id, job_id).state == "mapping"

    with pytest.raises(InvalidMapping) as caught:
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR)

    clear(caught.value)
    assert caught.value.code == "no_sku_column"
    assert "'Title', 'Colour'" in caught.value.message, "it names what there is"
    assert job_of(workspace, tenant.id, job_id).state == "mapping", "the person may try again"
    confirm_job(workspace, tenant.id, job_id, actor=ACTOR, mapping={"Title": "sku", "Colour": "name"})
    assert run_job(workspace, tenant.id, job_id).state == "done"


def test_an_unknown_tenant_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound) as caught:
        find_tenant(workspace.app, "nobody")
    clear(caught.value)
    assert (caught.value.code, caught.value.place["value"]) == ("unknown_tenant", "nobody")
    taken = take(workspace, Dropped("inbox/nobody/s/a.csv", "1@now", "nobody", "s", "a.csv"))
    assert taken.job_id is None
    assert "nobody" in str(taken.problem)


@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
def test_an_unknown_and_a_foreign_job_look_the_same(workspace: Workspace, make_tenant: MakeTenant, whose: str) -> None:
    mine, other = make_tenant(), make_tenant()
    foreign = land_bytes(workspace, other.id, GOOD)
    propose_job(workspace, other.id, foreign)
    job_id = foreign if whose == "another tenant's" else uuid4()

    calls: list[Callable[[], Any]] = [
        lambda: propose_job(workspace, mine.id, job_id),
        lambda: confirm_job(workspace, mine.id, job_id, actor=ACTOR),
        lambda: claim(workspace, mine.id, job_id),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        clear(caught.value)
        assert (caught.value.code, caught.value.place) == ("unknown_job", {"value": str(job_id)})
    assert job_of(workspace, other.id, foreign).state == "mapping"


def test_what_is_no_id_is_no_job() -> None:
    with pytest.raises(NotFound) as caught:
        parse_job_id("12; drop table")
    clear(caught.value)
    assert caught.value.code == "unknown_job"


def test_confirming_twice_is_refused_and_changes_nothing(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, GOOD)
    with pytest.raises(Conflict) as early:
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
    assert early.value.code == "not_proposed"
    propose_job(workspace, tenant.id, job_id)
    before = confirm_job(workspace, tenant.id, job_id, actor=ACTOR)

    with pytest.raises(Conflict) as caught:
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR, mapping={"SKU": "sku"})

    clear(caught.value)
    assert caught.value.code == "already_confirmed"
    assert job_of(workspace, tenant.id, job_id).mapping == before.mapping


@pytest.mark.parametrize(
    ("mapping", "code", "names"),
    [
        ({"SKU": "sku", "Name": "name", "Colour": "no_such_field"}, "unknown_field", ["'Colour'", "'no_such_field'"]),
        ({"SKU": "sku", "Name": "name", "Shade": "name"}, "unknown_column", ["'Shade'"]),
        ({"SKU": "sku", "Name": "name", "Colour": "name"}, "duplicate_field", ["'Name'", "'Colour'", "'name'"]),
        ({"SKU": "sku", "Name": "sku"}, "duplicate_field", ["'SKU'", "'Name'", "'sku'"]),
        ({"Name": "name"}, "no_sku_column", ["'SKU'"]),
    ],
)
def test_a_mapping_that_cannot_be_applied_is_refused_with_its_place(
    workspace: Workspace, make_tenant: MakeTenant, mapping: dict[str, str], code: str, names: list[str]
) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, GOOD)
    propose_job(workspace, tenant.id, job_id)

    with pytest.raises(InvalidMapping) as caught:
        confirm_job(workspace, tenant.id, job_id, actor=ACTOR, mapping=mapping, fields=[])

    clear(caught.value)
    assert caught.value.code == code
    for name in names:
        assert name in caught.value.message
    assert job_of(workspace, tenant.id, job_id).state == "mapping"


def test_two_columns_may_feed_a_field_that_holds_several(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job = import_bytes(
        workspace,
        tenant.id,
        b"SKU,Name,Image 1,Image 2\nA,Alpha,a.jpg,b.jpg\nB,Beta,,c.jpg\nC,Gamma,,\n",
        confirm={
            "mapping": {"SKU": "sku", "Name": "name", "Image 1": "pictures", "Image 2": "pictures"},
            "fields": [{"name": "pictures", "type": "array"}],
        },
    )
    assert job.state == "done"
    rows = workspace.clickhouse.query(
        "SELECT sku, JSONExtract(data, 'pictures', 'Array(String)') FROM segmentation.products "
        "WHERE tenant_id = {t:String} ORDER BY sku",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert [(sku, list(found)) for sku, found in rows] == [("A", ["a.jpg", "b.jpg"]), ("B", ["c.jpg"]), ("C", [])]


@pytest.mark.parametrize(("policy", "code"), [("stop_first", "row_rejected"), ("stop_above:10%", "too_many_rejects")])
def test_a_reject_policy_that_stops_fails_the_job_and_writes_nothing(
    workspace: Workspace, make_tenant: MakeTenant, policy: str, code: str
) -> None:
    tenant = make_tenant()
    content = b"SKU,Name\nA,Alpha\n,Nobody\nB,Beta\n"

    with pytest.raises(BadInput) as caught:
        import_bytes(workspace, tenant.id, content, reject_policy=policy, filename="some.csv")

    clear(caught.value)
    assert caught.value.code == code
    assert (caught.value.place["file"], caught.value.place["row"], caught.value.place["column"]) == (
        "some.csv",
        3,
        "SKU",
    )
    with tenant_session(workspace.app, tenant.id) as session:
        from pim_platform.catalog.products import list_products
        from pim_platform.intake.jobs import list_jobs

        job = list_jobs(session)[0]
        assert (job.state, job.reason_code, job.reason) == ("failed", code, str(caught.value))
        assert job.ledger() is None
        assert list_products(session).products == []


def test_a_reject_policy_that_is_kept_lets_the_import_through(workspace: Workspace, make_tenant: MakeTenant) -> None:
    content = b"SKU,Name\nA,Alpha\n,Nobody\nB,Beta\n"
    job = import_bytes(workspace, make_tenant().id, content, reject_policy="stop_above:50%")
    assert (job.state, job.rows_rejected) == ("done", 1)


def test_a_file_that_is_too_large_is_refused_before_it_is_stored(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    small = Workspace(workspace.settings.model_copy(update={"max_upload_bytes": 10}))
    with pytest.raises(InvalidRequest) as caught:
        land_bytes(small, tenant.id, GOOD)
    clear(caught.value)
    assert caught.value.code == "too_large"
    assert list(workspace.objects.list(f"tenants/{tenant.id}/")) == []


@pytest.mark.parametrize("source", ["", "../up", "a b", "x" * 64])
def test_a_source_that_cannot_be_a_name_is_refused(workspace: Workspace, make_tenant: MakeTenant, source: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        land_bytes(workspace, make_tenant().id, GOOD, source=source)
    assert caught.value.fix
