"""Signatures first; bodies follow in the next commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping as AbstractMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pim_platform.catalog.schema import ProductSchema
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping.models import Mapping

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StageProgress:
    read: int
    valid: int
    rejected: int
    bytes_read: int


@dataclass(frozen=True)
class StageResult:
    read: int
    valid: int
    rejected: int
    merged: int
    bytes_read: int
    staged: list[Path]
    rejects: list[Path]
    reasons: dict[str, int] = field(default_factory=dict)
    sample_rejects: list[dict[str, Any]] = field(default_factory=list)


def stage(
    path: Path,
    dialect: Dialect,
    mapping: Mapping,
    schema: ProductSchema,
    out_dir: Path,
    *,
    batch_rows: int = 65_536,
    default_currency: str | None = None,
    on_progress: Callable[[StageProgress], None] | None = None,
    reject_policy: str = "skip",
    filename: str | None = None,
) -> StageResult:
    raise NotImplementedError


def stage_records(
    records: Sequence[AbstractMapping[str, Any]], schema: ProductSchema, *, default_currency: str | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    raise NotImplementedError


def write_rejects_csv(
    reject_paths: Sequence[Path], headers: Sequence[str], dialect: Dialect, out_path: Path
) -> int:
    raise NotImplementedError
