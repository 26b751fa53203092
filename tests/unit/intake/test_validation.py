"""Batches that keep every rule are told by one query; it agrees with Pandera about which those are."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from pim_platform.intake.validation import KINDS, MAX_SKU_LENGTH, _keeps_all

CHECKS = pa.DataFrameSchema(
    {
        "sku": pa.Column(pl.String, pa.Check.str_length(max_value=MAX_SKU_LENGTH), nullable=False),
        "kind": pa.Column(pl.String, pa.Check.isin(KINDS), nullable=True),
        "ok": pa.Column(pl.Boolean, pa.Check.eq(True), nullable=False),
        "failed": pa.Column(pl.Boolean, pa.Check.eq(False), nullable=True),
        "needed": pa.Column(None, nullable=False),
    },
    strict=False,
)
TYPES = {"sku": pl.String, "kind": pl.String, "ok": pl.Boolean, "failed": pl.Boolean, "needed": pl.String}
GOOD = ("é" * MAX_SKU_LENGTH, None, True, None, "x")
BAD = ("é" * (MAX_SKU_LENGTH + 1), "thing", False, True, None)


def pandera_says(frame: pl.DataFrame) -> bool:
    try:
        CHECKS.validate(frame, lazy=True)
    except SchemaErrors:
        return False
    return True


def frame_of(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES, orient="row")


@given(
    st.lists(st.tuples(*(st.sampled_from([good, bad, None]) for good, bad in zip(GOOD, BAD, strict=True))), max_size=3)
)
def test_one_query_and_pandera_agree(rows: list[tuple[object, ...]]) -> None:
    frame = frame_of(rows)
    assert _keeps_all(frame, CHECKS) == pandera_says(frame)


@pytest.mark.parametrize("wrong", range(len(BAD)))
def test_every_single_fault_is_found(wrong: int) -> None:
    assert _keeps_all(frame_of([GOOD, GOOD]), CHECKS)
    row = tuple(bad if index == wrong else good for index, (good, bad) in enumerate(zip(GOOD, BAD, strict=True)))
    assert not _keeps_all(frame_of([GOOD, row]), CHECKS)


def test_a_check_that_is_not_known_is_left_to_pandera() -> None:
    schema = pa.DataFrameSchema({"sku": pa.Column(pl.String, pa.Check.str_startswith("x"))})
    assert not _keeps_all(frame_of([GOOD]), schema)
