"""Signatures first; bodies follow in the next commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping.models import ColumnMapping, Mapping, header_fingerprint


class Proposal(BaseModel):
    model_config = ConfigDict(frozen=True)

    dialect: Dialect
    headers: list[str]
    rows: int
    rows_exact: bool
    columns: list[ColumnMapping]
    fields: list[SchemaField]
    sample_rows: list[dict[str, str]]
    fingerprint: str
    default_currency: str | None = None
    default_locale: str | None = None
    saved: bool = False

    @property
    def mapping(self) -> Mapping:
        return Mapping(columns=tuple(self.columns))

    @property
    def suggested_schema(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def all_sure(self) -> bool:
        """Every imported column is auto and sku is mapped (policy all_sure)."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError


def propose(
    path: Path,
    *,
    filename: str | None = None,
    schema: ProductSchema | None = None,
    default_currency: str | None = None,
    default_locale: str | None = None,
    saved: Mapping | None = None,
    dialect: Dialect | None = None,
) -> Proposal:
    raise NotImplementedError


__all__ = ["Proposal", "header_fingerprint", "propose"]
