"""The mapping of one column whose meaning is chosen: field, type, locale, currency, certainty and reason."""

from __future__ import annotations

import re

from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.intake import vocabulary as words
from pim_platform.intake.mapping.candidate import KNOWN, SURE, Candidate
from pim_platform.intake.mapping.field_names import FieldNames, own_words
from pim_platform.intake.mapping.models import (
    CANONICAL_TARGETS,
    NUMERIC_TARGETS,
    PRODUCT_COLUMN_TYPES,
    REPEATABLE_TARGETS,
    ColumnMapping,
    Tier,
)
from pim_platform.intake.mapping.names import HeaderFacts, snake_case
from pim_platform.intake.mapping.value_types import holds, value_type
from pim_platform.intake.mapping.whole_file import VALUES_APART
from pim_platform.intake.profile import ColumnProfile

#: What a column is called beside a field of the schema whose type it does not fit.
_BESIDE = {"string": "text", "array": "list", "url": "link"}
#: Below the certainty of a proposal that needs no person: somebody should see that a field is made beside another.
_MISFIT = 0.8
_BOOKKEEPING = re.compile(r"^meta: ?_", re.IGNORECASE)


def ignored_column(
    header: str, facts: HeaderFacts, profile: ColumnProfile, choice: Candidate | None
) -> ColumnMapping | None:
    """The mapping of a column that no field takes, because of its meaning or for want of any; None for another."""
    if choice is None and (_is_bookkeeping(header) or profile.filled == 0):
        why = "private data of the exporting system" if _is_bookkeeping(header) else "the column is empty"
        return ColumnMapping(
            source=header, index=profile.index, target="ignore", confidence=SURE, auto=True, reason=why,
            type="boolean" if profile.filled and profile.binary else "string",
        )  # fmt: skip
    if choice is None or choice.target != "ignore":
        return None
    values = choice is VALUES_APART and facts.xml and profile.type == "array" and "val" in facts.leaf
    counted = profile.number_share == 1 and not profile.leading_zeros and facts.key.endswith("number")
    return ColumnMapping(
        source=header, index=profile.index, target="ignore",
        type="number" if counted else "array" if values else "string",
        confidence=choice.score, auto=choice.score >= SURE, reason=choice.reason, tier=_tier(choice),
    )  # fmt: skip


def mapped_column(
    header: str,
    facts: HeaderFacts,
    profile: ColumnProfile,
    choice: Candidate | None,
    fields: FieldNames,
    *,
    several_currencies: bool,
) -> ColumnMapping:
    """The mapping of a column into a field of its meaning, or into one of its own where ``choice`` is None.

    ``several_currencies``: other columns hold the same price in other currencies.
    """
    target = choice.target if choice else "attribute"
    kind = "multi_price" if several_currencies else value_type(target, choice, facts, profile)
    field, misfit = _field(header, facts, profile, choice, kind, fields)
    known = fields.known(field)
    fields.used.add(field)
    kind = PRODUCT_COLUMN_TYPES.get(field) or (known.type if known else kind)
    separator = profile.separator if kind == "array" else None
    if kind == "array" and separator is None and not any(e.startswith("[") for e in profile.examples):
        separator = ","
    score = round(choice.score, 3) if choice else 0.9
    reason = choice.reason if choice else "no known field has this name: a field of its own"
    if misfit is not None:
        score = min(score, _MISFIT)
        reason = f"{reason}; but the schema's {misfit.name} is of type {misfit.type} and the cells do not fit it"
    if kind == "string" and target in CANONICAL_TARGETS and profile.listed and profile.type == "array":
        # Names in several languages, say: whether they may be joined is for a person to see.
        score = min(score, _MISFIT)
        reason = f"{reason}; but some cells hold several values, which would be joined"
    return ColumnMapping(
        source=header,
        index=profile.index,
        target=target,
        field=field,
        type=kind,
        confidence=min(score, 1.0),
        auto=score >= SURE,
        reason=reason,
        tier=_tier(choice),
        locale=facts.locale,
        currency=(facts.currency or _told(profile, fields.schema)) if kind in ("price", "multi_price") else None,
        unit=facts.unit or ("g" if "grams" in facts.key.split() else None) or profile.unit,
        separator=separator,
        decimal=profile.decimal if kind in ("number", "price", "multi_price") else None,
        component=choice.component if choice else None,
        option=choice.option if choice else None,
    )


def _field(
    header: str,
    facts: HeaderFacts,
    profile: ColumnProfile,
    choice: Candidate | None,
    kind: FieldType,
    fields: FieldNames,
) -> tuple[str, SchemaField | None]:
    """The field that a column writes, and the one of the schema that it would write if its cells fitted."""
    target = choice.target if choice else "attribute"
    wanted = (choice.field if choice else None) or (target if target != "attribute" else "")
    if kind == "array" and (target in NUMERIC_TARGETS or target == "status"):
        wanted = snake_case(own_words(facts))  # the field of that meaning holds one number
    if target == "variant_group" or (target in REPEATABLE_TARGETS and wanted in fields.used):
        wanted = snake_case(facts.key, "group")
    name = fields.free(wanted, header, facts, profile.index, kind)
    known = fields.known(name)
    if known is None or holds(known.type, kind, profile):
        return name, None
    # Sent into that field nearly every row would be rejected; beside it nothing is lost.
    return f"{name}_{_BESIDE.get(kind, kind)}", known


def _tier(choice: Candidate | None) -> Tier:
    """Where a meaning comes from: a known name scores at least as a name without its prefix does."""
    if choice is None:
        return "none"
    return choice.tier or ("alias" if choice.score > KNOWN else "match")


def _told(profile: ColumnProfile, schema: ProductSchema | None) -> str | None:
    """The currency that the cells name; of a sign that several share (``$``) the tenant's own, where it is one."""
    home = schema.default_currency if schema else None
    written = {re.sub(r"[\d\s.,'’+-]", "", example).upper() for example in profile.examples} - {""}
    shared = [words.SHARED_SIGNS.get(sign, (None, frozenset[str]())) for sign in written]
    if shared and all(usual == profile.currency and home in few for usual, few in shared):
        return home
    return profile.currency


def _is_bookkeeping(header: str) -> bool:
    """Whether the header names an export's private data (WordPress meta keys with a leading underscore)."""
    return bool(_BOOKKEEPING.match(header.strip()))
