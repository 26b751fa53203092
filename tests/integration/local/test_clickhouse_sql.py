"""Where a statement ends and its data begins."""

from __future__ import annotations

import pytest

from pim_platform.local.clickhouse_sql import Kind, lifted_limit, read

LIMITS = {"max_execution_time": 60.0, "max_memory_usage": 1e9}


@pytest.mark.parametrize(
    ("sql", "kind", "name"),
    [
        ("SELECT 1", Kind.SELECT, ""),
        ("-- SELECT\n/* INSERT */ with 1 as x select x FORMAT JSONEachRow", Kind.SELECT, "JSONEachRow"),
        ("SELECT 'FORMAT CSV'", Kind.SELECT, ""),
        ("SELECT 1 FORMAT Native SETTINGS max_threads = 1", Kind.SELECT, "Native"),
        ("SHOW DATABASES", Kind.OTHER, ""),
        ("INSERT INTO t SELECT 'FORMAT' FORMAT Null", Kind.OTHER, ""),
        ("INSERT INTO t (a) FORMAT CSV", Kind.INSERT_DATA, "CSV"),
        ("insert into t values (1)", Kind.INSERT_DATA, "Values"),
        ("INSERT INTO format (`values`, format) FORMAT TSV\n1", Kind.INSERT_DATA, "TSV"),
        ("INSERT INTO db.values FORMAT TSV\n1", Kind.INSERT_DATA, "TSV"),
    ],
)
def test_statements_are_told_apart(sql: str, kind: Kind, name: str) -> None:
    found = read(sql)
    assert (found.kind, found.format) == (kind, name)


@pytest.mark.parametrize(
    ("sql", "data"),
    [
        ("INSERT INTO t FORMAT CSV\n1,2\n", "1,2\n"),
        ("INSERT INTO t FORMAT TSV\r\n\tleading tab", "\tleading tab"),
        ("INSERT INTO t FORMAT TSV ; \n\nempty first line", "\nempty first line"),
        ("INSERT INTO t (a, b) VALUES (1, 'x')", " (1, 'x')"),
    ],
)
def test_data_begins_after_at_most_one_line_break(sql: str, data: str) -> None:
    assert sql[read(sql).data_at :] == data


@pytest.mark.parametrize(
    ("sql", "lifted"),
    [
        ("SELECT 1 SETTINGS max_execution_time = 0", "max_execution_time"),
        ("SET max_memory_usage = 2000000000", "max_memory_usage"),
        ("SELECT 1 SETTINGS `max_execution_time` = 1000", "max_execution_time"),
        ("SELECT 1 SETTINGS max_execution_time = {t:UInt64}", "max_execution_time"),
        ("SELECT 1 SETTINGS max_execution_time = 5, max_memory_usage = 1000", ""),
        ("SELECT 'SETTINGS max_execution_time = 0'", ""),
        ("SELECT * FROM system.settings WHERE max_execution_time = 0", ""),
    ],
)
def test_limits_can_be_lowered_and_not_lifted(sql: str, lifted: str) -> None:
    assert lifted_limit(sql, LIMITS) == lifted
