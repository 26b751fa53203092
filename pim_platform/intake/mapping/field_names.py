"""Names of the fields that the columns of one file write: each column has one of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import MULTI_VALUED_TYPES
from pim_platform.intake.mapping.names import VARIANTS, HeaderFacts, snake_case


@dataclass
class FieldNames:
    """The fields of the schema, and the names that columns have taken so far."""

    schema: ProductSchema | None
    main_locale: str | None
    """The locale whose columns take the plain names."""
    used: set[str] = field(default_factory=set)

    def known(self, name: str) -> SchemaField | None:
        """The field of the schema that has this name."""
        return self.schema.field(name) if self.schema else None

    def free(self, wanted: str, header: str, facts: HeaderFacts, index: int, kind: FieldType) -> str:
        """``wanted``, else a name made from the header of column ``index``, that no other column has.

        Several columns of prices (``kind``) feed one field.
        """
        own = snake_case(own_words(facts), f"column_{index + 1}")
        name = wanted or own
        if facts.locale and facts.locale != self.main_locale:
            name = f"{name}_{facts.locale.replace('-', '_').lower()}"
        known = self.known(name)
        if name not in self.used or ((known.type if known else kind) in MULTI_VALUED_TYPES and kind == "multi_price"):
            return name
        for other in (snake_case(header, own), own):
            if other not in self.used:
                return other
        number = next(n for n in range(2, 10_000) if f"{name}_{n}" not in self.used)
        return f"{name}_{number}"


def own_words(facts: HeaderFacts) -> str:
    """The words a field is named by: of a path, without the parts that only hold the product."""
    if not facts.parents:
        return facts.key
    holders = dictionary().words["containers"] | dictionary().words["fillers"]
    kept = [
        "variant" if part in VARIANTS else part for part in facts.parents if part in VARIANTS or part not in holders
    ]
    return " ".join([*kept, facts.leaf])
