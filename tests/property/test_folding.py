"""However a file is cut into batches and wherever its groups lie, folding gives the same; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pim_platform.intake.folding.file import open_folding
from pim_platform.intake.mapping import ColumnMapping, Mapping
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.readers.delimited import Batch
from pim_platform.intake.readers.rows import empty_bad_frame

HEADERS = ["Handle", "Title", "Size", "SKU", "Image"]
COLUMNS = (
    ColumnMapping(source="Title", index=1, target="name", field="name"),
    ColumnMapping(source="Size", index=2, target="option_value", field="size"),
    ColumnMapping(source="SKU", index=3, target="sku", field="sku"),
    ColumnMapping(source="Image", index=4, target="image_url", field="image_url", type="url"),
)
HANDLE = Grouping(style="handle", by=0, inherited=(1, 4), images=4, images_field="images")
GROUP = Grouping(style="group", by=0)
PARENT = Grouping(style="parent", by=0)
NESTED = Grouping(style="nested", by=0, variants=(2, 3), levels=((1, 3),))
LOCALE = Grouping(style="locale", by=3, locale=2, localized=(4,))

cell = st.sampled_from([None, None, "a", "b", "de", "en_US"])
handle = st.sampled_from([None, "g1", "g2", "g3", "g4", "a", "b"])
table = st.lists(st.tuples(handle, cell, cell, cell, cell), max_size=40)


def folded(rows: list[tuple[str | None, ...]], sizes: list[int], grouping: Grouping) -> list[pl.DataFrame]:
    """What comes out as one frame each: rows with their cells, merged rows, rejects; ordered by row."""
    schema = {f"raw.{index}": pl.String for index in range(len(HEADERS))}
    whole = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row", 2).cast({"row": pl.Int64})

    def batches() -> Iterator[Batch]:
        start = turn = 0
        while start < whole.height:
            size = sizes[turn % len(sizes)]
            yield Batch(whole.slice(start, size), empty_bad_frame(len(HEADERS)), start)
            start, turn = start + size, turn + 1

    mapping = Mapping(columns=COLUMNS, groupings=(grouping,))
    folding = open_folding(batches, mapping, HEADERS, default_locale="de")
    assert folding is not None
    with TemporaryDirectory() as scratch:
        parts = list(folding.parts(batches(), Path(scratch), batch_rows=max(sizes)))
        assert not list(Path(scratch).iterdir())
    assert sum(part.read for part in parts) == whole.height
    merged = [part.merged for part in parts if part.merged is not None]
    kept = [part.frame for part in parts if part.frame.height]
    rejects = [part.bad for part in parts if part.bad.height]
    found = [pl.concat(frames).sort("row") if frames else pl.DataFrame() for frames in (kept, merged, rejects)]
    numbers = [number for frame in found if frame.height for number in frame["row"]]
    assert sorted(numbers) == whole["row"].to_list()
    for part in parts:
        if part.cells is not None:
            assert part.cells.equals(whole.join(part.cells.select("row"), on="row", how="semi").select("row", *schema))
    return found


@given(rows=table, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_batches_do_not_matter(rows: list[tuple[str | None, ...]], sizes: list[int]) -> None:
    for grouping in (HANDLE, GROUP, PARENT, LOCALE, NESTED):
        whole = folded(rows, [1000], grouping)
        cut = folded(rows, sizes, grouping)
        for expected, found in zip(whole, cut, strict=True):
            assert found.equals(expected)


@given(rows=table)
@settings(max_examples=60, deadline=None)
def test_where_the_rows_of_a_product_lie_matters_only_to_their_order(rows: list[tuple[str | None, ...]]) -> None:
    together = sorted(rows, key=lambda row: row[0] or "")
    apart = folded(rows, [3], HANDLE)
    joined = folded(together, [3], HANDLE)
    assert [frame.height for frame in apart] == [frame.height for frame in joined]
