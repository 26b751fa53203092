"""From a file to a proposal: dialect, columns, schema and mapping, with confidence and reasons.

Reads the head of the file and samples spread over it; a file of up to 64 MB is read whole, so that
its rows are counted exactly. Loads neither Pandera nor Dagster, so that it answers within a second.
"""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from pim_platform.catalog.schema import PRODUCT_COLUMNS, ProductSchema, SchemaField
from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import UnreadableFile
from pim_platform.intake.dialect import Dialect
from pim_platform.intake.mapping.candidate import Candidate
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.learned import Learned, apply_learned
from pim_platform.intake.mapping.localizing import join_locales, localized_fields
from pim_platform.intake.mapping.models import ColumnMapping, Mapping, header_fingerprint
from pim_platform.intake.mapping.own import localizable_fields, propose_own
from pim_platform.intake.mapping.propose import propose_mapping
from pim_platform.intake.mapping.propose_grouping import propose_groupings
from pim_platform.intake.profile import ColumnProfile, profile_columns
from pim_platform.intake.readers.opening import OpenFile
from pim_platform.intake.readers.sampling import sample_rows

#: Rows shown as an example (seed 000).
SAMPLE_ROWS = 5


class Proposal(BaseModel):
    """What the platform thinks of a file; a person or a policy confirms it."""

    model_config = ConfigDict(frozen=True)

    dialect: Dialect
    headers: list[str]
    rows: int
    rows_exact: bool
    columns: list[ColumnMapping]
    profiles: list[ColumnProfile]
    fields: list[SchemaField]
    sample_rows: list[dict[str, str]]
    fingerprint: str
    default_currency: str | None = None
    default_locale: str | None = None
    groupings: list[Grouping] = Field(default_factory=list)
    """Which records belong together."""
    saved: bool = False
    """Whether a saved mapping of the source fitted exactly."""
    notices: list[str] = Field(default_factory=list)
    """What people should know about it, such as why Claude was not asked."""
    _head: pl.DataFrame | None = PrivateAttr(None)
    """The first rows, which show what belongs together."""

    @property
    def mapping(self) -> Mapping:
        """The proposed columns as a mapping that can be confirmed as it is."""
        return Mapping(columns=tuple(self.columns), groupings=tuple(self.groupings))

    @property
    def wanted_fields(self) -> list[SchemaField]:
        """The schema fields that columns and groups write."""
        known = {field.name for field in self.fields}
        locales = next((grouping for grouping in self.groupings if grouping.style == "locale"), None)
        split = {c.field for c in self.columns if locales and c.index in locales.localized and not c.ignored}
        fields = [
            field.model_copy(update={"localizable": True}) if field.name in split else field for field in self.fields
        ]
        if locales and locales.names_field:
            fields.append(SchemaField(name=locales.names_field, localizable=True, description="the name per locale"))
        gathered = dict.fromkeys(
            g.images_field for g in self.groupings if g.images_field and g.images_field not in known
        )
        about = "all images of a product, in order"
        return [*fields, *(SchemaField(name=name, type="array", description=about) for name in gathered if name)]

    @property
    def all_sure(self) -> bool:
        """Whether every column is sure and one of them is the SKU (policy ``all_sure``)."""
        return all(column.auto for column in self.columns) and self.mapping.column_of("sku") is not None

    @property
    def suggested_schema(self) -> dict[str, Any]:
        """The suggested fields in the words of seed 000."""
        fields = [field.model_dump(include={"name", "type", "required", "description"}) for field in self.wanted_fields]
        return {"fields": fields, "default_currency": self.default_currency, "default_locale": self.default_locale}

    def to_json(self) -> dict[str, Any]:
        """The shape that ``pim propose --json`` prints."""
        columns = []
        for column, profile in zip(self.columns, self.profiles, strict=True):
            shown = column.model_dump(exclude_none=True)
            shown["examples"] = profile.examples
            columns.append(shown)
        return {
            "dialect": self.dialect.model_dump(),
            "headers": self.headers,
            "rows": self.rows,
            "rows_exact": self.rows_exact,
            "columns": columns,
            "groupings": [grouping.model_dump(exclude_defaults=True) for grouping in self.groupings],
            "sample_rows": self.sample_rows,
            "suggested_schema": self.suggested_schema,
            "suggested_mapping": self.mapping.flat(),
            "fingerprint": self.fingerprint,
            "saved": self.saved,
            "notices": self.notices,
        }


def propose(
    path: Path,
    *,
    filename: str | None = None,
    schema: ProductSchema | None = None,
    default_currency: str | None = None,
    default_locale: str | None = None,
    saved: Mapping | None = None,
    dialect: Dialect | None = None,
    changes: AbstractMapping[str, Any] | None = None,
) -> Proposal:
    """Propose dialect, schema and mapping for a file.

    ``schema`` is the tenant's present one: its fields are preferred and keep their types. ``saved``
    is the mapping last confirmed for this source: where the headers are the same it is taken as it
    is. ``dialect`` is taken instead of detecting one; ``changes`` are fields of it that a person gave. No currency
    is invented: unknown stays None.
    Raises :class:`UnreadableFile` and InvalidRequest as :func:`pim_platform.intake.dialect.detect_dialect` does.
    """
    name = filename or path.name
    with OpenFile(path, name) as file:
        dialect = dialect or file.detect(changes)
        rows = sample_rows(file, dialect)
        notes = file.notes(dialect)
    headers = rows.headers
    if rows.count == 0:
        raise UnreadableFile(
            f"{name} holds a header line ({', '.join(repr(h) for h in headers[:12])}) but no records.",
            fix="Add at least one product line below the header.", code="header_only", file=name,
        )  # fmt: skip
    currency = default_currency or (schema.default_currency if schema else None)
    locale = default_locale or (schema.default_locale if schema else None)
    profiles = profile_columns(rows.frame, headers, decimal=dialect.decimal)
    own = dialect.notation == "own"
    columns = (
        propose_own(headers, profiles, schema, default_locale=locale)
        if own
        else _columns(headers, profiles, schema, locale)
    )
    fits = saved is not None and saved.fits(headers)
    if saved is not None:
        columns = _from_saved(columns, saved, exact=fits)
    fitting = saved if fits else None
    groupings = (
        list(fitting.groupings)
        if fitting is not None
        else []  # it names parents and groups itself
        if own
        else propose_groupings(headers, columns, rows.head, schema, expand=dialect.expand)
    )
    first = rows.head.head(SAMPLE_ROWS)
    shown = [
        {_unique(headers, i): first[f"{RAW_PREFIX}{i}"][n] or "" for i in range(len(headers))}
        for n in range(first.height)
    ]
    fields = schema_fields(columns, schema)
    proposal = Proposal(
        dialect=dialect,
        headers=headers,
        rows=rows.count,
        rows_exact=rows.exact,
        columns=columns,
        profiles=profiles,
        fields=localizable_fields(columns, fields) if own else fields,
        sample_rows=shown,
        fingerprint=header_fingerprint(headers),
        default_currency=currency or _only_currency(columns),
        default_locale=locale,
        groupings=groupings,
        saved=fits,
        notices=[*notes, *_notices(columns, profiles, groupings)],
    )
    proposal._head = rows.head
    return proposal


def refined(
    proposal: Proposal,
    schema: ProductSchema | None,
    *,
    learned: AbstractMapping[str, Learned] | None = None,
    hints: AbstractMapping[int, Candidate] | None = None,
) -> Proposal:
    """The proposal with what people taught and what Claude said: all meanings compete anew, and groups follow."""
    columns = proposal.columns
    if hints:
        columns = _columns(proposal.headers, proposal.profiles, schema, proposal.default_locale, hints)
    if learned:
        columns = apply_learned(columns, proposal.profiles, learned, schema)
    groupings = proposal.groupings
    if columns != proposal.columns and proposal._head is not None:
        groupings = propose_groupings(proposal.headers, columns, proposal._head, schema, expand=proposal.dialect.expand)
    stale = _notices(proposal.columns, proposal.profiles, proposal.groupings)
    notices = [notice for notice in proposal.notices if notice not in stale]
    return proposal.model_copy(
        update={
            "columns": columns,
            "fields": schema_fields(columns, schema),
            "groupings": groupings,
            "notices": [*notices, *_notices(columns, proposal.profiles, groupings)],
        }
    )


def _columns(
    headers: list[str],
    profiles: list[ColumnProfile],
    schema: ProductSchema | None,
    locale: str | None,
    hints: AbstractMapping[int, Candidate] | None = None,
) -> list[ColumnMapping]:
    return join_locales(propose_mapping(headers, profiles, schema, default_locale=locale, hints=hints), schema)


def _notices(columns: list[ColumnMapping], profiles: list[ColumnProfile], groupings: list[Grouping]) -> list[str]:
    """What a person should know before confirming."""
    sku = next((column for column in columns if column.field == "sku" and not column.ignored), None)
    handle = next((grouping for grouping in groupings if grouping.style == "handle"), None)
    if sku is None or handle is None or profiles[sku.index].filled:
        return []
    name = columns[handle.by].source
    how = f"map {name!r} to sku and ignore {sku.source!r}"
    return [f"No row fills {sku.source!r}. To import one product per {name!r}, {how}."]


def _from_saved(columns: list[ColumnMapping], saved: Mapping, *, exact: bool) -> list[ColumnMapping]:
    """What was confirmed for this source before goes before any guess, column by column."""
    if exact:
        why = {"confidence": 1.0, "auto": True, "reason": "confirmed before for this source", "tier": "template"}
        known = {column.index: column for column in saved.columns}
        return [known[c.index].model_copy(update=why) if c.index in known else c for c in columns]
    by_name: dict[str, list[ColumnMapping]] = {}
    for column in saved.columns:
        by_name.setdefault(column.source.casefold(), []).append(column)
    names = [column.source.casefold() for column in columns]
    result = []
    for column, name in zip(columns, names, strict=True):
        before = by_name.get(name, [])
        if name and len(before) == 1 and names.count(name) == 1:
            update = {
                "index": column.index,
                "confidence": 0.97,
                "auto": True,
                "reason": "a column of this name was confirmed before",
                "tier": "template",
            }
            result.append(before[0].model_copy(update=update))
        else:
            result.append(column)
    return _without_clashes(result, {c.index for c, n in zip(columns, names, strict=True) if n in by_name})


def _without_clashes(columns: list[ColumnMapping], kept: set[int]) -> list[ColumnMapping]:
    """New columns yield the fields that confirmed columns write."""
    owned = {column.field for column in columns if column.index in kept and not column.ignored}
    result = []
    for column in columns:
        if column.index not in kept and column.field in owned and column.type not in ("array", "multi_price"):
            name = next(n for n in (f"{column.field}_{i}" for i in range(2, 10_000)) if n not in owned)
            owned.add(name)
            column = column.model_copy(update={"field": name, "target": "attribute", "auto": False})
        result.append(column)
    return result


def _unique(headers: list[str], index: int) -> str:
    """The header, or ``#n`` where it is blank or not the first of its name."""
    header = headers[index]
    return header if header and headers.index(header) == index else f"#{index + 1}"


def schema_fields(columns: list[ColumnMapping], schema: ProductSchema | None) -> list[SchemaField]:
    """The fields that a proposal's columns write, those of the schema as they are, the others as they would be made."""
    fields: dict[str, SchemaField] = {}
    localized = localized_fields(columns)
    for column in columns:
        if column.ignored or column.field in PRODUCT_COLUMNS or column.field is None or column.field in fields:
            continue
        known = schema.field(column.field) if schema else None
        made = SchemaField(
            name=column.field,
            type=column.type,
            description=f"from column {column.source!r}"[:200],
            localizable=column.field in localized,
        )
        fields[column.field] = known or made
    return list(fields.values())


def _only_currency(columns: list[ColumnMapping]) -> str | None:
    """The currency that the file itself names, where it names exactly one."""
    named = {column.currency for column in columns if column.currency}
    return named.pop() if len(named) == 1 else None


__all__ = ["Proposal", "header_fingerprint", "propose"]
