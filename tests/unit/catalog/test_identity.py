"""The keys of SKUs: one rule, however it is computed."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.catalog.identity import sku_key_expr, sku_keys

ASCII = st.text(st.characters(max_codepoint=127), max_size=6)


@given(st.one_of(st.lists(st.none() | ASCII, max_size=6), st.lists(st.none() | st.text(max_size=6), max_size=6)))
def test_keys_of_a_column_are_those_of_the_expression(skus: list[str | None]) -> None:
    column = pl.Series("sku", skus, dtype=pl.String)
    assert sku_keys(column).to_list() == column.to_frame().select(sku_key_expr(pl.col("sku"))).to_series().to_list()


def test_blank_skus_have_no_key() -> None:
    assert sku_keys(pl.Series([" A-1 ", "  ", "", None])).to_list() == ["a-1", None, None, None]
