"""Reading JSON and XML in the test's own process: the same readers that the converting child runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers import json_records, xml_records
from pim_platform.intake.readers.cells import BAD_FILE, ROWS_FILE, CellsWriter, Summary
from pim_platform.intake.readers.limits import Limits


@dataclass(frozen=True)
class Tree:
    """A file as it was read; ``records`` hold the filled cells only, ``bad`` the reject's words."""

    dialect: Dialect
    records: list[dict[str, str]]
    numbers: list[int]
    bad: list[dict[str, Any]]
    summary: Summary


def read_tree(
    content: bytes | str, name: str = "products.json", *, limits: Limits | None = None, **changes: Any
) -> Tree:
    """Detect and convert; ``changes`` are fields of the dialect that a person gave."""
    reader: ModuleType = xml_records if name.endswith("xml") else json_records
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "original"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        asked = {key: changes[key] for key in reader.detect.__kwdefaults__ if key in changes}
        dialect = reader.detect(path, name, **asked).model_copy(update=changes)
        out = CellsWriter(Path(folder), name, limits)
        reader.convert(path, dialect, out)
        summary = out.close()
        records: list[dict[str, str]] = []
        numbers: list[int] = []
        bad: list[dict[str, Any]] = []
        for index in range(summary.batches):
            frame = pl.read_ipc(Path(folder) / ROWS_FILE.format(index))
            numbers += frame["row"].to_list()
            for row in frame.drop("row").iter_rows(named=True):
                records.append({summary.headers[int(at)]: text for at, text in row.items() if text is not None})
            if (wrong := Path(folder) / BAD_FILE.format(index)).exists():
                bad += pl.read_ipc(wrong).to_dicts()
    return Tree(dialect, records, numbers, bad, summary)
