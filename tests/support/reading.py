"""Reading a file in the test's own process: many small files are read in the time that one child takes to start."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl

from pim_platform.intake.dialect import Dialect
from pim_platform.intake.readers import convert as converting
from pim_platform.intake.readers import opening
from pim_platform.intake.readers.cells import Summary
from pim_platform.intake.readers.formats import Kind
from pim_platform.intake.readers.limits import Limits


def _convert(path: Path, name: str, kind: Kind, folder: Path, limits: Limits, **more: Any) -> converting.Converted:
    dialect = converting.read_into(path, name, kind, folder, limits, **more)
    summary = Summary(**json.loads((folder / "cells.json").read_text("utf-8")))
    return converting.Converted(folder, dialect, summary)


def read_here(
    content: bytes, name: str, changes: dict[str, Any] | None = None
) -> tuple[Dialect, list[str], pl.DataFrame, pl.DataFrame]:
    """Dialect, headers, rows and bad rows of a file. Raises what opening it raises."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(opening, "convert", _convert):
        path = Path(folder) / name
        path.write_bytes(content)
        with opening.OpenFile(path) as file:
            dialect = file.detect(changes)
            batches = list(file.batches(dialect))
            headers = file.headers(dialect)
            empty = pl.DataFrame(
                schema={"row": pl.Int64, **{f"raw.{index}": pl.String for index in range(len(headers))}}
            )
            frame = pl.concat([empty, *(batch.frame for batch in batches)])
            bad = pl.concat([batch.bad for batch in batches]) if batches else pl.DataFrame(schema={"row": pl.Int64})
            return dialect, headers, frame, bad
