"""Exports: what is written is what is there, and reading it again changes nothing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
import python_calamine as calamine
import xlsxwriter
from fastapi import FastAPI
from sqlalchemy import text

from pim_platform.catalog.exporting import ExportRequest, open_export
from pim_platform.catalog.schema import SchemaField
from pim_platform.catalog.schemas import current_schema, save_schema
from pim_platform.intake.readers.plain_text import plain_text
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import tenant_session
from tests.integration.api.conftest import ACTOR, Api, assert_problem
from tests.support.catalogues import products as stored
from tests.support.imports import job_of, run_job
from tests.support.odd_catalogue import odd_products, write_products
from tests.support.served import served
from tests.support.stacks import environment, wait_for

FORMATS = ("csv", "jsonl", "xlsx", "parquet", "csv.gz")


def _again(api: Api, content: bytes, name: str, source: str = "back") -> dict[str, int]:
    """Upload a file, take the proposal as it is, run it, and return its ledger."""
    made = api.upload(content, name=name, source=source)
    assert made.status_code == 201, made.text
    job_id = made.json()["job_id"]
    columns = made.json()["columns"]
    assert all(column["auto"] for column in columns), [column for column in columns if not column["auto"]]
    confirmed = api.post(f"/api/pim/import/{job_id}/confirm/", json={})
    assert confirmed.status_code == 202, confirmed.text
    run_job(api.workspace, api.tenant.id, UUID(job_id))
    job = job_of(api.workspace, api.tenant.id, UUID(job_id))
    assert job.state == "done", job.reason
    ledger = job.ledger()
    assert ledger is not None
    return {key: value for key, value in ledger.items() if value}


def _fill(api: Api, rows: int, text_bytes: int = 10) -> None:
    """So many plain products, past the import."""
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        schema = current_schema(session)
        save_schema(session, schema.with_fields([SchemaField(name="note")]), ACTOR)
        session.execute(
            text(
                "INSERT INTO pim.products (tenant_id, sku, sku_key, name, data, source, commit_seq) "
                "SELECT :t, 'S' || lpad(n::text, 7, '0'), 's' || lpad(n::text, 7, '0'), 'before', "
                "jsonb_build_object('note', repeat(md5(n::text), :r)), 'api', 1 FROM generate_series(1, :n) n"
            ),
            {"t": api.tenant.id, "n": rows, "r": max(1, text_bytes // 32)},
        )


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_imported_again_changes_nothing(api: Api, form: str) -> None:
    products = odd_products()
    write_products(api.workspace, api.tenant.id, products)
    packed = str(form.endswith(".gz")).lower()
    answer = api.get(f"/api/pim/export/?format={form.removesuffix('.gz')}&gzip={packed}")
    assert answer.status_code == 200, answer.text
    count = len(products)
    assert _again(api, answer.content, f"export.{form}") == {"read": count, "unchanged": count}


@pytest.mark.parametrize("form", ["csv", pytest.param("jsonl", marks=pytest.mark.full)])
def test_an_export_imported_into_another_tenant_makes_the_same_products(
    make_api: Callable[..., Api], form: str
) -> None:
    first, second = make_api(), make_api()
    products = odd_products()
    write_products(first.workspace, first.tenant.id, products)
    write_products(second.workspace, second.tenant.id, [])
    content = first.get(f"/api/pim/export/?format={form}").content
    assert _again(second, content, f"export.{form}") == {"read": len(products), "created": len(products)}
    ours, theirs = (stored(api.workspace, api.tenant.id) for api in (first, second))
    for key, one in ours.items():
        other = theirs[key]
        given = {name: value for name, value in one["data"].items() if value is not None}
        assert other["data"] == given, key
        for name in ("sku", "name", "active", "kind", "variant_group"):
            assert other[name] == one[name], (key, name)
        parents = [(side[key]["parent_id"], side["=parent"]["id"]) for side in (ours, theirs)]
        assert len({None if parent is None else parent == known for parent, known in parents}) == 1


def test_an_export_imported_where_nothing_is_known_brings_its_fields_with_it(make_api: Callable[..., Api]) -> None:
    first, second = make_api(), make_api()
    price = {"amount": 12.5, "currency": "USD"}
    data = {"a_price": price, "a_array": ["a", "b"], "a_boolean": True, "a_number": 3, "l_string": {"de-DE": "x"}}
    write_products(first.workspace, first.tenant.id, [{"sku": "A", "name": "Alpha", "data": data}])
    fields = ",".join(data)
    content = first.get(f"/api/pim/export/?fields=name,{fields}").content
    assert _again(second, content, "export.csv") == {"read": 1, "created": 1}
    schema = second.get("/api/pim/schema/").json()
    types = {field["name"]: (field["type"], field["localizable"]) for field in schema["fields"]}
    assert types == {name: (name[2:], name.startswith("l_")) for name in data}
    assert json.loads(stored(second.workspace, second.tenant.id)["a"]["raw"]) == data


def test_what_people_decided_for_a_header_does_not_change_what_an_export_means(api: Api) -> None:
    made = api.upload("SKU,Name,a_string,status\nA,Alpha,x,y\n", source="supplier").json()
    mapping = {"SKU": "sku", "a_string": "name", "Name": "a_name", "status": "sku_of_status"}
    fields = [{"name": "a_name"}, {"name": "sku_of_status"}]
    taught = {"mapping": mapping, "schema": {"fields": fields}}
    assert api.post(f"/api/pim/import/{made['job_id']}/confirm/", json=taught).status_code == 202
    write_products(
        api.workspace, api.tenant.id, [{"sku": "B", "name": "Beta", "data": {"a_string": "s", "status": "t"}}]
    )
    content = api.get("/api/pim/export/").content
    assert _again(api, content, "export.csv") == {"read": 1, "unchanged": 1}


def test_a_spreadsheet_may_write_an_export_again_in_its_countrys_way(api: Api) -> None:
    data = {"a_number": 12.5, "a_price": {"amount": 1.5, "currency": "EUR"}, "a_boolean": True, "a_array": ["a;b", "c"]}
    write_products(api.workspace, api.tenant.id, [{"sku": "A", "name": "=Größe", "data": data}])
    rows = list(csv.reader(io.StringIO(api.get("/api/pim/export/").text)))
    place = rows[0].index("a_number")
    assert rows[1][place] == "12.5"
    rows[1][place] = "12,5"
    rows[1][rows[0].index("a_boolean")] = "WAHR"
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([[*rows[0], "Lagerfach X7"], [*rows[1], "neu"]])
    made = api.upload(out.getvalue().encode("cp1252"), name="excel.csv").json()
    added = made["columns"][-1]
    assert (added["source"], added["field"]) == ("Lagerfach X7", "lagerfach_x7")
    api.post(f"/api/pim/import/{made['job_id']}/confirm/", json={})
    run_job(api.workspace, api.tenant.id, UUID(made["job_id"]))
    after = stored(api.workspace, api.tenant.id)["a"]
    assert after["name"] == "=Größe"
    assert json.loads(after["raw"]) == data | {"lagerfach_x7": "neu"}


def test_texts_that_look_like_formulas_are_guarded_in_csv_and_xlsx_unless_that_is_not_wanted(api: Api) -> None:
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1"]
    write_products(
        api.workspace, api.tenant.id, [{"sku": f"S{n}", "name": name, "data": {}} for n, name in enumerate(names)]
    )
    rows = list(csv.DictReader(io.StringIO(api.get("/api/pim/export/").content.decode(), newline="")))
    assert [row["name"] for row in rows] == ["'" + name for name in names]
    book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(api.get("/api/pim/export/?format=xlsx").content))
    sheet = book.get_sheet_by_index(0).to_python()
    assert [row[1] for row in sheet[1:]] == ["'" + name for name in names]
    content = api.get("/api/pim/export/?guard=false").content
    open_rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["name"] for row in open_rows][:4] == names[:4]
    assert _again(api, content, "open.csv") == {"read": 7, "unchanged": 7}


def test_negative_numbers_and_prices_are_numbers(api: Api) -> None:
    data = {"a_number": -5, "a_price": {"amount": -1.5, "currency": "EUR"}}
    write_products(api.workspace, api.tenant.id, [{"sku": "A", "name": "A", "data": data}])
    row = next(csv.DictReader(io.StringIO(api.get("/api/pim/export/").text)))
    assert (row["a_number"], row["a_price"]) == ("-5", "EUR -1.5")


def test_columns_are_those_asked_for_in_their_order_behind_the_sku(api: Api) -> None:
    write_products(
        api.workspace,
        api.tenant.id,
        [{"sku": "A", "name": "Alpha", "data": {"a_string": "x", "l_string": {"de-DE": "y"}}}],
    )
    answer = api.get("/api/pim/export/?fields=l_string,updated_at,a_string,name")
    header, row = csv.reader(io.StringIO(answer.text))
    assert header == ["sku", "l_string[en-US]", "l_string[de-DE]", "updated_at", "a_string", "name", "pim:id"]
    assert [row[0], row[1], row[2], row[4], row[5]] == ["A", "", "y", "x", "Alpha"]
    assert _again(api, answer.content, "some.csv") == {"read": 1, "unchanged": 1}
    same = api.post("/api/pim/export/", json={"fields": ["a_string"], "format": "jsonl"}).json()
    assert same == {"sku": "A", "a_string": "x", "pim:id": row[-1]}


def test_a_filter_chooses_the_products(api: Api) -> None:
    products = [{"sku": f"S{n}", "name": f"Tent {n}", "data": {"a_number": n}} for n in range(9)]
    write_products(api.workspace, api.tenant.id, products)
    found = api.get("/api/pim/export/", params={"format": "jsonl", "filter[a_number][gte]": "7", "fields": "name"})
    assert [json.loads(line)["sku"] for line in found.text.splitlines()] == ["S7", "S8"]
    asked = {"format": "jsonl", "filter": {"a_number": {"in": [1, 3]}}}
    found = api.post("/api/pim/export/", json=asked)
    assert [json.loads(line)["a_number"] for line in found.text.splitlines()] == [1, 3]
    assert api.get("/api/pim/export/", params={"format": "jsonl", "filter[a_number]": "77"}).content == b""
    wrong = api.get("/api/pim/export/", params={"filter[nothing]": "7"})
    assert wrong.status_code == 422


def test_parquet_has_types(api: Api) -> None:
    data = {"a_number": 12.25, "a_price": {"amount": 1.5, "currency": "EUR"}, "a_array": ["a"], "a_boolean": True}
    write_products(
        api.workspace, api.tenant.id, [{"sku": "A", "name": "A", "data": data}, {"sku": "B", "name": "B", "data": {}}]
    )
    table = pq.read_table(io.BytesIO(api.get("/api/pim/export/?format=parquet").content))
    types = {field.name: str(field.type) for field in table.schema}
    assert types["a_number"] == "decimal128(4, 2)"
    assert types["a_boolean"] == types["active"] == "bool"
    assert types["a_array"].startswith("list<")
    assert types["a_price"].startswith("struct<amount: decimal128(2, 1)")
    assert table["a_number"].to_pylist()[1] is None
    assert table["a_price"].to_pylist()[1] is None


def test_gzip_packs_text_and_nothing_that_is_packed_already(api: Api) -> None:
    write_products(api.workspace, api.tenant.id, odd_products())
    answer = api.get("/api/pim/export/?gzip=true")
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["content-disposition"].endswith('.csv.gz"')
    assert gzip.decompress(answer.content) == api.get("/api/pim/export/").content
    assert_problem(api.get("/api/pim/export/?gzip=true&format=xlsx"), 422, "invalid_request")


def test_an_etag_says_that_nothing_has_changed(api: Api) -> None:
    write_products(api.workspace, api.tenant.id, [{"sku": "A", "name": "Alpha", "data": {}}])
    first = api.get("/api/pim/export/")
    tag = first.headers["etag"]
    again = api.get("/api/pim/export/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get("/api/pim/export/?fields=name", headers={"If-None-Match": tag}).status_code == 200
    write_products(api.workspace, api.tenant.id, [{"sku": "B", "name": "Beta", "data": {}}])
    assert api.get("/api/pim/export/", headers={"If-None-Match": tag}).status_code == 200


def test_unknown_and_repeated_fields_are_named(api: Api) -> None:
    assert assert_problem(api.get("/api/pim/export/?fields=colour"), 422, "unknown_field")["value"] == "colour"
    assert_problem(api.get("/api/pim/export/?fields=name,name"), 422, "duplicate_field")
    assert api.get("/api/pim/export/?format=pdf").status_code == 422


def test_an_empty_catalogue_gives_a_header_and_nothing_else(api: Api) -> None:
    assert api.get("/api/pim/export/").text == "sku,name,active,kind,parent_sku,variant_group,pim:id\n"
    assert api.get("/api/pim/export/?format=jsonl").content == b""
    assert pq.read_table(io.BytesIO(api.get("/api/pim/export/?format=parquet").content)).num_rows == 0


def test_a_cell_too_long_for_a_workbook_is_named_and_never_cut(api: Api) -> None:
    long = "x" * 32_768
    write_products(
        api.workspace,
        api.tenant.id,
        [{"sku": "A", "name": "A", "data": {}}, {"sku": "B", "name": "B", "data": {"a_string": long}}],
    )
    told = assert_problem(api.get("/api/pim/export/?format=xlsx"), 422, "too_large_for_xlsx")
    assert (told["row"], told["column"], told["value"]) == (3, "a_string", "B")
    assert "CSV" in str(told["fix"])
    assert _again(api, api.get("/api/pim/export/").content, "long.csv") == {"read": 2, "unchanged": 2}


def test_an_export_shows_one_moment_however_long_it_takes(api: Api) -> None:
    _fill(api, 3_000)
    export = open_export(api.workspace, api.tenant, ExportRequest("jsonl"))
    pieces = iter(export)
    first = next(pieces)
    assert first.count(b"\n") <= 1_000, "the answer begins with the first rows"
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        session.execute(text("UPDATE pim.products SET name = 'after' WHERE tenant_id = :t"), {"t": api.tenant.id})
        session.execute(
            text("DELETE FROM pim.products WHERE tenant_id = :t AND sku_key > 's0002000'"), {"t": api.tenant.id}
        )
    records = [json.loads(line) for line in b"".join([first, *pieces]).splitlines()]
    assert len(records) == 3_000
    assert {record["name"] for record in records} == {"before"}
    assert [record["sku"] for record in records] == sorted(record["sku"] for record in records)


@pytest.mark.parametrize("form", ["csv", "jsonl.gz"])
def test_an_error_half_way_breaks_the_answer_off(app: FastAPI, api: Api, form: str) -> None:
    _fill(api, 40_000, text_bytes=1_600)
    wanted = {"format": form.removesuffix(".gz"), "gzip": str(form.endswith(".gz")).lower()}
    begun = {"Authorization": f"Bearer {api.key}"}
    with (
        served(app) as url,
        httpx.stream("GET", f"{url}/api/pim/export/", params=wanted, headers=begun, timeout=60) as answer,
        psycopg.connect(Endpoints.of(api.workspace.settings).admin_url, autocommit=True) as admin,
    ):
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        assert next(pieces)
        ended = admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT p.sku_key%' "
            "AND pid <> pg_backend_pid()"
        ).fetchone()
        assert ended == (1,)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)


def test_an_export_that_nobody_reads_to_its_end_gives_back_what_it_holds(app: FastAPI, api: Api) -> None:
    _fill(api, 20_000, text_bytes=1_600)
    key = {"Authorization": f"Bearer {api.key}"}
    with served(app) as url:
        for _ in range(10):  # two more than a process answers at a time
            with httpx.stream("GET", f"{url}/api/pim/export/", headers=key, timeout=60) as answer:
                assert answer.status_code == 200
                assert next(answer.iter_raw())
            wait_for(lambda: not _reading(api), "the export's transaction to end")


def _reading(api: Api) -> bool:
    with psycopg.connect(Endpoints.of(api.workspace.settings).admin_url, autocommit=True) as admin:
        found = admin.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT p.sku_key%' "
            "AND state <> 'idle' AND pid <> pg_backend_pid())"
        ).fetchone()
    return found == (True,)


@pytest.mark.full
def test_the_command_writes_a_file_that_is_complete_or_not_there(api: Api, tmp_path: Path) -> None:
    write_products(api.workspace, api.tenant.id, odd_products())
    out = tmp_path / "all.jsonl.gz"
    done = _pim(api, "--tenant", api.tenant.slug, "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert gzip.decompress(out.read_bytes()) == api.get("/api/pim/export/?format=jsonl").content
    done = _pim(api, "--tenant", api.tenant.slug, "--filter", "sku=empty", "--fields", "name")
    assert done.stdout.splitlines()[0] == "sku,name,pim:id"
    assert len(done.stdout.splitlines()) == 2
    missing = tmp_path / "none.csv"
    assert _pim(api, "--tenant", api.tenant.slug, "--fields", "nothing", "-o", str(missing)).returncode == 2
    assert not list(tmp_path.glob("*none*"))


def _pim(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment(api.workspace.settings)}
    command = [sys.executable, "-m", "pim_platform.cli", "export", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("form", ["csv", *(pytest.param(f, marks=pytest.mark.full) for f in ("jsonl", "xlsx"))])
def test_rejects_are_guarded_like_exports_and_read_back_when_corrected(api: Api, form: str) -> None:
    write_products(
        api.workspace, api.tenant.id, [{"sku": "=A", "name": "=Alpha", "data": {"a_string": " x ", "a_number": 1}}]
    )
    content = api.get(f"/api/pim/export/?format={form}").content
    made = api.upload(_with_number(content, form, "wrong"), name=f"export.{form}", source="back").json()
    api.post(f"/api/pim/import/{made['job_id']}/confirm/", json={})
    run_job(api.workspace, api.tenant.id, UUID(made["job_id"]))
    rejects = api.get(f"/api/pim/import/{made['job_id']}/rejects/").content
    corrected = _with_number(rejects, form, "7")
    files = {"file": (f"rejects.{form}", corrected, "text/csv")}
    assert api.post(f"/api/pim/import/{made['job_id']}/rejects/", files=files).status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(made["job_id"]))
    after = stored(api.workspace, api.tenant.id)["=a"]
    assert (after["name"], json.loads(after["raw"])) == ("=Alpha", {"a_string": " x ", "a_number": 7})


def _with_number(content: bytes, form: str, number: str) -> bytes:
    """The only product of a file with another value in ``a_number``."""
    if form == "jsonl":
        return json.dumps(json.loads(content) | {"a_number": number}).encode()
    if form == "csv":
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    else:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = [[plain_text(cell) for cell in row] for row in book.get_sheet_by_index(0).to_python()]
    rows[1][rows[0].index("a_number")] = number
    return _table(rows, form)


@pytest.mark.parametrize("form", ["csv", pytest.param("xlsx", marks=pytest.mark.full)])
def test_a_suppliers_formula_comes_back_guarded_in_the_rejects_and_unguarded_in_the_catalogue(
    api: Api, form: str
) -> None:
    rows = [["SKU", "Name", "Price"], ["A", '=HYPERLINK("http://x.example")', "none"], ["B", "-5 and more", "-5"]]
    made = api.upload(_table(rows, form), name=f"supplier.{form}").json()
    mapping = {"SKU": "sku", "Name": "name", "Price": "price"}
    fields = [{"name": "price", "type": "price"}]
    confirmed = api.post(
        f"/api/pim/import/{made['job_id']}/confirm/", json={"mapping": mapping, "schema": {"fields": fields}}
    )
    assert confirmed.status_code == 202, confirmed.text
    run_job(api.workspace, api.tenant.id, UUID(made["job_id"]))
    rejects = api.get(f"/api/pim/import/{made['job_id']}/rejects/").content
    if form == "csv":
        rows = list(csv.reader(io.StringIO(rejects.decode())))
    else:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(rejects))
        rows = [[plain_text(cell) for cell in row] for row in book.get_sheet_by_index(0).to_python()]
    assert rows[1][1] == '\'=HYPERLINK("http://x.example")'
    rows[1][2] = "-7"
    files = {"file": (f"rejects.{form}", _table(rows, form), "text/csv")}
    assert api.post(f"/api/pim/import/{made['job_id']}/rejects/", files=files).status_code == 202
    run_job(api.workspace, api.tenant.id, UUID(made["job_id"]))
    after = stored(api.workspace, api.tenant.id)
    assert [after[key]["name"] for key in "ab"] == ['=HYPERLINK("http://x.example")', "-5 and more"]


def _table(rows: list[list[str]], form: str) -> bytes:
    if form == "csv":
        out = io.StringIO(newline="")
        csv.writer(out).writerows(rows)
        return out.getvalue().encode()
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as written:
        sheet = written.add_worksheet()
        for place, row in enumerate(rows):
            for column, cell in enumerate(row):
                if cell:
                    sheet.write_string(place, column, cell)
    return book.getvalue()


def test_an_export_asked_for_under_one_key_is_made_each_time(api: Api) -> None:
    write_products(api.workspace, api.tenant.id, [{"sku": "A", "name": "Alpha", "data": {"a_number": 1}}])
    asked = {"json": {"filter": {"a_number": 1}, "format": "jsonl"}, "headers": {"Idempotency-Key": "k-1"}}
    first, second = (api.post("/api/pim/export/", **asked) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.content == second.content != b""


def test_every_export_is_in_the_audit_trail(api: Api) -> None:
    write_products(api.workspace, api.tenant.id, [{"sku": "A", "name": "Alpha", "data": {}}])
    api.get("/api/pim/export/?format=jsonl&fields=name")
    with tenant_session(api.workspace.app, api.tenant.id) as session:
        details: Any = session.execute(
            text("SELECT details FROM pim.audit_logs WHERE tenant_id = :t AND action = 'products.exported'"),
            {"t": api.tenant.id},
        ).scalar_one()
    assert details["format"] == "jsonl"
