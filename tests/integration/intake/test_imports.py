"""Whole imports on the real engines: ledger, patches, change log, and real product files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.identity import sku_key
from pim_platform.errors import InvalidRequest
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.confirming import confirm_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.models import ImportJob
from pim_platform.intake.proposing import propose_job
from pim_platform.intake.raw_rows import raw_row
from pim_platform.intake.running import write_rejects
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from samples import make_outdoor
from tests.support.imports import ACTOR, import_bytes, land_bytes, run_job

MakeTenant = Callable[..., TenantInfo]

FIRST = b"SKU,Name,Colour,Price\nA-1,Alpha,red,10.50\nB-2,Beta,blue,20\nC-3,Gamma,green,30\n"


def products(workspace: Workspace, tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """The tenant's products in PostgreSQL by key; numbers as Decimal."""
    with tenant_session(workspace.app, tenant_id) as session:
        rows = session.execute(
            text("SELECT *, data::text AS raw FROM pim.products WHERE tenant_id = :t"), {"t": tenant_id}
        ).mappings()
        return {row["sku_key"]: dict(row) | {"data": json.loads(row["raw"], parse_float=Decimal)} for row in rows}


def in_clickhouse(workspace: Workspace, tenant_id: UUID) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """(sku, name, data) by key as other systems read them."""
    rows = workspace.clickhouse.query(
        "SELECT sku, name, data FROM segmentation.products WHERE tenant_id = {t:String}",
        parameters={"t": str(tenant_id)},
    ).result_rows
    return {sku_key(str(sku)): (str(sku), str(name), json.loads(str(data))) for sku, name, data in rows}


def changes(workspace: Workspace, tenant_id: UUID) -> list[dict[str, Any]]:
    with tenant_session(workspace.app, tenant_id) as session:
        rows = session.execute(
            text("SELECT * FROM pim.product_changes WHERE tenant_id = :t ORDER BY commit_seq, sku_key"),
            {"t": tenant_id},
        ).mappings()
        return [dict(row) for row in rows]


def counts(job: ImportJob) -> dict[str, int]:
    """The ledger without zeros."""
    ledger = job.ledger()
    assert ledger is not None
    assert ledger["read"] == sum(ledger.values()) - ledger["read"], "the ledger balances"
    return {name: count for name, count in ledger.items() if count}


def rejects(workspace: Workspace, job: ImportJob) -> pl.DataFrame:
    """The job's rejects, oldest row first."""
    frames = []
    for key in read_manifest(workspace, job).rejects:
        with workspace.objects.local_copy(key) as path:
            frames.append(pl.read_parquet(path))
    return pl.concat(frames).sort("row") if frames else pl.DataFrame({"row": []})


# --- real files --------------------------------------------------------------------------------------------------


def column_of(job: ImportJob, field: str) -> int:
    assert job.mapping is not None
    return next(column["index"] for column in job.mapping if column["field"] == field and column["target"] != "ignore")


@pytest.mark.parametrize(
    ("file", "delimiter", "confirm"),
    [
        # Row by row: with its groups, which test_records_together.py holds, rows without a SKU are images of others.
        ("shopify-partners/bicycles.csv", ",", {"groupings": []}),
        ("udg-artikel/Artikel.csv", ";", None),
        ("woocommerce/sample_products.csv", ",", None),
    ],
)
def test_every_record_of_a_real_file_is_in_both_engines_superseded_or_truly_rejected(
    workspace: Workspace,
    make_tenant: MakeTenant,
    catalogues: Path,
    file: str,
    delimiter: str,
    confirm: dict[str, Any] | None,
) -> None:
    tenant = make_tenant()
    content = (catalogues / file).read_bytes()
    job = import_bytes(workspace, tenant.id, content, filename=Path(file).name, confirm=confirm)

    assert job.state == "done"
    ledger = job.ledger()
    assert ledger is not None
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    header = next(reader)
    assert [name.strip() for name in header] == job.headers
    # A line without anything in it is no record; record numbers count the header as 1.
    records = dict(enumerate((cells for cells in reader if cells), start=2))
    assert ledger["read"] == len(records) == sum(ledger.values()) - ledger["read"]
    assert ledger["created"] > 0

    sku_at, name_at = column_of(job, "sku"), column_of(job, "name")
    rejected = {row["row"]: row for row in rejects(workspace, job).iter_rows(named=True)}
    assert len(rejected) == ledger["rejected"]
    good: dict[str, dict[int, list[str]]] = {}
    for number, cells in records.items():
        if number not in rejected:
            good.setdefault(sku_key(cells[sku_at]), {})[number] = cells

    named = {key for key, rows in good.items() if any(cells[name_at].strip() for cells in rows.values())}
    for number, reject in rejected.items():
        cells = records[number]
        for code in reject["error_code"].split("; "):
            if code == "missing_sku":
                assert cells[sku_at].strip() == "", f"record {number} has a SKU"
            elif code == "name_missing":
                assert cells[sku_at].strip(), f"record {number} has no SKU at all"
                assert cells[name_at].strip() == "", f"record {number} has a name"
                assert sku_key(cells[sku_at]) not in named, f"record {number}: its SKU got a name"
            else:
                at = header.index(reject["column"].split("; ")[0])
                pytest.fail(f"record {number} rejected as {code}: {cells[at]!r}")
    assert "" not in good, "a record without SKU was not rejected"

    stored, seen = products(workspace, tenant.id), in_clickhouse(workspace, tenant.id)
    assert set(stored) == set(seen) == set(good)
    assert ledger["created"] == len(good)
    assert ledger["superseded"] == sum(len(rows) - 1 for rows in good.values())
    for key, rows in good.items():
        names = [cells[name_at].strip() for cells in rows.values() if cells[name_at].strip()]
        first = next(iter(rows.values()))[sku_at].strip()
        assert (stored[key]["sku"], stored[key]["name"]) == (first, names[-1]) == seen[key][:2]
        assert stored[key]["source_row"] == max(rows)
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


def test_all_records_of_a_sku_that_never_gets_a_name_are_rejects(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b"SKU,Name,Colour\nA,,red\na,,blue\nB,,red\nb,Beta,\nA,,green\n"

    job = import_bytes(workspace, tenant.id, content)

    assert counts(job) == {"read": 5, "created": 1, "superseded": 1, "rejected": 3}
    assert rejects(workspace, job)["row"].to_list() == [2, 3, 6]
    result = bulk_upsert(workspace, tenant.id, [{"sku": "Z"}, {"sku": "z", "color": "x"}], actor=ACTOR)
    assert result.ledger["rejected"] == 2
    assert [error["row"] for error in result.errors] == [1, 2]


def test_the_rejects_file_holds_the_rejected_records_as_they_came(
    workspace: Workspace, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    content = 'SKU;Name;Preis\n;Ohne Nummer;1,50\nA;Übergröße "XL";2,50\nB;;3,50\nC;Gut;viel\n'.encode()
    confirm = {"mapping": {"SKU": "sku", "Name": "name", "Preis": "price"}}
    confirm["fields"] = [{"name": "price", "type": "price"}]  # type: ignore[assignment]
    job = import_bytes(workspace, make_tenant().id, content, confirm=confirm)

    path = tmp_path / "rejects.csv"
    assert write_rejects(workspace, job, path) == 3
    told = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=";")
    rows = sorted(told, key=lambda row: int(row["row"]))
    assert [(row["SKU"], row["Name"], row["Preis"], row["error_code"]) for row in rows] == [
        ("", "Ohne Nummer", "1,50", "missing_sku"),
        ("B", "", "3,50", "name_missing"),
        ("C", "Gut", "viel", "not_a_price"),
    ]
    assert job.reject_reasons == {"missing_sku": 1, "name_missing": 1, "not_a_price": 1}


# --- the sample --------------------------------------------------------------------------------------------------


def test_the_sample_catalogue_and_its_update_give_exactly_their_ledgers(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    first = make_outdoor.catalogue()
    second = make_outdoor.update(first)
    folder = Path(make_outdoor.__file__).parent

    job = import_bytes(workspace, tenant.id, (folder / "outdoor-gear.csv").read_bytes(), filename="outdoor-gear.csv")
    assert (job.state, job.ledger()) == ("done", first.ledger)
    assert [row["row"] for row in rejects(workspace, job).iter_rows(named=True)] == sorted(b.row for b in first.bad)
    shelf = make_outdoor.shelf(first)
    stored = products(workspace, tenant.id)
    assert {key: row["name"] for key, row in stored.items()} == {k: row["Product name"] for k, row in shelf.items()}

    content = (folder / "outdoor-gear-update.csv").read_bytes()
    job = import_bytes(workspace, tenant.id, content, filename="outdoor-gear-update.csv")
    assert (job.state, job.ledger()) == ("done", second.ledger)
    updated = products(workspace, tenant.id)
    price_field = next(name for name, value in next(iter(updated.values()))["data"].items() if name == "price")
    bad_rows = {bad.row for bad in second.bad}
    for number, record in enumerate(second.records, start=2):
        row = dict(zip(second.header, record, strict=True))
        if number in bad_rows:
            continue
        key = row["SKU"].lower()
        price = row["Price"] or shelf[key]["Price"]
        assert updated[key]["data"][price_field]["amount"] == Decimal(price.split()[0])
        assert updated[key]["name"] == shelf[key]["Product name"]
    assert set(updated) == set(shelf)
    assert compare_engines(workspace.app, workspace.clickhouse, tenant.id).equal


# --- writes are patches ------------------------------------------------------------------------------------------


def test_a_changed_partial_file_reports_rightly_and_loses_nothing(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)
    before = products(workspace, tenant.id)

    # No name column; A's price changes, B's cells are empty or equal, D is nobody we know.
    job = import_bytes(workspace, tenant.id, b"SKU,Colour,Price\nA-1,,11\nB-2,blue,\nD-4,black,1\n")
    after = products(workspace, tenant.id)

    assert counts(job) == {"read": 3, "updated": 1, "unchanged": 1, "rejected": 1}
    assert job.reject_reasons == {"name_missing": 1}
    assert set(after) == set(before)
    assert after["a-1"]["data"] == before["a-1"]["data"] | {"price": {"amount": 11, "currency": "EUR"}}
    assert after["a-1"]["name"] == "Alpha"
    assert after["b-2"] == before["b-2"], "an unchanged row is never rewritten"
    assert after["c-3"] == before["c-3"], "a row the file does not hold is kept"
    assert in_clickhouse(workspace, tenant.id)["a-1"][2]["price"]["amount"] == 11


def test_a_file_may_create_and_update_and_leave_at_once(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)

    job = import_bytes(
        workspace, tenant.id, b"SKU,Name,Colour,Price\nA-1,Alpha,red,10.50\nB-2,Beta 2,,20\nD-4,Delta,,1\n"
    )

    assert counts(job) == {"read": 3, "created": 1, "updated": 1, "unchanged": 1}
    stored = products(workspace, tenant.id)
    assert stored["b-2"]["name"] == "Beta 2"
    assert stored["b-2"]["data"] == {"color": "blue", "price": {"amount": 20, "currency": "EUR"}}
    assert stored["d-4"]["data"] == {"price": {"amount": 1, "currency": "EUR"}}, "an empty cell makes no key"


def test_rows_of_one_sku_act_one_after_another(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    content = b"SKU,Name,Colour,Price\nAb-1,First,red,1\nX,Other,,5\nAB-1,,blue,\n ab-1 ,Last,,3\n"
    confirm = {
        "mapping": {"SKU": "sku", "Name": "name", "Colour": "tone", "Price": "price"},
        "fields": [{"name": "tone"}, {"name": "price", "type": "price"}],
    }

    job = import_bytes(workspace, tenant.id, content, confirm=confirm)

    assert counts(job) == {"read": 4, "created": 2, "superseded": 2}
    row = products(workspace, tenant.id)["ab-1"]
    assert (row["sku"], row["name"], row["source_row"]) == ("Ab-1", "Last", 5)
    assert row["data"] == {"tone": "blue", "price": {"amount": 3, "currency": "EUR"}}


def test_a_later_file_in_another_case_keeps_the_first_spelling(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)

    job = import_bytes(workspace, tenant.id, b"SKU,Name\na-1,Alpha the Second\n")

    assert counts(job) == {"read": 1, "updated": 1}
    assert products(workspace, tenant.id)["a-1"]["sku"] == "A-1"
    assert in_clickhouse(workspace, tenant.id)["a-1"][:2] == ("A-1", "Alpha the Second")


def test_an_empty_cell_clears_only_where_the_column_says_so(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    confirm = {
        "mapping": {"SKU": "sku", "Name": "name", "Colour": "tone", "Price": "price"},
        "fields": [{"name": "tone"}, {"name": "price", "type": "price"}],
    }
    first = import_bytes(workspace, tenant.id, FIRST, confirm=confirm)
    assert first.mapping is not None
    columns = [c | {"on_empty": "clear"} if c["field"] == "tone" else c for c in first.mapping]

    job = import_bytes(
        workspace, tenant.id, b"SKU,Name,Colour,Price\nA-1,,,\nB-2,Beta,pink,\n", confirm={"columns": columns}
    )

    assert counts(job) == {"read": 2, "updated": 2}
    stored = products(workspace, tenant.id)
    assert stored["a-1"]["data"] == {"price": {"amount": Decimal("10.50"), "currency": "EUR"}}
    assert stored["b-2"]["data"]["tone"] == "pink"
    cleared = next(row for row in changes(workspace, tenant.id) if row["sku_key"] == "a-1")
    assert (cleared["old"], cleared["new"]) == ({"tone": "red"}, {})
    assert "tone" not in in_clickhouse(workspace, tenant.id)["a-1"][2]


# --- jobs and bytes ----------------------------------------------------------------------------------------------


def test_the_same_bytes_after_the_end_are_a_second_job_that_changes_nothing(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, FIRST)
    second = import_bytes(workspace, tenant.id, FIRST)

    assert first.id != second.id
    assert counts(first) == {"read": 3, "created": 3}
    assert counts(second) == {"read": 3, "unchanged": 3}
    assert first.upload_id == second.upload_id, "the bytes are stored once"


def test_a_b_a_imports_three_times(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    other = FIRST.replace(b"red", b"pink")
    ledgers = [counts(import_bytes(workspace, tenant.id, content)) for content in (FIRST, other, FIRST)]

    assert ledgers[1:] == [{"read": 3, "updated": 1, "unchanged": 2}] * 2
    assert "red" in products(workspace, tenant.id)["a-1"]["data"].values()


def test_the_same_bytes_while_unfinished_are_one_job(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    first = land_bytes(workspace, tenant.id, FIRST)

    assert land_bytes(workspace, tenant.id, FIRST) == first
    assert land_bytes(workspace, tenant.id, FIRST, source="other") != first, "another source means another job"
    assert land_bytes(workspace, tenant.id, FIRST, dry_run=True) != first, "a dry run is not the import"


def test_an_idempotency_key_means_one_job_for_ever_and_one_file_only(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    first = import_bytes(workspace, tenant.id, FIRST, idempotency_key="k-1")

    assert first.state == "done"
    assert land_bytes(workspace, tenant.id, FIRST, idempotency_key="k-1") == first.id
    assert land_bytes(workspace, tenant.id, FIRST, idempotency_key="k-2") != first.id
    with pytest.raises(InvalidRequest) as caught:
        land_bytes(workspace, tenant.id, FIRST + b"D,Delta,,\n", idempotency_key="k-1")
    assert caught.value.code == "idempotency_key_reused"
    assert land_bytes(workspace, make_tenant().id, FIRST, idempotency_key="k-1") != first.id, "keys are a tenant's own"


# --- dry run -----------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing_and_counts_what_the_commit_does(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)
    before = products(workspace, tenant.id), in_clickhouse(workspace, tenant.id), changes(workspace, tenant.id)
    content = b"SKU,Name,Colour,Price\nA-1,Alpha,pink,10.50\nB-2,,,\nD,Delta,,\nd,,black,\nE,,,\n,No SKU,,\n"

    dry = import_bytes(workspace, tenant.id, content, dry_run=True)
    assert dry.state == "staged"
    assert (
        products(workspace, tenant.id),
        in_clickhouse(workspace, tenant.id),
        changes(workspace, tenant.id),
    ) == before
    assert dry.imported_count == 0
    assert dry.commit_seq is None

    real = import_bytes(workspace, tenant.id, content)
    assert real.state == "done"
    assert counts(dry) == counts(real)
    assert counts(real) == {"read": 6, "created": 1, "updated": 1, "unchanged": 1, "rejected": 2, "superseded": 1}
    assert dry.reject_reasons == real.reject_reasons


# --- change log, versions, commits -------------------------------------------------------------------------------


def test_the_change_log_holds_changed_keys_only_and_nothing_for_created_rows(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)
    assert changes(workspace, tenant.id) == []

    job = import_bytes(
        workspace, tenant.id, b"SKU,Name,Price\nA-1,Alpha the Second,10.50\nB-2,Beta,21\nC-3,Gamma,30.00\nD,Delta,1\n"
    )
    assert counts(job) == {"read": 4, "created": 1, "updated": 2, "unchanged": 1}
    log = changes(workspace, tenant.id)
    assert [(row["sku_key"], row["old"], row["new"]) for row in log] == [
        ("a-1", {"name": "Alpha"}, {"name": "Alpha the Second"}),
        (
            "b-2",
            {"price": {"amount": 20, "currency": "EUR"}},
            {"price": {"amount": 21, "currency": "EUR"}},
        ),
    ]
    stored = products(workspace, tenant.id)
    for row in log:
        assert (row["action"], row["job_id"], row["actor"], row["source"]) == ("update", job.id, ACTOR.name, "csv")
        assert (row["product_id"], row["version"]) == (stored[row["sku_key"]]["id"], 2)


def test_versions_count_a_products_changes_and_commit_numbers_the_tenants_commits(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    one = import_bytes(workspace, tenant.id, FIRST)
    two = import_bytes(workspace, tenant.id, FIRST.replace(b"red", b"pink"))
    idle = import_bytes(workspace, tenant.id, FIRST.replace(b"red", b"pink"))
    bulk_upsert(workspace, tenant.id, [{"sku": "B-2", "name": "Beta 2"}], actor=ACTOR)

    assert (one.commit_seq, two.commit_seq, idle.commit_seq) == (1, 2, None)
    stored = products(workspace, tenant.id)
    assert {key: (row["version"], row["commit_seq"]) for key, row in stored.items()} == {
        "a-1": (2, 2),
        "b-2": (2, 3),
        "c-3": (1, 1),
    }
    versions = workspace.clickhouse.query(
        "SELECT sku_key, version FROM segmentation.product_versions FINAL WHERE tenant_id = {t:String}",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert {str(key): int(version) for key, version in versions} == {"a-1": 2, "b-2": 3, "c-3": 1}
    first_product = import_bytes(workspace, make_tenant().id, FIRST)
    assert first_product.commit_seq == 1, "every tenant counts its own commits"


# --- values ------------------------------------------------------------------------------------------------------


def test_prices_are_amount_and_currency_with_every_digit(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant(currency="CHF")
    content = "SKU;Name;Preis\nA;Alpha;1.234,5000000000000000001\nB;Beta;99,90 USD\nC;Gamma;€ 0,10\n".encode()
    confirm = {"mapping": {"SKU": "sku", "Name": "name", "Preis": "price"}}
    confirm["fields"] = [{"name": "price", "type": "price"}]  # type: ignore[assignment]

    job = import_bytes(workspace, tenant.id, content, confirm=confirm)

    assert counts(job) == {"read": 3, "created": 3}
    stored = {key: row["data"]["price"] for key, row in products(workspace, tenant.id).items()}
    assert stored == {
        "a": {"amount": Decimal("1234.5000000000000000001"), "currency": "CHF"},
        "b": {"amount": Decimal("99.90"), "currency": "USD"},
        "c": {"amount": Decimal("0.10"), "currency": "EUR"},
    }


def test_a_products_raw_row_is_the_record_that_wrote_it_last(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    import_bytes(workspace, tenant.id, FIRST)
    job = import_bytes(workspace, tenant.id, b"SKU,Name,Colour,Price\nB-2,Beta,blue,20\nA-1, Alpha ,red,10.75\n")

    from pim_platform.catalog.products import find_product

    with tenant_session(workspace.app, tenant.id) as session:
        changed, untouched = find_product(session, "a-1"), find_product(session, "B-2")
    assert changed is not None
    assert untouched is not None
    assert (changed.job_id, changed.source_row) == (job.id, 3)
    assert raw_row(workspace, changed) == {"SKU": "A-1", "Name": " Alpha ", "Colour": "red", "Price": "10.75"}
    assert untouched.job_id != job.id


def test_a_thousand_records_in_small_batches_count_as_in_one(workspace: Workspace, make_tenant: MakeTenant) -> None:
    lines = ["SKU,Name"] + [f"S-{n % 900},Product {n}" if n % 50 else ",nobody" for n in range(1000)]
    content = "\n".join(lines).encode()
    small = Workspace(workspace.settings.model_copy(update={"stage_batch_rows": 100}))
    one = import_bytes(workspace, make_tenant().id, content)
    many = import_bytes(small, make_tenant().id, content)

    assert one.ledger() == many.ledger()
    keys = Counter(line.split(",")[0] for line in lines[1:])
    nobody = keys.pop("")
    assert counts(one) == {
        "read": 1000,
        "created": len(keys),
        "rejected": nobody,
        "superseded": sum(keys.values()) - len(keys),
    }


def test_the_proposal_of_a_job_waits_for_its_confirmation(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    job_id = land_bytes(workspace, tenant.id, FIRST)
    job = propose_job(workspace, tenant.id, job_id)
    assert (job.state, job.row_count, job.headers) == ("mapping", 3, ["SKU", "Name", "Colour", "Price"])
    assert products(workspace, tenant.id) == {}

    confirm_job(workspace, tenant.id, job_id, actor=ACTOR)
    with tenant_session(workspace.app, tenant.id) as session:
        assert get_job(session, job_id).state == "confirmed"
    assert run_job(workspace, tenant.id, job_id).state == "done"


def test_what_was_repaired_is_counted_beside_the_ledger(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    data = b"SKU,Name\n'0815,Lamp\n'0816,Mug\n0817,Cup\n"
    job = import_bytes(workspace, tenant.id, data)
    assert job.repairs == {"text_marker_removed": 2}
    assert sorted(products(workspace, tenant.id)) == ["0815", "0816", "0817"]
