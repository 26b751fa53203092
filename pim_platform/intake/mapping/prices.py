"""What Claude models cost and how they are asked to answer at once: ``claude_models.toml``, loaded once."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

#: Prompts of more tokens than this are dearer, where a model has `long_*` prices.
LONG_PROMPT = 100_000
_MILLION = Decimal(1_000_000)


class Model(BaseModel):
    """One model's prices in USD per million tokens, and what it accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal
    output: Decimal
    long_input: Decimal | None = None
    long_output: Decimal | None = None
    thinking: Literal["disabled"] | None = None
    effort: Literal["low"] | None = None

    def cost(self, tokens_input: int, tokens_output: int) -> Decimal:
        """USD of one call."""
        long = tokens_input > LONG_PROMPT
        per_input = self.long_input if long and self.long_input is not None else self.input
        per_output = self.long_output if long and self.long_output is not None else self.output
        return (per_input * tokens_input + per_output * tokens_output) / _MILLION


@cache
def _file() -> dict[str, Any]:
    text = (resources.files("pim_platform.intake.mapping") / "claude_models.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def known_models() -> dict[str, Model]:
    """Every model with a price."""
    return {name: Model.model_validate(entry) for name, entry in _file()["models"].items()}


def price_date() -> date:
    """The day the prices were looked up."""
    found = _file()["date"]
    assert isinstance(found, date)
    return found


def model_named(name: str) -> tuple[Model, bool]:
    """The model of that name and whether its price is known.

    An unknown one counts as the dearest, so that a budget never lasts longer than it should.
    """
    known = known_models()
    if name in known:
        return known[name], True
    dearest = max(known.values(), key=lambda model: model.output)
    return Model(input=dearest.input, output=dearest.output), False
