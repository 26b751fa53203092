"""clickhouse-connect, unchanged, against the embedded ClickHouse."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import lz4.frame
import psutil
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from pim_platform.local.home import Home
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import CLICKHOUSE_USER, Endpoints, secret
from tests.integration.local.conftest import QUERY_MEMORY, connect

TABLE = """
    CREATE TABLE lab.rows (key UInt64, text String, version UInt64, is_deleted UInt8)
    ENGINE = ReplacingMergeTree(version, is_deleted) ORDER BY key
"""
COLUMNS = ["key", "text", "version", "is_deleted"]


def test_rows_written_by_every_way_read_back_through_a_final_view(client: Client) -> None:
    client.command(TABLE)
    client.command("CREATE VIEW lab.now AS SELECT key, text FROM lab.rows FINAL WHERE is_deleted = 0")
    client.insert("lab.rows", [[1, "old", 1, 0], [2, "Ünï\t'\\", 1, 0]], column_names=COLUMNS)
    table = pa.table(
        {
            "key": pa.array([3, 4], pa.uint64()),
            "text": ["arrow", "gone"],
            "version": pa.array([1, 1], pa.uint64()),
            "is_deleted": pa.array([0, 0], pa.uint8()),
        }
    )
    client.insert_arrow("lab.rows", table)
    client.raw_insert("lab.rows", COLUMNS, insert_block="1\tnew\\n\t2\t0\n4\t\t2\t1\n", fmt="TabSeparated")
    client.raw_insert("lab.rows", COLUMNS, insert_block=b'{"key":5,"text":"json","version":1}\n', fmt="JSONEachRow")
    client.command("INSERT INTO lab.rows (key, text) VALUES (6, 'it''s'), (7, upper('x'))")
    client.command("INSERT INTO lab.rows (key, text) SELECT 8, 'FORMAT'")
    expected = [(1, "new\n"), (2, "Ünï\t'\\"), (3, "arrow"), (5, "json"), (6, "it's"), (7, "X"), (8, "FORMAT")]
    assert client.query("SELECT * FROM lab.now ORDER BY key").result_rows == expected


@pytest.mark.parametrize("coding", ["gzip", "zstd", "lz4"])
def test_compressed_bodies_and_answers(running: Settings, client: Client, coding: str) -> None:
    client.command("CREATE TABLE lab.z (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    with connect(running, compress=coding) as compressing:
        compressing.insert("lab.z", [[number, "x" * 50] for number in range(5000)], column_names=["n", "s"])
        assert len(compressing.query("SELECT * FROM lab.z").result_rows) == 5000
        assert len(compressing.query("SELECT number FROM numbers(500000)").result_rows) == 500_000
    squeeze = {"gzip": gzip.compress, "lz4": lz4.frame.compress}.get(coding)
    if squeeze:
        two_frames = squeeze(b"9001,a\n") + squeeze(b"9002,b\n")
        client.raw_insert("lab.z", ["n", "s"], insert_block=two_frames, fmt="CSV", compression=coding)
        assert client.command("SELECT count() FROM lab.z WHERE n > 9000") == 2
        with pytest.raises(DatabaseError, match="cut off"):
            client.raw_insert("lab.z", ["n", "s"], insert_block=squeeze(b"1,a\n")[:-3], fmt="CSV", compression=coding)


def test_parameters_are_bound_by_the_server(client: Client) -> None:
    values = {"n": 3, "s": "i't\t\\'\n{x}", "a": ["a'b", "c"], "none": None}
    answer = client.query(
        "SELECT {n:UInt8} + 1, {s:String}, {a:Array(String)}, {none:Nullable(String)}", parameters=values
    )
    assert answer.result_rows == [(4, values["s"], values["a"], None)]


def test_formats_come_from_the_text_else_from_the_request(client: Client) -> None:
    assert client.raw_query("SELECT 1 AS a FORMAT CSVWithNames") == b'"a"\n1\n'
    assert client.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert client.raw_query("SELECT 1 AS a WHERE 0", fmt="TabSeparated") == b""
    assert client.command("SELECT JSONExtractFloat('{\"price\":{\"amount\":2.5}}', 'price', 'amount')") == "2.5"
    assert client.query_df("SELECT number, toString(number) AS s FROM numbers(5)").shape == (5, 2)
    assert client.query_arrow("SELECT number FROM numbers(200000)").num_rows == 200_000


def test_long_answers_stream(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(2000000)") as blocks:
        assert sum(len(block) for block in blocks) == 2_000_000


def test_an_error_after_the_first_pieces_reaches_the_reader(client: Client) -> None:
    sql = "SELECT throwIf(number = 1500000), toString(number) FROM numbers(2000000)"
    with pytest.raises(StreamFailureError, match="throwIf"):
        client.query(sql).result_rows  # noqa: B018 -- read to the end
    with pytest.raises(Exception, match=r"ended prematurely|IncompleteRead"):
        client.raw_query(sql, fmt="JSONEachRow")


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT * FROM no_db.t", 404, 81),
        ("SELEC 1 1", 500, 62),
        ("", 500, 62),
        ("SELECT throwIf(1)", 500, 395),
        ("INSERT INTO system.one FORMAT CSV\n'x", 500, 48),
    ],
)
def test_errors_carry_clickhouses_code_and_text(running: Settings, sql: str, status: int, code: int) -> None:
    answer = httpx.post(Endpoints.of(running).clickhouse_url, content=sql)
    assert answer.status_code == status
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception:")


def test_a_bad_row_names_its_place_and_inserts_nothing(client: Client) -> None:
    client.command("CREATE TABLE lab.n (n UInt64) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(DatabaseError, match="at row 2"):
        client.raw_insert("lab.n", ["n"], insert_block="1\nzz\n", fmt="TabSeparated")
    assert client.command("SELECT count() FROM lab.n") == 0


def test_only_the_homes_password_opens(running: Settings) -> None:
    address = f"http://127.0.0.1:{Endpoints.of(running).ports.clickhouse}"
    password = secret(running.home_path, "clickhouse")
    assert httpx.get(f"{address}/ping").text == "Ok.\n"
    assert httpx.post(address, content="SELECT 1").status_code == 403
    wrong = httpx.post(address, content="SELECT 1", auth=(CLICKHOUSE_USER, "wrong"))
    assert wrong.status_code == 403
    assert password not in wrong.text
    headers = {"X-ClickHouse-User": CLICKHOUSE_USER, "X-ClickHouse-Key": password}
    assert httpx.post(address, content="SELECT 1", headers=headers).text == "1\n"
    assert httpx.get(address, params={"query": "SELECT 1"}, headers=headers).text == "1\n"
    assert httpx.get(address, params={"query": "CREATE DATABASE x"}, headers=headers).status_code == 500


def test_limits_may_be_lowered_and_not_lifted(client: Client) -> None:
    sql = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')"
    assert client.query(sql).result_rows == [(20.0, QUERY_MEMORY)]
    lowered = {"max_execution_time": 5, "max_memory_usage": 0}
    assert client.query(sql, settings=lowered).result_rows == [(5.0, QUERY_MEMORY)]
    with pytest.raises(DatabaseError, match="max_execution_time"):
        client.query("SELECT 1 SETTINGS max_execution_time = 0")
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.query("SELECT sleepEachRow(0.5) FROM numbers(6) SETTINGS max_execution_time = 1")
    with pytest.raises(DatabaseError, match="MEMORY_LIMIT_EXCEEDED"):
        client.query("SELECT length(groupArray(toString(number))) FROM numbers(100000000)")


def test_nothing_of_one_request_reaches_the_next(client: Client) -> None:
    client.command("SET max_threads = 1, param_left = 'over'")
    client.command("USE lab")
    client.command("CREATE TEMPORARY TABLE mine (n UInt8)")
    assert client.command("SELECT currentDatabase()") == "default"
    with pytest.raises(DatabaseError):
        client.command("SELECT {left:String}")
    with pytest.raises(DatabaseError):
        client.command("SELECT * FROM mine")


def test_a_short_query_is_answered_while_a_long_one_runs(running: Settings, client: Client) -> None:
    done = threading.Event()

    def long() -> None:
        with connect(running) as other:
            other.command("SELECT sum(sleepEachRow(0.1)) FROM numbers(30) SETTINGS max_block_size = 1")
        done.set()

    with ThreadPoolExecutor(1) as pool:
        running_long = pool.submit(long)
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
        while client.command(sql) == 0:
            assert not running_long.done(), running_long.result()
        assert client.command("SELECT 1") == 1
        assert not done.is_set()
        running_long.result()


def test_answers_that_nobody_reads_to_the_end_give_their_connections_back(running: Settings, client: Client) -> None:
    url = Endpoints.of(running).clickhouse_url
    for _ in range(12):  # three times the connections
        with httpx.stream("POST", url, content="SELECT number FROM numbers(1000000000) FORMAT TSV") as answer:
            next(answer.iter_bytes())
    assert client.command("SELECT 1") == 1


def test_more_requests_than_connections_are_all_answered(running: Settings) -> None:
    def ask(number: int) -> int:
        with connect(running) as other:
            return len(other.query(f"SELECT number FROM numbers({400_000 + number})").result_rows)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(32))) == [400_000 + number for number in range(32)]


@pytest.mark.full
def test_half_a_gigabyte_goes_in_with_bounded_memory(running: Settings, client: Client) -> None:
    client.command("CREATE TABLE lab.big (n UInt64, s String) ENGINE = MergeTree ORDER BY n")

    def body() -> Iterator[bytes]:
        for start in range(0, 5_000_000, 10_000):
            yield b"".join(b"%d\t%s\n" % (number, b"x" * 90) for number in range(start, start + 10_000))

    state = Home(running.home_path).recall("clickhouse")
    assert state is not None
    server = psutil.Process(state.pid)
    before = server.memory_info().rss
    client.raw_insert("lab.big", ["n", "s"], insert_block=body(), fmt="TabSeparated")
    assert client.command("SELECT count() FROM lab.big") == 5_000_000
    assert server.memory_info().rss - before < 1_500_000_000
