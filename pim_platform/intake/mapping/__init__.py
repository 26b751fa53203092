"""What each source column means: the confirmed mapping, its rules, and the proposal of one.

Belongs here: :class:`ColumnMapping`, :class:`Mapping`, their validation against a schema, and the
tiers that propose them (alias dictionaries under ``aliases/``, then a scored match). Does not
belong here: reading files, parsing values, storing mappings. Owns no tables.
"""

from pim_platform.intake.mapping.models import (
    CANONICAL_TARGETS,
    ColumnMapping,
    Mapping,
    header_fingerprint,
    mapping_from_flat,
    validate,
)

__all__ = [
    "CANONICAL_TARGETS",
    "ColumnMapping",
    "Mapping",
    "header_fingerprint",
    "mapping_from_flat",
    "validate",
]
