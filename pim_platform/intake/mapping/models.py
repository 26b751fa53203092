"""The confirmed meaning of a file's columns, as frozen values that travel as JSON.

The index of a column is its identity; its header is what people see. A mapping knows nothing of
the dialect, so it fits the next delivery even where delimiter or encoding changed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbstractMapping
from collections.abc import Set as AbstractSet
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pim_platform.catalog.schema import PRODUCT_COLUMNS, FieldType, ProductSchema, SchemaField
from pim_platform.errors import InvalidMapping
from pim_platform.intake.mapping.grouping import Grouping
from pim_platform.intake.mapping.transforms import Transform, problem_of

#: Core meanings a column can have besides "attribute" (a field of the tenant's own) and "ignore".
CANONICAL_TARGETS: tuple[str, ...] = (
    "sku", "name", "description", "price", "compare_at_price", "cost", "currency", "brand", "manufacturer",
    "category", "tags", "gtin", "mpn", "weight", "weight_unit", "dimensions", "color", "size", "material",
    "image_url", "url", "stock_quantity", "status", "seo_title", "seo_description", "variant_group",
    "option_name", "option_value",
)  # fmt: skip

#: Targets that any number of columns may have; each column gets a field of its own.
REPEATABLE_TARGETS = frozenset({"image_url", "category", "tags", "dimensions", "option_name", "option_value", "ignore"})
#: Targets whose cells are amounts of money.
MONEY_TARGETS = frozenset({"price", "compare_at_price", "cost"})
#: Targets whose cells are numbers or measures.
NUMERIC_TARGETS = frozenset({"weight", "stock_quantity", "dimensions"})

#: Where the meaning of a column comes from, the surest first: the mapping this source was confirmed with, what people
#: of this tenant confirmed for a header, a dictionary, a scored match, Claude, or nobody: a field of its own.
Tier = Literal["template", "learned", "alias", "match", "claude", "none"]

#: Field types whose value is a list, so that several columns may feed one field.
MULTI_VALUED_TYPES = frozenset({"array", "multi_price"})

#: Types of the product's own columns, which no schema describes.
PRODUCT_COLUMN_TYPES: dict[str, FieldType] = {
    "sku": "string", "name": "string", "active": "boolean", "kind": "string", "variant_group": "string",
    "parent_sku": "string",
}  # fmt: skip


class ColumnMapping(BaseModel):
    """What one source column means and where it goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="Header text, trimmed; empty where the file has none.")
    index: int = Field(ge=0, description="0-based position of the column: its identity.")
    target: str = Field("attribute", description="A canonical target, `attribute` or `ignore`.")
    field: str | None = Field(None, description="Schema field (or product column) it writes; None = ignored.")
    type: FieldType = "string"
    confidence: float = Field(0.0, ge=0, le=1)
    auto: bool = Field(False, description="Sure enough that no person needs to look.")
    reason: str = ""
    tier: Tier = Field("none", description="Where the meaning comes from.")
    locale: str | None = None
    currency: str | None = Field(None, description="ISO 4217, where header or file says it.")
    unit: str | None = Field(None, description="Unit of measure written in the header or behind every number.")
    separator: str | None = Field(None, description="What separates the entries of one cell of a list.")
    decimal: Literal[".", ","] | None = Field(None, description="Decimal sign of this column's numbers.")
    component: str | None = Field(None, description="length, width, height or depth of dimensions.")
    option: int | None = Field(None, description="Number of the option for option_name and option_value.")
    transform: tuple[Transform, ...] = Field((), description="Steps applied to its cells before they are parsed.")
    on_empty: Literal["keep", "clear"] = Field("keep", description="What an empty cell does to a stored value (D3).")

    @property
    def ignored(self) -> bool:
        """Whether the column is left out of the import."""
        return self.target == "ignore" or self.field is None


class Mapping(BaseModel):
    """The meaning of every column of one kind of file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[ColumnMapping, ...]
    groupings: tuple[Grouping, ...] = Field((), description="Which records belong together.")

    @property
    def active_columns(self) -> tuple[ColumnMapping, ...]:
        """The columns that write something, in file order."""
        return tuple(sorted((c for c in self.columns if not c.ignored), key=lambda c: c.index))

    @property
    def headers(self) -> list[str]:
        """The headers by index; gaps are empty."""
        known = {column.index: column.source for column in self.columns}
        return [known.get(index, "") for index in range(max(known, default=-1) + 1)]

    def column_of(self, field: str) -> ColumnMapping | None:
        """The first column that writes ``field``, or None."""
        return next((column for column in self.active_columns if column.field == field), None)

    def flat(self) -> dict[str, str]:
        """``{header: field}`` of what is imported; the first of equal headers wins (see ``columns`` for all)."""
        result: dict[str, str] = {}
        for column in self.active_columns:
            result.setdefault(column.source, str(column.field))
        return result

    def fits(self, headers: Sequence[str]) -> bool:
        """Whether a file with these headers has exactly the columns this mapping was made for."""
        return header_fingerprint(self.headers) == header_fingerprint(headers)

    def digest(self, salt: str = "") -> str:
        """Hex SHA-256 of everything that changes the imported values (not of confidence or reasons)."""
        told = {"source", "target", "confidence", "auto", "reason", "tier"}
        # A column without transform has the digest it had before there were any.
        parts = [
            column.model_dump_json(exclude=told if column.transform else told | {"transform"})
            for column in self.active_columns
        ]
        parts += [grouping.model_dump_json(exclude={"reason"}) for grouping in self.groupings]
        return hashlib.sha256("\n".join([salt, *parts]).encode()).hexdigest()


def header_fingerprint(headers: Iterable[str]) -> str:
    """SHA-256 hex of the headers after NFKC, trim and case folding: equal for files of one layout."""
    return hashlib.sha256("\x1f".join(map(header_key, headers)).encode()).hexdigest()


def header_key(header: str) -> str:
    """The header after NFKC, trim and case folding: two headers of one key are the same to people."""
    return unicodedata.normalize("NFKC", header).replace("\ufeff", "").strip().casefold()


def validate(
    mapping: Mapping, schema: ProductSchema, headers: Sequence[str], proposed: Iterable[SchemaField] = ()
) -> None:
    """Check that ``mapping`` can be applied to a file with ``headers`` under ``schema`` + ``proposed`` fields.

    Raises :class:`InvalidMapping` with code ``unknown_column``, ``unknown_field``, ``unknown_target``,
    ``duplicate_field``, ``invalid_transform`` or ``no_sku_column``; the message names columns and the fix.
    """
    fields = {field.name: field for field in (*proposed, *schema.fields)}
    types: dict[str, FieldType] = {**{name: field.type for name, field in fields.items()}, **PRODUCT_COLUMN_TYPES}
    writers: dict[str, list[ColumnMapping]] = {}
    seen: set[int] = set()
    for column in mapping.columns:
        if column.index >= len(headers) or column.index in seen:
            what = "is mapped twice" if column.index in seen else f"does not exist: the file has {len(headers)} columns"
            raise InvalidMapping(
                f"Column {column.index + 1} ({column.source!r}) {what}.",
                fix="Map each column of the file at most once.", code="unknown_column", column=column.source,
            )  # fmt: skip
        seen.add(column.index)
        if column.target not in CANONICAL_TARGETS and column.target not in ("attribute", "ignore"):
            raise InvalidMapping(
                f"Column {column.source!r} has the unknown target {column.target!r}.",
                fix="Use a canonical target, 'attribute' or 'ignore'.", code="unknown_target", column=column.source,
            )  # fmt: skip
        if column.ignored:
            continue
        if column.field not in types:
            raise InvalidMapping(
                f"Column {column.source!r} is mapped to field {column.field!r}, which does not exist.",
                fix=f"Create the field first, or use one of: {', '.join(sorted(types))}.",
                code="unknown_field", column=column.source, value=column.field,
            )  # fmt: skip
        _validate_transform(column, len(headers))
        writers.setdefault(str(column.field), []).append(column)
    for name, columns in writers.items():
        known = fields.get(name)
        localizable = known is not None and known.localizable
        if len(columns) == 1 or (types[name] in MULTI_VALUED_TYPES and not localizable):
            continue
        locales = [(column.locale or schema.default_locale).replace("_", "-").casefold() for column in columns]
        if localizable and len(set(locales)) == len(locales):
            continue
        told = " and ".join(repr(column.source) for column in columns)
        holds = "one value per locale" if localizable else "one value"
        raise InvalidMapping(
            f"Columns {told} are both mapped to {name!r}, a {types[name]} field that holds {holds}.",
            fix="Map one of them to another field, ignore it, or make the field an array; a localizable field takes "
            "one column for each locale.",
            code="duplicate_field", column=columns[1].source, value=name,
        )  # fmt: skip
    _validate_groupings(mapping, len(headers), types, {n for n, f in fields.items() if f.localizable})
    if "sku" not in writers:
        raise InvalidMapping(
            f"No column is mapped to 'sku'. The file's columns are: {', '.join(repr(h) for h in headers)}.",
            fix="Map the column that identifies a product to 'sku'.", code="no_sku_column", expected="sku",
        )  # fmt: skip


def _validate_transform(column: ColumnMapping, width: int) -> None:
    for number, step in enumerate(column.transform, 1):
        problem = problem_of(step, width)
        if problem is not None:
            raise InvalidMapping(
                f"Column {column.source!r}: step {number} of its transform ({step.op}) {problem[0]}.",
                fix=problem[1], code="invalid_transform", column=column.source,
            )  # fmt: skip


def _validate_groupings(
    mapping: Mapping, width: int, types: AbstractMapping[str, FieldType], localizable: AbstractSet[str]
) -> None:
    for grouping in mapping.groupings:
        unknown = next((index for index in grouping.columns if index >= width), None)
        if unknown is not None:
            raise InvalidMapping(
                f"The grouping {grouping.style!r} refers to column {unknown + 1}; the file has {width} columns.",
                fix="Name columns of the file by their 0-based index, or leave the grouping out.",
                code="unknown_column",
            )
        if grouping.images_field is not None and types.get(grouping.images_field) != "array":
            raise InvalidMapping(
                f"The images of a group are to go to {grouping.images_field!r}, which is no array field.",
                fix="Create an array field for them, or name one that exists.",
                code="unknown_field", value=grouping.images_field,
            )  # fmt: skip
        split = {c.field for c in mapping.active_columns if c.index in grouping.localized} - {"name"}
        plain = sorted(str(name) for name in {*split, grouping.names_field} - {None} - localizable)
        if plain:
            told = ", ".join(map(repr, plain))
            raise InvalidMapping(
                f"The values of {told} are to be kept per locale, but the schema does not say so.",
                fix="Make the field localizable, or take its column out of `localized`.",
                code="not_localizable", value=plain[0],
            )  # fmt: skip
    styles = [grouping.style for grouping in mapping.groupings]
    if len(styles) - ("locale" in styles) > 1 or sum(grouping.folds for grouping in mapping.groupings) > 1:
        raise InvalidMapping(
            f"The groupings {' and '.join(styles)} cannot be applied together.",
            fix="Keep one of handle, nested, parent and group; locale goes with parent or group.",
            code="clashing_groupings",
        )
    if any(grouping.style == "locale" and grouping.locale is None for grouping in mapping.groupings):
        raise InvalidMapping(
            "The grouping 'locale' does not say which column names the locale.",
            fix="Give the index of that column as `locale`.", code="unknown_column",
        )  # fmt: skip


def mapping_from_flat(
    flat: AbstractMapping[str, str | None],
    headers: Sequence[str],
    schema: ProductSchema,
    proposed: Mapping | None = None,
) -> Mapping:
    """The mapping a person confirmed as ``{header: field}``; headers left out (or None) are ignored.

    A header may also be addressed as ``#n`` (1-based), for blank and repeated headers; a repeated
    header means its first column. What is not said (separator, currency, decimal sign) is taken
    from ``proposed``. Raises :class:`InvalidMapping` (``unknown_column``); call :func:`validate` after.
    """
    wanted: dict[int, str] = {}
    trimmed = [header.strip() for header in headers]
    for header, field in flat.items():
        name = header.strip()
        if name in trimmed:
            index = trimmed.index(name)
        elif name.startswith("#") and name[1:].isdigit() and 0 < int(name[1:]) <= len(headers):
            index = int(name[1:]) - 1
        else:
            raise InvalidMapping(
                f"The file has no column {header!r}.", fix=f"Its columns are: {', '.join(repr(h) for h in headers)}.",
                code="unknown_column", column=header,
            )  # fmt: skip
        if field and field != "ignore":
            wanted[index] = field
    known = {column.index: column for column in proposed.columns} if proposed else {}
    columns = []
    for index, header in enumerate(trimmed):
        base = known.get(index, ColumnMapping(source=header, index=index))
        chosen = wanted.get(index)
        if chosen is None:
            update: dict[str, object] = {"target": "ignore", "field": None}
        elif chosen == base.field and not base.ignored:
            update = {}
        else:
            field_def = schema.field(chosen)
            kind = PRODUCT_COLUMN_TYPES.get(chosen) or (field_def.type if field_def else base.type)
            canonical = chosen in CANONICAL_TARGETS
            update = {"target": chosen if canonical else "attribute", "field": chosen, "type": kind}
        columns.append(base.model_copy(update={**update, "confidence": 1.0, "auto": True, "reason": "confirmed"}))
    return Mapping(columns=tuple(columns), groupings=proposed.groupings if proposed else ())


__all__ = [
    "CANONICAL_TARGETS", "MULTI_VALUED_TYPES", "PRODUCT_COLUMNS", "PRODUCT_COLUMN_TYPES", "ColumnMapping", "Mapping",
    "Tier", "header_fingerprint", "header_key", "mapping_from_flat", "validate",
]  # fmt: skip
