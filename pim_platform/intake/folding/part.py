"""What folding gives: some records of a file at a time."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Part:
    """Some records of a file, folded: ``read`` = rows of ``frame`` + ``merged`` + ``bad``."""

    frame: pl.DataFrame
    """``row`` and cells with what the group gives; ``raw.<n>`` behind the file's own hold what only the group tells."""
    bad: pl.DataFrame
    """Records that are no rows, in the reject layout of :mod:`pim_platform.catalog.staged`."""
    bytes_read: int
    cells: pl.DataFrame | None = None
    """``row`` and the cells of ``frame`` as the file has them; None where they are the same."""
    merged: pl.DataFrame | None = None
    """``row``, ``into`` (record it became part of), ``variant_group`` and the cells; None where there are none."""

    @property
    def read(self) -> int:
        """Records of the file that it stands for."""
        return self.frame.height + self.bad.height + (self.merged.height if self.merged is not None else 0)
