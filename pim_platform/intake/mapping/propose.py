"""Propose what every column of a file means: tiers, one-to-one assignment, abstaining over guessing.

Tiers: fields the tenant's schema has, dictionaries (exact, then without a prefix), names that are
weak on their own but backed by the cells, names that resemble known ones. What is left becomes an
attribute with a name made from its header, or is ignored where the column is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pim_platform.catalog.schema import ProductSchema
from pim_platform.intake.mapping.assigning import assign, loser
from pim_platform.intake.mapping.by_cells import fitted
from pim_platform.intake.mapping.candidate import THRESHOLD, Candidate
from pim_platform.intake.mapping.candidates import candidates
from pim_platform.intake.mapping.columns import ignored_column, mapped_column
from pim_platform.intake.mapping.field_names import FieldNames
from pim_platform.intake.mapping.models import MONEY_TARGETS, ColumnMapping
from pim_platform.intake.mapping.names import HeaderFacts, read_header, snake_case
from pim_platform.intake.mapping.value_types import holds_several
from pim_platform.intake.mapping.whole_file import name_from_description, tell_together, with_identity
from pim_platform.intake.profile import ColumnProfile


def propose_mapping(
    headers: Sequence[str],
    profiles: Sequence[ColumnProfile],
    schema: ProductSchema | None = None,
    *,
    default_locale: str | None = None,
    hints: Mapping[int, Candidate] | None = None,
) -> list[ColumnMapping]:
    """One :class:`ColumnMapping` per column, in order.

    ``default_locale`` (else English, else the first) decides which of several translations of a
    field takes the field's plain name. ``hints`` are meanings from elsewhere, by column index; they
    have to fit the cells and to win the field they want like any other.
    """
    facts = [read_header(header) for header in headers]
    found = [_with_schema(candidates(f, p), f, schema) for f, p in zip(facts, profiles, strict=True)]
    tell_together(headers, facts, profiles, found)
    for index, profile in enumerate(profiles):
        if holds_several(profile):  # a list of the variants' SKUs identifies no record
            found[index] = [candidate for candidate in found[index] if candidate.target != "sku"]
    for index, hint in (hints or {}).items():
        found[index] = sorted([fitted(hint, facts[index], profiles[index]), *found[index]], key=lambda c: -c.score)
    chosen = assign(found, facts, profiles)
    name_from_description(chosen, facts, profiles)
    main = _main_locale([f.locale for f in facts], default_locale)
    currencies = _currencies(chosen, facts)
    fields = FieldNames(schema, main)
    columns: dict[int, ColumnMapping] = {}
    # Columns that have a claim to a field's plain name come before those that must take another.
    order = sorted(range(len(headers)), key=lambda i: _claim(chosen[i], facts[i], main, i))
    for index in order:
        choice = chosen[index]
        several = choice is not None and len(currencies.get(choice.target, ())) > 1
        if choice is None and found[index] and found[index][0].score >= THRESHOLD:
            choice = loser(found[index][0])
        header, fact, profile = headers[index], facts[index], profiles[index]
        columns[index] = ignored_column(header, fact, profile, choice) or mapped_column(
            header, fact, profile, choice, fields, several_currencies=several
        )
    return with_identity([columns[index] for index in range(len(headers))], profiles)


def _currencies(chosen: Sequence[Candidate | None], facts: Sequence[HeaderFacts]) -> dict[str, set[str | None]]:
    """The currencies that headers name, by the kind of price."""
    found: dict[str, set[str | None]] = {}
    for choice, fact in zip(chosen, facts, strict=True):
        if choice is not None and choice.target in MONEY_TARGETS:
            found.setdefault(choice.target, set()).add(fact.currency)
    return found


def _with_schema(found: list[Candidate], facts: HeaderFacts, schema: ProductSchema | None) -> list[Candidate]:
    """Put first the field of the tenant's schema that the header names."""
    name = snake_case(facts.full_key) if schema else ""
    field = schema.field(name) if schema else None
    if field is None or (found and found[0].score >= THRESHOLD and found[0].target != "attribute"):
        return found
    return [Candidate("attribute", 0.97, f"the schema has a field {name}", name, field.type), *found]


def _main_locale(locales: list[str | None], default_locale: str | None) -> str | None:
    known = [locale for locale in locales if locale]
    wanted = (default_locale or "en").replace("_", "-")
    # The locale itself, then any region of its language, then English, then the first there is.
    known.sort(key=lambda x: (x.lower() != wanted.lower(), x[:2] != wanted[:2].lower(), x[:2] != "en"))
    return known[0] if known else None


def _claim(choice: Candidate | None, facts: HeaderFacts, main: str | None, index: int) -> tuple[int, float, int]:
    group = 2 if choice is None else 1 if choice.target == "attribute" else 0
    foreign = 1 if facts.locale not in (None, main) else 0
    return group + 3 * foreign, -(choice.score if choice else 0.0), index
