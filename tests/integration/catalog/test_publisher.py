"""ClickHouse holds what PostgreSQL holds, row by row, and the typed relations of both show the same values."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from pim_platform.catalog import typed_relations
from pim_platform.catalog.checksum import Agreement, compare_engines, publish_and_compare
from pim_platform.catalog.models import CatalogState
from pim_platform.catalog.publisher import publish
from pim_platform.catalog.schemas import current_schema
from pim_platform.catalog.typed_relations import columns_of, refresh_typed_relations, typed_rows
from pim_platform.errors import EnginesDisagree, EngineUnavailable
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.imports import ACTOR, import_bytes

MakeTenant = Callable[..., TenantInfo]

ODD = "SKU,Name,Colour,Price\n" + "".join(
    f'{sku},{name},"{colour}",{price}\n'
    for sku, name, colour, price in [
        ("A-1", "Plain", "red", "1.50"),
        ("ä ß-2", "Übergröße 日本語 🚲", "tab\there", "2"),
        ("B\\3", "back\\slash \\N \\t", "line\nbreak and \r return", "0.10"),
        ("C'4", "quote' and “more”", 'say ""hi"" {x}', "1234567890.123456789"),
    ]
)
CONFIRM = {
    "mapping": {"SKU": "sku", "Name": "name", "Colour": "tone", "Price": "price"},
    "fields": [{"name": "tone"}, {"name": "price", "type": "price"}],
}


def agreement(workspace: Workspace, tenant: TenantInfo) -> Agreement:
    return compare_engines(workspace.app, workspace.clickhouse, tenant.id)


def state(workspace: Workspace, tenant: TenantInfo) -> CatalogState:
    with tenant_session(workspace.app, tenant.id) as session:
        return session.get_one(CatalogState, tenant.id)


def execute(workspace: Workspace, tenant: TenantInfo, statement: str, **values: Any) -> None:
    """Change the tenant's rows behind the publisher's back."""
    with tenant_session(workspace.app, tenant.id) as session:
        session.execute(text(statement), values)


@pytest.fixture
def tenant(workspace: Workspace, make_tenant: MakeTenant) -> TenantInfo:
    """A tenant with four products of odd characters, in both engines."""
    made = make_tenant()
    import_bytes(workspace, made.id, ODD.encode(), confirm=CONFIRM)
    return made


# --- equality ----------------------------------------------------------------------------------------------------


def test_an_import_leaves_both_engines_equal_whatever_the_characters(workspace: Workspace, tenant: TenantInfo) -> None:
    found = agreement(workspace, tenant)
    assert found.equal
    assert found.postgres_rows == found.clickhouse_rows == 4
    assert found.postgres_sum != 0
    with tenant_session(workspace.app, tenant.id) as session:
        postgres = {tuple(row) for row in session.execute(text("SELECT sku, name, data::text FROM pim.products"))}
    rows = workspace.clickhouse.query(
        "SELECT sku, name, data FROM segmentation.products WHERE tenant_id = {t:String}",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert set(rows) == postgres
    assert any(json.loads(row[2])["tone"] == "line\nbreak and \r return" for row in rows)


def test_a_bulk_upsert_leaves_both_engines_equal(workspace: Workspace, tenant: TenantInfo) -> None:
    result = bulk_upsert(
        workspace,
        tenant.id,
        [{"sku": "a-1", "name": "Changed"}, {"sku": "N", "name": "New", "stock": 3, "tags": ["x", "y"]}],
        actor=ACTOR,
    )
    assert (result.ledger["created"], result.ledger["updated"], result.published) == (1, 1, True)
    assert agreement(workspace, tenant).equal
    assert typed_rows(workspace.clickhouse, tenant) == 5


def test_publishing_again_sends_nothing_and_changes_nothing(workspace: Workspace, tenant: TenantInfo) -> None:
    before = agreement(workspace, tenant)
    again = publish(workspace.app, workspace.clickhouse, tenant.id)
    assert (again.sent, again.commit_seq) == (False, 1)
    assert agreement(workspace, tenant) == before


def test_sending_the_same_commits_twice_is_harmless(workspace: Workspace, tenant: TenantInfo) -> None:
    before = agreement(workspace, tenant)
    execute(workspace, tenant, "UPDATE pim.catalog_state SET published_seq = 0")  # as after a kill before the commit
    assert publish(workspace.app, workspace.clickhouse, tenant.id).sent
    assert agreement(workspace, tenant) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pim.products SET name = name || '.' WHERE sku_key = 'a-1'",
        "UPDATE pim.products SET sku = 'a-1' WHERE sku_key = 'a-1'",
        "UPDATE pim.products SET active = false WHERE sku_key = 'a-1'",
        "UPDATE pim.products SET data = jsonb_set(data, '{price,amount}', '1.51') WHERE sku_key = 'a-1'",
        "UPDATE pim.products SET data = data - 'tone' WHERE sku_key = 'a-1'",
        "DELETE FROM pim.products WHERE sku_key = 'a-1'",
    ],
)
def test_equality_notices_one_row_that_differs(workspace: Workspace, tenant: TenantInfo, change: str) -> None:
    execute(workspace, tenant, change)
    assert not agreement(workspace, tenant).equal


def test_equality_notices_two_rows_whose_values_are_exchanged(workspace: Workspace, tenant: TenantInfo) -> None:
    execute(
        workspace,
        tenant,
        "UPDATE pim.products p SET name = q.name FROM pim.products q "
        "WHERE (p.sku_key, q.sku_key) IN (('a-1', 'c''4'), ('c''4', 'a-1'))",
    )
    found = agreement(workspace, tenant)
    assert found.postgres_rows == found.clickhouse_rows
    assert not found.equal


def test_equality_notices_a_row_that_is_missing_in_clickhouse(workspace: Workspace, tenant: TenantInfo) -> None:
    workspace.clickhouse.command(
        "ALTER TABLE segmentation.product_versions DELETE WHERE tenant_id = {t:String} AND sku_key = 'a-1' "
        "SETTINGS mutations_sync = 2",
        parameters={"t": str(tenant.id)},
    )
    found = agreement(workspace, tenant)
    assert (found.postgres_rows, found.clickhouse_rows) == (4, 3)
    assert not found.equal


def delete(workspace: Workspace, tenant: TenantInfo, key: str) -> None:
    """Remove a product as a merge that removes will: commit number, change log, row."""
    execute(
        workspace,
        tenant,
        """
        WITH seq AS (UPDATE pim.catalog_state SET commit_seq = commit_seq + 1 RETURNING tenant_id, commit_seq),
        gone AS (DELETE FROM pim.products WHERE sku_key = :key RETURNING *)
        INSERT INTO pim.product_changes (tenant_id, commit_seq, product_id, changed_at, action, sku_key, version,
                                         actor, source, old, new, image_sku)
        SELECT gone.tenant_id, seq.commit_seq, id, now(), 'delete', sku_key, version + 1, 'test', 'ui', '{}', '{}', sku
        FROM gone, seq
        """,
        key=key,
    )


def test_a_deleted_product_leaves_by_a_tombstone_and_a_new_one_of_its_key_comes_back(
    workspace: Workspace, tenant: TenantInfo
) -> None:
    delete(workspace, tenant, "a-1")
    assert not agreement(workspace, tenant).equal, "not published yet"
    publish(workspace.app, workspace.clickhouse, tenant.id)
    refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    found = agreement(workspace, tenant)
    assert found.equal
    assert found.clickhouse_rows == 3 == typed_rows(workspace.clickhouse, tenant)
    kept = workspace.clickhouse.query(
        "SELECT count() FROM segmentation.products WHERE tenant_id = {t:String} AND sku = 'A-1'",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert [tuple(row) for row in kept] == [(0,)]

    bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": "Back again"}], actor=ACTOR)
    found = agreement(workspace, tenant)
    assert found.equal
    assert found.clickhouse_rows == 4 == typed_rows(workspace.clickhouse, tenant)


def test_a_key_that_went_and_came_back_between_two_publications_is_live(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pim_platform.intake import bulk

    delete(workspace, tenant, "a-1")
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "publish_now", lambda *_: False)
        bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": "Back again"}], actor=ACTOR)
    publish(workspace.app, workspace.clickhouse, tenant.id)
    assert agreement(workspace, tenant).equal
    assert agreement(workspace, tenant).clickhouse_rows == 4


def test_rebuilding_from_nothing_gives_the_same_rows(workspace: Workspace, tenant: TenantInfo) -> None:
    delete(workspace, tenant, "c'4")
    publish(workspace.app, workspace.clickhouse, tenant.id)
    before = agreement(workspace, tenant)
    workspace.clickhouse.command(
        "ALTER TABLE segmentation.product_versions DELETE WHERE tenant_id = {t:String} SETTINGS mutations_sync = 2",
        parameters={"t": str(tenant.id)},
    )
    workspace.clickhouse.command(f"DROP DATABASE `{tenant.relation}` SYNC")
    assert not agreement(workspace, tenant).equal

    publish(workspace.app, workspace.clickhouse, tenant.id, rebuild=True)
    refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)

    assert agreement(workspace, tenant) == before
    assert before.equal
    assert typed_rows(workspace.clickhouse, tenant) == 3


def test_rebuilding_removes_rows_that_postgresql_does_not_know(workspace: Workspace, tenant: TenantInfo) -> None:
    workspace.clickhouse.command(
        "INSERT INTO segmentation.product_versions (tenant_id, sku_key, sku, name, data, version, is_deleted) "
        "VALUES ({t:String}, 'stray', 'stray', 'Stray', '{}', 1, 0)",
        parameters={"t": str(tenant.id)},
    )
    assert not agreement(workspace, tenant).equal
    publish(workspace.app, workspace.clickhouse, tenant.id, rebuild=True)
    assert agreement(workspace, tenant).equal


def test_a_clickhouse_that_is_away_keeps_what_is_due(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clickhouse_connect.driver.exceptions import OperationalError

    client = workspace.clickhouse

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(client, "raw_insert", away)
        result = bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": "Later"}], actor=ACTOR)
        assert not result.published
        with pytest.raises(EngineUnavailable, match="connection refused"):
            publish(workspace.app, client, tenant.id)
    now = state(workspace, tenant)
    assert (now.commit_seq, now.published_seq) == (2, 1)
    assert publish(workspace.app, client, tenant.id).sent
    assert agreement(workspace, tenant).equal


def test_what_another_writer_commits_between_publishing_and_comparing_is_no_disagreement(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pim_platform.catalog import checksum
    from pim_platform.intake import bulk

    meanwhile = iter(["first", "second"])
    published = Event()
    read_postgres = checksum._read_postgres

    def tell(*arguments: Any) -> None:
        publish(*arguments)
        published.set()

    def write_then_read(*arguments: Any) -> Any:
        assert published.wait(60)
        published.clear()
        if name := next(meanwhile, None):
            bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": name}], actor=ACTOR)
        return read_postgres(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "publish_now", lambda *_: False)  # committed, and not yet sent
        patch.setattr(checksum, "publish", tell)
        patch.setattr(checksum, "_read_postgres", write_then_read)
        job = import_bytes(workspace, tenant.id, b"SKU,Name\nNEW,New\n")

    assert (job.state, job.reason) == ("done", None)
    assert list(meanwhile) == []
    found = agreement(workspace, tenant)
    assert found.equal
    assert found.settled


def test_a_comparison_says_when_a_commit_was_not_published_yet(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pim_platform.intake import bulk

    monkeypatch.setattr(bulk, "publish_now", lambda *_: False)
    bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": "Unsent"}], actor=ACTOR)
    found = agreement(workspace, tenant)
    assert (found.equal, found.settled) == (False, False)


def test_writers_and_imports_of_one_tenant_at_once_all_end_and_both_engines_agree(
    workspace: Workspace, tenant: TenantInfo
) -> None:
    def one(number: int) -> str:
        if number % 2:
            records = [{"sku": f"S-{n}", "name": f"bulk {number}"} for n in range(50)]
            return str(bulk_upsert(workspace, tenant.id, records, actor=ACTOR).published)
        body = "SKU,Name\n" + "".join(f"S-{n},import {number}\n" for n in range(50))
        return import_bytes(workspace, tenant.id, body.encode()).state

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(one, range(8)))

    assert ended == ["done", "True"] * 4
    assert agreement(workspace, tenant).equal
    assert typed_rows(workspace.clickhouse, tenant) == 54


# --- what other systems read -------------------------------------------------------------------------------------


def test_the_view_has_exactly_the_five_columns_that_other_systems_read(workspace: Workspace) -> None:
    rows = workspace.clickhouse.query("DESCRIBE TABLE segmentation.products").result_rows
    assert [row[0] for row in rows] == ["tenant_id", "sku", "name", "data", "updated_at"]
    types = {row[0]: row[1] for row in rows}
    assert types["data"] == "String"
    assert "String" in types["tenant_id"]


def test_json_functions_find_values_and_prices_in_the_view(workspace: Workspace, tenant: TenantInfo) -> None:
    rows = workspace.clickhouse.query(
        "SELECT JSONExtractString(data, 'tone'), JSONExtractFloat(data, 'price', 'amount'), "
        "JSONExtractString(data, 'price', 'currency') FROM segmentation.products "
        "WHERE tenant_id = {t:String} AND sku = 'A-1'",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert [tuple(row) for row in rows] == [("red", 1.5, "EUR")]


def test_the_view_shows_the_newest_version_only(workspace: Workspace, tenant: TenantInfo) -> None:
    for name in ("Second", "Third"):
        bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "name": name}], actor=ACTOR)
    rows = workspace.clickhouse.query(
        "SELECT name FROM segmentation.products WHERE tenant_id = {t:String} AND sku = 'A-1'",
        parameters={"t": str(tenant.id)},
    ).result_rows
    assert [tuple(row) for row in rows] == [("Third",)]


# --- typed relations ---------------------------------------------------------------------------------------------


def in_postgres(workspace: Workspace, tenant: TenantInfo) -> tuple[list[str], dict[str, tuple[Any, ...]]]:
    """Columns and rows by SKU of the typed view, as its owner reads it."""
    with workspace.ddl.connect() as connection:
        found = connection.execute(text(f'SELECT * FROM "{tenant.relation}".products'))
        names = list(found.keys())
        return names, {row[names.index("sku")]: tuple(row) for row in found}


def in_clickhouse(workspace: Workspace, tenant: TenantInfo) -> tuple[list[str], dict[str, tuple[Any, ...]]]:
    found = workspace.clickhouse.query(f"SELECT * FROM `{tenant.relation}`.products")
    names = list(found.column_names)
    return names, {row[names.index("sku")]: tuple(row) for row in found.result_rows}


def same(value: Any) -> Any:
    """A value of either engine in a form that both share."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [same(entry) for entry in value]
    return value


RECORDS: list[dict[str, Any]] = [
    {
        "sku": "FULL", "name": "Everything", "active": False, "note": "ä\t'\\", "stock": 12, "weight": 0.125,
        "waterproof": True, "tags": ["one", "two, three", "ü"], "price": {"amount": 19.9, "currency": "CHF"},
    },
    {"sku": "NONE", "name": "Nothing"},
    {"sku": "NO", "name": "False and empty", "waterproof": False, "tags": ["x"], "stock": 0, "weight": -1.5},
]  # fmt: skip


def test_the_typed_relations_of_both_engines_hold_the_same_values(
    workspace: Workspace, make_tenant: MakeTenant
) -> None:
    tenant = make_tenant()
    result = bulk_upsert(workspace, tenant.id, RECORDS, actor=ACTOR)
    assert result.errors == []

    names, postgres = in_postgres(workspace, tenant)
    clickhouse_names, clickhouse = in_clickhouse(workspace, tenant)

    assert names == clickhouse_names
    assert {"note", "stock", "weight", "waterproof", "tags", "price", "price_currency"} <= set(names)
    assert set(postgres) == set(clickhouse) == {"FULL", "NONE", "NO"}
    for sku, row in postgres.items():
        for name, one, other in zip(names, row, clickhouse[sku], strict=True):
            if name not in ("created_at", "updated_at"):
                assert same(one) == same(other), f"{sku}.{name}"
    full = dict(zip(names, clickhouse["FULL"], strict=True))
    assert (full["note"], full["stock"], full["weight"], full["waterproof"]) == ("ä\t'\\", 12, 0.125, True)
    assert (full["tags"], full["price"], full["price_currency"]) == (["one", "two, three", "ü"], 19.9, "CHF")
    assert full["active"] is False
    none = dict(zip(names, clickhouse["NONE"], strict=True))
    assert [none[n] for n in ("note", "stock", "waterproof", "price", "price_currency")] == [None] * 5
    assert none["tags"] == []
    assert dict(zip(names, clickhouse["NO"], strict=True))["waterproof"] is False


def test_times_are_the_same_to_the_microsecond(workspace: Workspace, tenant: TenantInfo) -> None:
    with workspace.ddl.connect() as connection:
        one = connection.execute(
            text(
                "SELECT sku, created_at AT TIME ZONE 'UTC', updated_at AT TIME ZONE 'UTC' "
                f"FROM {tenant.relation}.products"
            )
        )
        postgres = {row[0]: tuple(row[1:]) for row in one}
    rows = workspace.clickhouse.query(
        f"SELECT sku, toString(created_at), toString(updated_at) FROM {tenant.relation}.products"
    ).result_rows
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        sku: tuple(f"{time:%Y-%m-%d %H:%M:%S.%f}" for time in times) for sku, times in postgres.items()
    }


def test_a_new_field_widens_both_relations_and_old_rows_have_no_value_in_it(
    workspace: Workspace, tenant: TenantInfo
) -> None:
    before, _ = in_clickhouse(workspace, tenant)
    bulk_upsert(workspace, tenant.id, [{"sku": "A-1", "depth": 7.5}], actor=ACTOR)
    names, postgres = in_postgres(workspace, tenant)
    wider, clickhouse = in_clickhouse(workspace, tenant)

    assert names == wider == [*before, "depth"]
    at = names.index("depth")
    assert {sku: same(row[at]) for sku, row in postgres.items()} == {
        sku: same(row[at]) for sku, row in clickhouse.items()
    }
    assert {sku: row[at] for sku, row in clickhouse.items() if row[at] is not None} == {"A-1": 7.5}
    with tenant_session(workspace.app, tenant.id) as session:
        schema = current_schema(session)
    assert [column.name for column in columns_of(schema)] == names[8:]
    assert state(workspace, tenant).typed_schema_version == schema.version


def test_a_field_called_as_a_price_currency_is_not_lost(workspace: Workspace, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    record = {"sku": "A", "name": "A", "price": {"amount": 1, "currency": "CHF"}, "price_currency": "own"}
    bulk_upsert(workspace, tenant.id, [record], actor=ACTOR)
    names, rows = in_clickhouse(workspace, tenant)
    row = dict(zip(names, rows["A"], strict=True))
    assert (row["price"], row["price_currency"], row["price_currency_code"]) == (1.0, "own", "CHF")
    assert in_postgres(workspace, tenant)[0] == names


def test_a_large_catalogue_is_loaded_in_slices_of_keys_that_miss_none_and_repeat_none(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"sku": f"N\t'{number}\\", "name": "Numbered", "tone": f"{number}"} for number in range(300)]
    assert bulk_upsert(workspace, tenant.id, records, actor=ACTOR).errors == []
    whole = in_clickhouse(workspace, tenant)
    assert len(whole[1]) == 304
    publish(workspace.app, workspace.clickhouse, tenant.id, rebuild=True)
    workspace.clickhouse.command(f"DROP DATABASE `{tenant.relation}` SYNC")
    monkeypatch.setattr(typed_relations, "SLICE_BYTES", 500)
    sent: list[str] = []
    command = workspace.clickhouse.command

    def counted(statement: str, *rest: Any, **more: Any) -> Any:
        sent.append(statement)
        return command(statement, *rest, **more)

    monkeypatch.setattr(workspace.clickhouse, "command", counted)
    refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    assert in_clickhouse(workspace, tenant) == whole
    rows = workspace.clickhouse.query(f"SELECT count() FROM `{tenant.relation}`.product_rows").result_rows
    assert rows[0][0] == 304, "no slice reads what another has read"
    assert sum("INSERT INTO" in statement for statement in sent) > 5


def test_refreshing_twice_does_nothing_the_second_time(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = in_clickhouse(workspace, tenant)
    monkeypatch.setattr(workspace.clickhouse, "command", lambda *_, **__: pytest.fail("it was loaded again"))
    refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    assert in_clickhouse(workspace, tenant) == before


def test_an_import_compares_what_came_since_the_engines_agreed(workspace: Workspace, tenant: TenantInfo) -> None:
    assert state(workspace, tenant).verified_seq == state(workspace, tenant).commit_seq
    import_bytes(workspace, tenant.id, b"SKU,Name\nNEW,New\n")
    assert state(workspace, tenant).verified_seq == state(workspace, tenant).commit_seq

    workspace.clickhouse.command(
        "ALTER TABLE segmentation.product_versions UPDATE name = 'Spoilt' WHERE tenant_id = {t:String} "
        "AND sku_key = 'a-1' SETTINGS mutations_sync = 2",
        parameters={"t": str(tenant.id)},
    )
    where = (workspace.app, workspace.clickhouse, tenant.id)
    assert publish_and_compare(*where, only_new=True).equal, "the row is older than the last agreement"
    assert not publish_and_compare(*where).equal
    publish(*where, rebuild=True)
    assert state(workspace, tenant).verified_seq == -1
    assert publish_and_compare(*where, only_new=True).equal
    assert state(workspace, tenant).verified_seq == state(workspace, tenant).commit_seq


def test_an_import_notices_a_row_that_did_not_arrive(
    workspace: Workspace, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pim_platform.catalog import publisher

    send = publisher._send

    def spoil(client: Any, columns: Any, rows: bytes) -> object:
        return send(client, columns, rows.replace(b"Newer", b"Older"))

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_send", spoil)
        with pytest.raises(EnginesDisagree):
            import_bytes(workspace, tenant.id, b"SKU,Name\nNEW,Newer\n")
    assert state(workspace, tenant).verified_seq < state(workspace, tenant).commit_seq
