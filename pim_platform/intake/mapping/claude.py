"""Asks Claude about open columns and says what came of it. Never raises for what the network or the model does.

Belongs here: the call, its limits and its failures in words for people. Does not: what is asked
(:mod:`~pim_platform.intake.mapping.question`), budgets, caching and logging (:mod:`pim_platform.intake.assisting`).
The SDK is imported when the first question is asked: that takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pim_platform.intake.mapping.prices import model_named
from pim_platform.intake.mapping.question import Choice, Question, choices_of
from pim_platform.settings import Settings

if TYPE_CHECKING:
    from anthropic.types import Message, OutputConfigParam

#: The route that is asked, as it stands in the log.
ENDPOINT = "/v1/messages"
#: Room for thoughts of models that cannot leave them.
_THOUGHTS = 8000

Problem = Literal[
    "refused", "malformed", "truncated", "overloaded", "timeout", "unreachable", "unauthorized", "rejected", "failed"
]


@dataclass(frozen=True)
class Reply:
    """What came of a question: ``choices``, or a ``problem`` with its words for people."""

    choices: list[Choice] | None
    answer: dict[str, Any] | None = None
    problem: Problem | None = None
    message: str = ""
    tokens_input: int | None = None
    tokens_output: int | None = None
    http_status: int | None = None
    milliseconds: int = 0

    @property
    def billed(self) -> bool | None:
        """Whether it was paid for; None where nobody knows, because the answer never came."""
        if self.tokens_input is not None:
            return True
        return None if self.problem in ("timeout", "unreachable") else False


def api_key(settings: Settings) -> str | None:
    """The key in the settings; None where there is none or it is empty."""
    key = settings.anthropic_api_key.get_secret_value().strip() if settings.anthropic_api_key else ""
    return key or None


def worst_cost(settings: Settings, question: Question) -> Decimal:
    """The most that asking may cost in USD, tries included: a token is at least one byte of UTF-8."""
    size = len(question.system.encode()) + len(question.content.encode()) + len(json.dumps(question.schema))
    model, _ = model_named(settings.anthropic_model)
    return model.cost(size, _max_tokens(settings, question)) * (1 + settings.anthropic_max_retries)


def cost_of(settings: Settings, reply: Reply) -> Decimal:
    """What a reply cost in USD, by its own count of tokens."""
    return model_named(settings.anthropic_model)[0].cost(reply.tokens_input or 0, reply.tokens_output or 0)


def _max_tokens(settings: Settings, question: Question) -> int:
    quick = model_named(settings.anthropic_model)[0].thinking == "disabled"
    return question.max_tokens + (0 if quick else _THOUGHTS)


def ask(settings: Settings, question: Question) -> Reply:
    """Ask, within ``anthropic_timeout_seconds`` for all tries together.

    The SDK waits as long as a ``Retry-After`` says, be it an hour, and its own timeout starts anew with every byte
    received; so the whole call runs under one deadline that really ends it, in an event loop of its own because the
    caller may be inside one.
    """
    import anthropic
    import httpx2

    start = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="claude") as pool:
        try:
            message = pool.submit(asyncio.run, _call(settings, question)).result()
            reply = _read(message, question)
        except TimeoutError:
            seconds = settings.anthropic_timeout_seconds
            reply = Reply(None, problem="timeout", message=f"Claude did not answer within {seconds:g} s")
        except anthropic.AnthropicError as error:
            reply = _failure(error)
        except (httpx2.InvalidURL, httpx2.HTTPError, OSError):
            reply = Reply(None, problem="unreachable", message="Claude could not be reached")
        except ValueError:  # a body that is no JSON although it says so, a key no header can hold
            reply = Reply(None, problem="malformed", message="Claude's answer could not be read")
    return replace(reply, milliseconds=round((time.monotonic() - start) * 1000))


async def _call(settings: Settings, question: Question) -> Message:
    import anthropic

    model, _ = model_named(settings.anthropic_model)
    output: OutputConfigParam = {"format": {"type": "json_schema", "schema": question.schema}}
    if model.effort:
        output["effort"] = model.effort
    async with (
        asyncio.timeout(settings.anthropic_timeout_seconds),
        anthropic.AsyncAnthropic(
            api_key=api_key(settings),
            base_url=settings.anthropic_base_url,
            timeout=settings.anthropic_timeout_seconds,
            max_retries=settings.anthropic_max_retries,
        ) as client,
    ):
        return await client.messages.create(
            model=settings.anthropic_model,
            max_tokens=_max_tokens(settings, question),
            system=question.system,
            messages=[{"role": "user", "content": question.content}],
            output_config=output,
            thinking={"type": model.thinking} if model.thinking else anthropic.omit,
        )


def _read(message: object, question: Question) -> Reply:
    from anthropic.types import Message

    # Something between us and Claude may answer 200 with whatever it likes; the SDK hands that on.
    if not isinstance(message, Message) or not isinstance(getattr(message, "content", None), list):
        return Reply(None, problem="malformed", message="what answered is not Claude", http_status=200)
    usage = getattr(message, "usage", None)
    used: dict[str, Any] = {
        "tokens_input": getattr(usage, "input_tokens", None),
        "tokens_output": getattr(usage, "output_tokens", None),
        "http_status": 200,
    }
    if message.stop_reason == "refusal":
        return Reply(None, problem="refused", message="Claude declined to answer", **used)
    if message.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        return Reply(None, problem="truncated", message="Claude's answer was cut off", **used)
    text = "".join(block.text for block in message.content if block.type == "text")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    choices = choices_of(answer)
    if choices is None or not any(choice.index in question.options for choice in choices):
        return Reply(None, problem="malformed", message="Claude's answer could not be read", **used)
    return Reply(choices, answer, **used)


def _failure(error: Exception) -> Reply:
    import anthropic

    status = getattr(error, "status_code", None)
    if isinstance(error, anthropic.APITimeoutError):
        return Reply(None, problem="timeout", message="Claude did not answer in time")
    if isinstance(error, anthropic.APIConnectionError):
        return Reply(None, problem="unreachable", message="Claude could not be reached")
    if status in (401, 403):
        return Reply(None, problem="unauthorized", message="the key for Claude is not accepted", http_status=status)
    if status in (429, 529):
        return Reply(None, problem="overloaded", message="Claude is overloaded", http_status=status)
    if isinstance(error, anthropic.APIResponseValidationError):
        return Reply(None, problem="malformed", message="Claude's answer could not be read", http_status=status)
    if status is not None and 400 <= status < 500:
        return Reply(
            None, problem="rejected", message=f"Claude's API rejected the question ({status})", http_status=status
        )
    return Reply(None, problem="failed", message=f"Claude's API failed ({status or 'no status'})", http_status=status)
