"""Whatever table is written as a workbook, as Parquet, in gzip or zip comes back cell for cell; no bytes do harm."""

from __future__ import annotations

import gzip
import io
import random
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.limits import Limits
from pim_platform.intake.readers.opening import OpenFile
from tests.support.reading import read_here
from tests.support.workbooks import workbook

Table = list[list[str]]

#: What XML 1.0 and thus a workbook can hold; NUL and half characters have tests of their own.
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"], include_characters="\n\t"), max_size=12).map(
    lambda text: text if text.strip() else ""
)
_NUMBERS = st.one_of(
    st.integers(-(10**14), 10**14),
    st.decimals(-(10**9), 10**9, places=3, allow_nan=False).map(float),
)
_SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A header of distinct names, and rows with a key each, so that none is blank or taken for a note."""
    width = draw(st.integers(2, 5))
    rows = draw(st.lists(st.lists(_TEXT, min_size=width - 1, max_size=width - 1), min_size=1, max_size=8))
    header = [f"field {index}" for index in range(width)]
    return [header, *([f"K-{number}x", *row] for number, row in enumerate(rows))]


def cells_of(content: bytes, name: str, *, header: bool) -> Table:
    """The cells of every record, rows and bad ones alike, in the order of the file."""
    _, headers, frame, bad = read_here(content, name, {"header_row": 0} if header else None)
    raw = [f"raw.{index}" for index in range(len(headers))]
    found = sorted(
        [*frame.select("row", *raw).rows(), *bad.select("row", *(c for c in raw if c in bad.columns)).rows()]
    )
    return [headers, *([cell or "" for cell in row[1:]] for row in found)]


def as_parquet(table: Table) -> bytes:
    out = io.BytesIO()
    columns = zip(*table[1:], strict=True)
    pq.write_table(pa.table({name: list(column) for name, column in zip(table[0], columns, strict=True)}), out)
    return out.getvalue()


def zipped(content: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


@given(tables())
@_SETTINGS
def test_any_table_written_as_a_workbook_comes_back_cell_for_cell(table: Table) -> None:
    # A workbook's XML reads CR LF and lone CR as LF; the texts here have none.
    assert cells_of(workbook({"S": table}), "t.xlsx", header=True) == table


@given(st.lists(st.lists(_NUMBERS, min_size=3, max_size=3), min_size=1, max_size=6))
@_SETTINGS
def test_any_number_comes_back_from_a_workbook_in_plain_exact_digits(rows: list[list[float]]) -> None:
    content = workbook({"S": [["key", "a", "b", "c"], *([f"K{n}", *row] for n, row in enumerate(rows))]})
    found = cells_of(content, "t.xlsx", header=True)[1:]
    for row, cells in zip(rows, found, strict=True):
        assert [float(cell) for cell in cells[1:]] == [float(value) for value in row]
        assert not any("e" in cell.lower() or cell.endswith(".0") for cell in cells[1:])


@given(tables())
@_SETTINGS
def test_any_table_written_as_parquet_comes_back_cell_for_cell(table: Table) -> None:
    assert cells_of(as_parquet(table), "t.parquet", header=False) == table


@given(tables(), st.sampled_from(["gzip", "zip"]), st.sampled_from(["xlsx", "parquet"]))
@_SETTINGS
def test_any_table_comes_back_from_an_archive_cell_for_cell(table: Table, packing: str, form: str) -> None:
    content = workbook({"S": table}) if form == "xlsx" else as_parquet(table)
    packed = gzip.compress(content) if packing == "gzip" else zipped(content, f"t.{form}")
    assert cells_of(packed, f"t.{form}.{packing}", header=form == "xlsx") == table


SAMPLE: Table = [["sku", "name", "price"], *([f"A-{n}", f"Name {n}", str(n + 0.5)] for n in range(40))]
BOOK = workbook({"Notes": [["hello"]], "Products": SAMPLE})
VALID: dict[str, bytes] = {
    "workbook": BOOK,
    "parquet": as_parquet(SAMPLE),
    "archive": zipped("\n".join(";".join(row) for row in SAMPLE).encode(), "p.csv"),
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled or cut off; in a workbook also inside its parts, packed anew."""
    if content is BOOK and rng.random() < 0.6:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            chosen = rng.choice(old.namelist())
            for name in old.namelist():
                part = old.read(name)
                new.writestr(name, _mutated(part, rng) if name == chosen else part)
        return out.getvalue()
    return _mutated(content, rng)


def _mutated(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) or 1)
        action = rng.randrange(5)
        if action == 0 and data:
            data[at] = rng.randrange(256)
        elif action == 1:
            del data[at : at + rng.randrange(1, 40)]
        elif action == 2:
            data[at:at] = data[at : at + rng.randrange(1, 200)]
        elif action == 3:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8)))
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def judge(read: Callable[[], object], seed: int) -> None:
    """Rows, or an error that a person understands: nothing else may come out."""
    error = _error_of(read)
    if error is not None:
        assert error.code not in ("reader_failed", "reader_timeout"), f"seed {seed}: {error}"
        assert error.fix, f"seed {seed}"


def _error_of(read: Callable[[], object]) -> UnreadableFile | None:
    try:
        read()
    except UnreadableFile as error:
        return error
    return None


@pytest.mark.parametrize("kind", VALID)
def test_damaged_files_give_rows_or_a_clear_error(kind: str) -> None:
    started = time.monotonic()
    for seed in range(120):
        content = damaged(VALID[kind], random.Random(seed))
        judge(partial(read_here, content, f"{kind}.bin"), seed)
        if time.monotonic() - started > 4:  # a bound on the run, not on the code
            break


@pytest.mark.full
@pytest.mark.parametrize("kind", VALID)
def test_two_minutes_of_damaged_files_harm_nobody(kind: str, tmp_path: Path) -> None:
    started, seed = time.monotonic(), random.SystemRandom().randrange(1 << 32)
    while time.monotonic() - started < 120:
        seed += 1
        path = tmp_path / "damaged.bin"
        path.write_bytes(damaged(VALID[kind], random.Random(seed)))

        def read(path: Path = path) -> None:
            with OpenFile(path, limits=Limits(seconds=20, memory_bytes=1 << 30)) as file:
                dialect = file.detect()
                for _ in file.batches(dialect):
                    pass

        judge(read, seed)
