"""Delimited text in any dialect: what was written is found out and comes back; no bytes crash or lose a record."""

from __future__ import annotations

import csv
import io
import random
import re
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect, detect_dialect
from pim_platform.intake.readers.delimited import read_batches, read_headers

WORDS = [
    "Lamp", "Mug", "Käse", "Größe", "naïve", '24"', "don't", "say", '"hi"', "a,b", "x;y", "p|q", "l'eau", "rot/grün",
    "5%", "#3", "(new)", "two\nlines",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
NUMBERS = st.integers(0, 10**6).map(lambda n: f"{n / 100:.2f}")
LABELS = st.lists(
    st.sampled_from(["SKU", "Name", "Price", "Colour", "Stock level", "Größe", "Note", "EAN", "Made in"]),
    min_size=2, max_size=7, unique=True,
)  # fmt: skip


@st.composite
def catalogues(draw: st.DrawFn) -> list[list[str]]:
    """A header and rows of codes, texts and numbers, the first column filled."""
    header = draw(LABELS)
    kinds = draw(st.lists(st.sampled_from([TEXTS, NUMBERS]), min_size=len(header) - 1, max_size=len(header) - 1))
    rows = []
    for number in range(draw(st.integers(3, 12))):
        cells = [draw(st.one_of(kind, kind, kind, st.just(""))) for kind in kinds]
        rows.append([f"A-{number + 100}", *cells])
    return [header, *rows]


def write(folder: str, data: bytes) -> Path:
    path = Path(folder) / "in.csv"
    path.write_bytes(data)
    return path


def read(path: Path, dialect: Dialect) -> tuple[pl.DataFrame, pl.DataFrame]:
    batches = list(read_batches(path, dialect))
    return pl.concat([batch.frame for batch in batches]), pl.concat([batch.bad for batch in batches])


def cells(frame: pl.DataFrame) -> list[list[str]]:
    return [[cell or "" for cell in row[1:]] for row in frame.rows()]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=catalogues(),
    delimiter=st.sampled_from(",;\t|^~"),
    escape=st.sampled_from([None, None, "\\"]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"]),
    above=st.sampled_from(["", "Price list\n", "ACME Ltd.\n\nvalid until May\n", "sep="]),
    padding=st.integers(0, 3),
)
@example([["SKU", "Name"], *([f"A{n}", "two\nlines"] for n in range(3))], ";", None, "\r\n", "cp1252", "sep=", 1)
def test_the_dialect_of_any_catalogue_is_found_and_its_cells_come_back(
    table: list[list[str]], delimiter: str, escape: str | None, end: str, encoding: str, above: str, padding: int
) -> None:
    text = io.StringIO(newline="")
    text.write((f"sep={delimiter}\n" if above == "sep=" else above).replace("\n", end))
    writer = csv.writer(
        text,
        quoting=csv.QUOTE_ALL if escape else csv.QUOTE_MINIMAL,  # escapes outside quotes tell nobody what they are
        delimiter=delimiter,
        escapechar=escape,
        doublequote=escape is None,
        lineterminator=delimiter * padding + end,
    )
    writer.writerows(table)
    with tempfile.TemporaryDirectory() as folder:
        path = write(folder, text.getvalue().encode(encoding))
        dialect = detect_dialect(path)
        frame, bad = read(path, dialect)
        headers = read_headers(path, dialect)
    assert dialect.delimiter == delimiter
    width = len(table[0])
    assert [header for header in headers if header] == table[0]
    assert bad.height == 0
    assert [row[:width] for row in cells(frame)] == table[1:]
    assert not any(any(row[width:]) for row in cells(frame))


def rough(seed: int, alphabet: list[bytes]) -> bytes:
    """A table whose cells are numbered, with bytes of it removed, doubled and replaced."""
    made = random.Random(seed)
    quote = made.choice([b"", b'"'])
    lines = [b"sku,name,price"]
    for number in range(made.randint(1, 40)):
        lines.append(b",".join(quote + b"q%dq" % (number * 3 + column) + quote for column in range(3)))
    data = bytearray(made.choice([b"\n", b"\r\n"]).join(lines))
    start = data.index(b"\n") + 1
    for _ in range(made.randint(0, 12)):
        at = made.randrange(start, len(data))
        data[at : at + made.randint(0, 2)] = made.choice(alphabet)
    return bytes(data)


def check(data: bytes, folder: str) -> None:
    """Detection answers or refuses; read with a fixed dialect, every record and every intact cell is somewhere."""
    path = write(folder, data)
    try:
        found = detect_dialect(path)
        list(read_batches(path, found))
    except UnreadableFile:
        pass  # it says so
    frame, bad = read(path, Dialect())
    numbers = sorted([*frame["row"], *bad["row"]])
    assert numbers == list(range(2, 2 + len(numbers)))
    body = data[data.index(b"\n") + 1 :]
    shown = "\x1f".join(
        c or "" for row in [*cells(frame), *([str(c or "") for c in row] for row in bad.rows())] for c in row
    )
    for token in set(re.findall(rb"q\d+q", body)):
        assert token.decode() in shown, f"{token!r} is nowhere"


ODD = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b";",
    b"'",
    b"\\",
    b" ",
    b'","',
    b"\n\n",
    b"Total",
    b"# ",
    b"",
]


@pytest.mark.parametrize("block", range(4))
def test_rough_bytes_lose_no_record(block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(block * 1000, block * 1000 + 40):
            check(rough(seed, ODD), folder)


@pytest.mark.full
def test_two_minutes_of_rough_bytes_lose_no_record() -> None:
    end = time.monotonic() + 120
    seed = 10_000
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            data = rough(seed, ODD)
            try:
                check(data, folder)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {data!r}") from error
            seed += 1
