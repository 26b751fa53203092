"""What is asked about open columns: profiles, a few masked examples and the fields each could mean.

Everything that leaves the machine is put together here; :mod:`pim_platform.intake.mapping.claude` sends it.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pim_platform.catalog.schema import ProductSchema
from pim_platform.intake.mapping.candidate import SURE, THRESHOLD, Candidate
from pim_platform.intake.mapping.masking import mask, withheld
from pim_platform.intake.mapping.models import CANONICAL_TARGETS, REPEATABLE_TARGETS, ColumnMapping
from pim_platform.intake.mapping.names import snake_case
from pim_platform.intake.mapping.retrieval import TOP, likely_fields
from pim_platform.intake.profile import ColumnProfile

#: The prompt in use: a file of this name under ``prompts/``.
PROMPT = "columns-1"
#: Columns asked about in one call, and examples shown of each.
COLUMNS, EXAMPLES = 60, 3
#: Nothing that Claude says is surer than this by itself: below the certainty that needs no person (`SURE`).
CEILING = SURE - 0.01
_REASON = 160


@dataclass(frozen=True)
class Question:
    """One request: the texts, the answer's schema, and which options each column has."""

    prompt: str
    system: str
    content: str
    schema: dict[str, Any]
    options: Mapping[int, tuple[str, ...]]
    digest: str
    """What it is cached by: layout, kinds of cells, options and prompt; not the examples, which change with the day."""
    left_out: int = 0
    """Open columns beyond :data:`COLUMNS`."""

    @property
    def max_tokens(self) -> int:
        """Room for an answer about every column."""
        return 300 + 120 * len(self.options)


class Choice(BaseModel):
    """What Claude says of one column."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    index: int
    field: str
    name: str = ""
    confidence: float = Field(strict=False)
    reason: str = ""


@cache
def _prompt(name: str) -> dict[str, Any]:
    file = resources.files("pim_platform.intake.mapping") / "prompts" / f"{name}.toml"
    found = tomllib.loads(file.read_text("utf-8"))
    if found["id"] != name:
        raise ValueError(f"{name}.toml calls itself {found['id']!r}")
    return found


def open_columns(columns: Sequence[ColumnMapping], profiles: Sequence[ColumnProfile]) -> list[int]:
    """Columns with cells that no person, dictionary or match decided: by index."""
    decided = ("template", "learned")
    return [
        column.index
        for column, profile in zip(columns, profiles, strict=True)
        if profile.filled
        and column.tier not in decided
        and not (column.ignored and column.auto)
        and (not column.auto or column.tier == "none")
    ]


def question_about(
    columns: Sequence[ColumnMapping], profiles: Sequence[ColumnProfile], schema: ProductSchema | None
) -> Question | None:
    """The question about a proposal's open columns; None where there is none."""
    wanted = open_columns(columns, profiles)
    if not wanted:
        return None
    asked = wanted[:COLUMNS]
    prompt = _prompt(PROMPT)
    open_ones = set(wanted)
    taken = sorted(
        {
            c.target
            for c in columns
            if c.index not in open_ones and c.target in CANONICAL_TARGETS and c.target not in REPEATABLE_TARGETS
        }
    )
    options: dict[int, tuple[str, ...]] = {}
    shown: list[dict[str, Any]] = []
    shapes: list[Any] = []
    for index in asked:
        column, profile = columns[index], profiles[index]
        # Some more than are asked about, because those that others have already fall away.
        likely = likely_fields(column.source, profile, schema, top=TOP + len(taken))
        options[index] = tuple([field for field in likely if field not in taken][:TOP])
        examples = [] if withheld(column.source) else [mask(example) for example in profile.examples[:EXAMPLES]]
        shown.append(
            {
                "index": index,
                "header": mask(column.source),
                "cells": _cells(profile),
                "examples": list(dict.fromkeys(examples)),
                "options": [*options[index], "attribute", "ignore"],
            }
        )
        shapes.append([index, column.source, profile.type, options[index]])
    fields = sorted({field for several in options.values() for field in several})
    content = {
        "taken": taken,
        "single": [field for field in fields if field in CANONICAL_TARGETS and field not in REPEATABLE_TARGETS],
        "fields": {field: _describe(field, prompt, schema) for field in fields},
        "columns": shown,
    }
    parts = [PROMPT, [c.source for c in columns], taken, shapes]
    return Question(
        prompt=PROMPT,
        system=prompt["system"].strip(),
        content=json.dumps(content, ensure_ascii=False),
        schema=_schema(asked, fields),
        options=options,
        digest=hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest(),
        left_out=len(wanted) - len(asked),
    )


def _cells(profile: ColumnProfile) -> dict[str, Any]:
    """A profile in few words; only numbers and signs."""
    facts: dict[str, Any] = {
        "type": profile.type,
        "filled": round(1 - profile.null_share, 2),
        "distinct": round(profile.distinct_share, 2),
        "mean_length": round(profile.mean_length, 1),
        "numbers": round(profile.number_share, 2),
        "links": round(profile.url_share, 2),
        "barcodes": round(profile.gtin_share, 2),
        "texts": round(profile.text_share, 2),
        "yes_no": profile.boolean_like or profile.binary or None,
        "currency": profile.currency,
        "unit": profile.unit,
        "separator": profile.separator,
    }
    return {name: value for name, value in facts.items() if value}


def _describe(field: str, prompt: Mapping[str, Any], schema: ProductSchema | None) -> str:
    known = schema.field(field) if schema else None
    return str(prompt["fields"].get(field) or f"the tenant's own field, {known.type if known else 'string'}")


def _schema(indexes: Sequence[int], fields: Sequence[str]) -> dict[str, Any]:
    column = {
        "index": {"type": "integer", "enum": list(indexes)},
        "field": {"type": "string", "enum": [*fields, "attribute", "ignore"]},
        "name": {"type": "string", "description": "snake_case name, for attribute only; else empty"},
        "confidence": {"type": "number", "description": "0 to 1"},
        "reason": {"type": "string"},
    }
    items = {"type": "object", "properties": column, "required": list(column), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"columns": {"type": "array", "items": items}},
        "required": ["columns"],
        "additionalProperties": False,
    }


def choices_of(answer: object) -> list[Choice] | None:
    """The entries of an answer that can be read at all; None where it is no answer."""
    if not isinstance(answer, dict) or not isinstance(answer.get("columns"), list):
        return None
    found = []
    for entry in answer["columns"]:
        try:
            found.append(Choice.model_validate(entry))
        except ValidationError:
            continue
    return found


def hints_of(question: Question, choices: Sequence[Choice], schema: ProductSchema | None) -> dict[int, Candidate]:
    """The answer as meanings that compete with those the rules found.

    What was not asked or not offered is dropped, so is a guess below the threshold; confidence is clamped. Two
    columns that want one single-valued field are settled by the assignment, which all meanings go through.
    """
    hints: dict[int, Candidate] = {}
    for choice in choices:
        offered = question.options.get(choice.index)
        score = min(max(choice.confidence, 0.0), CEILING)
        if offered is None or choice.index in hints or score < THRESHOLD:
            continue
        reason = f"Claude: {_printable(choice.reason) or 'no reason given'}"
        if choice.field == "ignore":
            hints[choice.index] = Candidate("ignore", score, reason, tier="claude")
        elif choice.field == "attribute":
            name = snake_case(choice.name, "") or None
            hints[choice.index] = Candidate("attribute", score, reason, name, tier="claude")
        elif choice.field in offered:
            known = schema.field(choice.field) if schema else None
            canonical = choice.field in CANONICAL_TARGETS
            hints[choice.index] = (
                Candidate(choice.field, score, reason, tier="claude")
                if canonical
                else Candidate("attribute", score, reason, choice.field, known.type if known else None, tier="claude")
            )
    return hints


def _printable(text: str) -> str:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= _REASON else f"{clean[:_REASON].rstrip()}…"
